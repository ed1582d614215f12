/* SPDX-License-Identifier: MIT */
/*
 * nvme start: if these fail, an unusable controller is used or delays the start, a slow one is
 * lost, or the operator does not find the cause in the log.
 */
#include "nvme_rig.h"

struct refusal {
    struct dgm_simnvme_config config;
    bool gone, never_ready, never_stops;
    uint8_t admin_error, admin_silent;
    size_t mmio_bytes;
    uint64_t frames_left; /* 0: enough */
    uint64_t mask;
    int bind_status;
    int status;
    const char *log;
};

#define GOOD .blocks = 4096, .block_shift = 9, .nsid = 1

static const struct refusal refusals[] = {
    {.config = {GOOD}, .gone = true, .status = DGM_EIO, .log = "does not come back"},
    {.config = {GOOD, .cap = 63 | 1ull << 43}, .status = DGM_EIO, .log = "command set"},
    {.config = {GOOD, .cap = 63 | 1ull << 37 | 1ull << 48},
     .status = DGM_EIO,
     .log = "pages of 4 KiB"},
    {.config = {GOOD, .cap = 1ull << 37}, .status = DGM_EIO, .log = "MQES"},
    {.config = {GOOD, .cap = 63 | 1ull << 37 | 15ull << 32},
     .mmio_bytes = 0x4000,
     .status = DGM_EIO,
     .log = "doorbells"},
    {.config = {GOOD}, .mmio_bytes = 0x1000, .status = DGM_ENODEV, .log = "too few registers"},
    {.config = {GOOD}, .mmio_bytes = 0x100f, .status = DGM_ENODEV, .log = "too few registers"},
    {.config = {GOOD}, .frames_left = 1, .status = DGM_ENOMEM, .log = "frames"},
    {.config = {GOOD}, .frames_left = 4, .status = DGM_ENOMEM, .log = "frames"},
    {.config = {GOOD}, .mask = 0xffffffff, .status = DGM_ERANGE, .log = "reach"},
    {.config = {GOOD}, .bind_status = DGM_ENODEV, .status = DGM_ENODEV, .log = "interrupt"},
    {.config = {GOOD}, .never_ready = true, .status = DGM_EIO, .log = "does not start"},
    {.config = {GOOD}, .never_stops = true, .status = DGM_EIO, .log = "does not stop"},
    {.config = {GOOD, .metadata_bytes = 8}, .status = DGM_EIO, .log = "8 bytes of metadata"},
    {.config = {.blocks = 64, .block_shift = 13, .nsid = 1}, .status = DGM_EIO, .log = "2^13"},
    {.config = {.blocks = 64, .block_shift = 8, .nsid = 1}, .status = DGM_EIO},
    {.config = {.blocks = 64, .block_shift = 255, .nsid = 1}, .status = DGM_EIO},
    {.config = {.blocks = 64, .block_shift = 9, .nsid = 0},
     .status = DGM_EIO,
     .log = "no active namespace"},
    {.config = {.blocks = 0, .block_shift = 9, .nsid = 1}, .status = DGM_EIO},
    {.config = {.blocks = UINT64_MAX, .block_shift = 9, .nsid = 1}, .status = DGM_EIO},
    {.config = {GOOD}, .admin_error = 0x06, .status = DGM_EIO},
    {.config = {GOOD}, .admin_error = 0x09, .status = DGM_EIO},
    {.config = {GOOD}, .admin_error = 0x05, .status = DGM_EIO, .log = "create completion queue"},
    {.config = {GOOD}, .admin_error = 0x01, .status = DGM_EIO},
    {.config = {GOOD}, .admin_silent = 0x06, .status = DGM_EIO},
    {.config = {GOOD}, .admin_silent = 0x09, .status = DGM_EIO},
    {.config = {GOOD}, .admin_silent = 0x05, .status = DGM_EIO},
    {.config = {GOOD}, .admin_silent = 0x01, .status = DGM_EIO},
};

/* Fails: an unusable controller is used, delays the start, or is left running. */
static void refuses_what_it_cannot_use(void **state)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *refusal = &refusals[i];
        dgm_gfn_t taken;

        nvme_start(&refusal->config);
        nvme_rig.sim.gone = refusal->gone;
        nvme_rig.sim.never_ready = refusal->never_ready;
        if (refusal->never_stops)
            nvme_rig.sim.csts = nvme_rig.sim.cc = 1;
        nvme_rig.sim.never_stops = refusal->never_stops;
        nvme_rig.sim.admin_error = refusal->admin_error;
        nvme_rig.sim.admin_silent = refusal->admin_silent;
        if (refusal->mmio_bytes)
            nvme_rig.env.mmio_bytes = refusal->mmio_bytes;
        if (refusal->mask)
            nvme_rig.env.tag.mask = refusal->mask;
        if (refusal->frames_left)
            dgm_frames_take(&nvme_rig.frames, QUEUE_FRAMES - refusal->frames_left, &taken);
        nvme_rig.bind_status = refusal->bind_status;
        nvme_rig.env.times = (struct dgm_device_times){.start_ns = 5 * SECOND, .stall_ns = SECOND};

        const uint64_t start_ns = nvme_rig.now_ns;

        if (nvme_attach() != refusal->status)
            fail_msg("refusal %zu: not refused", i);
        if (refusal->log && !dgm_sim_logged(refusal->log))
            fail_msg("refusal %zu: \"%s\"", i, dgm_sim_last_log());
        assert_true(nvme_rig.now_ns - start_ns < 12 * SECOND);
        assert_true(nvme_device()->failed);
        assert_int_equal(nvme_rig.sim.cc & 1, 0);
        if (nvme_rig.irq) { /* an interrupt of another device on the line has no effect */
            nvme_rig.irq->handle(nvme_rig.irq);
            nvme_pass(20 * SECOND);
            nvme_turn();
        }
        nvme_end();
    }
}

