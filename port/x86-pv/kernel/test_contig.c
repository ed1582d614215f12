/* SPDX-License-Identifier: MIT */
/*
 * test_contig: contig on a real Xen, checked by Xen's m2p, by the CPU, and by a device
 *
 * All tests use the static region and leave it mapped, to whatever machine frames.
 */
#include "console.h"
#include "edu.h"
#include "machine.h"
#include "tests.h"

#include <dragoman/hyper/hypercall.h>
#include <dragoman/base/status.h>
#include <port/env.h>

#include <xen/features.h>
#include <xen/memory.h>
#include <xen/version.h>

/* One DMA: crosses the border of frames 0 and 1 in the middle. */
#define DMA_OFFSET 0xc00u
#define DMA_BYTES  2048u
#define POOL       64u /* frames below 2^28 bytes */
#define BACK       32u /* the frame to which the device writes its copy, for the check */

static struct dgm_contig pool, contig;

uint8_t pattern_byte(uint64_t frame, unsigned offset)
{
    return (uint8_t)(1 + (offset + 41 * frame) % 251);
}

void pattern_fill(uint64_t frame)
{
    for (unsigned i = 0; i < DGM_FRAME_BYTES; i++)
        region[frame][i] = pattern_byte(frame, i);
}

static bool all_zero(uint64_t first, uint64_t count)
{
    for (uint64_t frame = first; frame < first + count; frame++)
        for (unsigned i = 0; i < DGM_FRAME_BYTES / 8; i++)
            if (((volatile uint64_t *)region[frame])[i])
                return false;
    return true;
}

/* Writes first and last word of every frame, then checks that all keep their value. */
static bool memory_holds(uint64_t first, uint64_t count)
{
    bool good = true;

    for (uint64_t i = first; i < first + count; i++) {
        ((volatile uint64_t *)region[i])[0] = i * 3 + 1;
        ((volatile uint64_t *)region[i])[511] = i * 5 + 2;
    }
    for (uint64_t i = first; i < first + count; i++)
        good = good && ((volatile uint64_t *)region[i])[0] == i * 3 + 1 &&
               ((volatile uint64_t *)region[i])[511] == i * 5 + 2;
    return good;
}

/*
 * The device reads DMA_BYTES from frame 0 on and writes them to frame BACK. Reports how many of
 * them are right, and how many are right from the first one on.
 */
static void dma_across_border(const char *right_name, const char *prefix_name)
{
    unsigned right = 0, prefix = 0;
    bool done;

    pattern_fill(0);
    pattern_fill(1);
    done = edu_read(machine_mfn(region[0]) * DGM_FRAME_BYTES + DMA_OFFSET, DMA_BYTES) &&
           edu_write(machine_mfn(region[BACK]) * DGM_FRAME_BYTES, DMA_BYTES);
    for (unsigned i = 0; done && i < DMA_BYTES; i++) {
        const unsigned at = DMA_OFFSET + i;

        if (((volatile uint8_t *)region[BACK])[i] ==
            pattern_byte(at / DGM_FRAME_BYTES, at % DGM_FRAME_BYTES)) {
            prefix += prefix == right && prefix == i;
            right++;
        }
    }
    fact(right_name, done ? (int64_t)right : -1);
    fact(prefix_name, done ? (int64_t)prefix : -1);
}

/* The other direction: the device writes frame 2 to 3, across their border. */
static bool device_writes_across_border(void)
{
    bool good;

    pattern_fill(BACK);
    good = edu_read(machine_mfn(region[BACK]) * DGM_FRAME_BYTES, DMA_BYTES) &&
           edu_write(machine_mfn(region[2]) * DGM_FRAME_BYTES + DMA_OFFSET, DMA_BYTES);
    for (unsigned i = 0; i < DMA_BYTES; i++)
        good = good && region[2][DMA_OFFSET + i] == pattern_byte(BACK, i);
    return good;
}

