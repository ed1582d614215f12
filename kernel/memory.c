/* SPDX-License-Identifier: MIT */
/* memory: see memory.h. */
#include "memory.h"
#include "image.h"
#include "mmu.h"

#include <dragoman/balloon.h>
#include <port/env.h>

#include <string.h>

#define CHUNK_BYTES   (2ull << 20) /* what mmu_prepare() mapped around the image */
#define BOUNCE_FRAMES 64
#define BALLOON_SHARE 4 /* without extended regions a quarter of the free RAM becomes slots */
#define BALLOON_MAX   DGM_SLOTS_DEFAULT

/* The identity mapping: valid for RAM and for slots alike. */
void *dgm_env_va(dgm_gfn_t gfn)
{
    return (void *)(uintptr_t)(gfn.n << DGM_FRAME_SHIFT);
}

dgm_gfn_t dgm_env_gfn(const void *va)
{
    return dgm_gfn((uintptr_t)va >> DGM_FRAME_SHIFT);
}

static uint64_t up(uint64_t address)
{
    return (address + DGM_FRAME_BYTES - 1) >> DGM_FRAME_SHIFT;
}

void memory_init_early(struct memory *memory)
{
    const uint64_t end = ((uintptr_t)image_end + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1);
    const uint64_t first = up((uintptr_t)image_end);

    dgm_frames_init(&memory->frames);
    if (end >> DGM_FRAME_SHIFT > first)
        dgm_frames_add(&memory->frames,
                       (struct dgm_gfn_range){dgm_gfn(first), (end >> DGM_FRAME_SHIFT) - first});
    mmu_init(&memory->frames);
}

/* Gives [start, end) to the pool, less what is in use there. */
static void add_free(struct memory *memory, uint64_t start, uint64_t end,
                     const struct devtree_range *used, size_t used_count)
{
    for (size_t i = 0; i < used_count; i++) {
        const uint64_t used_end = used[i].base + used[i].bytes;

        if (used[i].bytes == 0 || used_end <= start || used[i].base >= end)
            continue;
        if (used[i].base > start)
            add_free(memory, start, used[i].base, used + i + 1, used_count - i - 1);
        if (used_end >= end)
            return;
        start = used_end;
    }
    const uint64_t first = up(start), last = end >> DGM_FRAME_SHIFT;
    if (last > first)
        dgm_frames_add(&memory->frames, (struct dgm_gfn_range){dgm_gfn(first), last - first});
}

static void map_ram(struct memory *memory, const struct devtree *tree)
{
    const uint64_t chunk = (uintptr_t)image_start & ~(CHUNK_BYTES - 1);
    const struct devtree_range used[] = {
        {chunk, ((uintptr_t)image_end + CHUNK_BYTES - 1 - chunk) & ~(CHUNK_BYTES - 1)},
        {(uintptr_t)tree->fdt, tree->bytes},
        tree->initrd,
    };

    mmu_map((uintptr_t)tree->fdt, tree->bytes, MMU_NORMAL);
    for (size_t i = 0; i < tree->bank_count; i++)
        mmu_map(tree->banks[i].base, tree->banks[i].bytes, MMU_NORMAL);
    for (size_t i = 0; i < tree->bank_count; i++)
        add_free(memory, tree->banks[i].base, tree->banks[i].base + tree->banks[i].bytes, used,
                 sizeof used / sizeof used[0]);
}

static struct dgm_gfn_range balloon_slots(struct memory *memory)
{
    struct dgm_gfn_range range = {.count = dgm_frames_left(&memory->frames) / BALLOON_SHARE};

    if (range.count > BALLOON_MAX)
        range.count = BALLOON_MAX;
    while (range.count && dgm_frames_take(&memory->frames, range.count, &range.first) != DGM_OK)
        range.count /= 2;
    const int64_t given = range.count ? dgm_balloon_out(range) : 0;
    if (given <= 0)
        dgm_env_panic(
            __FILE__, __LINE__,
            "no extended regions and Xen takes no memory back: no place for guests' pages");
    range.count = (uint64_t)given;
    memory->slots_ballooned = true;
    return range;
}

static struct dgm_gfn_range choose_window(struct memory *memory, const struct devtree *tree)
{
    struct dgm_gfn_range best = {.count = 0};

    for (size_t i = 0; i < tree->region_count; i++) {
        const uint64_t frames = tree->regions[i].bytes >> DGM_FRAME_SHIFT;

        if (frames > best.count) {
            best.first = dgm_gfn(tree->regions[i].base >> DGM_FRAME_SHIFT);
            best.count = frames;
        }
    }
    if (best.count > DGM_SLOTS_DEFAULT)
        best.count = DGM_SLOTS_DEFAULT;
    if (best.count == 0)
        return balloon_slots(memory);
    mmu_map(best.first.n << DGM_FRAME_SHIFT, best.count << DGM_FRAME_SHIFT, MMU_NORMAL);
    return best;
}

static void *take(struct memory *memory, size_t bytes)
{
    void *taken = dgm_frames_take_bytes(&memory->frames, bytes);

    if (!taken)
        dgm_env_panic(__FILE__, __LINE__, "too little memory for Dom0: raise dom0_mem=");
    return taken;
}

void memory_init(struct memory *memory, const struct devtree *tree, struct dgm_reactor *reactor)
{
    struct dgm_ram_bank banks[DEVTREE_BANKS_MAX];

    map_ram(memory, tree);
    for (size_t i = 0; i < tree->bank_count; i++) {
        const uint64_t frame = tree->banks[i].base >> DGM_FRAME_SHIFT;

        banks[i] = (struct dgm_ram_bank){dgm_gfn(frame), dgm_mfn(frame),
                                         tree->banks[i].bytes >> DGM_FRAME_SHIFT};
    }
    const struct dgm_gfn_range window = choose_window(memory, tree);
    if (dgm_p2m_init(&memory->p2m, banks, tree->bank_count, window,
                     take(memory, dgm_p2m_bytes(window.count))) != DGM_OK)
        dgm_env_panic(__FILE__, __LINE__, "Dom0's memory banks overlap");
    dgm_slots_init(&memory->slots, window, take(memory, dgm_slots_bytes(window.count)));
    memory->grant = take(memory, sizeof *memory->grant);
    dgm_grant_init(memory->grant, &memory->p2m, &memory->slots);
    dgm_bounce_init(&memory->bounce, reactor, &memory->frames, BOUNCE_FRAMES);
    dgm_dma_init(&memory->dma, &memory->p2m, &memory->bounce);
}