/* Fails: a controller whose registers end with the doorbells of its two queue pairs is not used. */
static void registers_may_end_with_the_doorbells(void **state)
{
    nvme_start(&nvme_plain);
    nvme_rig.env.mmio_bytes = 0x1010;
    assert_int_equal(nvme_attach(), DGM_OK);
    nvme_works();
    nvme_end();
}

/* --- slow starts --- */

/* Fails: the start waits for the controller, or gives up one that needs a minute or more. */
static void late_controllers_become_ready(void **state)
{
    for (unsigned how = 0; how < 4; how++) {
        nvme_start(&nvme_plain);
        switch (how) {
        case 0: /* its registers read as ones for a time */
            nvme_rig.sim.gone = true;
            break;
        case 1: /* configuration space does not respond */
            nvme_rig.absent = true;
            break;
        case 2: /* it needs much longer than CAP.TO */
            nvme_rig.sim.never_ready = true;
            break;
        default: /* it does not respond to admin commands */
            nvme_rig.sim.admin_silent = 0x06;
            break;
        }

        const uint64_t start_ns = nvme_rig.now_ns;

        assert_int_equal(dgm_nvme_start(&nvme_rig.nvme, &nvme_rig.env), DGM_OK);
        assert_true(nvme_rig.now_ns - start_ns < MS); /* the others are not held up */
        assert_false(nvme_device()->ready || nvme_device()->failed);
        assert_int_equal(nvme_rig.changes, 0);
        assert_int_equal(nvme_submit(nvme_prepare(0, DGM_BLK_FLUSH, 0, 0, 0, 0)), DGM_EAGAIN);
        dgm_waiters_add(&nvme_device()->waiters, &nvme_rig.waiter);
        while (nvme_rig.now_ns < start_ns + 100 * SECOND) {
            nvme_turn();
            nvme_pass(10 * MS);
        }
        assert_false(nvme_device()->ready || nvme_device()->failed);
        nvme_rig.sim.gone = nvme_rig.absent = nvme_rig.sim.never_ready = false;
        nvme_rig.sim.admin_silent = 0;
        nvme_settle(100 * SECOND);
        assert_true(nvme_device()->ready);
        assert_int_equal(nvme_rig.changes, 1);
        assert_int_equal(nvme_rig.woken, 1);
        assert_true(dgm_sim_logged("NVMe") < 8); /* the console is not flooded */
        nvme_works();
        nvme_end();
    }
}

/* Fails: a slow controller is disabled repeatedly before it can become ready. */
static void attempts_grow_longer(void **state)
{
    nvme_start(&nvme_plain);
    nvme_rig.sim.ready_after = 700; /* 70 s and more, polled every 100 ms */
    assert_int_equal(nvme_attach(), DGM_OK);
    assert_true(nvme_rig.sim.resets <= 3);
    nvme_works();
    nvme_end();
}

/* Fails: a controller that never becomes ready is waited for without end, or given up too early. */
static void the_wait_ends(void **state)
{
    nvme_start(&nvme_plain);
    nvme_rig.sim.gone = true;
    nvme_rig.env.times.start_ns = 40 * SECOND;

    const uint64_t start_ns = nvme_rig.now_ns;

    assert_int_equal(nvme_attach(), DGM_EIO);
    assert_in_range(nvme_rig.now_ns - start_ns, 40 * SECOND, 42 * SECOND);
    assert_int_equal(nvme_rig.changes, 1);
    nvme_rig.sim.gone = false;
    nvme_stays_failed();
    nvme_end();
}

/* Fails: the serial number of an unusable disk is not recorded, and another disk gets its name. */
static void an_unusable_disk_has_a_name(void **state)
{
    struct dgm_simnvme_config config = nvme_plain;

    config.block_shift = 13;
    config.blocks = 64;
    nvme_start(&config);
    assert_int_equal(nvme_attach(), DGM_EIO);
    assert_string_equal(nvme_device()->serial, "X-17");
    nvme_end();
}

/* Fails: a second namespace is ignored silently, or one that does not exist is logged. */
static void a_second_namespace_is_named(void **state)
{
    struct dgm_simnvme_config config = nvme_plain;

    nvme_attach_plain();
    assert_int_equal(dgm_sim_logged("namespace"), 0);
    nvme_end();
    config.nsid = 3;
    config.second_nsid = 7;
    nvme_start(&config);
    assert_int_equal(nvme_attach(), DGM_OK);
    assert_int_equal(nvme_device()->nsid, 3);
    assert_int_equal(dgm_sim_logged("namespace 7"), 1);
    nvme_end();
}

/* Fails: a disk cannot be named by its best identifier. */
static void identifiers_are_reported(void **state)
{
    struct dgm_simnvme_config config = nvme_plain;

    nvme_attach_plain();
    assert_string_equal(nvme_device()->nguid, "");
    nvme_end();
    config.nguid[0] = 0x01;
    config.nguid[15] = 0xfe;
    nvme_start(&config);
    assert_int_equal(nvme_attach(), DGM_OK);
    assert_string_equal(nvme_device()->nguid, "010000000000000000000000000000fe");
    nvme_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_it_cannot_use),
        cmocka_unit_test(registers_may_end_with_the_doorbells),
        cmocka_unit_test(late_controllers_become_ready),
        cmocka_unit_test(attempts_grow_longer),
        cmocka_unit_test(the_wait_ends),
        cmocka_unit_test(a_second_namespace_is_named),
        cmocka_unit_test(identifiers_are_reported),
        cmocka_unit_test(an_unusable_disk_has_a_name),
    };

    return cmocka_run_group_tests_name("nvme_start", tests, NULL, NULL);
}
