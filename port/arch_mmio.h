/* SPDX-License-Identifier: MIT */
/*
 * arch_mmio: the accesses to registers of port/arch.h, by the two macros of a port:
 *
 *   DGM_ARCH_MMIO_READ(bits, value, address)    loads `value`
 *   DGM_ARCH_MMIO_WRITE(bits, value, address)   stores `value`
 *
 * Included by a port's arch_inline.h after it has defined them. A port may define the functions
 * itself instead.
 */
#ifndef PORT_ARCH_MMIO_H
#define PORT_ARCH_MMIO_H

#define DGM_ARCH_MMIO(bits)                                                                        \
    static inline uint##bits##_t dgm_arch_mmio_read##bits(const volatile void *address)            \
    {                                                                                              \
        uint##bits##_t value;                                                                      \
        DGM_ARCH_MMIO_READ(bits, value, address);                                                  \
        return value;                                                                              \
    }                                                                                              \
    static inline void dgm_arch_mmio_write##bits(volatile void *address, uint##bits##_t value)     \
    {                                                                                              \
        DGM_ARCH_MMIO_WRITE(bits, value, address);                                                 \
    }

DGM_ARCH_MMIO(8)
DGM_ARCH_MMIO(16)
DGM_ARCH_MMIO(32)
DGM_ARCH_MMIO(64)

#endif
