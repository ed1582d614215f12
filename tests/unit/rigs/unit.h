/* SPDX-License-Identifier: MIT */
/*
 * unit: what the hosted tests share: cmocka, random numbers with a seed, and expected panics
 *
 * A test with random inputs takes its seed from the environment (DRAGOMAN_SEED, default 1) and says
 * it when it fails, so that a failure can be run again.
 */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <port/sim/sim.h>

/* --- random numbers: splitmix64 --- */

static uint64_t unit_random_state;

__attribute__((unused)) static uint64_t unit_seed(void)
{
    const char *text = getenv("DRAGOMAN_SEED");

    unit_random_state = text ? strtoull(text, NULL, 0) : 1;
    return unit_random_state;
}

__attribute__((unused)) static uint64_t unit_random(void)
{
    uint64_t z = unit_random_state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* From 0 to `below` - 1. */
__attribute__((unused)) static uint64_t unit_below(uint64_t below)
{
    return unit_random() % below;
}

__attribute__((unused)) static bool unit_chance(unsigned percent)
{
    return unit_below(100) < percent;
}

/* --- panics that must come --- */

static jmp_buf unit_panic_return;

__attribute__((unused)) static void unit_panicked(const char *what)
{
    (void)what;
    dgm_sim_on_panic(NULL);
    longjmp(unit_panic_return, 1);
}

/* Fails unless `statement` panics. Locals that it changes are indeterminate afterwards. */
#define expect_panic(statement)                                                                    \
    do {                                                                                           \
        dgm_sim_on_panic(unit_panicked);                                                           \
        if (setjmp(unit_panic_return) == 0) {                                                      \
            statement;                                                                             \
            dgm_sim_on_panic(NULL);                                                                \
            fail_msg("no panic: %s", #statement);                                                  \
        }                                                                                          \
    } while (0)

#endif
