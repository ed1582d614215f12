/* SPDX-License-Identifier: MIT */
/*
 * arch_inline for proofs: a barrier is a moment at which others act
 *
 * A bounded model checker runs one thread, in order. What a guest, Xen or a device may do meanwhile
 * is proof_others(): a harness that has such others defines PROOF_OTHERS to a function of its own;
 * it is called at each full barrier and after each atomic. Barriers between loads or stores are
 * nothing here: order in weak memory is the business of the Spin models.
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
