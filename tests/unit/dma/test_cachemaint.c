/* SPDX-License-Identifier: MIT */
/*
 * cachemaint: if these fail, a device that does not see our caches reads what we have not written
 * yet, or what it writes is lost. QEMU has no caches, so no other test would find it.
 */
#include "unit.h"

#include <dma/cachemaint.h>
#include <dma/internal.h>
#include <port/env.h>

#define FIRST  0x900u
#define FRAMES 10u
#define LINE   64u

enum { NOTHING = 0, CLEAN = 1, CLEAN_INVALIDATE = 2 };

static uint8_t
    done[FRAMES * DGM_FRAME_BYTES]; /* per byte of the gfn space: the requested maintenance */
static unsigned calls;

/* The gfn space is laid out backwards in memory, so that stepping by address goes wrong. */
static void note_call(const void *va, size_t bytes, uint8_t what)
{
    calls++;
    for (uint64_t f = 0; f < FRAMES; f++) {
        const uintptr_t frame = (uintptr_t)dgm_env_va(dgm_gfn(FIRST + f));
        const uint64_t at = (uintptr_t)va - frame;

        if (at >= DGM_FRAME_BYTES)
            continue;
        assert_true(bytes <= DGM_FRAME_BYTES - at);
        for (size_t i = 0; i < bytes; i++) {
            assert_int_equal(done[f * DGM_FRAME_BYTES + at + i], NOTHING); /* none twice */
            done[f * DGM_FRAME_BYTES + at + i] = what;
        }
        return;
    }
    fail_msg("maintenance outside the frames");
}

static void note_clean(const void *va, size_t bytes)
{
    note_call(va, bytes, CLEAN);
}

static void clean_invalidate(const void *va, size_t bytes)
{
    note_call(va, bytes, CLEAN_INVALIDATE);
}

static int start(void **state)
{
    dgm_sim_memory(dgm_gfn(0x100), FRAMES);
    for (uint64_t i = 0; i < FRAMES; i++)
        dgm_sim_alias(dgm_gfn(FIRST + i), dgm_env_va(dgm_gfn(0x100 + FRAMES - 1 - i)));
    dgm_sim_attach(&(struct dgm_sim_machine){.cache_clean = note_clean,
                                             .cache_clean_invalidate = clean_invalidate});
    return 0;
}

#define SPAN(first, count) ((struct dgm_span){.offset = (first), .bytes = (count)})

static int stop(void **state)
{
    dgm_sim_attach(NULL);
    for (uint64_t i = 0; i < FRAMES; i++)
        dgm_sim_plain(dgm_gfn(FIRST + i));
    dgm_sim_memory(dgm_gfn(0), 0);
    return 0;
}

static void expect_done(uint32_t offset, uint64_t bytes, uint8_t what)
{
    for (uint64_t i = 0; i < sizeof done; i++)
        assert_int_equal(done[i], i >= offset && i - offset < bytes ? what : NOTHING);
    memset(done, NOTHING, sizeof done);
}

/*
 * Fails: as Linux's dma_cache_maint may: a buffer with an offset over several pages has its first
 * page maintained twice and its tail never. All 512 pairs in 512-byte steps up to 32 KiB.
 */
static void exactly_these_bytes(void **state)
{
    unsigned pairs = 0;

    for (uint32_t offset = 0; offset < DGM_FRAME_BYTES; offset += 512) {
        for (uint32_t bytes = 512; bytes <= 32768; bytes += 512, pairs++) {
            dgm_cachemaint_before(dgm_gfn(FIRST), SPAN(offset, bytes), false);
            expect_done(offset, bytes, CLEAN);
            dgm_cachemaint_before(dgm_gfn(FIRST), SPAN(offset, bytes), true);
            expect_done(offset, bytes, CLEAN_INVALIDATE);
            dgm_cachemaint_after(dgm_gfn(FIRST), SPAN(offset, bytes), true);
            expect_done(offset, bytes, CLEAN_INVALIDATE);
            dgm_cachemaint_after(dgm_gfn(FIRST), SPAN(offset, bytes), false);
            expect_done(0, 0, NOTHING);
        }
    }
    assert_int_equal(pairs, 512);
}

