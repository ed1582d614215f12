/* SPDX-License-Identifier: MIT */
/*
 * blkback when the disk or Xen fails. If these fail, a failed request gets the response OK, a
 * failed read shows data to the guest, or frames stay mapped (XSA-361, -365, -371).
 */
#include "one_disk_rig.h"

/* --- the disk --- */

/* Each command of one request fails in turn: one error response, never OK, nothing held. */
static void a_command_fails(void **state)
{
    struct part parts[64];
    uint64_t commands;

    for (unsigned i = 0; i < 64; i++) /* each with a gap: a command each */
        parts[i] = (struct part){FRONT_DATA_GFN + i * 2, 1, 5};
    commands = disk.number;
    unsigned index = front_rw_indirect(&front, true, 0, parts, 64, 8);
    front_exchange(&front);
    assert_int_equal(front_status(&front, index), BLKIF_RSP_OKAY);
    commands = disk.number - commands;
    assert_true(commands > 8);
    for (unsigned round = 0; round < 2 * commands; round++) {
        disk.backwards = round >= commands;
        disk.fail_from =
            (int64_t)(disk.number + 1 + round % commands); /* after the small request */
        disk.fail_count = 1;
        if (disk.backwards)
            disk.fail_from--;
        const uint64_t errors = back.counters.device_errors;
        const struct part one = {300, 0, 7};
        const unsigned before = front_rw(&front, false, 0, &one, 1);
        index = front_rw_indirect(&front, round % 2, 0, parts, 64, 8);
        front_exchange(&front);
        const bool whole_failed = front_status(&front, index) == BLKIF_RSP_ERROR;
        const bool other_failed = front_status(&front, before) == BLKIF_RSP_ERROR;
        assert_int_equal(whole_failed + other_failed, 1);
        assert_int_equal(back.counters.device_errors - errors, 1);
        assert_int_equal(vbd.core.grant->live, 1);
    }
}

static void a_disk_that_refuses_all(void **state)
{
    const struct part part = {30, 0, 7};
    unsigned index;

    disk.refuse = true;
    for (unsigned write = 0; write < 2; write++) {
        index = front_rw(&front, write, 0, &part, 1);
        front_exchange(&front);
        assert_int_equal(front_status(&front, index), BLKIF_RSP_ERROR);
    }
    disk.refuse = false;
    disk.fail_from = (int64_t)disk.number;
    disk.fail_count = 1;
    index = front_rw(&front, true, 0, &part, 1);
    front_exchange(&front);
    assert_int_equal(front_status(&front, index), BLKIF_RSP_ERROR);
    index = front_rw(&front, false, 0, &part, 1);
    front_exchange(&front);
    assert_int_equal(front_status(&front, index), BLKIF_RSP_OKAY);
    assert_int_equal(back.counters.device_errors, 3);
}

/* A failed read copies nothing out of its bounce buffer. */
static void a_failed_read_that_was_bounced(void **state)
{
    struct part parts[8];

    one_disk_connect((struct one_disk_options){.block_bytes = 4096});
    for (unsigned i = 0; i < 8; i++) {
        parts[i] = (struct part){FRONT_DATA_GFN + i * 2, 3, 3};
        memset(dgm_hv_page(1, parts[i].gfn), 0x77, DGM_FRAME_BYTES);
    }
    disk.fail_from = (int64_t)disk.number;
    disk.fail_count = 1;
    const unsigned index = front_rw(&front, false, 0, parts, 8);
    front_exchange(&front);
    assert_int_equal(front_status(&front, index), BLKIF_RSP_ERROR);
    for (unsigned i = 0; i < 8; i++) {
        const uint8_t *page = dgm_hv_page(1, parts[i].gfn);
        for (unsigned at = 0; at < DGM_FRAME_BYTES; at++)
            assert_int_equal(page[at], 0x77);
    }
    assert_int_equal(vbd.core.dma.bytes_bounced_gap, 4096);
    one_disk_teardown(state);
}

