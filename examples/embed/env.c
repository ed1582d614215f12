/* SPDX-License-Identifier: MIT */
/*
 * env: all that a kernel implements for the library (port/env.h). The memory of this one is
 * port/sim's; a kernel that maps its own 1:1 has `(void *)(gfn.n << 12)` and back in its place.
 */
#include <port/env.h>
#include <port/sim/sim.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

uint64_t dgm_env_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void *dgm_env_va(dgm_gfn_t gfn)
{
    return dgm_sim_va(gfn);
}

dgm_gfn_t dgm_env_gfn(const void *va)
{
    return dgm_sim_gfn(va);
}

void dgm_env_log(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

_Noreturn void dgm_env_panic(const char *file, int line, const char *what)
{
    fprintf(stderr, "panic: %s:%d: %s\n", file, line, what);
    abort();
}
