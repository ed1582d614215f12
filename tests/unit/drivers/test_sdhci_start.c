/* SPDX-License-Identifier: MIT */
/*
 * sdhci start: if these fail, a card is described wrongly, an unusable one delays the start, or a
 * slow one is not used.
 */
#include "sdhci_rig.h"

#include <dragoman/base/status.h>

/* Fails: a disk has the wrong size, or a card is not found by its serial number. */
static void card_is_described(void **state)
{
    sd_start_card(true, true);
    assert_int_equal(sd_disk.device.blocks, 8 * 1024);
    assert_int_equal(sd_disk.device.block_bytes, 512);
    assert_string_equal(sd_disk.device.serial, "00c0ffee");
    assert_string_equal(sd_disk.device.model, "CARD7 4.2");
    assert_false(sd_disk.device.read_only);
    assert_false(sd_disk.device.write_cache);
    assert_int_equal(sd_disk.device.tag.mask, UINT32_MAX);
    sd_stop();
    sd_start_card(false, true);
    assert_int_equal(sd_disk.device.blocks, 8 << 9);
    sd_stop();
}

/* Fails: a block is accessed at 512 times its address, or at a 512th. */
static void standard_cards_count_in_bytes(void **state)
{
    for (int in_blocks = 0; in_blocks < 2; in_blocks++) {
        sd_start_card(in_blocks, true);
        sd_block_works();
        assert_int_equal(sd.last_argument, in_blocks ? 5 : 5 * 512);
        sd_stop();
    }
}

/* Fails: a card from before version 2.00, or one that is slow, is not used. */
static void old_and_slow_cards(void **state)
{
    sd_start(0, 8);
    sd_make_card(false, 7);
    sd.old = true;
    sd.not_ready = 50;
    assert_int_equal(sd_attach(), DGM_OK);
    sd_block_works();
    sd_stop();
}

/* Fails: a standard card whose capacity is counted in blocks of 1024 or 2048 bytes (2 and 4 GB) is
 * not used, or has another size. */
static void larger_blocks_count_the_capacity(void **state)
{
    for (uint32_t shift = 9; shift <= 11; shift++) {
        sd_start(0, 8);
        sd_make_card(false, 7);
        sd_put(sd.csd, 80, 4, shift);
        assert_int_equal(sd_attach(), DGM_OK);
        assert_int_equal(sd_disk.device.blocks, (7 + 1) << (7 + 2 + shift - 9));
        assert_int_equal(sd_disk.device.block_bytes, 512);
        sd_stop();
    }
}

/* Fails: a guest writes to a write-protected card. */
static void protected_cards_are_read_only(void **state)
{
    for (unsigned how = 0; how < 3; how++) {
        sd_start(0, 8);
        sd_make_card(true, 7);
        if (how < 2)
            sd_put(sd.csd, 12 + how, 1, 1);
        sd.locked_switch = how == 2;
        assert_int_equal(sd_attach(), DGM_OK);
        assert_true(sd_disk.device.read_only);
        sd_stop();
    }
}

/* The divisor that was written, as a number to divide by (SDHC 2.2.12). */
static unsigned written_divisor(void)
{
    const unsigned n = sd.clock >> 8 | (sd.clock >> 6 & 3u) << 8;

    return n ? 2 * n : 1;
}

/* Fails: a card is driven faster than its controller or its board can, or slower than both can. */
static void clock_of_the_tree(void **state)
{
    static const struct {
        const char *compatible;
        uint32_t base_mhz, max_hz;
        unsigned divisor;
    } rows[] = {
        {NULL, 50, 0, 2},
        {NULL, 25, 0, 1},
        {"arasan,sdhci-8.9a", 50, 0, 2},
        {"arasan,sdhci-8.9a", 25, 0, 2}, /* the divisor is never 1 */
        {"xlnx,zynqmp-8.9a", 100, 0, 8}, /* 19 MHz at most */
        {"arasan,sdhci-8.9a", 100, 0, 4},
        {"arasan,sdhci-8.9a", 100, 10000000, 16},
        {"arasan,sdhci-8.9a", 100, 100000000, 4}, /* a limit above what the driver uses */
        {"arasan,sdhci-8.9a", 100, 1000, 4},      /* no limit that a card could keep */
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sd_start(0, 8);
        sd_make_card(true, 7);
        sd.version = 2;
        sd.capabilities = (sd.capabilities & ~0xff00u) | rows[i].base_mhz << 8;
        sd.compatible = rows[i].compatible;
        if (rows[i].max_hz) {
            sd.properties[0].name = "max-frequency";
            sd.properties[0].value = rows[i].max_hz;
        }
        assert_int_equal(sd_attach(), DGM_OK);
        if (written_divisor() != rows[i].divisor)
            fail_msg("row %zu: the clock is divided by %u", i, written_divisor());
        sd_block_works();
        sd_stop();
    }
}

