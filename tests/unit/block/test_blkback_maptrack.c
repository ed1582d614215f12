/* SPDX-License-Identifier: MIT */
/*
 * blkback of several guests while Xen has room for few grant mappings (gnttab_max_maptrack_frames).
 * The room belongs to Xen and has no shares: the order of the waiting ops is what divides it. If
 * these fail, one guest's flood takes the room again and again, and another guest's read waits
 * without end or becomes an error.
 */
#include "guests_rig.h"

#define GUESTS 6u
#define DEPTH  12u /* requests of each neighbour in flight */
#define RUN    8u  /* of them that one run of its task begins, or ends */

/* Collects responses, all of which must be OK. */
static void collect_good(struct front *front)
{
    front_collect(front);
    for (unsigned i = 0; i < FRONT_SENT_MAX; i++)
        if (front->sent[i].used && front->sent[i].responded)
            assert_int_equal(front_status(front, i), BLKIF_RSP_OKAY);
}

/* Each request has its own indirect page: it is read late. */
static void send_request(struct front *front, bool write, const struct part *parts, unsigned count)
{
    if (count <= BLKIF_MAX_SEGMENTS_PER_REQUEST)
        (void)front_rw(front, write, 0, parts, count);
    else
        (void)front_rw_indirect(front, write, 0, parts, count, 1800 + front->next % 64);
}

/* A turn; if there is nothing to do, time passes to the next deadline. */
static void turn_or_wait(void)
{
    uint64_t next_ns;

    if (vbd_turn() || dgm_hv_shared_info()->vcpu_info[0].evtchn_upcall_pending)
        return;
    next_ns = dgm_reactor_deadline_ns(&vbd.reactor);
    if (next_ns != UINT64_MAX && next_ns > vbd.now_ns)
        vbd.now_ns = next_ns;
    dgm_sim_set_now_ns(vbd.now_ns);
}

/* All guests but the first keep DEPTH requests of `frames` frames in flight. Returns the most
 * requests of theirs that ended while the first one's read waited. */
static unsigned read_beside_floods(const struct guests_variant *v, uint64_t room, unsigned frames)
{
    const struct part one = {200, 0, 7};
    struct part many[64];
    unsigned most = 0;

    for (unsigned i = 0; i < 64; i++)
        many[i] = (struct part){300 + 2 * i, 0, 7};
    guests_start(guests_everything, GUESTS, v);
    dgm_hv_set_maptrack(vbd.core.grant->live + room);
    for (unsigned round = 0; round < 30; round++) {
        unsigned before = 0, after = 0;

        for (unsigned f = 1; f < GUESTS; f++)
            before += guests.front[f].responses;
        (void)front_rw(&guests.front[0], false, 8 * round, &one, 1);
        front_push(&guests.front[0]);
        for (unsigned turn = 0; guests.front[0].outstanding; turn++) {
            assert_true(turn < 20000);
            for (unsigned f = 1; f < GUESTS; f++) {
                while (guests.front[f].outstanding < DEPTH)
                    send_request(&guests.front[f], turn % 2, many, frames);
                front_push(&guests.front[f]);
            }
            turn_or_wait();
            for (unsigned f = 0; f < GUESTS; f++)
                collect_good(&guests.front[f]);
        }
        for (unsigned f = 1; f < GUESTS; f++)
            after += guests.front[f].responses;
        if (after - before > most)
            most = after - before;
    }
    for (unsigned f = 1; f < GUESTS; f++) {
        collect_good(&guests.front[f]);
        for (unsigned turn = 0; guests.front[f].outstanding; turn++) {
            assert_true(turn < 20000);
            turn_or_wait();
            collect_good(&guests.front[f]);
        }
    }
    dgm_hv_set_maptrack(0);
    guests_stop();
    return most;
}

/* Fails: a read waits for more than the requests that were queued before it, and those of one run
 * of each neighbour, in some mode; or a request becomes an error. */
static void no_guest_starves(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        for (unsigned frames = 1; frames <= 64; frames *= 4) {
            const uint64_t room = frames < 11 ? 11 : frames;
            const unsigned most = read_beside_floods(v, 2 * room + 4, frames);

            print_message("# %s, %u frames: at most %u other requests\n", v->name, frames, most);
            assert_in_range(most, 0, (DEPTH + RUN) * (GUESTS - 1));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_guest_starves),
    };

    return cmocka_run_group_tests_name("blkback_maptrack", tests, NULL, NULL);
}
