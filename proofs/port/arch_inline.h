/* SPDX-License-Identifier: MIT */
/*
 * arch_inline for proofs: a barrier is a point at which others act
 *
 * A bounded model checker runs one thread, in order. proof_others() simulates a guest, Xen or a
 * device that acts meanwhile: a harness with such others defines PROOF_OTHERS as its own function,
 * which is called at each full barrier and after each atomic. Barriers between loads or stores have
 * no effect here: the Spin models check the order in weak memory.
 */
#ifndef ARCH_INLINE_H
#define ARCH_INLINE_H

#include <stdint.h>

#ifdef PROOF_OTHERS
void proof_others(void);
#else
static inline void proof_others(void)
{
}
#endif

static inline void dgm_arch_mb(void)
{
    proof_others();
}

static inline void dgm_arch_rmb(void)
{
}

static inline void dgm_arch_wmb(void)
{
}

static inline uint64_t dgm_arch_swap64(volatile uint64_t *word, uint64_t value)
{
    const uint64_t before = *word;

    *word = value;
    proof_others();
    return before;
}

static inline void dgm_arch_clear_bit64(volatile uint64_t *word, unsigned bit)
{
    *word &= ~(1ull << bit);
    proof_others();
}

static inline void dgm_arch_set_bit64(volatile uint64_t *word, unsigned bit)
{
    *word |= 1ull << bit;
    proof_others();
}

#endif
