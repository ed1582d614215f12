/* SPDX-License-Identifier: MIT */
/* env for hosted builds: a clock that tests set, and a log that they read. The rest of port/env.h
 * is in memory.c. */
#include <port/env.h>
#include <port/sim/sim.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    void (*on_panic)(const char *what);
    uint64_t now_ns;
    int log; /* 0: unset */
    char last_log[512];
    uint64_t log_lines;
    char logged[32768]; /* the lines since dgm_sim_log_clear(), as many as fit */
    size_t logged_bytes;
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

void dgm_sim_log_clear(void)
{
    sim.logged_bytes = 0;
    sim.logged[0] = 0;
}

unsigned dgm_sim_logged(const char *text)
{
    unsigned found = 0;

    for (const char *at = sim.logged; (at = strstr(at, text)); at++)
        found++;
    return found;
}

static void log_keep(const char *line)
{
    const size_t bytes = strlen(line) + 1;

    if (bytes >= sizeof sim.logged - sim.logged_bytes)
        return;
    memcpy(sim.logged + sim.logged_bytes, line, bytes);
    sim.logged_bytes += bytes;
    sim.logged[sim.logged_bytes - 1] = '\n';
    sim.logged[sim.logged_bytes] = 0;
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
    log_keep(sim.last_log);
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
