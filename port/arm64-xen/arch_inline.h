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
#define DGM_ARCH_MMIO(bits, load, store, width)                                                    \
    static inline uint##bits##_t dgm_arch_mmio_read##bits(const volatile void *address)            \
    {                                                                                              \
        uint##bits##_t value;                                                                      \
        __asm__ volatile(load " %" width "0, [%1]" : "=r"(value) : "r"(address) : "memory");       \
        return value;                                                                              \
    }                                                                                              \
    static inline void dgm_arch_mmio_write##bits(volatile void *address, uint##bits##_t value)     \
    {                                                                                              \
        __asm__ volatile(store " %" width "0, [%1]" : : "rZ"(value), "r"(address) : "memory");     \
    }

DGM_ARCH_MMIO(8, "ldrb", "strb", "w")
DGM_ARCH_MMIO(16, "ldrh", "strh", "w")
DGM_ARCH_MMIO(32, "ldr", "str", "w")
DGM_ARCH_MMIO(64, "ldr", "str", "x")

#include <port/arch_atomic.h>

#endif
