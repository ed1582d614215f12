/* SPDX-License-Identifier: MIT */
/*
 * arch_inline for x86 under Xen: see port/arch.h for the contract. Memory is strongly ordered and
 * devices see the caches, so all barriers except the full one restrict only the compiler.
 */
#ifndef ARCH_INLINE_H
#define ARCH_INLINE_H

#include <stdint.h>

static inline void dgm_arch_mb(void)
{
    __asm__ volatile("lock; addl $0, -4(%%rsp)" ::: "memory", "cc");
}

static inline void dgm_arch_rmb(void)
{
    __asm__ volatile("" ::: "memory");
}

static inline void dgm_arch_wmb(void)
{
    __asm__ volatile("" ::: "memory");
}

static inline void dgm_arch_dma_wmb(void)
{
    __asm__ volatile("" ::: "memory");
}

static inline void dgm_arch_dma_rmb(void)
{
    __asm__ volatile("" ::: "memory");
}

static inline void dgm_arch_dma_mb(void)
{
    __asm__ volatile("mfence" ::: "memory");
}

/* Volatile accesses of that width: one instruction each on x86. */
#define DGM_ARCH_MMIO(bits)                                                                        \
    static inline uint##bits##_t dgm_arch_mmio_read##bits(const volatile void *address)            \
    {                                                                                              \
        uint##bits##_t value = *(const volatile uint##bits##_t *)address;                          \
        dgm_arch_rmb();                                                                            \
        return value;                                                                              \
    }                                                                                              \
    static inline void dgm_arch_mmio_write##bits(volatile void *address, uint##bits##_t value)     \
    {                                                                                              \
        dgm_arch_wmb();                                                                            \
        *(volatile uint##bits##_t *)address = value;                                               \
    }

DGM_ARCH_MMIO(8)
DGM_ARCH_MMIO(16)
DGM_ARCH_MMIO(32)
DGM_ARCH_MMIO(64)

#include <port/arch_atomic.h>

#endif
