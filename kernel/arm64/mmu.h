/* SPDX-License-Identifier: MIT */
/*
 * mmu: stage-1 page tables of an identity mapping
 *
 * Virtual address = guest-physical address, 48 bits, one root. The image is mapped
 * write-xor-execute with a guard page under the stack; no other mapping is
 * executable. Mappings are added and never removed.
 */
#ifndef KERNEL_ARM64_MMU_H
#define KERNEL_ARM64_MMU_H

#include <dragoman/base/frames.h>

#include <stdbool.h>

enum mmu_memory {
    MMU_CODE,     /* read, execute */
    MMU_READONLY, /* read */
    MMU_NORMAL,   /* read, write; write-back, inner shareable: RAM, slots, pages shared with Xen */
    MMU_DEVICE,   /* registers: nGnRE */
};

/* Bytes [address, address + bytes). */
struct mmu_range {
    uint64_t address, bytes;
};

/* Tables are taken from `frames` from now on (before that, from a few in the image). */
void mmu_init(struct dgm_frames *frames);

/*
 * Maps `range`, rounded outwards to frames. Existing mappings are kept. Panics
 * if no frame is left for a table, which happens only during a start with too little memory.
 */
void mmu_map(struct mmu_range range, enum mmu_memory memory);

/* Reads the 32-bit register at `address`, which is mapped. False: the read was aborted, so no
 * device responds there (entry.S). */
bool mmu_probe(uint64_t address);

#endif
