/* SPDX-License-Identifier: MIT */
/*
 * arch: what each architecture and machine offers the library
 *
 * Implemented in port/<port>/, chosen at build time by the include path (arch_inline.h) and at link
 * time (the rest). The simulator implements the same names against its simulated Xen.
 */
#ifndef PORT_ARCH_H
#define PORT_ARCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * One hypercall, number `op` (xen.h __HYPERVISOR_*). Returns what Xen returns: negative errno or a
 * result. Pointers among the arguments are virtual addresses of our own RAM, never of a foreign
 * frame (Xen answers -EFAULT). Call through dragoman/hyper/hypercall.h, which counts.
 */
long dgm_arch_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                        uint64_t a5);

/*
 * Cache maintenance by virtual address to the point of coherency, over every line that [va, va +
 * bytes) touches; complete for devices when the call returns.
 */
void dgm_arch_cache_clean(const void *va, size_t bytes);
void dgm_arch_cache_clean_invalidate(const void *va, size_t bytes);
size_t dgm_arch_cache_line(void); /* bytes; a power of two */

/*
 * arch_inline.h gives, as static inline functions:
 *   void dgm_arch_mb(void), dgm_arch_rmb(void), dgm_arch_wmb(void)
 *       between CPUs, for rings shared with guests (full, load-load, store-store)
 *   void dgm_arch_dma_wmb(void)    our stores to memory before a doorbell that a device sees
 *   void dgm_arch_dma_rmb(void)    a device's flag in memory before the data it announces
 *   uint8_t/16_t/32_t/64_t dgm_arch_mmio_read8/16/32/64(const volatile void *)
 *   void dgm_arch_mmio_write8/16/32/64(volatile void *, value)
 *       one access of exactly that width, in program order with other MMIO accesses
 *   uint64_t dgm_arch_swap64(volatile uint64_t *word, uint64_t value)
 *   void dgm_arch_clear_bit64(volatile uint64_t *word, unsigned bit)
 *   void dgm_arch_set_bit64(volatile uint64_t *word, unsigned bit)
 *       atomic on memory shared with Xen or a guest, fully ordered
 */
#include <arch_inline.h>

#ifdef __cplusplus
}
#endif

#endif
