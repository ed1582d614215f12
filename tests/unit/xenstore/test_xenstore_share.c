/* SPDX-License-Identifier: MIT */
/*
 * How the server's work is shared between guests: whatever the others request, the work of a turn
 * stays within its budget, each guest gets its part, and a request waits for one request of each
 * other guest at most. If these fail, one guest's xenstore traffic takes xenstore, or the time of
 * the disks, from all others.
 */
#include "xenstore_rig.h"

#define OTHERS (DGM_XS_DOMAINS_MAX - 1)
#define PATH   "/local/domain/1/s"

static struct xs_guest *attacker, *others[OTHERS];

static int start(void **state)
{
    xs_rig_start_with(2 << 20, NULL);
    attacker = xs_guest_start(1);
    for (domid_t i = 0; i < OTHERS; i++)
        others[i] = xs_guest_start((domid_t)(2 + i));
    assert_string_equal(xs_quick(attacker, XS_WRITE, 0, "s\0x", 3), "");
    assert_string_equal(xs_quick(attacker, XS_SET_PERMS, 0, "s\0b1", 5), "");
    assert_string_equal(xs_quick(attacker, XS_WRITE, 0, "s/e\0x", 5), "");
    return 0;
}

/* Every guest has all its watches on one path. A write there visits all of them. */
static void all_watch(void)
{
    char payload[96];

    for (unsigned g = 0; g < OTHERS; g++)
        for (unsigned i = 0; i < dgm_xs_limits_default.watches; i++) {
            const int path = sprintf(payload, PATH) + 1;
            const int token = sprintf(payload + path, "%u", i) + 1;

            assert_string_equal(xs_quick(others[g], XS_WATCH, 0, payload, (size_t)(path + token)),
                                "");
        }
    while (dgm_reactor_turn(&xs_rig.reactor))
        ;
}

static struct xs_message flood[2]; /* of a dear request and of a cheap one */

/* Fills the guest's ring with whole messages. The guest reads no reply, but moves its index as if
 * it had. */
static void flood_ring(struct xs_guest *guest, const struct xs_message *message)
{
    struct xenstore_domain_interface *const page = guest->page;
    const size_t bytes = sizeof message->header + message->header.len;

    page->rsp_cons = page->rsp_prod;
    while (XENSTORE_RING_SIZE - (page->req_prod - page->req_cons) >= bytes) {
        for (size_t i = 0; i < bytes; i++)
            page->req[MASK_XENSTORE_IDX(page->req_prod + i)] = ((const char *)message)[i];
        page->req_prod += (uint32_t)bytes;
    }
    xs_guest_kick(guest);
}

/*
 * Every guest but one floods the server with requests that fire all watches. The work of all turns
 * stays within their budgets and one request, and the last guest's request waits for one request of
 * each other guest at most.
 */
static void a_flood_of_expensive_requests(void **state)
{
    struct xs_guest *const victim = others[OTHERS - 1];
    struct dgm_xs_counters before, after;
    struct xs_message message;
    uint64_t waited = 0;
    const unsigned turns = 20000;

    all_watch();
    dgm_xs_release(xs_rig.xs, victim->domid);
    memset(victim->page, 0, 4096);
    victim->in_bytes = 0;
    victim->lazy = false;
    assert_int_equal(dgm_xs_introduce(xs_rig.xs, victim->domid, victim->page, 7), DGM_OK);
    dgm_xs_counters(xs_rig.xs, &before);
    xs_guest_make(attacker, &flood[0], XS_WRITE, 0, PATH "/e\0x", sizeof PATH "/e\0x" - 1);
    xs_guest_make(attacker, &flood[1], XS_READ, 0, PATH "/e", sizeof PATH "/e");
    victim->replied = true;
    for (unsigned turn = 0, began = 0; turn < turns; turn++) {
        for (unsigned g = 0; g + 1 < OTHERS; g++)
            flood_ring(others[g], &flood[g % 2]);
        if (victim->replied) {
            xs_guest_make(victim, &message, XS_READ, 0, "x", 2);
            victim->replied = false;
            xs_guest_put(victim, (const char *)&message, sizeof message.header + 2);
            began = turn;
        }
        dgm_reactor_turn(&xs_rig.reactor);
        xs_guest_listen(victim);
        if (victim->replied && turn - began > waited)
            waited = turn - began;
    }
    dgm_xs_counters(xs_rig.xs, &after);
    print_message("# %lu requests, %lu units in %u turns; the victim waited %lu turns\n",
                  after.requests - before.requests, after.work - before.work, turns, waited);
    assert_true(after.work - before.work <=
                (uint64_t)turns * DGM_XS_WORK_PER_TURN + after.work_request_max);
    assert_true(after.work - before.work >= (uint64_t)turns * DGM_XS_WORK_PER_TURN * 9 / 10);
    assert_true(waited > 0);
    assert_true(waited <= OTHERS * (1 + after.work_request_max / DGM_XS_WORK_PER_TURN));
}

/* A guest that floods alone gets its own part of a turn, not all of it. */
static void one_guest_gets_its_part(void **state)
{
    xs_guest_make(attacker, &flood[1], XS_READ, 0, PATH "/e", sizeof PATH "/e");
    for (unsigned turn = 0; turn < 1000; turn++) {
        const uint64_t work = xs_rig.xs->heap.work;

        flood_ring(attacker, &flood[1]);
        dgm_reactor_turn(&xs_rig.reactor);
        assert_true(xs_rig.xs->heap.work - work <= DGM_XS_WORK_PER_GUEST + 100);
    }
}

/* Two guests, one with requests a hundred times as dear: both get the same work, not the same
 * number of requests. */
static void expensive_and_cheap(void **state)
{
    const uint64_t bytes = sizeof(struct xsd_sockmsg) + sizeof PATH "/e";
    const unsigned turns = 20000;
    uint64_t cheap = 0, units;

    all_watch();
    xs_guest_make(attacker, &flood[0], XS_WRITE, 0, PATH "/e\0x", sizeof PATH "/e\0x" - 1);
    xs_guest_make(attacker, &flood[1], XS_READ, 0, PATH "/e", sizeof PATH "/e");
    units = xs_rig.xs->heap.work; /* of one cheap request */
    assert_string_equal(xs_quick(attacker, XS_READ, 0, PATH "/e", sizeof PATH "/e"), "");
    units = xs_rig.xs->heap.work - units;
    for (unsigned turn = 0; turn < turns; turn++) {
        const uint32_t taken = others[1]->page->req_cons;

        flood_ring(others[0], &flood[0]);
        flood_ring(others[1], &flood[1]);
        dgm_reactor_turn(&xs_rig.reactor);
        cheap += others[1]->page->req_cons - taken;
    }
    print_message("# %lu cheap requests of %lu units\n", cheap / bytes, units);
    assert_true(cheap / bytes * units >= (uint64_t)turns * DGM_XS_WORK_PER_TURN / 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, xs_rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_flood_of_expensive_requests),
        TEST(one_guest_gets_its_part),
        TEST(expensive_and_cheap),
    };

    return cmocka_run_group_tests_name("xenstore share", tests, NULL, NULL);
}
