/* SPDX-License-Identifier: MIT */
/*
 * contig: if these fail, the device finds other data in a PV guest's buffer, a frame is lost
 * between us and Xen, or Xen gives our data to another domain.
 *
 * The Xen here is the model of exchange_rig.h. check_oracles() has the oracles, and runs after
 * every step: each of our gfns has exactly one machine frame, which contig knows; m2p and page
 * tables agree with it; what is mapped reads as zero.
 */
#include "exchange_rig.h"

#include <dragoman/base/status.h>
#include <port/env.h>

static struct dgm_contig contig;

static struct dgm_gfn_range range_of(uint64_t count)
{
    return (struct dgm_gfn_range){dgm_gfn(EXCHANGE_FIRST), count};
}

/* The oracles: see the first comment. */
static void check_oracles(void)
{
    uint64_t owned = 0;

    dgm_contig_check(&contig);
    for (uint64_t i = 0; i < EXCHANGE_MACHINE; i++)
        owned += exchange_rig.ours[i];
    assert_int_equal(owned, EXCHANGE_FRAMES);
    for (uint64_t i = 0; i < contig.range.count; i++) {
        const uint64_t mfn = dgm_mfn_number(contig.mfn[i]);

        assert_true(mfn < EXCHANGE_MACHINE && exchange_rig.ours[mfn]);
        assert_int_equal(exchange_rig.m2p[mfn], EXCHANGE_FIRST + i);
        if (!contig.mapped)
            continue;
        assert_int_equal(exchange_rig.p2m[i], mfn);
        assert_int_equal(exchange_rig.table[i], mfn);
        assert_int_equal(exchange_rig.references[mfn], 1);
        for (unsigned at = 0; at < DGM_FRAME_BYTES; at++)
            assert_int_equal(((uint8_t *)dgm_env_va(dgm_gfn(EXCHANGE_FIRST + i)))[at], 0);
    }
}

/* Uses our memory: every byte of it becomes ours, and not zero. */
static void write_all(void)
{
    for (uint64_t i = 0; i < contig.range.count; i++)
        memset(dgm_env_va(dgm_gfn(EXCHANGE_FIRST + i)), EXCHANGE_OURS, DGM_FRAME_BYTES);
}

static uint64_t runs_below(unsigned bits)
{
    uint64_t runs = 0;

    for (uint64_t i = 0; i < contig.range.count; i += 1ull << contig.order)
        runs += dgm_mfn_number(contig.mfn[i]) * DGM_FRAME_BYTES >> bits == 0;
    return runs;
}

/* --- tests --- */

/* Fails: an Arm or PVH guest believes that its buffer is contiguous, or an exchange is made. */
static void auto_translated_guests(void **state)
{
    exchange_rig.auto_translated = true;
    assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(8), 3), DGM_EOPNOTSUPP);
    assert_int_equal(exchange_rig.exchanges, 0);
    dgm_sim_attach(NULL); /* a Xen without the hypercall */
    assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(8), 3), DGM_EOPNOTSUPP);
}

/* Fails: a region is accepted that is larger than the lists. */
static void limits_of_a_region(void **state)
{
    assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(1024), 10), DGM_E2BIG);
    assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(513), 0), DGM_E2BIG);
    assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(0), 0), DGM_EINVAL);
    assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(12), 3), DGM_EINVAL);
    assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port,
                                     (struct dgm_gfn_range){{EXCHANGE_FIRST + 511}, 2}, 1),
                     DGM_EINVAL);
    assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(512), 9), DGM_OK);
    assert_int_equal(contig.runs, 0);
    assert_true(contig.mapped);
}

/* Fails: at some order the frames are not contiguous, not low, not zero, or not undone. */
static void make_and_undo(void **state)
{
    for (unsigned order = 0; order <= DGM_CONTIG_ORDER_MAX; order++) {
        const int64_t runs = order < 3 ? 64 : EXCHANGE_FRAMES >> order;

        assert_int_equal(
            dgm_contig_init(&contig, &exchange_rig_port, range_of((uint64_t)runs << order), order),
            DGM_OK);
        write_all();
        assert_int_equal(dgm_contig_make(&contig, EXCHANGE_LOW_BITS), runs);
        assert_int_equal(contig.error, DGM_OK);
        check_oracles();
        assert_int_equal(runs_below(EXCHANGE_LOW_BITS), runs);
        write_all();
        assert_int_equal(dgm_contig_undo(&contig), DGM_OK);
        assert_int_equal(contig.runs, 0);
        check_oracles();
        assert_int_equal(contig.exchanged, 2 * contig.range.count);
        assert_int_equal(contig.partial, 0);
        assert_int_equal(dgm_contig_undo(&contig), DGM_OK); /* nothing to do */
        check_oracles();
    }
}

