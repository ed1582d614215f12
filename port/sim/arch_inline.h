/* SPDX-License-Identifier: MIT */
/*
 * arch_inline for hosted builds: barriers are the compiler's fences, and MMIO goes to the handler
 * that a test installed (port/sim/arch.c). See port/arch.h for the contract.
 */
#ifndef ARCH_INLINE_H
#define ARCH_INLINE_H

#include <stdint.h>

/*
 * Simulates another CPU that runs at this point: called after each full barrier and each atomic,
 * the points between which order is guaranteed. NULL: none. See port/sim/sim.h.
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

static inline void dgm_arch_dma_mb(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    dgm_sim_barrier();
}

uint64_t dgm_sim_mmio_read(const volatile void *address, unsigned bytes);
void dgm_sim_mmio_write(volatile void *address, uint64_t value, unsigned bytes);

#define DGM_ARCH_MMIO_READ(bits, value, address)                                                   \
    ((value) = (uint##bits##_t)dgm_sim_mmio_read(address, (bits) / 8))
#define DGM_ARCH_MMIO_WRITE(bits, value, address) dgm_sim_mmio_write(address, value, (bits) / 8)
#include <port/arch_mmio.h>

#define DGM_ARCH_AFTER_ATOMIC() dgm_sim_barrier()
#include <port/arch_atomic.h>

#endif
