/* SPDX-License-Identifier: MIT */
/*
 * arch: the operations of the architecture that the library needs
 *
 * Each port, port/NAME/, implements it: arch_inline.h is chosen by the include path, arch.c at link
 * time. port/sim implements it against a simulated Xen.
 */
#ifndef PORT_ARCH_H
#define PORT_ARCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Makes hypercall number `op` (xen.h, __HYPERVISOR_*). Returns Xen's result, or a negative errno.
 * Pointers among the arguments are virtual addresses of our own RAM, never of a foreign frame: Xen
 * returns -EFAULT for these. Callers use dragoman/hyper/hypercall.h, which counts.
 */
long dgm_arch_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                        uint64_t a5);

/*
 * Cache maintenance by virtual address to the point of coherency, of every line that overlaps
 * [va, va + bytes). Devices see its effect when the call returns.
 */
void dgm_arch_cache_clean(const void *va, size_t bytes);
void dgm_arch_cache_clean_invalidate(const void *va, size_t bytes);
size_t dgm_arch_cache_line(void); /* bytes; a power of two */

/*
 * arch_inline.h defines, as static inline functions:
 *   void dgm_arch_mb(void), dgm_arch_rmb(void), dgm_arch_wmb(void)
 *       between CPUs, for rings shared with guests (full, load-load, store-store)
 *   void dgm_arch_dma_wmb(void)    our stores to memory, before a store to a device's doorbell
 *   void dgm_arch_dma_rmb(void)    a load of a device's flag in memory, before loads of the data
 *   void dgm_arch_dma_mb(void)     our stores to memory, before loads of what a device writes there
 *   uint8_t/16_t/32_t/64_t dgm_arch_mmio_read8/16/32/64(const volatile void *)
 *   void dgm_arch_mmio_write8/16/32/64(volatile void *, value)
 *       one access of exactly that width, in program order among MMIO accesses
 *   uint64_t dgm_arch_swap64(volatile uint64_t *word, uint64_t value)
 *   void dgm_arch_clear_bit64(volatile uint64_t *word, unsigned bit)
 *   void dgm_arch_set_bit64(volatile uint64_t *word, unsigned bit)
 *       atomic on memory shared with Xen or a guest, fully ordered (port/arch_atomic.h)
 */
#include <arch_inline.h>

#ifdef __cplusplus
}
#endif

#endif
