/* SPDX-License-Identifier: MIT */
/*
 * dma for devices that do not see our caches
 *
 * The model: memory is what the CPU sees, plus, per frame, what is really in DRAM. A device sees
 * only DRAM. Cleaning copies the CPU's bytes of whole lines there; cleaning and invalidating does
 * so for lines that the CPU has written (all of them before the device runs, none that are the
 * device's after) and then shows the CPU what DRAM has. DRAM starts as garbage, so a byte that was
 * forgotten is garbage on one side or the other.
 *
 * Xen's cache maintenance by machine address (dgm_dma.flush) acts on the same model.
 *
 * If it fails: on a board whose disk is not coherent, stale data goes to the disk or to the guest.
 */
#include "dma_rig.h"

#include <dragoman/base/status.h>

#define LINE   64u
#define FRAMES 64u

/* --- DRAM beside the CPU's view, by frame of host memory --- */

struct dram {
    unsigned char *cpu; /* the frame as the CPU sees it */
    unsigned char bytes[DGM_FRAME_BYTES];
};

static struct dram dram[512];
static size_t dram_count;
static bool device_has_run; /* maintenance is now "after" */
static uint64_t maintained; /* bytes */
static struct dgm_cacheflush flush;
static unsigned refuse; /* so many hypercalls for maintenance are refused */

static long hypercall_fault(void *context, uint64_t nth, unsigned op, unsigned command)
{
    if (op != __HYPERVISOR_grant_table_op || command != GNTTABOP_cache_flush || refuse == 0)
        return 0;
    refuse--;
    return DGM_EINVAL;
}

static struct dram *dram_of(const void *va)
{
    unsigned char *frame = (unsigned char *)((uintptr_t)va & ~(uintptr_t)(DGM_FRAME_BYTES - 1));

    for (size_t i = 0; i < dram_count; i++)
        if (dram[i].cpu == frame)
            return &dram[i];
    assert_true(dram_count < sizeof dram / sizeof dram[0]);
    dram[dram_count].cpu = frame;
    for (size_t i = 0; i < DGM_FRAME_BYTES; i++)
        dram[dram_count].bytes[i] = (unsigned char)unit_random();
    return &dram[dram_count++];
}

static void each_line(const void *va, size_t bytes, bool to_dram, bool to_cpu)
{
    struct dram *d = dram_of(va);
    const size_t offset = (size_t)((const unsigned char *)va - d->cpu);
    const size_t first = offset / LINE * LINE, end = (offset + bytes + LINE - 1) / LINE * LINE;

    assert_true(end <= DGM_FRAME_BYTES);
    maintained += bytes;
    if (to_dram)
        memcpy(d->bytes + first, d->cpu + first, end - first);
    if (to_cpu)
        memcpy(d->cpu + first, d->bytes + first, end - first);
}

static void clean(const void *va, size_t bytes)
{
    each_line(va, bytes, true, false);
}

static void clean_invalidate(const void *va, size_t bytes)
{
    each_line(va, bytes, !device_has_run, device_has_run);
}

/* --- the rig --- */

static struct dgm_dma_tag tag = {
    .mask = 0xffffffff, .gap = 4096, .segments_max = 64, .block_bytes = 512, .coherent = false};

static dgm_gfn_t slot[FRAMES];
static struct dgm_dma_segment segments[64];
static struct dgm_dma_map map;

static int start(void **state)
{
    unit_seed();
    dram_count = 0;
    device_has_run = false;
    maintained = 0;
    refuse = 0;
    rig_start(0, 16);
    dgm_hv_set_faults(&(struct dgm_hv_faults){.call = hypercall_fault});
    for (unsigned i = 0; i < FRAMES; i++) /* some beyond reach, some adjacent */
        slot[i] = rig_foreign(i, (i % 3 == 0 ? 0x140000u : 0x9000u) + i);
    dgm_sim_attach(&(struct dgm_sim_machine){.hypercall = dgm_hv_hypercall,
                                             .cache_clean = clean,
                                             .cache_clean_invalidate = clean_invalidate});
    return 0;
}