/* Fails: a present card is not used, or one that is not protected is read-only. */
static void slot_of_the_tree(void **state)
{
    static const char *const names[] = {"broken-cd", "non-removable", "cd-gpios"};

    for (unsigned i = 0; i < 4; i++) {
        sd_start(0, 8);
        sd_make_card(true, 7);
        sd.compatible = "arasan,sdhci-8.9a";
        sd.blind = true;
        sd.locked_switch = true;
        sd.properties[0].name = i < 3 ? names[i] : "disable-wp";
        sd.properties[1].name = i < 3 ? NULL : "broken-cd";
        assert_int_equal(sd_attach(), DGM_OK);
        assert_int_equal(sd_disk.device.read_only, i < 3);
        sd_stop();
    }
}

/* Fails: data is sent on lines that the board does not connect. */
static void lines_of_the_tree(void **state)
{
    static const uint32_t widths[] = {1, 4, 8};

    for (unsigned i = 0; i < 3; i++) {
        sd_start(0, 8);
        sd_make_card(true, 7);
        sd.compatible = "arasan,sdhci-8.9a";
        sd.properties[0].name = "bus-width";
        sd.properties[0].value = widths[i];
        sd.one_line = widths[i] == 1;
        assert_int_equal(sd_attach(), DGM_OK);
        sd_block_works();
        sd_stop();
    }
}

/* Fails: the domain does not start, or hangs at its start, because of an unusable slot. */
static void an_unusable_device_is_refused(void **state)
{
    for (unsigned how = 0; how < 14; how++) {
        int expected = DGM_EIO;

        sd_start(how == 13 ? 1ull << 30 : 0, 8);
        sd.times.start_ns = 5 * SECOND;
        sd_make_card(true, 7);
        switch (how) {
        case 0:
            sd.inserted = false;
            break;
        case 1:
            sd.mmc = true;
            break;
        case 2:
            sd.gone = true;
            break;
        case 3:
            sd.capabilities &= ~(1u << 22 | 1u << 19);
            expected = DGM_EIO;
            break;
        case 4:
            sd.capabilities &= ~0xff00u;
            expected = DGM_EIO;
            break;
        case 5:
            sd.capabilities &= ~(1u << 24);
            expected = DGM_EIO;
            break;
        case 6:
            sd_put(sd.csd, 126, 2, 2);
            expected = DGM_EIO;
            break;
        case 7:
            sd_put(sd.csd, 126, 2, 0);
            sd_put(sd.csd, 80, 4, 12);
            expected = DGM_EIO;
            break;
        case 8:
            sd.all_sticks = true;
            expected = DGM_EIO;
            break;
        case 9:
            sd.clock_sticks = true;
            expected = DGM_EIO;
            break;
        case 10:
            sd.never_ready = true;
            expected = DGM_EIO;
            break;
        case 11:
            sd.irq_status = DGM_ENOSPC;
            expected = DGM_ENOSPC;
            break;
        case 12:
            while (dgm_frames_take_bytes(&dma_rig.frames, 4096))
                ;
            expected = DGM_ENOMEM;
            break;
        case 13:
            expected = DGM_ERANGE;
            break;
        }
        assert_int_equal(sd_attach(), expected);
        assert_true(sd_disk.device.failed);
        assert_true(sd.now_ns < 9 * SECOND);
        sd_stop();
    }
}

/* Fails: a card that is locked by a password is waited for as a late one, for minutes, and no line
 * says why. */
static void locked_cards_are_named(void **state)
{
    sd_start(0, 8);
    sd_make_card(true, 7);
    sd.locked = true;
    assert_int_equal(sd_attach(), DGM_EIO);
    assert_true(sd_disk.device.failed);
    assert_true(sd.now_ns < 30 * SECOND);
    assert_true(dgm_sim_logged("locked by a password") > 0);
    sd_stop();
}

