/* SPDX-License-Identifier: MIT */
/* mmu: see mmu.h. Descriptor formats: Arm ARM D8.3, VMSAv8-64, 4 KiB granule. */
#include "image.h"
#include "mmu.h"

#include <port/env.h>

#define ENTRIES     512u
#define VALID       (1ull << 0)
#define TABLE       (1ull << 1) /* at level 3: page */
#define ATTR_DEVICE (1ull << 2) /* MAIR index 1; 0 is normal memory */
#define READ_ONLY   (1ull << 7)
#define INNER       (3ull << 8)
#define ACCESSED    (1ull << 10)
#define PXN         (1ull << 53)
#define UXN         (1ull << 54)
#define ADDRESS     0x0000fffffffff000ull
#define BLOCK_BYTES (2ull << 20)

/* The tables that are needed before RAM is known: the root, three levels for the image, which lies
 * within 2 MiB, and two for the 2 MiB that hold the device tree. */
#define EARLY_TABLES 6

/* Behind the image's file (link.ld), so not zero at first. */
static uint64_t early[EARLY_TABLES][ENTRIES] __attribute__((aligned(4096), section(".tables")));
static unsigned early_used;
static uint64_t *root;
static struct dgm_frames *tables;

/* The identity mapping: valid for RAM and for slots alike. */
void *dgm_env_va(dgm_gfn_t gfn)
{
    return (void *)(uintptr_t)dgm_gfn_address(gfn);
}

dgm_gfn_t dgm_env_gfn(const void *va)
{
    return dgm_gfn((uintptr_t)va >> DGM_FRAME_SHIFT);
}

static uint64_t *table_new(void)
{
    dgm_gfn_t gfn;

    if (!tables) {
        if (early_used == EARLY_TABLES)
            dgm_env_panic(__FILE__, __LINE__,
                          "no page table is left before RAM is known: the image crosses 2 MiB; Xen "
                          "must load it at a multiple of 2 MiB");
        uint64_t *table = early[early_used++];

        for (unsigned i = 0; i < ENTRIES; i++)
            *(volatile uint64_t *)&table[i] = 0;
        return table;
    }
    if (dgm_frames_take(tables, 1, &gfn) != 0)
        dgm_env_panic(__FILE__, __LINE__,
                      "too little memory: no frame is left for page tables: give Xen a dom0_mem= "
                      "that is 2M larger");
    return (uint64_t *)(dgm_gfn_address(gfn));
}

static uint64_t page_attributes(enum mmu_memory memory)
{
    switch (memory) {
    case MMU_CODE:
        return ACCESSED | INNER | READ_ONLY | UXN;
    case MMU_READONLY:
        return ACCESSED | INNER | READ_ONLY | UXN | PXN;
    case MMU_NORMAL:
        return ACCESSED | INNER | UXN | PXN;
    case MMU_DEVICE:
        break;
    }
    return ACCESSED | ATTR_DEVICE | UXN | PXN;
}

/* Maps one block (2 MiB) or page at `address`; keeps an existing mapping. */
static void map_one(uint64_t address, bool block, uint64_t attribute)
{
    uint64_t *table = root;

    if (!block && address == (uintptr_t)stack_guard)
        return; /* the guard page must stay unmapped */
    for (unsigned shift = 39; shift > (block ? 21u : 12u); shift -= 9) {
        volatile uint64_t *entry = &table[address >> shift & (ENTRIES - 1)];

        if (!(*entry & VALID))
            *entry = (uint64_t)(uintptr_t)table_new() | TABLE | VALID;
        else if (!(*entry & TABLE))
            return; /* a block is already mapped */
        table = (uint64_t *)(uintptr_t)(*entry & ADDRESS);
    }

    volatile uint64_t *entry = &table[address >> (block ? 21 : 12) & (ENTRIES - 1)];
    if (*entry & VALID) {
        /* A table of pages exists for this block: fill its free entries. */
        if (block && (*entry & TABLE))
            for (uint64_t at = 0; at < BLOCK_BYTES; at += DGM_FRAME_BYTES)
                map_one(address + at, false, attribute);
        return;
    }
    *entry = address | attribute | VALID | (block ? 0 : TABLE);
}

void mmu_map(struct mmu_range range, enum mmu_memory memory)
{
    const uint64_t mask = DGM_FRAME_BYTES - 1;
    const uint64_t end = (range.address + range.bytes + mask) & ~mask;
    uint64_t address = range.address & ~mask;

    while (address < end) {
        const bool block = address % BLOCK_BYTES == 0 && end - address >= BLOCK_BYTES;

        map_one(address, block, page_attributes(memory));
        address += block ? BLOCK_BYTES : DGM_FRAME_BYTES;
    }
    __asm__ volatile("dsb ishst\n\tisb" ::: "memory");
}

void mmu_init(struct dgm_frames *frames)
{
    tables = frames;
}

/*
 * Runs with the MMU off, so only aligned accesses are allowed (see the compiler's flags). Maps the
 * image, the rest of its 2 MiB, which is RAM because Xen's banks are larger and aligned, and the
 * device tree, of which only the address is known.
 */
uint64_t mmu_prepare(uint64_t device_tree)
{
    const uint64_t start = (uintptr_t)image_start;
    const uint64_t rodata = (uintptr_t)rodata_start;
    const uint64_t data = (uintptr_t)data_start;
    const uint64_t rest = ((uintptr_t)image_end + BLOCK_BYTES - 1) & ~(BLOCK_BYTES - 1);

    root = table_new();
    mmu_map((struct mmu_range){.address = start, .bytes = rodata - start}, MMU_CODE);
    mmu_map((struct mmu_range){.address = rodata, .bytes = data - rodata}, MMU_READONLY);
    mmu_map((struct mmu_range){.address = data, .bytes = rest - data}, MMU_NORMAL);
    mmu_map((struct mmu_range){.address = device_tree & ~(BLOCK_BYTES - 1), .bytes = BLOCK_BYTES},
            MMU_NORMAL);
    return (uintptr_t)root;
}