/* Fails: an exchanged frame counts as not exchanged, or the reverse. */
static void partial_at_every_k(void **state)
{
    for (int64_t k = 0; k < 16; k++) {
        assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(16 * 4), 2), DGM_OK);
        write_all();
        exchange_rig.fail_extent = k;
        exchange_rig.fail_error = DGM_EINVAL;
        assert_int_equal(dgm_contig_make(&contig, EXCHANGE_LOW_BITS), k ? k : DGM_EINVAL);
        assert_int_equal(contig.error, DGM_EINVAL);
        assert_int_equal(contig.runs, k);
        assert_int_equal(contig.partial, k > 0);
        check_oracles();
        assert_int_equal(runs_below(EXCHANGE_LOW_BITS), k);
        write_all();
        exchange_rig.fail_extent = -1;
        assert_int_equal(dgm_contig_undo(&contig), DGM_OK);
        check_oracles();
        assert_int_equal(runs_below(EXCHANGE_LOW_BITS), 0);
    }
}

/* Fails: after a partial undo devices get runs that are not contiguous any more. */
static void partial_undo_at_every_k(void **state)
{
    for (int64_t k = 0; k < 16; k++) {
        assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(16 * 4), 2), DGM_OK);
        assert_int_equal(dgm_contig_make(&contig, EXCHANGE_LOW_BITS), 16);
        write_all();
        exchange_rig.fail_extent = k;
        exchange_rig.fail_error = DGM_ENOMEM;
        assert_int_equal(dgm_contig_undo(&contig), DGM_ENOMEM);
        assert_int_equal(contig.runs, 16 - k);
        check_oracles();
        assert_int_equal(runs_below(EXCHANGE_LOW_BITS), 16 - k);
        write_all();
        exchange_rig.fail_extent = -1;
        assert_int_equal(dgm_contig_undo(&contig), DGM_OK);
        assert_int_equal(contig.runs, 0);
        check_oracles();
        assert_int_equal(runs_below(EXCHANGE_LOW_BITS), 0);
    }
}

/* Fails: after a refusal of Xen the old frames are not in place. */
static void refusals_restore_the_frames(void **state)
{
    uint64_t before;

    assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(512), 9), DGM_OK);
    before = dgm_mfn_number(contig.mfn[77]);
    write_all();
    assert_int_equal(dgm_contig_make(&contig, 20), DGM_ENOMEM); /* 1 MiB below 1 MiB is not 2 */
    check_oracles();
    exchange_rig.order_max = 8;
    write_all();
    assert_int_equal(dgm_contig_make(&contig, EXCHANGE_LOW_BITS), DGM_EPERM);
    check_oracles();
    exchange_rig.order_max = 18;
    exchange_rig.references[dgm_mfn_number(
        contig.mfn[300])]++; /* a second mapping, a grant, a page table */
    write_all();
    assert_int_equal(dgm_contig_make(&contig, EXCHANGE_LOW_BITS), DGM_EINVAL);
    exchange_rig.references[dgm_mfn_number(contig.mfn[300])]--;
    check_oracles();
    exchange_rig.unmap_leaves = EXCHANGE_FIRST + 511; /* a port that misses one frame */
    write_all();
    assert_int_equal(dgm_contig_make(&contig, EXCHANGE_LOW_BITS), DGM_EINVAL);
    check_oracles();
    assert_int_equal(dgm_mfn_number(contig.mfn[77]), before);
    exchange_rig.unmap_leaves = UINT64_MAX;
    assert_int_equal(dgm_contig_make(&contig, EXCHANGE_LOW_BITS), 1);
    check_oracles();
}