/* Fails: one failed command hangs the start, or fails the disk. */
static void any_command_of_the_start_may_fail(void **state)
{
    static const enum sd_fault faults[] = {SD_SILENT, SD_CRC, SD_NOTHING};

    for (size_t f = 0; f < 3; f++) {
        unsigned nth = 1;
        bool struck;

        do {
            sd_start(0, 8);
            sd_make_card(true, 7);
            sd.fault = faults[f];
            sd.fault_at = nth;
            assert_int_equal(sd_attach(), DGM_OK);
            assert_true(sd.now_ns < 6 * SECOND);
            struck = sd.fault_at == 0;
            sd.fault = SD_NO_FAULT;
            sd_block_works();
            sd_stop();
        } while (struck && ++nth < 100);
        assert_int_equal(nth, 12); /* the commands of a start without errors, less one */
    }
}

/* Fails: a command that fails each time is retried without end, or an empty slot is polled without
 * end. */
static void the_start_has_an_end(void **state)
{
    static const unsigned indices[] = {0, 8, 55, 41, 2, 3, 9, 7, 6, 16};

    for (size_t i = 1; i < sizeof indices / sizeof indices[0]; i++) {
        sd_start(0, 8);
        sd_make_card(true, 7);
        sd.times.start_ns = 20 * SECOND;
        sd.fault = SD_CRC;
        sd.fault_index = indices[i];
        sd.fault_again = UINT32_MAX;
        assert_int_equal(sd_attach(), DGM_EIO);
        assert_in_range(sd.now_ns, 18 * SECOND, 28 * SECOND);
        sd_stop();
    }
    sd_start(0, 8);
    assert_int_equal(sd_attach(), DGM_EIO); /* no card: others may wait for this result */
    assert_true(sd.now_ns < 3 * SECOND);
    sd_stop();
}

/* Fails: the start waits for a controller that responds late, or gives it up. */
static void late_controllers_become_ready(void **state)
{
    sd_start(0, 8);
    sd_make_card(true, 7);
    sd_env = (struct dgm_device_env){0};
    sd.gone = sd.cleared = sd.absent = true;
    sd.times.start_ns = SECOND;
    assert_int_equal(sd_attach(), DGM_EIO);
    sd_stop();

    sd_start(0, 8);
    sd_make_card(true, 7);
    sd.not_ready = 300; /* ACMD41 repeats for longer than one attempt */
    assert_int_equal(sd_attach(), DGM_OK);
    sd_block_works();
    sd_stop();
}

/* Fails: a card that responds to nothing at first is given up before the time is over, or a slot
 * that is empty, or has a card of another kind, lets others wait for minutes. */
static void late_cards_become_ready(void **state)
{
    static const char *const names[] = {NULL, "non-removable", "broken-cd"};

    for (unsigned i = 0; i < 12; i++) {
        const bool late = i / 3 == 0, known = i % 3 < 2;

        sd_start(0, 8);
        sd_make_card(true, 7);
        sd.compatible = names[i % 3] ? "arasan,sdhci-8.9a" : NULL;
        sd.properties[0].name = names[i % 3];
        sd.times.start_ns = 120 * SECOND;
        sd.inserted = i / 3 != 1;
        sd.mmc = i / 3 == 2;
        sd.sdio = i / 3 == 3;
        sd.silent_ns = late ? 100 * SECOND : 0;
        if (late && known) {
            assert_int_equal(sd_attach(), DGM_OK);
            assert_in_range(sd.now_ns, 100 * SECOND, 110 * SECOND);
            sd_block_works();
        } else if (i / 3 == 1 && names[i % 3] && known) { /* empty, against the tree's word */
            assert_int_equal(sd_attach(), DGM_EIO);
            assert_in_range(sd.now_ns, 119 * SECOND, 130 * SECOND);
        } else {
            assert_int_equal(sd_attach(), DGM_EIO);
            assert_true(sd.now_ns < 3 * SECOND);
        }
        sd_stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(card_is_described),
        cmocka_unit_test(standard_cards_count_in_bytes),
        cmocka_unit_test(old_and_slow_cards),
        cmocka_unit_test(larger_blocks_count_the_capacity),
        cmocka_unit_test(protected_cards_are_read_only),
        cmocka_unit_test(clock_of_the_tree),
        cmocka_unit_test(slot_of_the_tree),
        cmocka_unit_test(lines_of_the_tree),
        cmocka_unit_test(an_unusable_device_is_refused),
        cmocka_unit_test(locked_cards_are_named),
        cmocka_unit_test(any_command_of_the_start_may_fail),
        cmocka_unit_test(the_start_has_an_end),
        cmocka_unit_test(late_controllers_become_ready),
        cmocka_unit_test(late_cards_become_ready),
    };

    return cmocka_run_group_tests_name("sdhci_start", tests, NULL, NULL);
}
