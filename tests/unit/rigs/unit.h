/* SPDX-License-Identifier: MIT */
/*
 * unit: the common part of the hosted tests: cmocka, random numbers with a seed, and expected
 * panics
 *
 * A test with random inputs takes its seed from the environment (DRAGOMAN_SEED, default 1) and
 * prints it when it fails, so that the failure can be repeated.
 *
 * A rig is a header with declarations and macros and a .c file with the code, in this directory. A
 * test is linked with the rigs that it uses; the names that a rig exports begin with the rig's
 * name.
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

/* The state of the generator. A test may set it, to repeat one case of many. */
extern uint64_t unit_random_state;

/* Starts the numbers at the seed, and returns it. */
uint64_t unit_seed(void);
uint64_t unit_random(void);

/* From 0 to `below` - 1. */
uint64_t unit_below(uint64_t below);
bool unit_chance(unsigned percent);

/* --- expected panics --- */

extern jmp_buf unit_panic_return;
void unit_panicked(const char *what);

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
