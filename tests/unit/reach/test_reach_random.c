/* SPDX-License-Identifier: MIT */
/*
 * reach: random requests of three guests in all modes, with faults. If this fails, some order of
 * events leaks a frame, or shows a device the wrong bytes.
 */
#include "reach_rig.h"

#include <dragoman/base/status.h>

static struct dgm_reach *const reach = &reach_rig.core.reach;

/* --- any history --- */

#define CONNECTIONS 8
#define REQUESTS    24

struct request {
    struct dgm_reach_connection *connection;
    unsigned count;
    enum dgm_reach_direction direction;
    bool releasing;
    struct dgm_reach_frame many[REACH_MANY];
};

static struct dgm_reach_connection connections[CONNECTIONS];
static struct request requests[REQUESTS];

static void begin_any(struct request *request)
{
    request->connection = &connections[unit_below(CONNECTIONS)];
    request->count = 1 + (unsigned)unit_below(REACH_MANY);
    request->direction = unit_chance(50) ? DGM_REACH_FROM_GUEST : DGM_REACH_TO_GUEST;
    if (dgm_reach_reserve(request->connection, request->count) != DGM_OK) {
        request->count = 0;
        return;
    }
    for (unsigned i = 0; i < request->count; i++) { /* one half is read, the other written */
        const unsigned gfn =
            (unsigned)unit_below(8) + (request->direction == DGM_REACH_FROM_GUEST ? 0 : 8);

        reach_add_frame(request->connection, &request->many[i], unit_chance(95) ? 8 + gfn : 4000,
                        request->direction);
    }
}

static bool is_parked(const struct request *request)
{
    for (unsigned i = 0; i < request->count; i++)
        if (request->many[i].held != DGM_REACH_NOT_HELD &&
            request->many[i].foreign.status == DGM_EAGAIN)
            return true;
    return false;
}

/* Every frame that was reached shows the guest's bytes, or can take them. */
static void check_frames(struct request *request)
{
    for (unsigned i = 0; i < request->count; i++) {
        struct dgm_reach_frame *frame = &request->many[i];
        const uint64_t gfn = frame->piece.ref - 8;

        if (frame->foreign.status != DGM_OK)
            continue;
        if (frame->held == DGM_REACH_HELD_COPIED && request->direction == DGM_REACH_TO_GUEST)
            continue; /* Xen has not seen that reference yet */
        assert_true(gfn < 16);
        if (request->direction == DGM_REACH_FROM_GUEST)
            assert_memory_equal(reach_device_at(frame, false),
                                reach_guest_page(frame->connection->guest->domid, gfn), 64);
        else
            reach_device_at(frame, true)[100 + i] = 1;
    }
}

static void advance_request(struct request *request)
{
    if (request->count == 0) {
        begin_any(request);
    } else if (request->releasing) {
        for (unsigned i = 0; i < request->count; i++)
            if (request->many[i].held != DGM_REACH_NOT_HELD)
                return;
        request->releasing = false;
        request->count = 0;
    } else if (!is_parked(request)) {
        check_frames(request);
        for (unsigned i = 0; i < request->count; i++)
            dgm_reach_release_add(&request->many[i], 1,
                                  unit_chance(80) ? DGM_REACH_DELIVER : DGM_REACH_DISCARD);
        request->releasing = true;
    }
}

static void random_requests(void **state)
{
    uint64_t seed = unit_seed();

    print_message("# seed %llu\n", (unsigned long long)seed);
    for (unsigned round = 0; round < 30; round++) {
        reach_start((struct reach_options){.slots = 64,
                                           .copies = 20,
                                           .persistent_frames = 12,
                                           .identities = 8,
                                           .quota = round % 3 ? 64 : 24,
                                           .copies_quota = 12});
        memset(requests, 0, sizeof requests);
        for (domid_t domid = 1; domid < REACH_GUESTS; domid++) {
            for (unsigned i = 0; i < 16; i++) {
                dgm_hv_grant(domid, 8 + i, i, i % 5 == 4);
                reach_fill(domid, i, 0);
            }
        }
        for (unsigned i = 0; i < CONNECTIONS; i++)
            dgm_reach_connection_init(&connections[i], reach, &reach_rig.guests[1 + i % 3],
                                      i < 4 ? i % 4 % 3 : DGM_REACH_MODE_MAP, i < 4 ? 0 : 5);
        reach_rig.plan.bad_percent = round % 4 == 1 ? 15 : 0;
        reach_rig.plan.again_percent = round % 4 >= 2 ? 30 : 0;
        reach_rig.plan.unmap_percent = round % 5 == 4 ? 1 : 0;
        for (unsigned step = 0; step < 300; step++) {
            for (unsigned n = 0; n < 4; n++)
                advance_request(&requests[unit_below(REQUESTS)]);
            dgm_reach_commit(reach);
            dgm_reach_release_commit(reach);
            if (unit_chance(60))
                reach_run_to(reach_rig.now_ns + unit_below(40000000));
        }
        reach_rig.plan.again_percent = 0;
        reach_settle();
        for (unsigned n = 0; n < REQUESTS; n++) {
            while (requests[n].count) {
                advance_request(&requests[n]);
                dgm_reach_release_commit(reach);
            }
        }
        for (unsigned i = 0; i < CONNECTIONS; i++)
            reach_end_connection(&connections[i]);
        reach_stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
