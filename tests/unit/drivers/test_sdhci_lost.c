/* SPDX-License-Identifier: MIT */
/*
 * sdhci lost: if these fail, a controller or card that left and came back fails a guest's request,
 * or another one is taken for it.
 */
#include "sdhci_rig.h"

#include <dragoman/base/status.h>

/* Fails: a link that dropped for some seconds ends the disk, or loses a command. */
static void dropped_links_are_restored(void **state)
{
    static struct sd_job jobs[3];
    static const unsigned seconds[] = {0, 3, 20, 50};

    for (size_t s = 0; s < sizeof seconds / sizeof seconds[0]; s++) {
        sd_start_card(true, true);
        for (unsigned i = 0; i < 3; i++)
            sd_submit_block(&jobs[i], i == 2 ? DGM_BLK_FLUSH : DGM_BLK_WRITE, i);
        sd_run(0);
        sd_drop_link();
        sd.absent = true;
        for (unsigned i = 0; i < seconds[s]; i++)
            sd_run(SECOND);
        sd.absent = false;
        sd_run_card(20);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(jobs[i].status, DGM_OK);
        assert_int_equal(sd_disk.device.errors, 0);
        assert_false(sd.cut_off);
        sd_block_works();
        sd_stop();
    }
}

/* What is in the slot is not the card as it was, or it is again. */
static void exchange_card(unsigned what, bool other)
{
    switch (what) {
    case 0:
        sd_put(sd.cid, 24, 32, other ? 1 : 0x00c0ffee);
        break;
    case 1: /* the same CID, but another size */
        sd_put(sd.csd, 48, 22, other ? 6 : 7);
        break;
    case 2: /* write-protected, for a while */
        sd_put(sd.csd, 12, 1, other);
        break;
    default:
        sd.locked_switch = other;
        break;
    }
}

/* Fails: a card that was removed for a moment is not recognised, or another is taken for it. */
static void a_card_that_returns(void **state)
{
    static struct sd_job jobs[3];

    for (unsigned what = 0; what < 4; what++) {
        sd_start_card(true, true);
        for (unsigned i = 0; i < 3; i++)
            sd_submit_block(&jobs[i], DGM_BLK_WRITE, i);
        sd_run(0);
        sd.inserted = false;
        sd_raise(1u << 7);
        sd_run(SECOND);
        exchange_card(what, true); /* for ten seconds */
        sd.inserted = true;
        sd.card_state = 0;
        sd_run_card(10);
        assert_int_equal(jobs[0].status, 1);
        exchange_card(what, false);
        sd_run_card(20);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(jobs[i].status, DGM_OK);
        assert_int_equal(sd_disk.device.errors, 0);
        sd_stop();
    }
}

/* Fails: a controller that left its slot, and in whose place another one has come, is not looked
 * for elsewhere; or the right one is cut off because of its card. */
static void a_controller_that_moves(void **state)
{
    static struct sd_job jobs[3];

    for (unsigned what = 0; what < 2; what++) {
        sd_start_card(true, true);
        sd_env.reject = sd_reject;
        for (unsigned i = 0; i < 3; i++)
            sd_submit_block(&jobs[i], DGM_BLK_WRITE, i);
        sd_run(0);
        sd_drop_link();
        sd.absent = true;
        sd_run(3 * SECOND);
        exchange_card(what, true);
        sd.card_state = 0;
        sd.absent = false;
        sd_run_card(6);
        assert_int_equal(sd.rejects, 1);
        assert_int_equal(jobs[0].status, 1);
        exchange_card(what, false);
        sd.card_state = 0;
        sd.absent = false;
        sd_run_card(20);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(jobs[i].status, DGM_OK);
        sd_block_works();

        sd.inserted = false; /* the card alone */
        sd_raise(1u << 7);
        sd_run(SECOND);
        exchange_card(what, true);
        sd.inserted = true;
        sd.card_state = 0;
        sd_run_card(6);
        exchange_card(what, false);
        sd_run_card(20);
        assert_int_equal(sd.rejects, 1);
        sd_block_works();
        sd_stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropped_links_are_restored),
        cmocka_unit_test(a_card_that_returns),
        cmocka_unit_test(a_controller_that_moves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
