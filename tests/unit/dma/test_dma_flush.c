/* SPDX-License-Identifier: MIT */
/*
 * dma for devices that do not see the CPU's caches, foreign frames maintained by Xen. If it fails:
 * stale data goes to the disk or to the guest, or a refusal of Xen is taken for success.
 */
#include "dma_dram.h"

#include <dragoman/base/status.h>

/* Fails: a map costs a hypercall for each frame, as on Linux,
 * or is not maintained at all. */
static void one_hypercall_for_a_map(void **state)
{
    struct dgm_dma_piece pieces[16];

    for (unsigned i = 0; i < 16; i++)
        pieces[i] = (struct dgm_dma_piece){dma_dram.slot[3 * i + 1], 0, 4096};
    assert_int_equal(dma_dram_map(pieces, 16, 0, true), 65536);
    assert_int_equal(dma_dram.flush.batches, 2); /* with the probe */
    assert_int_equal(dgm_hv_stats()->flush_ops, 1 + 16);
    dma_dram_end();
    assert_int_equal(dma_dram.flush.batches, 3);
    assert_int_equal(dma_dram_map(pieces, 16, 0, false), 65536);
    dma_dram_end(); /* nothing to do after the device has only read */
    assert_int_equal(dma_dram.flush.batches, 4);
    assert_int_equal(dma_dram.flush.done, 48);
    assert_int_equal(dma_rig.dma.bytes_bounced_flush, 0);
}

static uint8_t touched[9 * DGM_FRAME_BYTES]; /* per byte from dma_dram.slot[0] on: how often */

static void note_touched(const void *va, size_t bytes)
{
    for (unsigned f = 0; f < 9; f++) {
        const uint64_t at =
            (uint64_t)((const char *)va - (const char *)dgm_env_va(dma_dram.slot[f]));

        for (uint64_t i = at; at < DGM_FRAME_BYTES && i < at + bytes; i++)
            touched[f * DGM_FRAME_BYTES + i]++;
    }
}

static void expect_touched(uint32_t offset, uint32_t bytes)
{
    for (uint32_t i = 0; i < sizeof touched; i++)
        if (touched[i] != (i >= offset && i - offset < bytes))
            fail_msg("offset %u bytes %u: byte %u maintained %u times", offset, bytes, i,
                     touched[i]);
    memset(touched, 0, sizeof touched);
}

/* Fails: as Linux's dma_cache_maint did: with an offset over several pages the first is maintained
 * twice and the tail never. All 512 pairs of offset and length in 512-byte steps up to 32 KiB. */
static void exactly_these_bytes_through_xen(void **state)
{
    struct dgm_dma_piece pieces[9];
    unsigned pairs = 0;

    dgm_sim_attach(&(struct dgm_sim_machine){.hypercall = dgm_hv_hypercall,
                                             .cache_clean = note_touched,
                                             .cache_clean_invalidate = note_touched});
    dma_dram.tag.mask = UINT64_MAX;
    for (uint32_t offset = 0; offset < 4096; offset += 512) {
        for (uint32_t bytes = 512; bytes <= 32768; bytes += 512, pairs++) {
            size_t count = 0;

            for (uint32_t at = 0; at < bytes; count++) {
                const uint32_t in = count ? 0 : offset;
                const uint32_t here = bytes - at < 4096 - in ? bytes - at : 4096 - in;

                pieces[count] =
                    (struct dgm_dma_piece){dma_dram.slot[count], (uint16_t)in, (uint16_t)here};
                at += here;
            }
            assert_int_equal(dma_dram_map(pieces, count, 0, false), bytes);
            expect_touched(offset, bytes);
            dma_dram_end();
            expect_touched(0, 0);
            assert_int_equal(dma_dram_map(pieces, count, 0, true), bytes);
            expect_touched(offset, bytes);
            dma_dram_end();
            expect_touched(offset, bytes);
        }
    }
    dma_dram.tag.mask = 0xffffffff;
    assert_int_equal(pairs, 512);
    assert_int_equal(dma_rig.dma.bytes_bounced_reach, 0);
}

