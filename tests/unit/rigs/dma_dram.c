/* SPDX-License-Identifier: MIT */
#include "dma_dram.h"

#include <dragoman/base/status.h>

struct dma_dram dma_dram;

/* --- DRAM beside the CPU's view, by frame of host memory --- */

struct dram {
    unsigned char *cpu; /* the frame as the CPU sees it */
    unsigned char bytes[DGM_FRAME_BYTES];
};

static struct dram dram[512];
static size_t dram_count;

static long hypercall_fault(void *context, uint64_t nth, unsigned op, unsigned command)
{
    if (op != __HYPERVISOR_grant_table_op || command != GNTTABOP_cache_flush ||
        dma_dram.refuse == 0)
        return 0;
    dma_dram.refuse--;
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
    dma_dram.maintained += bytes;
    if (to_dram)
        memcpy(d->bytes + first, d->cpu + first, end - first);
    if (to_cpu)
        memcpy(d->cpu + first, d->bytes + first, end - first);
}

static void clean_lines(const void *va, size_t bytes)
{
    each_line(va, bytes, true, false);
}

static void clean_invalidate(const void *va, size_t bytes)
{
    each_line(va, bytes, !dma_dram.device_has_run, dma_dram.device_has_run);
}

/* --- the machine --- */

int dma_dram_start(void **state)
{
    unit_seed();
    dram_count = 0;
    dma_dram = (struct dma_dram){.tag = {.mask = 0xffffffff,
                                         .gap = 4096,
                                         .segments_max = 64,
                                         .block_bytes = 512,
                                         .coherent = false}};
    dma_rig_start(0, 16);
    dgm_hv_set_faults(&(struct dgm_hv_faults){.call = hypercall_fault});
    for (unsigned i = 0; i < FRAMES; i++)
        dma_dram.slot[i] = dma_rig_foreign(i, (i % 3 == 0 ? 0x140000u : 0x9000u) + i);
    dgm_sim_attach(&(struct dgm_sim_machine){.hypercall = dgm_hv_hypercall,
                                             .cache_clean = clean_lines,
                                             .cache_clean_invalidate = clean_invalidate});
    return 0;
}

int dma_dram_stop(void **state)
{
    dma_rig_stop();
    return 0;
}

int dma_dram_map(const struct dgm_dma_piece *pieces, size_t count, uint64_t skip, bool write)
{
    dma_dram.device_has_run = false;
    return dgm_dma_map(
        &dma_rig.dma,
        &(struct dgm_dma_transfer){.tag = &dma_dram.tag,
                                   .pieces = pieces,
                                   .piece_count = count,
                                   .skip_bytes = skip,
                                   .direction = write ? DGM_DMA_FROM_DEVICE : DGM_DMA_TO_DEVICE},
        dma_dram.segments, &dma_dram.map);
}

unsigned char *dma_dram_device_byte(uint32_t at)
{
    unsigned char *cpu = NULL;

    for (uint32_t i = 0; i < dma_dram.map.segment_count && !cpu; i++) {
        if (at < dma_dram.map.segments[i].bytes)
            cpu = dma_rig_byte(&dma_dram.tag, dgm_bus_address(dma_dram.map.segments[i].bus) + at,
                               false);
        else
            at -= dma_dram.map.segments[i].bytes;
    }
    assert_non_null(cpu);
    return &dram_of(cpu)->bytes[(uintptr_t)cpu & (DGM_FRAME_BYTES - 1)];
}

void dma_dram_end(void)
{
    dma_dram.device_has_run = true;
    assert_int_equal(dgm_dma_unmap(&dma_rig.dma, &dma_dram.map, true), DGM_OK);
}

size_t dma_dram_random_pieces(struct dgm_dma_piece *pieces, uint32_t unit, uint32_t *bytes)
{
    const size_t count = 1 + unit_below(20);
    unsigned frame = (unsigned)unit_below(8);
    size_t i = 0;

    *bytes = 0;
    for (; i < count; i++, frame += 1 + (unsigned)unit_below(2)) {
        const uint32_t offset = (uint32_t)unit_below(4096 / unit) * unit;
        const uint32_t length = (uint32_t)(1 + unit_below((4096 - offset) / unit)) * unit;

        pieces[i] =
            (struct dgm_dma_piece){dma_dram.slot[frame], (uint16_t)offset, (uint16_t)length};
        *bytes += length;
    }
    if (*bytes % 512) {
        const uint32_t length = 512 - *bytes % 512;

        pieces[i++] = (struct dgm_dma_piece){dma_dram.slot[frame], 0, (uint16_t)length};
        *bytes += length;
    }
    return i;
}

