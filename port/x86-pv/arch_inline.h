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
#define DGM_ARCH_MMIO_READ(bits, value, address)                                                   \
    ((value) = *(const volatile uint##bits##_t *)(address), dgm_arch_rmb())
#define DGM_ARCH_MMIO_WRITE(bits, value, address)                                                  \
    (dgm_arch_wmb(), (void)(*(volatile uint##bits##_t *)(address) = (value)))
#include <port/arch_mmio.h>

#include <port/arch_atomic.h>

#endif
