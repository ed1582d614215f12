/* SPDX-License-Identifier: MIT */
/* arch_inline for arm64 under Xen: see port/arch.h for the contract. */
#ifndef ARCH_INLINE_H
#define ARCH_INLINE_H

#include <stdint.h>

static inline void dgm_arch_mb(void)
{
    __asm__ volatile("dmb ish" ::: "memory");
}

static inline void dgm_arch_rmb(void)
{
    __asm__ volatile("dmb ishld" ::: "memory");
}

static inline void dgm_arch_wmb(void)
{
    __asm__ volatile("dmb ishst" ::: "memory");
}

static inline void dgm_arch_dma_wmb(void)
{
    __asm__ volatile("dmb oshst" ::: "memory");
}

static inline void dgm_arch_dma_rmb(void)
{
    __asm__ volatile("dmb oshld" ::: "memory");
}

static inline void dgm_arch_dma_mb(void)
{
    __asm__ volatile("dmb osh" ::: "memory");
}

/* Single instructions without write-back: the only forms that a hypervisor can emulate (ISV is
 * set). */
#define DGM_ARCH_LOAD_8   "ldrb %w0"
#define DGM_ARCH_LOAD_16  "ldrh %w0"
#define DGM_ARCH_LOAD_32  "ldr %w0"
#define DGM_ARCH_LOAD_64  "ldr %x0"
#define DGM_ARCH_STORE_8  "strb %w0"
#define DGM_ARCH_STORE_16 "strh %w0"
#define DGM_ARCH_STORE_32 "str %w0"
#define DGM_ARCH_STORE_64 "str %x0"
#define DGM_ARCH_MMIO_READ(bits, value, address)                                                   \
    __asm__ volatile(DGM_ARCH_LOAD_##bits ", [%1]" : "=r"(value) : "r"(address) : "memory")
#define DGM_ARCH_MMIO_WRITE(bits, value, address)                                                  \
    __asm__ volatile(DGM_ARCH_STORE_##bits ", [%1]" : : "rZ"(value), "r"(address) : "memory")
#include <port/arch_mmio.h>

#include <port/arch_atomic.h>

#endif