static int stop(void **state)
{
    rig_stop();
    return 0;
}

static int go(const struct dgm_dma_piece *pieces, size_t count, uint64_t skip, bool write)
{
    device_has_run = false;
    return dgm_dma_map(&rig.dma,
                       &(struct dgm_dma_transfer){&tag, pieces, count, skip,
                                                  write ? DGM_DMA_FROM_DEVICE : DGM_DMA_TO_DEVICE,
                                                  NULL},
                       segments, &map);
}

/* DRAM at a byte of the map, and what the CPU sees there. */
static unsigned char *device_byte(uint32_t at)
{
    unsigned char *cpu = NULL;

    for (uint32_t i = 0; i < map.segment_count && !cpu; i++) {
        if (at < map.segments[i].bytes)
            cpu = rig_byte(&tag, map.segments[i].bus.n + at, false);
        else
            at -= map.segments[i].bytes;
    }
    assert_non_null(cpu);
    return &dram_of(cpu)->bytes[(uintptr_t)cpu & (DGM_FRAME_BYTES - 1)];
}

static void end(void)
{
    device_has_run = true;
    assert_int_equal(dgm_dma_unmap(&rig.dma, &map, true), DGM_OK);
}

static size_t random_pieces(struct dgm_dma_piece *pieces, uint32_t unit, uint32_t *bytes)
{
    const size_t count = 1 + unit_below(20);
    unsigned frame = (unsigned)unit_below(8);
    size_t i = 0;

    *bytes = 0;
    for (; i < count; i++, frame += 1 + (unsigned)unit_below(2)) {
        const uint32_t offset = (uint32_t)unit_below(4096 / unit) * unit;
        const uint32_t length = (uint32_t)(1 + unit_below((4096 - offset) / unit)) * unit;

        pieces[i] = (struct dgm_dma_piece){slot[frame], (uint16_t)offset, (uint16_t)length};
        *bytes += length;
    }
    if (*bytes % 512) {
        const uint32_t length = 512 - *bytes % 512;

        pieces[i++] = (struct dgm_dma_piece){slot[frame], 0, (uint16_t)length};
        *bytes += length;
    }
    return i;
}

static unsigned char *cpu_byte(const struct dgm_dma_piece *pieces, uint32_t at)
{
    while (at >= pieces->bytes)
        at -= pieces++->bytes;
    return (unsigned char *)dgm_env_va(pieces->gfn) + pieces->offset + at;
}

/* Fails: the device reads what was in DRAM before the guest wrote, from the frame or a buffer. */
static void device_reads_what_was_written(void **state)
{
    for (unsigned trial = 0; trial < 500; trial++) {
        struct dgm_dma_piece pieces[32];
        uint32_t bytes;
        const size_t count = random_pieces(pieces, trial % 2 ? 512 : 1, &bytes);

        tag.gap = trial % 4 < 2 ? 4096 : 0;
        for (uint32_t i = 0; i < bytes; i++)
            *cpu_byte(pieces, i) = (unsigned char)unit_random();
        for (uint32_t at = 0; at < bytes;) {
            const int mapped = go(pieces, count, at, false);

            assert_true(mapped > 0);
            for (uint32_t i = 0; i < (uint32_t)mapped; i++)
                assert_int_equal(*device_byte(i), *cpu_byte(pieces, at + i));
            end();
            at += (uint32_t)mapped;
        }
    }
    assert_true(rig.dma.bytes_foreign > 100000 && rig.dma.bytes_bounced_reach > 100000);
}

/*
 * Fails: the guest reads what its cache had, or a neighbour in the same line loses its bytes: the
 * guest's CPUs write beside the transfer all the while.
 */