/* --- Xen --- */

/* Xen refuses cache maintenance after the disk has completed the command. */
static long refuse_flush_after(void *context, uint64_t number, unsigned op, unsigned command)
{
    const uint64_t *before = context;

    return op == __HYPERVISOR_grant_table_op && command == GNTTABOP_cache_flush &&
                   disk.number != *before
               ? DGM_EINVAL
               : 0;
}

/* Fails: a guest takes old contents of its cache for the disk's data. */
static void caches_are_not_maintained_after_a_read(void **state)
{
    static struct dgm_cacheflush flush;
    const struct part part = {30, 0, 7};
    uint64_t before;

    assert_int_equal(dgm_cacheflush_probe(&flush), DGM_OK);
    vbd.core.dma.flush = &flush;
    back.tag.coherent = false;
    for (unsigned refused = 0; refused < 2; refused++) {
        before = refused ? disk.number : UINT64_MAX;
        dgm_hv_set_faults(
            refused ? &(struct dgm_hv_faults){.call = refuse_flush_after, .context = &before}
                    : NULL);

        const uint64_t flushes = dgm_hv_stats()->flush_ops;
        const unsigned index = front_rw(&front, false, 8, &part, 1);

        front_exchange(&front);
        assert_int_equal(dgm_hv_stats()->flush_ops - flushes, refused ? 1 : 2);
        assert_int_equal(front_status(&front, index), refused ? BLKIF_RSP_ERROR : BLKIF_RSP_OKAY);
        assert_int_equal(vbd.core.grant->live, 1);
    }
    dgm_hv_set_faults(NULL);
    vbd.core.dma.flush = NULL;
}

#define RETRY_NS 300000000ull /* beyond the longest pause between retries */

/* The calls that fail: the `at`-th, or all from it on. */
struct nth {
    uint64_t at, seen;
    bool onwards;
};

static bool call_fails(struct nth *nth)
{
    const uint64_t now = nth->seen++;

    return nth->onwards ? now >= nth->at : now == nth->at;
}

static int16_t fail_map(void *context, uint64_t number, const struct gnttab_map_grant_ref *op)
{
    return call_fails(context) ? GNTST_no_space : 0;
}

static int16_t fail_unmap(void *context, uint64_t number, const struct gnttab_unmap_grant_ref *op)
{
    return call_fails(context) ? GNTST_general_error : 0;
}

/* Unmask is left out: it fails only for a port that is not ours. */
static long fail_call(void *context, uint64_t number, unsigned op, unsigned command)
{
    if (op == __HYPERVISOR_event_channel_op && command == EVTCHNOP_unmask)
        return 0;
    return call_fails(context) ? DGM_EFAULT : 0;
}

static bool fail_cut(void *context, uint64_t number)
{
    return call_fails(context);
}

#define BINDS_MAX 300u

/* Runs until no operation waits for a retry; the binding of a channel may wait without end. */
static void run_retries(void)
{
    vbd_run();
    for (unsigned i = 0; vbd.core.grant->map_parked || vbd.core.reach.parked_copies ||
                         (back.binder.timer.armed && i < BINDS_MAX);
         i++) {
        assert_true(i < 1000);
        vbd_pass(RETRY_NS);
    }
}

/* Connects, does some I/O, closes, with faults. Each response is OK and the data right, or an
 * error; with `passing` faults, which a retry overcomes, each is OK. */
