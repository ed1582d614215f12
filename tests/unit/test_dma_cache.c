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
 * If it fails: on a board whose disk is not coherent, stale data goes to the disk or to the guest.
 */
#include "dma_rig.h"

#include <dragoman/status.h>

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
    rig_start(0, 16);
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
    return dgm_dma_map(&rig.dma, &tag, pieces, count, skip,
                       write ? DGM_DMA_FROM_DEVICE : DGM_DMA_TO_DEVICE, segments, &map);
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
    dgm_dma_unmap(&rig.dma, &map, true);
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
        dgm_dma_map(&rig.dma, &coherent, pieces, 1, 0, DGM_DMA_FROM_DEVICE, segments, &map), 4096);
    dgm_dma_unmap(&rig.dma, &map, true);
    assert_int_equal(maintained, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(device_reads_what_was_written),
        TEST(guest_reads_what_the_device_wrote),
        TEST(transfers_never_share_a_line),
        TEST(nothing_for_coherent_devices),
    };

    return cmocka_run_group_tests_name("dma cache", tests, NULL, NULL);
}
