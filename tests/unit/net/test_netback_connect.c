/* SPDX-License-Identifier: MIT */
/* connect: if these fail, a vif stays closed for a reason that is not its guest's, or holds pages
 * of a guest that has left. */
#include "vif_rig.h"

#include <dragoman/base/status.h>
#include <net/internal.h>

#define PAUSE_NS 2000000000ull /* longer than each pause between two attempts */

static struct {
    long result;
    unsigned from, times, seen; /* the bindings from .. from + times - 1 get it */
} binds;

static long fail_bind(void *context, uint64_t number, unsigned op, unsigned command)
{
    if (op != __HYPERVISOR_event_channel_op || command != EVTCHNOP_bind_interdomain)
        return 0;
    const unsigned n = binds.seen++;

    return n >= binds.from && n - binds.from < binds.times ? binds.result : 0;
}

static void fail_binds(long result, unsigned from, unsigned times)
{
    binds.result = result;
    binds.from = from;
    binds.times = times;
    binds.seen = 0;
    dgm_hv_set_faults(&(struct dgm_hv_faults){.call = fail_bind});
}

static void restart_frontend(void)
{
    vif_close(1);
    vif_write(1, "state", XenbusStateInitialising);
    vbd_run();
}

static void run_retries(void)
{
    vbd_run();
    for (unsigned i = 0; vif.back[1].connect_pending; i++) {
        assert_true(i < 1000);
        vbd_pass(PAUSE_NS);
    }
}

/* Fails: a guest's network card is closed because Xen was short of channels, or failed for a cause
 * that is not the guest's; a guest's wrong port is retried without end; or one of two channels
 * stays bound. */
static void channels_are_retried(void **state)
{
    static const struct {
        long result;
        unsigned from, times; /* the first binding of an attempt is even, the second odd */
        bool connects;
    } cases[] = {
        {DGM_ENOSPC, 0, 40, true}, {DGM_ENOSPC, 1, 40, true}, {DGM_ENOMEM, 1, 1, true},
        {DGM_EAGAIN, 0, 3, true},  {DGM_EPERM, 1, 3, true},   {DGM_EFAULT, 0, 40, true},
        {DGM_EFAULT, 1, 40, true}, {DGM_EAGAIN, 1, 40, true}, {DGM_EINVAL, 0, 1, false},
        {DGM_EINVAL, 1, 1, false}, {DGM_ESRCH, 0, 1, false},
    };

    vif_connect(2, 100);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fail_binds(cases[i].result, cases[i].from, cases[i].times);
        vif_connect(1, 10);
        run_retries();
        dgm_hv_set_faults(NULL);
        assert_int_equal(vif_back_key(1, "state"),
                         cases[i].connects ? XenbusStateConnected : XenbusStateClosing);
        assert_int_equal(vif.back[1].connected, cases[i].connects);
        if (!cases[i].connects) {
            assert_int_equal(vif.queues[1][0].pages[0].held, DGM_REACH_NOT_HELD);
            assert_int_equal(vif.queues[1][0].pages[1].held, DGM_REACH_NOT_HELD);
        }
        restart_frontend();
    }
    vif_connect(1, 10);
    assert_int_equal(vif_back_key(1, "state"), XenbusStateConnected);
}

/* Fails: a frontend that leaves while its channel is awaited leaves its rings' pages mapped: its
 * grants stay in use until the guest ends. vif_close() sees it. */
static void leaves_before_its_channel(void **state)
{
    fail_binds(DGM_ENOSPC, 0, UINT32_MAX);
    vif_connect(1, 10);
    assert_true(vif.back[1].connect_pending);
    assert_int_equal(vif_back_key(1, "state"), XenbusStateInitWait);
    vif_write(1, "state", XenbusStateClosed);
    run_retries();
    restart_frontend();
    dgm_hv_set_faults(NULL);
    vif_connect(1, 10);
    assert_int_equal(vif_back_key(1, "state"), XenbusStateConnected);
}

/* Fails: resources are held after a connection, or the next one does not work. */
static void a_vif_reconnects(void **state)
{
    uint8_t packet[300];

    vif_connect(1, 100);
    vif_connect(2, 100);
    for (unsigned i = 0; i < 5; i++) {
        restart_frontend();
        vif_connect(1, 10);
        vif_make(packet, sizeof packet, 1, 2);
        vif_send(1, packet, sizeof packet, 2, 0);
        vif_push(1);
        assert_int_equal(vif.front[2].packets, i + 1);
    }
    assert_int_equal(vif.back[1].xenbus.connects, 6);
}

/* Fails: invalid keys of the frontend are used, or cannot be corrected. */
static void refuses_keys(void **state)
{
    vif_write(1, "multi-queue-num-queues", VIF_QUEUES + 1);
    vif_connect(1, 0);
    assert_int_equal(vif_back_key(1, "state"), XenbusStateClosing);
    assert_int_equal(vbd.core.grant->live, 0);
    vif_write(1, "multi-queue-num-queues", 1);
    restart_frontend();
    vif_connect(1, 0);
    vif_write(1, "rx-ring-ref", 8000);
    restart_frontend();
    vif_write(1, "tx-ring-ref", 8000);
    vif_write(1, "state", XenbusStateConnected);
    vbd_run();
    assert_int_equal(vif_back_key(1, "state"), XenbusStateClosing);
    assert_int_equal(vbd.core.grant->live, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, vif_setup, vif_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_vif_reconnects),
        TEST(refuses_keys),
        TEST(channels_are_retried),
        TEST(leaves_before_its_channel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