static void run_scenario(struct dgm_hv_faults faults, bool passing)
{
    const struct part parts[] = {{30, 0, 7}, {32, 2, 7}, {34, 0, 4}};
    struct part many[40];

    for (unsigned i = 0; i < 40; i++)
        many[i] = (struct part){60 + i, 0, 7};
    vbd_start((struct vbd_options){0});
    model_start(&disk, 8192, 512);
    front_guest_start(1);
    front_init(&front, 1, "xvda");
    assert_int_equal(vbd_share_plain(&back, 1, "xvda", &disk.dev, true), DGM_OK);
    vbd_run();
    front_share(&front);
    dgm_hv_set_faults(&faults);
    front_write_number(&front, "state", XenbusStateInitialised);
    run_retries();
    if (back_state(&front) == XenbusStateConnected) {
        unsigned index[4];

        for (unsigned round = 0; round < 2; round++) {
            index[0] = front_rw(&front, false, 8, parts, 1);
            index[1] = front_rw(&front, true, 64, parts + 1, 2);
            index[2] = front_rw_indirect(&front, false, 0, many, 40, 8);
            index[3] = front_flush(&front);
            front_push(&front);
            run_retries();
            /* an unmap that Xen refused leaves its grant in use: the frontend cannot end it */
            if (vbd.core.grant->unmap_refused)
                break;
            front_collect(&front);
            for (unsigned i = 0; i < 4; i++) {
                const int16_t status = front_status(&front, index[i]);
                assert_true(status == BLKIF_RSP_OKAY || (!passing && status == BLKIF_RSP_ERROR));
                if (i == 0 && status == BLKIF_RSP_OKAY)
                    assert_memory_equal(dgm_hv_page(1, 30), disk.bytes + 4096, 4096);
                if (i == 2 && status == BLKIF_RSP_OKAY)
                    assert_memory_equal(dgm_hv_page(1, 60 + 39), disk.bytes + 39 * 4096, 4096);
            }
        }
    } else {
        assert_false(passing);
        assert_int_equal(back_state(&front),
                         back.binder.timer.armed ? XenbusStateInitWait : XenbusStateClosing);
    }
    front_write_number(&front, "state", XenbusStateClosed);
    run_retries();
    assert_int_equal(back_state(&front), XenbusStateClosed);
    vbd_end(&back);
    model_stop(&disk);
    vbd.unmaps_refused = vbd.core.grant->unmap_refused;
    vbd_stop();
}

/* The n-th call fails, once or with all later ones; n = 0, 1, ... until there is no n-th call.
 * `passes`: failing once is a passing fault. */
static void fail_each(struct dgm_hv_faults faults, bool passes)
{
    for (unsigned onwards = 0; onwards < 2; onwards++) {
        struct nth nth = {.onwards = onwards};

        faults.context = &nth;
        for (uint64_t n = 0; nth.seen >= n; n++) {
            nth.at = n;
            nth.seen = 0;
            run_scenario(faults, passes && !onwards);
            assert_true(n < 1000);
        }
        assert_true(nth.at > 4);
    }
}

static void every_map_fails(void **state)
{
    fail_each((struct dgm_hv_faults){.map = fail_map}, true);
}

static void every_unmap_fails(void **state)
{
    fail_each((struct dgm_hv_faults){.unmap = fail_unmap}, false);
}

static void every_hypercall_fails(void **state)
{
    fail_each((struct dgm_hv_faults){.call = fail_call}, true);
}

/* --- event channels --- */

static struct {
    long result;
    unsigned times, seen;
} binds;

static long fail_bind(void *context, uint64_t number, unsigned op, unsigned command)
{
    if (op != __HYPERVISOR_event_channel_op || command != EVTCHNOP_bind_interdomain)
        return 0;
    return binds.seen++ < binds.times ? binds.result : 0;
}

static void restart_frontend(void)
{
    front_write_number(&front, "state", XenbusStateInitialising);
    vbd_run();
}

/* Connects while Xen fails the first `times` bindings. */
static void connect_without_channel(long result, unsigned times)
{
    binds.result = result;
    binds.times = times;
    binds.seen = 0;
    front_share(&front);
    dgm_hv_set_faults(&(struct dgm_hv_faults){.call = fail_bind});
    front_write_number(&front, "state", XenbusStateInitialised);
    run_retries();
    dgm_hv_set_faults(NULL);
}

/* Fails: a guest's disk is closed because Xen was short of channels, or failed for a cause that is
 * not the guest's; or a guest's wrong port is retried without end. */
