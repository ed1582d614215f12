/* SPDX-License-Identifier: MIT */
/*
 * memory for hosted builds: one arena, and a table of the gfns that show other memory. The table is
 * a chained hash of a few thousand entries.
 */
#include <port/env.h>
#include <port/sim/sim.h>

#include <assert.h>
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
    dgm_gfn_t first;
    uint64_t frames;
    char *memory;
} sim;

static struct alias **alias_find(dgm_gfn_t gfn)
{
    struct alias **link = &sim.alias[dgm_gfn_number(gfn) % ALIAS_BUCKETS];

    while (*link && (*link)->gfn != dgm_gfn_number(gfn))
        link = &(*link)->next;
    return link;
}

void dgm_sim_alias(dgm_gfn_t gfn, void *va)
{
    struct alias **link = alias_find(gfn);

    if (!*link) {
        *link = calloc(1, sizeof **link);
        assert(*link);
        (*link)->gfn = dgm_gfn_number(gfn);
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

void *dgm_env_va(dgm_gfn_t gfn)
{
    const struct alias *alias = *alias_find(gfn);

    if (alias) {
        assert(alias->va); /* a hole: on Xen this is a fault */
        return alias->va;
    }
    assert(dgm_gfn_diff(gfn, sim.first) < sim.frames);
    return sim.memory + dgm_gfn_diff(gfn, sim.first) * DGM_FRAME_BYTES;
}

dgm_gfn_t dgm_env_gfn(const void *va)
{
    const uint64_t offset = (uint64_t)((const char *)va - sim.memory);

    assert(offset < sim.frames * DGM_FRAME_BYTES);
    return dgm_gfn_add(sim.first, offset / DGM_FRAME_BYTES);
}