unsigned char *dma_dram_cpu_byte(const struct dgm_dma_piece *pieces, uint32_t at)
{
    while (at >= pieces->bytes)
        at -= pieces++->bytes;
    return (unsigned char *)dgm_env_va(pieces->gfn) + pieces->offset + at;
}

int dma_dram_start_flush(void **state)
{
    dma_dram_start(state);
    assert_int_equal(dgm_cacheflush_probe(&dma_dram.flush), DGM_OK);
    dma_rig.dma.flush = &dma_dram.flush;
    return 0;
}

/* --- tests for both kinds of maintenance --- */

/* Fails: the device reads what was in DRAM before the guest wrote, from the frame or a buffer. */
void dma_dram_device_reads_what_was_written(void **state)
{
    for (unsigned trial = 0; trial < 500; trial++) {
        struct dgm_dma_piece pieces[32];
        uint32_t bytes;
        const size_t count = dma_dram_random_pieces(pieces, trial % 2 ? 512 : 1, &bytes);

        dma_dram.tag.gap = trial % 4 < 2 ? 4096 : 0;
        for (uint32_t i = 0; i < bytes; i++)
            *dma_dram_cpu_byte(pieces, i) = (unsigned char)unit_random();
        for (uint32_t at = 0; at < bytes;) {
            const int mapped = dma_dram_map(pieces, count, at, false);

            assert_true(mapped > 0);
            for (uint32_t i = 0; i < (uint32_t)mapped; i++)
                assert_int_equal(*dma_dram_device_byte(i), *dma_dram_cpu_byte(pieces, at + i));
            dma_dram_end();
            at += (uint32_t)mapped;
        }
    }
    assert_true(dma_rig.dma.bytes_foreign > 100000 && dma_rig.dma.bytes_bounced_reach > 100000);
}

/*
 * Fails: the guest reads what its cache had, or bytes beside the transfer in the same cache line
 * are lost: the guest's CPUs write to them while the transfer runs.
 */
void dma_dram_guest_reads_what_the_device_wrote(void **state)
{
    for (unsigned trial = 0; trial < 500; trial++) {
        const uint32_t unit = trial % 2 ? 512 : 1;
        struct dgm_dma_piece pieces[32];
        uint32_t bytes;
        const size_t count = dma_dram_random_pieces(pieces, unit, &bytes);

        dma_dram.tag.gap = trial % 4 < 2 ? 4096 : 0;
        for (uint32_t at = 0; at < bytes;) {
            const int mapped = dma_dram_map(pieces, count, at, true);
            unsigned char wrote[32 * 4096], beside[32];

            assert_true(mapped > 0);
            for (uint32_t i = 0; i < (uint32_t)mapped; i++)
                *dma_dram_device_byte(i) = wrote[i] = (unsigned char)unit_random();
            for (size_t i = 0; i < count; i++) { /* the byte before each piece */
                unsigned char *before = (unsigned char *)dgm_env_va(pieces[i].gfn);

                if (pieces[i].offset)
                    before[pieces[i].offset - 1] = beside[i] = (unsigned char)unit_random();
            }
            dma_dram_end();
            for (uint32_t i = 0; i < (uint32_t)mapped; i++)
                assert_int_equal(*dma_dram_cpu_byte(pieces, at + i), wrote[i]);
            for (size_t i = 0; i < count; i++) {
                const unsigned char *before = dgm_env_va(pieces[i].gfn);

                if (pieces[i].offset)
                    assert_int_equal(before[pieces[i].offset - 1], beside[i]);
            }
            at += (uint32_t)mapped;
        }
    }
    assert_true(dma_rig.dma.bytes_foreign > 100000 && dma_rig.dma.bytes_bounced_line > 10000);
}

/*
 * Fails: a truncation leaves two maps, both in flight, that write into one cache line; the later
 * undoes the earlier. The first map would end in the third piece, inside a line.
 */
