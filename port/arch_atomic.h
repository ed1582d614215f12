/* SPDX-License-Identifier: MIT */
/*
 * arch_atomic: the atomics of port/arch.h, for compilers that have them as builtins
 *
 * The arch_inline.h of each port includes it. A port that must act after each atomic defines
 * DGM_ARCH_AFTER_ATOMIC() first.
 */
#ifndef PORT_ARCH_ATOMIC_H
#define PORT_ARCH_ATOMIC_H

#include <stdint.h>

#ifndef DGM_ARCH_AFTER_ATOMIC
#define DGM_ARCH_AFTER_ATOMIC() ((void)0)
#endif

static inline uint64_t dgm_arch_swap64(volatile uint64_t *word, uint64_t value)
{
    const uint64_t before = __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);

    DGM_ARCH_AFTER_ATOMIC();
    return before;
}

static inline void dgm_arch_clear_bit64(volatile uint64_t *word, unsigned bit)
{
    __atomic_fetch_and(word, ~(1ull << bit), __ATOMIC_SEQ_CST);
    DGM_ARCH_AFTER_ATOMIC();
}

static inline void dgm_arch_set_bit64(volatile uint64_t *word, unsigned bit)
{
    __atomic_fetch_or(word, 1ull << bit, __ATOMIC_SEQ_CST);
    DGM_ARCH_AFTER_ATOMIC();
}

#endif
