/* SPDX-License-Identifier: MIT */
/*
 * env: the functions that an embedder implements for the library (port/env.h)
 *
 * Two more are in port/sim/memory.c: only the simulated machine knows the address of a foreign
 * frame. A kernel that maps guest-physical memory 1:1 has
 *   void *dgm_env_va(dgm_gfn_t gfn)       { return (void *)dgm_gfn_address(gfn); }
 *   dgm_gfn_t dgm_env_gfn(const void *va) { return dgm_gfn((uintptr_t)va >> DGM_FRAME_SHIFT); }
 */
#include <port/env.h>

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
