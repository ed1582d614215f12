/* SPDX-License-Identifier: MIT */
/*
 * proof: the common part of all harnesses
 *
 * A harness is a main() that makes the arguments of the code under proof arbitrary, states the
 * assumptions about them, calls the code that ships, and states the properties. The checker
 * considers all values at once. A failed assertion of the code itself calls dgm_env_panic(), which
 * fails the proof. Included by exactly one file of a proof: the harness.
 */
#ifndef PROOFS_PROOF_H
#define PROOFS_PROOF_H

#include <dragoman/base/addr.h>
#include <port/env.h>

#include <string.h>

/* any_u8() etc.: any value of the type. The checker recognises functions without a body by the
 * prefix "nondet". */
#define PROOF_ANY(name, type)                                                                      \
    type nondet_##name(void);                                                                      \
    static inline type any_##name(void)                                                            \
    {                                                                                              \
        return nondet_##name();                                                                    \
    }

PROOF_ANY(bool, bool)
PROOF_ANY(u8, uint8_t)
PROOF_ANY(u16, uint16_t)
PROOF_ANY(u32, uint32_t)
PROOF_ANY(u64, uint64_t)
PROOF_ANY(i16, int16_t)

#define assume(condition) __CPROVER_assume(condition)
#define prove(condition)  __CPROVER_assert(condition, #condition)

void dgm_env_panic(const char *file, int line, const char *what)
{
    __CPROVER_assert(false, "an assertion of the code holds");
    __CPROVER_assume(false);
    for (;;)
        ;
}

/*
 * For `defines: -Dmemset=proof_memset`: clears whole static objects, which are already zero.
 * Clearing a large structure byte by byte costs the checker minutes.
 */
void *proof_memset(void *to, int value, size_t bytes)
{
    __CPROVER_assert(value == 0 && bytes == __CPROVER_OBJECT_SIZE(to), "clears a whole object");
    return to;
}

#endif
