/* SPDX-License-Identifier: MIT */
/*
 * env for hosted builds: one arena of memory and a table of gfns that show something else, a clock
 * set by hand, a log that tests can read. The table is a chained hash: a few thousand entries.
 */
#include <port/env.h>
#include <port/sim/sim.h>

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIAS_BUCKETS 4096u

struct alias {
    uint64_t gfn;
    void *va; /* NULL: a hole */
    struct alias *next;
};

static struct {
    struct alias *alias[ALIAS_BUCKETS];
    void (*on_panic)(const char *what);
    dgm_gfn_t first;
    uint64_t frames;
    char *memory;
    uint64_t now_ns;
    int log; /* 0: unset */
    char last_log[512];
} sim;

static struct alias **alias_find(dgm_gfn_t gfn)
{
    struct alias **link = &sim.alias[gfn.n % ALIAS_BUCKETS];

    while (*link && (*link)->gfn != gfn.n)
        link = &(*link)->next;
    return link;
}

void dgm_sim_alias(dgm_gfn_t gfn, void *va)
{
    struct alias **link = alias_find(gfn);

    if (!*link) {
        *link = calloc(1, sizeof **link);
        assert(*link);
        (*link)->gfn = gfn.n;
    }
    (*link)->va = va;
}

void dgm_sim_hole(dgm_gfn_t gfn)
{
    dgm_sim_alias(gfn, NULL);
}

void dgm_sim_plain(dgm_gfn_t gfn)
{
    struct alias **link = alias_find(gfn);
    struct alias *gone = *link;

    if (gone) {
        *link = gone->next;
        free(gone);
    }
}

void dgm_sim_on_panic(void (*handler)(const char *what))
{
    sim.on_panic = handler;
}

void dgm_sim_memory(dgm_gfn_t first, uint64_t frames)
{
    free(sim.memory);
    sim.memory = NULL;
    sim.first = first;
    sim.frames = frames;
    if (frames) {
        sim.memory = aligned_alloc(DGM_FRAME_BYTES, frames * DGM_FRAME_BYTES);
        assert(sim.memory);
        memset(sim.memory, 0, frames * DGM_FRAME_BYTES);
    }
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

uint64_t dgm_env_now_ns(void)
{
    return sim.now_ns;
}

void *dgm_env_va(dgm_gfn_t gfn)
{
    const struct alias *alias = *alias_find(gfn);

    if (alias) {
        assert(alias->va); /* a hole: on Xen this is a fault */
        return alias->va;
    }
    assert(gfn.n >= sim.first.n && gfn.n - sim.first.n < sim.frames);
    return sim.memory + (gfn.n - sim.first.n) * DGM_FRAME_BYTES;
}

dgm_gfn_t dgm_env_gfn(const void *va)
{
    const uint64_t offset = (uint64_t)((const char *)va - sim.memory);

    assert(offset < sim.frames * DGM_FRAME_BYTES);
    return dgm_gfn(sim.first.n + offset / DGM_FRAME_BYTES);
}

void dgm_env_log(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sim.last_log, sizeof sim.last_log, format, arguments);
    va_end(arguments);
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