/* Fails: the device is given frames whose caches Xen refused to maintain. */
static void refused_is_bounced(void **state)
{
    const struct dgm_dma_piece pieces[] = {
        {dma_dram.slot[1], 0, 4096}, {dgm_gfn(RAM + 5), 0, 4096}, {dma_dram.slot[4], 0, 4096}};
    bool ours = false;

    dma_dram.tag.gap = 0;
    for (unsigned write = 0; write < 2; write++) {
        const uint64_t before = dma_rig.dma.bytes_bounced_flush;

        dma_dram.refuse = 1000;
        dma_rig.dma.flush_paused_maps = 0;
        assert_int_equal(dma_dram_map(pieces, 3, 0, write), 12288);
        assert_int_equal(dma_rig.dma.bytes_bounced_flush - before, 8192);
        for (uint32_t i = 0; i < dma_dram.map.segment_count; i++)
            ours |= !dma_rig_is_buffer(dgm_bus_address(dma_dram.map.segments[i].bus));
        assert_true(ours); /* for our own RAM Xen is not needed */
        for (uint32_t i = 0; i < 12288; i++)
            assert_int_equal(*dma_dram_device_byte(i), *dma_dram_cpu_byte(pieces, i));
        for (uint32_t i = 0; write && i < 12288; i++)
            *dma_dram_device_byte(i) = (unsigned char)i;
        dma_dram_end();
        for (uint32_t i = 0; write && i < 12288; i++)
            assert_int_equal(*dma_dram_cpu_byte(pieces, i), (unsigned char)i);
    }
    dma_dram.refuse = 0;
}

/* Fails: after a refusal all maps are bounced permanently, or two waiters wake each other
 * permanently. If a batch fails, its ops are done one by one. */
static void after_a_refusal(void **state)
{
    const struct dgm_dma_piece pieces[] = {{dma_dram.slot[1], 0, 4096}};
    unsigned bounced = 0;

    dma_dram.refuse = 2 + DGM_XEN_TRIES; /* the batch, and its only op by itself */
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(dma_dram_map(pieces, 1, 0, true), 4096);
        bounced += dma_dram.map.bytes_bounced != 0;
        dma_dram_end();
    }
    assert_true(bounced > 1 && bounced < 100);
    dma_dram.refuse = 1 + DGM_XEN_TRIES; /* not the last attempt at the op */
    assert_int_equal(dma_dram_map(pieces, 1, 0, true), 4096);
    assert_int_equal(dma_dram.map.bytes_bounced, 0);
    dma_dram_end();
    assert_int_equal(dma_dram.flush.refused, 1);
}

/* Fails: with a Xen that lacks the operation there is a hypercall for every map, or its maps count
 * as maintained. */
static void no_such_hypercall(void **state)
{
    const struct dgm_dma_piece pieces[] = {{dma_dram.slot[1], 0, 4096}};

    dma_dram.refuse = DGM_XEN_TRIES;
    assert_int_equal(dgm_cacheflush_probe(&dma_dram.flush), DGM_EINVAL);
    assert_int_equal(dma_dram_map(pieces, 1, 0, true), 4096);
    assert_int_equal(dma_dram.map.bytes_bounced, 4096);
    dma_dram_end();
    assert_int_equal(dma_dram.flush.batches, DGM_XEN_TRIES);
}

/* Fails: one refusal, which would pass, is taken for a Xen without the operation. */
static void refused_when_probed(void **state)
{
    dma_dram.refuse = 1;
    assert_int_equal(dgm_cacheflush_probe(&dma_dram.flush), DGM_OK);
    assert_false(dma_dram.flush.absent);
}

/* Fails: a read that the device has done fails because Xen refused maintenance for a moment; or it
 * succeeds though the guest may see stale bytes of its cache. */
static void refused_when_it_is_too_late(void **state)
{
    const struct dgm_dma_piece pieces[] = {{dma_dram.slot[1], 0, 4096}};

    assert_int_equal(dma_dram_map(pieces, 1, 0, true), 4096);
    dma_dram.refuse = 1 + DGM_XEN_TRIES;
    assert_int_equal(dgm_dma_unmap(&dma_rig.dma, &dma_dram.map, true), DGM_OK);
    assert_int_equal(dma_dram.refuse, 0);

    assert_int_equal(dma_dram_map(pieces, 1, 0, true), 4096);
    dma_dram.refuse = 1000;
    assert_int_equal(dgm_dma_sync_for_cpu(&dma_rig.dma, &dma_dram.map,
                                          (struct dgm_span){.offset = 0, .bytes = 64}),
                     DGM_EIO);
    assert_int_equal(dgm_dma_unmap(&dma_rig.dma, &dma_dram.map, true), DGM_EIO);
    dma_dram.refuse = 0;
    dma_rig_check_idle();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, dma_dram_start_flush, dma_dram_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(dma_dram_device_reads_what_was_written),
        TEST(dma_dram_guest_reads_what_the_device_wrote),
        TEST(dma_dram_transfers_never_share_a_line),
        TEST(one_hypercall_for_a_map),
        TEST(exactly_these_bytes_through_xen),
        TEST(refused_is_bounced),
        TEST(after_a_refusal),
        TEST(no_such_hypercall),
        TEST(refused_when_probed),
        TEST(refused_when_it_is_too_late),
        TEST(dma_dram_lent_and_lent_back),
    };

    return cmocka_run_group_tests_name("dma flush", tests, NULL, NULL);
}