static void guest_reads_what_the_device_wrote(void **state)
{
    for (unsigned trial = 0; trial < 500; trial++) {
        const uint32_t unit = trial % 2 ? 512 : 1;
        struct dgm_dma_piece pieces[32];
        uint32_t bytes;
        const size_t count = random_pieces(pieces, unit, &bytes);

        tag.gap = trial % 4 < 2 ? 4096 : 0;
        for (uint32_t at = 0; at < bytes;) {
            const int mapped = go(pieces, count, at, true);
            unsigned char wrote[32 * 4096], beside[32];

            assert_true(mapped > 0);
            for (uint32_t i = 0; i < (uint32_t)mapped; i++)
                *device_byte(i) = wrote[i] = (unsigned char)unit_random();
            for (size_t i = 0; i < count; i++) { /* the byte before each piece */
                unsigned char *before = (unsigned char *)dgm_env_va(pieces[i].gfn);

                if (pieces[i].offset)
                    before[pieces[i].offset - 1] = beside[i] = (unsigned char)unit_random();
            }
            end();
            for (uint32_t i = 0; i < (uint32_t)mapped; i++)
                assert_int_equal(*cpu_byte(pieces, at + i), wrote[i]);
            for (size_t i = 0; i < count; i++) {
                const unsigned char *before = dgm_env_va(pieces[i].gfn);

                if (pieces[i].offset)
                    assert_int_equal(before[pieces[i].offset - 1], beside[i]);
            }
            at += (uint32_t)mapped;
        }
    }
    assert_true(rig.dma.bytes_foreign > 100000 && rig.dma.bytes_bounced_line > 10000);
}

/*
 * Fails: a cut leaves two transfers, both in flight, writing into one line; the later undoes the
 * earlier. The natural cut of the first one falls into the third piece, inside a line.
 */
static void transfers_never_share_a_line(void **state)
{
    const struct dgm_dma_piece pieces[] = {
        {slot[1], 0, 1024}, {slot[4], 0, 480}, {slot[7], 0, 4096}, {slot[10], 0, 544}};
    bool direct = false;

    tag.gap = 0;
    tag.segments_max = 3;
    for (uint32_t at = 0; at < 6144;) {
        const int mapped = go(pieces, 4, at, true);

        assert_true(mapped > 0);
        for (uint32_t i = 0; i < map.segment_count; i++) {
            if (rig_is_buffer(map.segments[i].bus.n))
                continue;
            direct = true;
            assert_int_equal(map.segments[i].bus.n % LINE, 0);
            assert_int_equal(map.segments[i].bytes % LINE, 0);
        }
        end();
        at += (uint32_t)mapped;
    }
    assert_true(direct);
    tag.segments_max = 64;
}

/* Fails: coherent devices pay for maintenance. */
static void nothing_for_coherent_devices(void **state)
{
    const struct dgm_dma_piece pieces[] = {{slot[1], 0, 4096}};
    struct dgm_dma_tag coherent = tag;

    coherent.coherent = true;
    assert_int_equal(
        dgm_dma_map(&rig.dma,
                    &(struct dgm_dma_transfer){&coherent, pieces, 1, 0, DGM_DMA_FROM_DEVICE, NULL},
                    segments, &map),
        4096);
    dgm_dma_unmap(&rig.dma, &map, true);
    assert_int_equal(maintained, 0);
}

/* --- through Xen --- */

static int start_flush(void **state)
{
    start(state);
    assert_int_equal(dgm_cacheflush_probe(&flush), DGM_OK);
    rig.dma.flush = &flush;
    return 0;
}

/* Fails: a map costs a hypercall for each frame, as on Linux, or is not maintained at all. */
static void one_hypercall_for_a_map(void **state)
{
    struct dgm_dma_piece pieces[16];

    for (unsigned i = 0; i < 16; i++)
        pieces[i] = (struct dgm_dma_piece){slot[3 * i + 1], 0, 4096};
    assert_int_equal(go(pieces, 16, 0, true), 65536);
    assert_int_equal(flush.batches, 2); /* with the probe */
    assert_int_equal(dgm_hv_stats()->flush_ops, 1 + 16);
    end();
    assert_int_equal(flush.batches, 3);
    assert_int_equal(go(pieces, 16, 0, false), 65536);
    end(); /* nothing to do after the device has only read */
    assert_int_equal(flush.batches, 4);
    assert_int_equal(flush.done, 48);
    assert_int_equal(rig.dma.bytes_bounced_flush, 0);
}

