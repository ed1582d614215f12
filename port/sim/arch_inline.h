/* SPDX-License-Identifier: MIT */
/*
 * arch_inline for hosted builds: barriers are the compiler's fences, and MMIO goes to the simulated
 * device that registered the address (port/sim/arch.c).
 */
#ifndef ARCH_INLINE_H
#define ARCH_INLINE_H

#include <stdint.h>

/*
 * What another CPU does just here: called after each full barrier and each atomic, which are the
 * points between which order is promised. NULL: nothing. See port/sim/sim.h.
 */
extern void (*dgm_sim_barrier_hook)(void);

static inline void dgm_sim_barrier(void)
{
    if (dgm_sim_barrier_hook)
        dgm_sim_barrier_hook();
}

static inline void dgm_arch_mb(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    dgm_sim_barrier();
}

static inline void dgm_arch_rmb(void)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

static inline void dgm_arch_wmb(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void dgm_arch_dma_wmb(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void dgm_arch_dma_rmb(void)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

uint64_t dgm_sim_mmio_read(const volatile void *address, unsigned bytes);
void dgm_sim_mmio_write(volatile void *address, uint64_t value, unsigned bytes);

#define DGM_ARCH_MMIO(bits)                                                                        \
    static inline uint##bits##_t dgm_arch_mmio_read##bits(const volatile void *address)            \
    {                                                                                              \
        return (uint##bits##_t)dgm_sim_mmio_read(address, (bits) / 8);                             \
    }                                                                                              \
    static inline void dgm_arch_mmio_write##bits(volatile void *address, uint##bits##_t value)     \
    {                                                                                              \
        dgm_sim_mmio_write(address, value, (bits) / 8);                                            \
    }

DGM_ARCH_MMIO(8)
DGM_ARCH_MMIO(16)
DGM_ARCH_MMIO(32)
DGM_ARCH_MMIO(64)

static inline uint64_t dgm_arch_swap64(volatile uint64_t *word, uint64_t value)
{
    const uint64_t before = __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);

    dgm_sim_barrier();
    return before;
}

static inline void dgm_arch_clear_bit64(volatile uint64_t *word, unsigned bit)
{
    __atomic_fetch_and(word, ~(1ull << bit), __ATOMIC_SEQ_CST);
    dgm_sim_barrier();
}

static inline void dgm_arch_set_bit64(volatile uint64_t *word, unsigned bit)
{
    __atomic_fetch_or(word, 1ull << bit, __ATOMIC_SEQ_CST);
    dgm_sim_barrier();
}

#endif
