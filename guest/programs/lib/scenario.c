/* SPDX-License-Identifier: MIT */
/* scenario: see scenario.h. */
#define _GNU_SOURCE
#include "scenario.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

static const char *played; /* its name; NULL: none */
static jmp_buf end;

bool play_scenario(const char *name, void (*play)(const void *scenario, unsigned number),
                   const void *scenario, unsigned number)
{
    played = name;
    if (setjmp(end) != 0)
        return false; /* fail() has forgotten the scenario */
    play(scenario, number);
    played = NULL;
    return true;
}

_Noreturn void fail(const char *what)
{
    printf("fail %s: %s\n", played ? played : program_invocation_short_name, what);
    if (!played)
        exit(1);
    played = NULL;
    longjmp(end, 1);
}