static uint8_t touched[9 * DGM_FRAME_BYTES]; /* per byte from slot[0] on: how often */

static void note_touched(const void *va, size_t bytes)
{
    for (unsigned f = 0; f < 9; f++) {
        const uint64_t at = (uint64_t)((const char *)va - (const char *)dgm_env_va(slot[f]));

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

/* Fails: as Linux' dma_cache_maint: with an offset over several pages the first is done twice and
 * the tail never. All 512 pairs in 512-byte steps up to 32 KiB. */
static void exactly_these_bytes_through_xen(void **state)
{
    struct dgm_dma_piece pieces[9];
    unsigned pairs = 0;

    dgm_sim_attach(&(struct dgm_sim_machine){.hypercall = dgm_hv_hypercall,
                                             .cache_clean = note_touched,
                                             .cache_clean_invalidate = note_touched});
    tag.mask = UINT64_MAX;
    for (uint32_t offset = 0; offset < 4096; offset += 512) {
        for (uint32_t bytes = 512; bytes <= 32768; bytes += 512, pairs++) {
            size_t count = 0;

            for (uint32_t at = 0; at < bytes; count++) {
                const uint32_t in = count ? 0 : offset;
                const uint32_t here = bytes - at < 4096 - in ? bytes - at : 4096 - in;

                pieces[count] = (struct dgm_dma_piece){slot[count], (uint16_t)in, (uint16_t)here};
                at += here;
            }
            assert_int_equal(go(pieces, count, 0, false), bytes);
            expect_touched(offset, bytes);
            end();
            expect_touched(0, 0);
            assert_int_equal(go(pieces, count, 0, true), bytes);
            expect_touched(offset, bytes);
            end();
            expect_touched(offset, bytes);
        }
    }
    tag.mask = 0xffffffff;
    assert_int_equal(pairs, 512);
    assert_int_equal(rig.dma.bytes_bounced_reach, 0);
}

/* Fails: what Xen refuses to maintain is lent to the device all the same. */
static void refused_is_bounced(void **state)
{
    const struct dgm_dma_piece pieces[] = {
        {slot[1], 0, 4096}, {dgm_gfn(RAM + 5), 0, 4096}, {slot[4], 0, 4096}};
    bool ours = false;

    tag.gap = 0;
    for (unsigned write = 0; write < 2; write++) {
        const uint64_t before = rig.dma.bytes_bounced_flush;

        refuse = 1000;
        rig.dma.flush_paused_maps = 0;
        assert_int_equal(go(pieces, 3, 0, write), 12288);
        assert_int_equal(rig.dma.bytes_bounced_flush - before, 8192);
        for (uint32_t i = 0; i < map.segment_count; i++)
            ours |= !rig_is_buffer(map.segments[i].bus.n);
        assert_true(ours); /* our own RAM needs no Xen */
        for (uint32_t i = 0; i < 12288; i++)
            assert_int_equal(*device_byte(i), *cpu_byte(pieces, i));
        for (uint32_t i = 0; write && i < 12288; i++)
            *device_byte(i) = (unsigned char)i;
        end();
        for (uint32_t i = 0; write && i < 12288; i++)
            assert_int_equal(*cpu_byte(pieces, i), (unsigned char)i);
    }
    refuse = 0;
}

/* Fails: after a refusal everything is bounced for ever, or two waiters wake each other for ever.
 * One of a batch that fails on its own is found, the others are done. */
static void after_a_refusal(void **state)
{
    const struct dgm_dma_piece pieces[] = {{slot[1], 0, 4096}};
    unsigned bounced = 0;

    refuse = 2; /* the batch, and its only stretch by itself */
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(go(pieces, 1, 0, true), 4096);
        bounced += map.bytes_bounced != 0;
        end();
    }
    assert_true(bounced > 1 && bounced < 100);
    refuse = 1; /* the batch only: asked one by one nothing is refused */
    assert_int_equal(go(pieces, 1, 0, true), 4096);
    assert_int_equal(map.bytes_bounced, 0);
    end();
    assert_int_equal(flush.refused, 1);
}

/* Fails: a Xen without the operation is asked for every map, or believed to have done it. */
static void no_such_hypercall(void **state)
{
    const struct dgm_dma_piece pieces[] = {{slot[1], 0, 4096}};

    refuse = 1;
    assert_int_equal(dgm_cacheflush_probe(&flush), DGM_EINVAL);
    assert_int_equal(go(pieces, 1, 0, true), 4096);
    assert_int_equal(map.bytes_bounced, 4096);
    end();
    assert_int_equal(flush.batches, 1);
}

/* Fails: the guest is told that a read went well, though it may find what its cache had. */
static void refused_when_it_is_too_late(void **state)
{
    const struct dgm_dma_piece pieces[] = {{slot[1], 0, 4096}};

    assert_int_equal(go(pieces, 1, 0, true), 4096);
    refuse = 1000;
    assert_int_equal(dgm_dma_sync_for_cpu(&rig.dma, &map, 0, 64), DGM_EIO);
    assert_int_equal(dgm_dma_unmap(&rig.dma, &map, true), DGM_EIO);
    refuse = 0;
    rig_check_idle();
}

/* --- parts of a live map --- */

/*
 * A map that lives long: the device writes here and there, parts are lent to the CPU and back, in
 * whole lines. Fails: the CPU does not see what the device wrote there, or the device what the CPU
 * wrote; or bytes beside are copied, written back or lost.
 */
static void lent_and_lent_back(void **state)
{
    for (unsigned trial = 0; trial < 100; trial++) {
        struct dgm_dma_piece pieces[32];
        static unsigned char device[128 * 1024], cpu[128 * 1024];
        uint32_t bytes;
        const size_t count = random_pieces(pieces, 512, &bytes);
        uint32_t mapped;

        tag.gap = trial % 4 < 2 ? 4096 : 0;
        for (uint32_t i = 0; i < bytes; i++)
            *cpu_byte(pieces, i) = (unsigned char)unit_random();
        mapped = (uint32_t)go(pieces, count, 0, true);
        assert_true((int)mapped > 0);
        for (uint32_t i = 0; i < mapped; i++) {
            cpu[i] = *cpu_byte(pieces, i);
            *device_byte(i) = device[i] = (unsigned char)unit_random();
        }
        for (unsigned step = 0; step < 20; step++) {
            const uint32_t at = (uint32_t)unit_below(mapped / LINE) * LINE;
            const uint32_t lent = (uint32_t)unit_below((mapped - at) / LINE + 1) * LINE;

            device_has_run = true;
            assert_int_equal(dgm_dma_sync_for_cpu(&rig.dma, &map, at, lent), DGM_OK);
            for (uint32_t i = 0; i < lent; i++) {
                cpu[at + i] = device[at + i];
                assert_int_equal(*cpu_byte(pieces, at + i), device[at + i]);
                if (unit_chance(10))
                    *cpu_byte(pieces, at + i) = device[at + i] = (unsigned char)unit_random();
            }
            for (uint32_t i = 0; i < mapped; i++) /* nothing beside was copied */
                if (i < at || i - at >= lent)
                    assert_int_equal(*cpu_byte(pieces, i), cpu[i]);
            device_has_run = false;
            assert_int_equal(dgm_dma_sync_for_device(&rig.dma, &map, at, lent), DGM_OK);
            for (uint32_t i = 0; i < lent; i++)
                cpu[at + i] = *cpu_byte(pieces, at + i);
            for (uint32_t i = 0; i < mapped; i++)
                assert_int_equal(*device_byte(i), device[i]);
            for (uint32_t i = 0; i < 5; i++) { /* the device goes on */
                const uint32_t b = (uint32_t)unit_below(mapped);

                *device_byte(b) = device[b] = (unsigned char)unit_random();
            }
        }
        end();
        for (uint32_t i = 0; i < mapped; i++)
            assert_int_equal(*cpu_byte(pieces, i), device[i]);
    }
    assert_true(rig.dma.bytes_bounced_reach > 10000 && rig.dma.syncs == 4000);
}

/* Fails: more or fewer bytes than were named are copied to or from a buffer. Any bytes, a device
 * that sees the caches. */
static void exactly_what_is_lent_is_copied(void **state)
{
    const struct dgm_dma_piece pieces[] = {{slot[0], 512, 3584}, {slot[3], 0, 1024}};
    struct dgm_dma_tag coherent = tag;

    coherent.coherent = true;
    coherent.gap = 0;
    assert_int_equal(
        dgm_dma_map(&rig.dma,
                    &(struct dgm_dma_transfer){&coherent, pieces, 2, 0, DGM_DMA_FROM_DEVICE, NULL},
                    segments, &map),
        4608);
    assert_int_equal(map.bytes_bounced, 4608);
    for (unsigned trial = 0; trial < 300; trial++) {
        const uint32_t at = (uint32_t)unit_below(4609), bytes = (uint32_t)unit_below(4609 - at);

        for (uint32_t i = 0; i < 4608; i++) {
            *cpu_byte(pieces, i) = 'c';
            *rig_byte(&tag,
                      i < map.segments[0].bytes
                          ? map.segments[0].bus.n + i
                          : map.segments[1].bus.n + (i - map.segments[0].bytes),
                      true) = 'd';
        }
        if (trial % 2)
            assert_int_equal(dgm_dma_sync_for_cpu(&rig.dma, &map, at, bytes), DGM_OK);
        else
            assert_int_equal(dgm_dma_sync_for_device(&rig.dma, &map, at, bytes), DGM_OK);
        for (uint32_t i = 0; i < 4608; i++) {
            const bool lent = i >= at && i - at < bytes;

            assert_int_equal(*cpu_byte(pieces, i), lent && trial % 2 ? 'd' : 'c');
            assert_int_equal(*rig_byte(&tag,
                                       i < map.segments[0].bytes
                                           ? map.segments[0].bus.n + i
                                           : map.segments[1].bus.n + (i - map.segments[0].bytes),
                                       true),
                             lent && trial % 2 == 0 ? 'c' : 'd');
        }
    }
    expect_panic((void)dgm_dma_sync_for_cpu(&rig.dma, &map, 4608, 1));
    expect_panic((void)dgm_dma_sync_for_device(&rig.dma, &map, 1, UINT32_MAX));
    dgm_dma_unmap(&rig.dma, &map, false);
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, start, stop)
#define FLUSH(name) cmocka_unit_test_setup_teardown(name, start_flush, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(device_reads_what_was_written),
        TEST(guest_reads_what_the_device_wrote),
        TEST(transfers_never_share_a_line),
        TEST(nothing_for_coherent_devices),
        FLUSH(device_reads_what_was_written),
        FLUSH(guest_reads_what_the_device_wrote),
        FLUSH(transfers_never_share_a_line),
        FLUSH(one_hypercall_for_a_map),
        FLUSH(exactly_these_bytes_through_xen),
        FLUSH(refused_is_bounced),
        FLUSH(after_a_refusal),
        FLUSH(no_such_hypercall),
        FLUSH(refused_when_it_is_too_late),
        TEST(lent_and_lent_back),
        FLUSH(lent_and_lent_back),
        TEST(exactly_what_is_lent_is_copied),
    };

    return cmocka_run_group_tests_name("dma cache", tests, NULL, NULL);
}