void test_dma(bool broken)
{
    const struct dgm_gfn_range few = region_part(0, 8);

    check("edu_found", edu_start());
    /* Single frames that the device can address. */
    check("pool_init", dgm_contig_init(&pool, &machine_contig_port, region_part(0, POOL), 0) == 0);
    fact("pool_above_28_bits_before", (int64_t)machine_above(pool.range, EDU_BITS));
    fact("pool_made", dgm_contig_make(&pool, EDU_BITS));
    fact("pool_above_28_bits", (int64_t)machine_above(pool.range, EDU_BITS));
    machine_scatter(pool.range);
    fact("pool_runs", (int64_t)machine_runs(pool.range));
    fact("pool_m2p_wrong", (int64_t)machine_m2p_wrong(pool.range));
    for (uint64_t i = 0; i < POOL; i++)
        pattern_fill(i);
    dma_across_border("dma_right_scattered", "dma_prefix_scattered");

    check("few_init", dgm_contig_init(&contig, &machine_contig_port, few, broken ? 0 : 3) == 0);
    fact("few_made", dgm_contig_make(&contig, EDU_BITS));
    check("few_zero", all_zero(0, 8));
    fact("few_runs", (int64_t)machine_runs(few));
    fact("few_above_28_bits", (int64_t)machine_above(few, EDU_BITS));
    fact("few_m2p_wrong", (int64_t)machine_m2p_wrong(few));
    dgm_contig_check(&contig);
    dma_across_border("dma_right_contiguous", "dma_prefix_contiguous");
    if (!broken)
        check("device_writes_across_border", device_writes_across_border());

    fact("few_undo", dgm_contig_undo(&contig));
    check("few_zero_after_undo", all_zero(0, 8));
    fact("few_m2p_wrong_after_undo", (int64_t)machine_m2p_wrong(few));
    check("few_memory_holds", memory_holds(0, 8));
    dgm_contig_check(&contig);
    /* The device ignores address bits above 28: only reading is safe here, and BACK is still
     * below. */
    dma_across_border("dma_right_undone", "dma_prefix_undone");
}

static uint64_t read_tsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

void test_large(void)
{
    const struct dgm_gfn_range all = region_part(0, FRAMES_MAX);
    uint64_t start;

    machine_scatter(all);
    check("large_init", dgm_contig_init(&contig, &machine_contig_port, all, 9) == 0);
    fact("large_runs_before", (int64_t)machine_runs(all));
    start = read_tsc();
    fact("large_made", dgm_contig_make(&contig, 30));
    fact("large_make_ticks", (int64_t)(read_tsc() - start));
    fact("large_runs", (int64_t)machine_runs(all));
    fact("large_above_30_bits", (int64_t)machine_above(all, 30));
    fact("large_first_mfn_in_run", (int64_t)(dgm_mfn_number(contig.mfn[0]) % FRAMES_MAX));
    fact("large_m2p_wrong", (int64_t)machine_m2p_wrong(all));
    check("large_zero", all_zero(0, FRAMES_MAX));
    check("large_memory_holds", memory_holds(0, FRAMES_MAX));
    start = read_tsc();
    fact("large_undo", dgm_contig_undo(&contig));
    fact("large_undo_ticks", (int64_t)(read_tsc() - start));
    fact("large_m2p_wrong_after_undo", (int64_t)machine_m2p_wrong(all));
    check("large_memory_holds_after_undo", memory_holds(0, FRAMES_MAX));
    fact("large_exchanged", (int64_t)contig.exchanged);
    dgm_contig_check(&contig);
}