/* Fails: a short exchange with result 0 counts as a complete one. */
static void short_without_an_error(void **state)
{
    assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(16), 1), DGM_OK);
    write_all();
    exchange_rig.short_is_ok = true;
    exchange_rig.fail_extent = 5;
    exchange_rig.fail_error = DGM_EINVAL;
    assert_int_equal(dgm_contig_make(&contig, EXCHANGE_LOW_BITS), 5);
    assert_int_equal(contig.error, DGM_EIO);
    check_oracles();
}

/* Fails: a region that is unmapped in part stays so. */
static void unmap_fails(void **state)
{
    assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(16), 2), DGM_OK);
    write_all();
    exchange_rig.fail_call = 0;
    assert_int_equal(dgm_contig_make(&contig, EXCHANGE_LOW_BITS), DGM_EBUSY);
    assert_int_equal(exchange_rig.exchanges, 0);
    check_oracles();
    assert_int_equal(dgm_contig_make(&contig, EXCHANGE_LOW_BITS), 4);
    write_all();
    exchange_rig.fail_call = exchange_rig.call;
    assert_int_equal(dgm_contig_undo(&contig), DGM_EBUSY);
    assert_int_equal(contig.runs, 4);
    check_oracles();
    assert_int_equal(dgm_contig_undo(&contig), DGM_OK);
    check_oracles();
}

/* Fails: after a failed remap frames are lost, or a region that is mapped in part is used. */
static void remap_fails(void **state)
{
    assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(16), 2), DGM_OK);
    write_all();
    exchange_rig.fail_call = 2; /* unmap, exchange, remap */
    assert_int_equal(dgm_contig_make(&contig, EXCHANGE_LOW_BITS), DGM_ENOMEM);
    assert_int_equal(contig.runs, 4);
    assert_false(contig.mapped);
    check_oracles();
    expect_panic(dgm_contig_make(&contig, EXCHANGE_LOW_BITS)); /* unmapped, and made already */
    exchange_rig.fail_call = exchange_rig.call;
    assert_int_equal(dgm_contig_remap(&contig), DGM_ENOMEM);
    assert_int_equal(dgm_contig_remap(&contig), DGM_OK);
    check_oracles();
    expect_panic(dgm_contig_make(&contig, EXCHANGE_LOW_BITS)); /* made already */
    expect_panic((void)dgm_contig_remap(&contig));             /* mapped */
    write_all();
    exchange_rig.fail_call = exchange_rig.call + 2;
    assert_int_equal(dgm_contig_undo(&contig), DGM_ENOMEM);
    assert_int_equal(contig.runs, 0);
    assert_false(contig.mapped);
    check_oracles();
    expect_panic(dgm_contig_make(&contig, EXCHANGE_LOW_BITS)); /* unmapped */
    assert_int_equal(dgm_contig_undo(&contig),
                     DGM_OK); /* maps the region; nothing else is left to do */
    check_oracles();
}

/*
 * Each call of port and Xen fails in turn, alone and with all later ones.
 * Fails: after some failure the records are wrong, or no retry succeeds.
 */
static void fail_the_nth(void **state)
{
    for (unsigned all_later = 0; all_later < 2; all_later++) {
        for (uint64_t nth = 0; nth < 7; nth++) {
            exchange_rig_stop(NULL);
            exchange_rig_start(NULL);
            assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(32), 3), DGM_OK);
            write_all();
            exchange_rig.fail_call = nth;
            exchange_rig.fail_all_later = all_later;
            dgm_contig_make(&contig, EXCHANGE_LOW_BITS);
            check_oracles();
            if (contig.mapped)
                write_all();
            dgm_contig_undo(&contig);
            check_oracles();
            exchange_rig.fail_call = UINT64_MAX;
            exchange_rig.fail_all_later = false;
            assert_int_equal(dgm_contig_undo(&contig), DGM_OK);
            check_oracles();
            assert_int_equal(contig.runs, 0);
            assert_int_equal(dgm_contig_make(&contig, EXCHANGE_LOW_BITS), 4);
            check_oracles();
        }
    }
}