/* Fails: odd ends are rounded into an adjacent frame, or an empty range is maintained. */
static void odd_ends(void **state)
{
    dgm_cachemaint_before(dgm_gfn(FIRST), SPAN(4095, 2), false);
    expect_done(4095, 2, CLEAN);
    dgm_cachemaint_before(dgm_gfn(FIRST), SPAN(1, 1), true);
    expect_done(1, 1, CLEAN_INVALIDATE);
    calls = 0;
    dgm_cachemaint_before(dgm_gfn(FIRST), SPAN(17, 0), true);
    assert_int_equal(calls, 0);
    expect_panic(dgm_cachemaint_before(dgm_gfn(FIRST), SPAN(4096, 1), true));
}

/* Fails: a transfer that shares a cache line with other data is not bounced, and one of them is
 * lost. */
static void shared_lines(void **state)
{
    assert_false(dgm_cachemaint_shares_line(SPAN(0, 4096)));
    assert_false(dgm_cachemaint_shares_line(SPAN(LINE, LINE)));
    assert_true(dgm_cachemaint_shares_line(SPAN(1, LINE)));
    assert_true(dgm_cachemaint_shares_line(SPAN(0, LINE - 1)));
    assert_true(dgm_cachemaint_shares_line(SPAN(LINE / 2, LINE)));
    assert_true(dgm_cachemaint_shares_line(SPAN(LINE / 2, LINE / 4)));
    assert_false(dgm_cachemaint_shares_line(SPAN(512, 3584)));
}

/* --- through Xen --- */

static uint64_t refused_frame; /* an op on this machine frame is refused */
static unsigned hypercalls, given;

/* As Xen: the first op that it refuses ends the batch. */
static long flush_as_xen(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                         uint64_t a5)
{
    const struct gnttab_cache_flush *ops = (const void *)(uintptr_t)a2;

    assert_int_equal(op, __HYPERVISOR_grant_table_op);
    assert_int_equal(a1, GNTTABOP_cache_flush);
    hypercalls++;
    for (uint64_t i = 0; i < a3; i++) {
        if (ops[i].length && ops[i].a.dev_bus_addr >> DGM_FRAME_SHIFT == refused_frame)
            return -22;
        given++;
    }
    return 0;
}

/* Fails: ops that do not fit into a batch are lost; or Xen's one result for a whole batch is taken
 * for all of its ops, or for none. */
static void every_op_is_done_or_counted(void **state)
{
    static struct dgm_cacheflush flush;

    dgm_sim_attach(&(struct dgm_sim_machine){.hypercall = flush_as_xen});
    refused_frame = 0;
    assert_int_equal(dgm_cacheflush_probe(&flush), 0);
    assert_int_equal(dgm_cacheflush_commit(&flush), 0);
    assert_int_equal(hypercalls, 1);
    for (uint64_t i = 0; i < 2 * DGM_CACHEFLUSH_BATCH + 5; i++)
        dgm_cacheflush_add(&flush, dgm_mfn(100 + i), SPAN(64, 4032), i % 2);
    assert_int_equal(dgm_cacheflush_commit(&flush), 0);
    assert_int_equal(hypercalls, 4);
    assert_int_equal(given, 1 + 2 * DGM_CACHEFLUSH_BATCH + 5);
    refused_frame = 103; /* in the first of two batches */
    for (uint64_t i = 0; i < DGM_CACHEFLUSH_BATCH + 1; i++)
        dgm_cacheflush_add(&flush, dgm_mfn(100 + i), SPAN(0, 64), true);
    assert_int_equal(dgm_cacheflush_commit(&flush), 1);
    assert_int_equal(dgm_cacheflush_commit(&flush), 0); /* not counted again */
    assert_int_equal(flush.refused, 1);
    assert_int_equal(flush.done, 3 * DGM_CACHEFLUSH_BATCH + 5);
    expect_panic(dgm_cacheflush_add(&flush, dgm_mfn(1), SPAN(64, 4033), true));
    expect_panic(dgm_cacheflush_add(&flush, dgm_mfn(1), SPAN(4096, 1), true));
    expect_panic(dgm_cacheflush_add(&flush, dgm_mfn(1), SPAN(0, 0), true));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(exactly_these_bytes),
        TEST(odd_ends),
        TEST(shared_lines),
        TEST(every_op_is_done_or_counted),
    };

    return cmocka_run_group_tests_name("cachemaint", tests, NULL, NULL);
}
