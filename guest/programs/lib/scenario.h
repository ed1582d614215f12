/* SPDX-License-Identifier: MIT */
/*
 * scenario: a failure ends the scenario that is played, not the program
 *
 * A failure is printed as "fail NAME: WHAT", with the program's name outside of any scenario, where
 * it ends the program.
 */
#ifndef SCENARIO_H
#define SCENARIO_H

#include <stdbool.h>

/* Calls play(scenario, number). False: it failed. Scenarios are not nested. */
bool play_scenario(const char *name, void (*play)(const void *scenario, unsigned number),
                   const void *scenario, unsigned number);

_Noreturn void fail(const char *what);

#endif
