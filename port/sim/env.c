/* SPDX-License-Identifier: MIT */
/* env for hosted builds: a clock that tests set, and a log that they read. The rest of port/env.h
 * is in memory.c. */
#include <port/env.h>
#include <port/sim/sim.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    void (*on_panic)(const char *what);
    uint64_t now_ns;
    int log; /* 0: unset */
    char last_log[512];
    uint64_t log_lines;
} sim;

void dgm_sim_on_panic(void (*handler)(const char *what))
{
    sim.on_panic = handler;
}

void dgm_sim_set_now_ns(uint64_t now_ns)
{
    sim.now_ns = now_ns;
}

void dgm_sim_log(bool on)
{
    sim.log = on ? 1 : -1;
}

const char *dgm_sim_last_log(void)
{
    return sim.last_log;
}

uint64_t dgm_sim_log_lines(void)
{
    return sim.log_lines;
}

uint64_t dgm_env_now_ns(void)
{
    return sim.now_ns;
}

void dgm_env_log(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sim.last_log, sizeof sim.last_log, format, arguments);
    va_end(arguments);
    sim.log_lines++;
    if (sim.log == 0)
        sim.log = getenv("DRAGOMAN_LOG") ? 1 : -1;
    if (sim.log > 0)
        fprintf(stderr, "%s\n", sim.last_log);
}

_Noreturn void dgm_env_panic(const char *file, int line, const char *what)
{
    if (sim.on_panic) {
        snprintf(sim.last_log, sizeof sim.last_log, "%s:%d: %s", file, line, what);
        sim.on_panic(what);
    }
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    abort();
}
