/* SPDX-License-Identifier: MIT */
/*
 * netback when Xen does not do a copy, but may do it later: if these fail, a packet is lost or
 * delivered twice because a guest's page was not there at that moment; or other guests wait for it.
 */
#include "vif_rig.h"

#include <net/internal.h>
#include <net/packet.h>
#include <net/rate.h>

#define PACKETS 5u
#define SECOND  1000000000ull

/* The copies of one guest that Xen does not do. */
static struct {
    domid_t domid;
    unsigned times;   /* that each of its references is refused */
    unsigned allowed; /* the first copies are done */
    unsigned seen;
} plan;

static int16_t not_now(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    const struct gnttab_copy_ptr *guests = op->flags & GNTCOPY_dest_gref ? &op->dest : &op->source;

    (void)context;
    (void)nth;
    if (guests->domid != plan.domid || plan.times == 0)
        return 0;
    plan.seen++;
    if (plan.seen <= plan.allowed)
        return 0;
    plan.times--;
    return GNTST_eagain;
}

static void refuse_copies(domid_t domid, unsigned allowed, unsigned times)
{
    memset(&plan, 0, sizeof plan);
    plan.domid = domid;
    plan.allowed = allowed;
    plan.times = times;
    dgm_hv_set_faults(&(struct dgm_hv_faults){.copy = not_now});
}

static int start(void **state)
{
    unit_seed();
    vif_start();
    for (domid_t domid = 1; domid <= VIF_GUESTS; domid++)
        vif_connect(domid, 20);
    return 0;
}

/* --- packets with numbers --- */

static struct {
    unsigned count;
    uint8_t number[64];
} seen;

static void note_number(struct vif_front *front)
{
    assert_true(seen.count < 64);
    seen.number[seen.count++] = front->packet[20];
}

static void expect_numbers(unsigned count)
{
    assert_int_equal(seen.count, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(seen.number[i], i);
    seen.count = 0;
}

/* Sends `count` packets in two pieces each. */
static void send_numbers(domid_t from, domid_t to, unsigned count)
{
    uint8_t packet[600];

    seen.count = 0;
    vif.front[to].on_packet = note_number;
    vif_make(packet, sizeof packet, from, to);
    for (unsigned i = 0; i < count; i++) {
        packet[20] = (uint8_t)i;
        vif_send(from, packet, sizeof packet, 2, 0);
    }
    vif_push(from);
}

static void expect_others_served(domid_t from, domid_t to)
{
    uint8_t packet[100];
    const unsigned before = vif.front[to].packets;

    vif_make(packet, sizeof packet, from, to);
    vif_send(from, packet, sizeof packet, 1, 0);
    vif_push(from);
    assert_int_equal(vif.front[to].packets, before + 1);
}

static void pass(uint64_t ns)
{
    vbd_pass(ns);
    for (domid_t domid = 1; domid <= VIF_GUESTS; domid++)
        vif_push(domid);
}

/* --- the tests --- */

/* The first, a middle or the last copy of a drain fails several times, in either direction. */
static void packets_wait(void **state)
{
    for (domid_t slow = 1; slow <= 2; slow++) {
        const unsigned copies = slow == 1 ? 2 * PACKETS : PACKETS;

        for (unsigned allowed = 0; allowed < copies; allowed++) {
            refuse_copies(slow, allowed, 9);
            send_numbers(1, 2, PACKETS);
            assert_true(seen.count < PACKETS);
            expect_others_served(3, slow == 1 ? 2 : 1);
            if (slow == 1)
                seen.count--;
            pass(3 * SECOND);
            assert_int_equal(plan.times, 0);
            expect_numbers(PACKETS);
            assert_int_equal(vif.back[1].counters.refused[DGM_NETBACK_BAD_GRANT], 0);
            assert_int_equal(vif.back[2].counters.dropped_bad_grant, 0);
            assert_int_equal(vif.front[2].errors, 0);
            vif_post(2, slow == 1 ? PACKETS + 1 : PACKETS);
            if (slow == 2)
                vif_post(1, 1);
        }
    }
}

/* Fails: a packet is given up before Linux would do so, or never, or is tried without pauses; or
 * the guest's later packets are lost with it. */
static void packets_are_given_up(void **state)
{
    for (domid_t slow = 1; slow <= 2; slow++) {
        refuse_copies(slow, 0, UINT32_MAX);
        send_numbers(1, 2, PACKETS);
        pass(33 * SECOND);
        assert_int_equal(seen.count, 0);
        assert_int_equal(vif.back[1].counters.refused[DGM_NETBACK_BAD_GRANT], slow == 1 ? 0 : 1);
        assert_int_equal(vif.back[2].counters.dropped_bad_grant, 0);
        assert_true(plan.seen < 200 * 2 * PACKETS);
        pass(DGM_XEN_PATIENCE_MS * 1000000ull - 32 * SECOND);
        assert_int_equal(vif.back[1].counters.refused[DGM_NETBACK_BAD_GRANT], 1);
        assert_int_equal(vif.back[2].counters.dropped_bad_grant, slow == 1 ? 0 : 1);
        dgm_hv_set_faults(NULL);
        pass(SECOND);
        assert_int_equal(seen.count, PACKETS - 1);
        vif_post(2, PACKETS);
    }
}

/* Fails: packets that wait are charged to the guest's rate. */
static void waiting_costs_no_credit(void **state)
{
    struct dgm_rate *rate = &vif.back[1].rate;
    int64_t before;

    dgm_rate_init(rate, (struct dgm_rate){.amount = 100000, .period_ns = 3600 * SECOND});
    before = rate->credit;
    refuse_copies(1, 0, 5);
    send_numbers(1, 2, PACKETS);
    assert_int_equal(rate->credit, before);
    pass(SECOND);
    expect_numbers(PACKETS);
    assert_int_equal(rate->credit, before - (int64_t)(PACKETS * 600));
}

/* Fails: the end of a connection waits for Xen, or a new connection inherits the wait. */
static void leaving_while_packets_wait(void **state)
{
    for (domid_t slow = 1; slow <= 2; slow++) {
        refuse_copies(slow, 0, UINT32_MAX);
        send_numbers(1, 2, PACKETS);
        pass(SECOND);
        assert_int_equal(seen.count, 0);
        vif_close(slow);
        dgm_hv_set_faults(NULL);
        vif_write(slow, "state", XenbusStateInitialising);
        vbd_run();
        vif_connect(slow, 20);
        send_numbers(1, 2, PACKETS);
        expect_numbers(PACKETS);
        vif_post(2, slow == 1 ? PACKETS : 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, vif_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(packets_wait),
        TEST(packets_are_given_up),
        TEST(waiting_costs_no_credit),
        TEST(leaving_while_packets_wait),
    };

    return cmocka_run_group_tests_name("netback_wait", tests, NULL, NULL);
}