/* 64 runs of 8. Frame 83, in the eleventh, is left mapped: Xen does ten runs and stops. */
void test_partial(void)
{
    const struct dgm_gfn_range all = region_part(0, FRAMES_MAX);

    machine_scatter(all);
    check("partial_init", dgm_contig_init(&contig, &machine_contig_port, all, 3) == 0);
    machine_left_mapped = dgm_gfn_add(all.first, 83);
    fact("partial_made", dgm_contig_make(&contig, 32));
    fact("partial_error", contig.error);
    fact("partial_m2p_wrong", (int64_t)machine_m2p_wrong(all));
    check("partial_memory_holds", memory_holds(0, FRAMES_MAX));
    dgm_contig_check(&contig);
    machine_left_mapped = DGM_GFN_NONE;
    fact("partial_undo", dgm_contig_undo(&contig));

    fact("all_made", dgm_contig_make(&contig, 32));
    fact("all_above_32_bits", (int64_t)machine_above(all, 32));
    dgm_contig_check(&contig);
    /* Undone from the last run back: 63 down to 41 go, 40 is refused. */
    machine_left_mapped = dgm_gfn_add(all.first, 40 * 8 + 5);
    fact("undo_partial_error", dgm_contig_undo(&contig));
    fact("undo_partial_runs", (int64_t)contig.runs);
    fact("undo_partial_m2p_wrong", (int64_t)machine_m2p_wrong(all));
    check("undo_partial_memory_holds", memory_holds(0, FRAMES_MAX));
    dgm_contig_check(&contig);
    machine_left_mapped = DGM_GFN_NONE;
    fact("undo_rest", dgm_contig_undo(&contig));
    fact("undo_rest_runs", (int64_t)contig.runs);
    fact("undo_rest_m2p_wrong", (int64_t)machine_m2p_wrong(all));
    check("undo_rest_memory_holds", memory_holds(0, FRAMES_MAX));
    fact("partial_exchanges", (int64_t)contig.partial);
}

void test_refusals(void)
{
    const struct dgm_gfn_range few = region_part(0, 8);

    check("refusal_init", dgm_contig_init(&contig, &machine_contig_port, few, 3) == 0);
    /* Below 4 KiB Xen has no memory to give. */
    fact("refused_no_memory", dgm_contig_make(&contig, 12));
    check("refused_no_memory_mapped", contig.mapped && memory_holds(0, 8));
    fact("refused_m2p_wrong", (int64_t)machine_m2p_wrong(few));
    dgm_contig_check(&contig);

    /* The port fails after the exchange: the frames are ours and known, but not mapped for a
     * while. */
    machine_remap_failures = 1;
    fact("remap_failed", dgm_contig_make(&contig, 32));
    check("remap_failed_runs", contig.runs == 1 && !contig.mapped);
    fact("remap_again", dgm_contig_remap(&contig));
    check("remap_again_memory_holds", contig.mapped && memory_holds(0, 8));
    fact("remap_runs", (int64_t)machine_runs(few));
    machine_remap_failures = 1;
    fact("remap_failed_in_undo", dgm_contig_undo(&contig));
    check("remap_failed_in_undo_runs", contig.runs == 0 && !contig.mapped);
    fact("undo_again", dgm_contig_undo(&contig));
    check("undo_again_memory_holds", contig.mapped && memory_holds(0, 8));
    fact("undo_again_m2p_wrong", (int64_t)machine_m2p_wrong(few));
    dgm_contig_check(&contig);
}

/* As PVH the same library must report that it is not supported, and Xen must refuse the
 * exchange. */
void test_pvh(void)
{
    static xen_pfn_t in, out;
    struct xen_feature_info features = {.submap_idx = 0};
    struct xen_memory_exchange exchange = {
        .in = {.nr_extents = 1, .domid = DOMID_SELF},
        .out = {.nr_extents = 1, .domid = DOMID_SELF},
    };

    dgm_hypercall(__HYPERVISOR_xen_version, XENVER_get_features, (uintptr_t)&features, 0, 0, 0);
    check("auto_translated", features.submap >> XENFEAT_auto_translated_physmap & 1);
    fact("pvh_contig_init", dgm_contig_init(&contig, &machine_contig_port, region_part(0, 8), 3));
    pattern_fill(0);
    in = out = dgm_gfn_number(region_part(0, 1).first);
    set_xen_guest_handle(exchange.in.extent_start, &in);
    set_xen_guest_handle(exchange.out.extent_start, &out);
    fact("pvh_exchange", dgm_memory_op(XENMEM_exchange, &exchange));
    fact("pvh_exchanged", (int64_t)exchange.nr_exchanged);
    check("pvh_memory_intact",
          region[0][0] == pattern_byte(0, 0) && region[0][4095] == pattern_byte(0, 4095));
}
