/* SPDX-License-Identifier: MIT */
/* memory: see memory.h. RAM, the slot window, the core. */
#include "memory.h"
#include "shortage.h"
#include "xen.h"
#include <kernel/arm64/image.h>
#include <kernel/arm64/mmu.h>

#include <dragoman/base/check.h>
#include <dragoman/hyper/maptrack.h>
#include <dragoman/base/status.h>
#include <port/env.h>

#include <string.h>

#define CHUNK_BYTES   (2ull << 20)            /* what mmu_prepare() mapped around the image */
#define FREE_MAX      (DEVTREE_BANKS_MAX + 3) /* each of three ranges in use may split a bank */
#define BOUNCE_FRAMES 64
#define SLOTS_FEW     4096 /* extended regions with fewer slots than these are not enough, and */
#define BALLOON_SHARE 4    /* a quarter of the free RAM becomes slots too */

static uint64_t frame_above(uint64_t address)
{
    return (address + DGM_FRAME_BYTES - 1) >> DGM_FRAME_SHIFT;
}

void memory_init_early(struct memory *memory)
{
    const uint64_t end = ((uintptr_t)image_end + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1);
    const uint64_t first = frame_above((uintptr_t)image_end);

    dgm_frames_init(&memory->frames);
    if (end >> DGM_FRAME_SHIFT > first)
        dgm_frames_add(&memory->frames,
                       (struct dgm_gfn_range){dgm_gfn(first), (end >> DGM_FRAME_SHIFT) - first});
    mmu_init(&memory->frames);
}

void memory_check_image(const struct devtree *tree)
{
    const struct range image = {(uintptr_t)image_start, (uintptr_t)(image_end - image_start)};
    uint64_t inside = 0, bytes = 0;

    for (size_t i = 0; i < tree->bank_count; i++) {
        const struct range *bank = &tree->banks[i];

        bytes += bank->bytes;
        if (image.base >= bank->base && image.base - bank->base < bank->bytes &&
            image.bytes <= bank->bytes - (image.base - bank->base))
            inside++;
    }
    shortage_ram(bytes);
    if (!inside)
        dgm_env_panic(__FILE__, __LINE__,
                      "device tree: /memory does not contain this image: the tree is not the one "
                      "that Xen made for Dom0, or it reserves the image");
}

/* Maps all RAM, and adds its free part to the pool. */
static void map_ram(struct memory *memory, const struct devtree *tree)
{
    const uint64_t chunk = (uintptr_t)image_start & ~(CHUNK_BYTES - 1);
    const struct range used[] = {
        {chunk, (((uintptr_t)image_end + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1)) - chunk},
        range_outwards((struct range){(uintptr_t)tree->fdt, tree->bytes}),
        range_outwards(tree->initrd),
    };
    struct range free[FREE_MAX];
    size_t count = tree->bank_count;

    mmu_map((struct mmu_range){.address = (uintptr_t)tree->fdt, .bytes = tree->bytes}, MMU_NORMAL);
    memcpy(free, tree->banks, count * sizeof free[0]);
    for (size_t i = 0; i < count; i++)
        mmu_map((struct mmu_range){.address = free[i].base, .bytes = free[i].bytes}, MMU_NORMAL);
    for (size_t i = 0; i < sizeof used / sizeof used[0]; i++)
        count = ranges_remove(free, count, used[i], FREE_MAX);
    for (size_t i = 0; i < count; i++)
        if (dgm_frames_add(&memory->frames,
                           (struct dgm_gfn_range){dgm_gfn(free[i].base >> DGM_FRAME_SHIFT),
                                                  free[i].bytes >> DGM_FRAME_SHIFT}) != DGM_OK)
            dgm_env_log("%llu KiB of RAM at %llx are not used: it is in more pieces than are kept",
                        (unsigned long long)free[i].bytes >> 10, (unsigned long long)free[i].base);
}

/* --- the slots --- */

/* More slots than Xen has mappings would be of no use, and one guest could take the mappings that
 * another one needs to fill its part of the slots. */
static void limit_slots(struct memory *memory)
{
    const uint64_t mappings = dgm_maptrack_mappings();

    memory->slots_max = DGM_SLOTS_DEFAULT;
    if (mappings >= DGM_SLOTS_DEFAULT)
        return;
    dgm_env_log("Xen has room for %llu grant mappings of ours only, so there are no more slots; "
                "for more give Xen a larger gnttab_max_maptrack_frames=",
                (unsigned long long)mappings);
    memory->slots_max = mappings;
}