/* Random operations with random failures, checked after each step. */
static void random_histories(void **state)
{
    print_message("# seed %llu\n", (unsigned long long)unit_seed());
    for (unsigned history = 0; history < 100; history++) {
        const unsigned order = (unsigned)unit_below(5);
        const uint64_t runs = 1 + unit_below(64 >> order);
        assert_int_equal(
            dgm_contig_init(&contig, &exchange_rig_port, range_of(runs << order), order), DGM_OK);
        for (unsigned step = 0; step < 12; step++) {
            exchange_rig.fail_call =
                unit_chance(30) ? exchange_rig.call + unit_below(4) : UINT64_MAX;
            exchange_rig.fail_extent = unit_chance(30) ? (int64_t)unit_below(runs + 1) : -1;
            exchange_rig.fail_error = unit_chance(50) ? DGM_ENOMEM : DGM_EINVAL;
            if (contig.mapped && unit_chance(80))
                write_all();
            if (contig.mapped && contig.runs == 0)
                dgm_contig_make(&contig, unit_chance(80) ? EXCHANGE_LOW_BITS : 0);
            else if (contig.mapped || unit_chance(50))
                dgm_contig_undo(&contig);
            else
                dgm_contig_remap(&contig);
            check_oracles();
        }
        exchange_rig.fail_call = UINT64_MAX;
        exchange_rig.fail_extent = -1;
        assert_int_equal(dgm_contig_undo(&contig), DGM_OK);
        check_oracles();
    }
}

/* Fails: dgm_contig_check() misses a violated invariant. */
static void the_check_can_fail(void **state)
{
    assert_int_equal(dgm_contig_init(&contig, &exchange_rig_port, range_of(16), 2), DGM_OK);
    assert_int_equal(dgm_contig_make(&contig, EXCHANGE_LOW_BITS), 4);
    contig.mfn[5] = dgm_mfn_add(contig.mfn[5], 1);
    expect_panic(dgm_contig_check(&contig)); /* not what the port has */
    contig.mfn[5] = dgm_mfn_add(contig.mfn[5], UINT64_MAX);
    contig.runs = 5;
    expect_panic(dgm_contig_check(&contig)); /* more runs than the region holds */
    contig.runs = 4;
    contig.mapped = false;
    contig.mfn[5] = dgm_mfn_add(contig.mfn[5], 1);
    expect_panic(dgm_contig_check(&contig)); /* a run that is not contiguous */
    contig.mfn[5] = DGM_MFN_NONE;
    expect_panic(dgm_contig_check(&contig)); /* a frame lost */
    for (unsigned i = 0; i < 4; i++)
        contig.mfn[4 + i] = dgm_mfn(1001 + i);
    expect_panic(dgm_contig_check(&contig)); /* a run that is not aligned */
    contig.runs = 0;
    contig.range.count = 15;
    expect_panic(dgm_contig_check(&contig)); /* no whole runs */
    contig.range.count = 1024;
    expect_panic(dgm_contig_check(&contig)); /* more than the lists hold */
    contig.range.count = 16;
    contig.order = 10;
    expect_panic(dgm_contig_check(&contig));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(auto_translated_guests, exchange_rig_start,
                                        exchange_rig_stop),
        cmocka_unit_test_setup_teardown(limits_of_a_region, exchange_rig_start, exchange_rig_stop),
        cmocka_unit_test_setup_teardown(make_and_undo, exchange_rig_start, exchange_rig_stop),
        cmocka_unit_test_setup_teardown(partial_at_every_k, exchange_rig_start, exchange_rig_stop),
        cmocka_unit_test_setup_teardown(partial_undo_at_every_k, exchange_rig_start,
                                        exchange_rig_stop),
        cmocka_unit_test_setup_teardown(refusals_restore_the_frames, exchange_rig_start,
                                        exchange_rig_stop),
        cmocka_unit_test_setup_teardown(short_without_an_error, exchange_rig_start,
                                        exchange_rig_stop),
        cmocka_unit_test_setup_teardown(unmap_fails, exchange_rig_start, exchange_rig_stop),
        cmocka_unit_test_setup_teardown(remap_fails, exchange_rig_start, exchange_rig_stop),
        cmocka_unit_test_setup_teardown(fail_the_nth, exchange_rig_start, exchange_rig_stop),
        cmocka_unit_test_setup_teardown(random_histories, exchange_rig_start, exchange_rig_stop),
        cmocka_unit_test_setup_teardown(the_check_can_fail, exchange_rig_start, exchange_rig_stop),
    };

    return cmocka_run_group_tests_name("contig", tests, NULL, NULL);
}