void dma_dram_transfers_never_share_a_line(void **state)
{
    const struct dgm_dma_piece pieces[] = {{dma_dram.slot[1], 0, 1024},
                                           {dma_dram.slot[4], 0, 480},
                                           {dma_dram.slot[7], 0, 4096},
                                           {dma_dram.slot[10], 0, 544}};
    bool direct = false;

    dma_dram.tag.gap = 0;
    dma_dram.tag.segments_max = 3;
    for (uint32_t at = 0; at < 6144;) {
        const int mapped = dma_dram_map(pieces, 4, at, true);

        assert_true(mapped > 0);
        for (uint32_t i = 0; i < dma_dram.map.segment_count; i++) {
            if (dma_rig_is_buffer(dgm_bus_address(dma_dram.map.segments[i].bus)))
                continue;
            direct = true;
            assert_int_equal(dgm_bus_address(dma_dram.map.segments[i].bus) % LINE, 0);
            assert_int_equal(dma_dram.map.segments[i].bytes % LINE, 0);
        }
        dma_dram_end();
        at += (uint32_t)mapped;
    }
    assert_true(direct);
    dma_dram.tag.segments_max = 64;
}

/*
 * A map that lives long: the device writes to any of its bytes, and whole lines are lent to the CPU
 * and back. Fails: the CPU does not see what the device wrote there, or the device does not see
 * what the CPU wrote; or bytes beside them are copied, written back or lost.
 */
void dma_dram_lent_and_lent_back(void **state)
{
    for (unsigned trial = 0; trial < 100; trial++) {
        struct dgm_dma_piece pieces[32];
        static unsigned char device[128 * 1024], cpu[128 * 1024];
        uint32_t bytes;
        const size_t count = dma_dram_random_pieces(pieces, 512, &bytes);
        uint32_t mapped;

        dma_dram.tag.gap = trial % 4 < 2 ? 4096 : 0;
        for (uint32_t i = 0; i < bytes; i++)
            *dma_dram_cpu_byte(pieces, i) = (unsigned char)unit_random();
        mapped = (uint32_t)dma_dram_map(pieces, count, 0, true);
        assert_true((int)mapped > 0);
        for (uint32_t i = 0; i < mapped; i++) {
            cpu[i] = *dma_dram_cpu_byte(pieces, i);
            *dma_dram_device_byte(i) = device[i] = (unsigned char)unit_random();
        }
        for (unsigned step = 0; step < 20; step++) {
            const uint32_t at = (uint32_t)unit_below(mapped / LINE) * LINE;
            const uint32_t lent = (uint32_t)unit_below((mapped - at) / LINE + 1) * LINE;

            dma_dram.device_has_run = true;
            assert_int_equal(dgm_dma_sync_for_cpu(&dma_rig.dma, &dma_dram.map,
                                                  (struct dgm_span){.offset = at, .bytes = lent}),
                             DGM_OK);
            for (uint32_t i = 0; i < lent; i++) {
                cpu[at + i] = device[at + i];
                assert_int_equal(*dma_dram_cpu_byte(pieces, at + i), device[at + i]);
                if (unit_chance(10))
                    *dma_dram_cpu_byte(pieces, at + i) = device[at + i] =
                        (unsigned char)unit_random();
            }
            for (uint32_t i = 0; i < mapped; i++) /* nothing else was copied */
                if (i < at || i - at >= lent)
                    assert_int_equal(*dma_dram_cpu_byte(pieces, i), cpu[i]);
            dma_dram.device_has_run = false;
            assert_int_equal(
                dgm_dma_sync_for_device(&dma_rig.dma, &dma_dram.map,
                                        (struct dgm_span){.offset = at, .bytes = lent}),
                DGM_OK);
            for (uint32_t i = 0; i < lent; i++)
                cpu[at + i] = *dma_dram_cpu_byte(pieces, at + i);
            for (uint32_t i = 0; i < mapped; i++)
                assert_int_equal(*dma_dram_device_byte(i), device[i]);
            for (uint32_t i = 0; i < 5; i++) { /* the device continues */
                const uint32_t b = (uint32_t)unit_below(mapped);

                *dma_dram_device_byte(b) = device[b] = (unsigned char)unit_random();
            }
        }
        dma_dram_end();
        for (uint32_t i = 0; i < mapped; i++)
            assert_int_equal(*dma_dram_cpu_byte(pieces, i), device[i]);
    }
    assert_true(dma_rig.dma.bytes_bounced_reach > 10000 && dma_rig.dma.syncs == 4000);
}