/* The largest extended region that is not in the window yet, or NULL. */
static const struct range *largest_unused_region(const struct devtree *tree, uint32_t used)
{
    const struct range *best = NULL;

    for (size_t i = 0; i < tree->region_count; i++)
        if (!(used >> i & 1) && (!best || tree->regions[i].bytes > best->bytes))
            best = &tree->regions[i];
    return best;
}

/* Adds extended regions, the largest first, until there are enough slots; one part of the window is
 * left for RAM. */
static void add_regions(struct memory *memory, const struct devtree *tree,
                        struct dgm_window *window)
{
    const struct range *region;
    uint32_t used = 0;

    while (memory->slots_unpopulated < memory->slots_max &&
           window->part_count < DGM_WINDOW_PARTS_MAX - 1 &&
           (region = largest_unused_region(tree, used))) {
        const uint64_t wanted = memory->slots_max - memory->slots_unpopulated;
        struct dgm_gfn_range gfns = {dgm_gfn(region->base >> DGM_FRAME_SHIFT),
                                     region->bytes >> DGM_FRAME_SHIFT};

        used |= 1u << (region - tree->regions);
        if (gfns.count > wanted)
            gfns.count = wanted;
        if (dgm_window_add(window, gfns) != DGM_OK)
            continue;
        mmu_map((struct mmu_range){.address = dgm_gfn_address(gfns.first),
                                   .bytes = gfns.count << DGM_FRAME_SHIFT},
                MMU_NORMAL);
        memory->slots_unpopulated += gfns.count;
    }
}

/* Takes RAM to give up, in whole blocks of slots; the result may be empty. */
static struct dgm_gfn_range take_balloon_run(struct memory *memory)
{
    struct dgm_gfn_range run = {.count = dgm_frames_available(&memory->frames) / BALLOON_SHARE};

    if (run.count > memory->slots_max - memory->slots_unpopulated)
        run.count = memory->slots_max - memory->slots_unpopulated;
    run.count -= run.count % DGM_SLOT_BLOCK;
    for (; run.count; run.count = run.count / 2 - run.count / 2 % DGM_SLOT_BLOCK)
        if (dgm_frames_take(&memory->frames, run.count, &run.first) == DGM_OK)
            break;
    return run;
}

/* Adds all slots of the window's first `count` parts. */
static void add_slots(struct memory *memory, const struct dgm_window *window, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct dgm_gfn_range gfns = window->parts[i].gfns;

        for (uint64_t slot = 0; slot < gfns.count; slot += DGM_SLOT_BLOCK) {
            const uint64_t left = gfns.count - slot;

            dgm_slots_add(&memory->core->slots, dgm_gfn_add(gfns.first, slot),
                          left < DGM_SLOT_BLOCK ? left : DGM_SLOT_BLOCK);
        }
    }
}

void *memory_take(struct memory *memory, size_t bytes)
{
    void *taken = dgm_frames_take_bytes(&memory->frames, bytes);

    if (!taken)
        shortage(&memory->frames, bytes, "a table of the start");
    return taken;
}

/* Describes our RAM: on a 1:1 Dom0 every machine frame number equals the gfn; otherwise, and if Xen
 * does not say, memory_learn() sets them. */
static void make_banks(struct memory *memory, const struct devtree *tree,
                       struct dgm_ram_bank *banks)
{
    bool direct;
    const int status = xen_direct_mapped(&direct);

    if (status != DGM_OK)
        dgm_env_log("Xen does not say whether Dom0's memory is mapped 1:1 (error %d): its machine "
                    "frames are learnt by grants to ourselves",
                    status);
    for (size_t i = 0; i < tree->bank_count; i++) {
        const uint64_t frame = tree->banks[i].base >> DGM_FRAME_SHIFT;

        banks[i] = (struct dgm_ram_bank){.gfn = dgm_gfn(frame),
                                         .mfn = dgm_mfn(frame),
                                         .count = tree->banks[i].bytes >> DGM_FRAME_SHIFT};
        if (!direct)
            banks[i].mfns = memory->mfns[i] =
                memory_take(memory, banks[i].count * sizeof memory->mfns[0][0]);
    }
}

static void make_slots(struct memory *memory, const struct dgm_window *window,
                       struct dgm_gfn_range run, struct dgm_reactor *reactor)
{
    if (run.count) {
        dgm_balloon_init(&memory->balloon, reactor, &memory->core->slots, &memory->core->cache, run,
                         memory_take(memory, dgm_balloon_bytes(run.count)));
        dgm_balloon_set_target(&memory->balloon, run.count);
        dgm_balloon_fill(&memory->balloon);
    }
    add_slots(memory, window, window->part_count - (run.count != 0));
    if (memory_slots(memory) == 0)
        xen_refuses(
            "XENMEM_decrease_reservation of our RAM, and reports no extended regions (remove "
            "ext_regions=0 from its arguments): no slots for guests' pages",
            memory->balloon.refused);
}