static void channels_are_retried(void **state)
{
    static const struct {
        long result;
        unsigned times, connects, seen;
    } cases[] = {
        {DGM_ENOSPC, 40, 1, 41}, /* other connections end at some time */
        {DGM_ENOMEM, 40, 1, 41}, {DGM_EAGAIN, 3, 1, 4},   {DGM_EPERM, 3, 1, 4},
        {DGM_EFAULT, 40, 1, 41}, {DGM_EAGAIN, 40, 1, 41}, {DGM_EINVAL, 1, 0, 1},
        {DGM_ESRCH, 1, 0, 1},
    };

    front_close(&front);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        restart_frontend();
        connect_without_channel(cases[i].result, cases[i].times);
        assert_int_equal(binds.seen, cases[i].seen);
        assert_int_equal(back_state(&front),
                         cases[i].connects ? XenbusStateConnected : XenbusStateClosing);
        if (!cases[i].connects)
            assert_int_equal(back.pages[0].held, DGM_REACH_NOT_HELD);
        front_close(&front);
    }
    restart_frontend();
    front_connect(&front);
}

/* Fails: a frontend that leaves while its channel is awaited leaves its ring's page mapped. */
static void leaves_before_its_channel(void **state)
{
    front_close(&front);
    restart_frontend();
    binds.times = UINT32_MAX;
    binds.result = DGM_ENOSPC;
    front_share(&front);
    dgm_hv_set_faults(&(struct dgm_hv_faults){.call = fail_bind});
    front_write_number(&front, "state", XenbusStateInitialised);
    vbd_run();
    assert_true(back.binder.timer.armed);
    front_write_number(&front, "state", XenbusStateClosed);
    run_retries();
    assert_int_equal(back.pages[0].held, DGM_REACH_NOT_HELD);
    dgm_hv_set_faults(NULL);
    front_unshare(&front);
    restart_frontend();
    front_connect(&front);
}

/* Fails: a disk whose size finds no room in xenstore leaves its channel bound, or its ring's page
 * mapped. */
static void no_room_for_the_size(void **state)
{
    char path[96];

    front_close(&front);
    restart_frontend();
    front_share(&front);
    snprintf(path, sizeof path, "%s/sectors", back.xenbus.backend);
    dgm_xs_rm(vbd.xs, path);
    for (unsigned i = 0;; i++) {
        char filler[32];

        snprintf(filler, sizeof filler, "/filler/%u", i);
        if (dgm_xs_write(vbd.xs, (struct dgm_xs_entry){.path = filler, .value = "x"}) < 0)
            break;
    }
    front_write_number(&front, "state", XenbusStateInitialised);
    vbd_run();
    assert_int_equal(back_state(&front), XenbusStateClosing);
    assert_int_equal(back.pages[0].held, DGM_REACH_NOT_HELD);
    assert_false(dgm_hv_guest_send(1, front.port));
    dgm_xs_rm(vbd.xs, "/filler");
    front_close(&front);
    restart_frontend();
    front_connect(&front);
}

static void every_batch_is_cut(void **state)
{
    fail_each((struct dgm_hv_faults){.cut = fail_cut}, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE_DISK_TEST(a_command_fails),
        ONE_DISK_TEST(a_disk_that_refuses_all),
        cmocka_unit_test(a_failed_read_that_was_bounced),
        ONE_DISK_TEST(caches_are_not_maintained_after_a_read),
        cmocka_unit_test(every_map_fails),
        cmocka_unit_test(every_unmap_fails),
        cmocka_unit_test(every_hypercall_fails),
        cmocka_unit_test(every_batch_is_cut),
        ONE_DISK_TEST(channels_are_retried),
        ONE_DISK_TEST(leaves_before_its_channel),
        ONE_DISK_TEST(no_room_for_the_size),
    };

    return cmocka_run_group_tests_name("blkback_faults", tests, NULL, NULL);
}