/* The places where frames may be mapped at gfn == mfn: the rest of the regions, beyond the
 * slots. */
static size_t make_identity_places(const struct devtree *tree, const struct dgm_window *window,
                                   struct dgm_gfn_range *places)
{
    size_t count = 0;

    for (size_t i = 0; i < tree->region_count && count < DGM_IDENTITY_PLACES_MAX; i++) {
        struct dgm_gfn_range place = {.first = dgm_gfn(tree->regions[i].base >> DGM_FRAME_SHIFT)};
        const dgm_gfn_t end =
            dgm_gfn((tree->regions[i].base + tree->regions[i].bytes) >> DGM_FRAME_SHIFT);

        /* Slots are at the beginning of a region. */
        for (size_t part = 0; part < window->part_count; part++)
            if (dgm_gfn_equal(window->parts[part].gfns.first, place.first))
                place.first = dgm_gfn_range_end(window->parts[part].gfns);
        if (!dgm_gfn_below(place.first, end))
            continue;
        place.count = dgm_gfn_diff(end, place.first);
        mmu_map((struct mmu_range){.address = dgm_gfn_address(place.first),
                                   .bytes = place.count << DGM_FRAME_SHIFT},
                MMU_NORMAL);
        places[count++] = place;
    }
    return count;
}

uint64_t memory_slots(const struct memory *memory)
{
    return memory->slots_unpopulated + memory->balloon.current;
}

const char *memory_slots_are(const struct memory *memory)
{
    if (memory->balloon.current == 0)
        return "unpopulated";
    return memory->slots_unpopulated ? "unpopulated and ballooned out" : "ballooned out";
}

static void start_flush(struct memory *memory)
{
    struct dgm_cacheflush *flush = memory_take(memory, sizeof *flush);

    if (dgm_cacheflush_probe(flush) == DGM_OK)
        memory->core->dma.flush = flush;
    else
        dgm_env_log("Xen does not maintain caches: they are maintained by address");
}

void memory_init(struct memory *memory, const struct devtree *tree, struct dgm_reactor *reactor,
                 const struct memory_wants *wants)
{
    struct dgm_ram_bank banks[DEVTREE_BANKS_MAX];
    struct dgm_gfn_range places[DGM_IDENTITY_PLACES_MAX];
    struct dgm_window window = {.count = 0};
    struct dgm_gfn_range run = {.count = 0};
    struct dgm_core_config config = {
        .reactor = reactor,
        .frames = &memory->frames,
        .banks = banks,
        .bank_count = tree->bank_count,
        .window = &window,
        .slots_later = true,
        .bounce_frames = BOUNCE_FRAMES,
        .copy_frames = wants->copy_frames,
        .persistent_frames = wants->persistent_frames,
        .identity_frames = wants->identity_frames,
        .places = places,
    };

    map_ram(memory, tree);
    limit_slots(memory);
    make_banks(memory, tree, banks);
    add_regions(memory, tree, &window);
    if (memory->slots_unpopulated < SLOTS_FEW && memory->slots_unpopulated < memory->slots_max)
        run = take_balloon_run(memory);
    if (dgm_window_add(&window, run) != DGM_OK)
        dgm_assert(false); /* RAM and regions are disjoint, and a part was left for RAM */
    if (window.count == 0)
        shortage(&memory->frames, (uint64_t)DGM_SLOT_BLOCK * BALLOON_SHARE * DGM_FRAME_BYTES,
                 "without extended regions (ext_regions=0), room for guests' pages");
    if (wants->identity_frames)
        config.place_count = make_identity_places(tree, &window, places);
    memory->core = memory_take(memory, sizeof *memory->core);
    switch (dgm_core_init(memory->core, &config)) {
    case DGM_OK:
        break;
    case DGM_EINVAL:
        dgm_env_panic(__FILE__, __LINE__,
                      "Dom0's RAM is in more pieces than are kept: reserve less of it, or give Xen "
                      "another dom0_mem=");
    default:
        shortage(&memory->frames, 0, "the tables of frames do not fit");
    }
    make_slots(memory, &window, run, reactor);
    for (size_t i = 0; i < window.part_count; i++)
        dgm_env_log("slots from 0x%llx to 0x%llx",
                    (unsigned long long)dgm_gfn_address(window.parts[i].gfns.first),
                    (unsigned long long)dgm_gfn_address(dgm_gfn_range_end(window.parts[i].gfns)));
    if (wants->flush)
        start_flush(memory);
}
