/* SPDX-License-Identifier: MIT */
/*
 * p2m_count: instructions per lookup and per change of the p2m, and of its twin
 *
 * Runs under callgrind, which dumps the count of each section under a name; bench/p2m.sh reads them
 * and subtracts that of the empty loop. Without callgrind it only checks the results. Each section
 * is OPERATIONS calls, the call included.
 */
#include "p2m_rig.h"

#include <dragoman/pages/slot.h>
#include <pages/internal.h>
#include <valgrind/callgrind.h>

#include <stdio.h>
#include <stdlib.h>

#define OPERATIONS 10000u

static uint64_t looked_up[OPERATIONS];

/* Chooses the gfns to look up: slots among the first `live`, at random. */
static void choose_slots(uint64_t live)
{
    for (size_t i = 0; i < OPERATIONS; i++)
        looked_up[i] = slot[random_below(live)];
}

static void choose_ram(void)
{
    for (size_t i = 0; i < OPERATIONS; i++)
        looked_up[i] = RAM_FIRST + random_below(RAM_FRAMES);
}

/* Measures one section: `statement` for each gfn. */
#define MEASURE(name, statement)                                                                   \
    do {                                                                                           \
        CALLGRIND_START_INSTRUMENTATION;                                                           \
        CALLGRIND_ZERO_STATS;                                                                      \
        for (size_t i = 0; i < OPERATIONS; i++) {                                                  \
            const uint64_t gfn = *(volatile uint64_t *)&looked_up[i];                              \
            statement;                                                                             \
        }                                                                                          \
        CALLGRIND_DUMP_STATS_AT(name);                                                             \
        CALLGRIND_STOP_INSTRUMENTATION;                                                            \
    } while (0)

static void expect_sum(uint64_t sum, uint64_t offset)
{
    for (size_t i = 0; i < OPERATIONS; i++)
        sum -= looked_up[i] + offset;
    if (sum) {
        fprintf(stderr, "p2m_count: a lookup gave a wrong frame\n");
        exit(1);
    }
}

static void lookups_ours(const char *name, uint64_t offset)
{
    uint64_t sum = 0;

    MEASURE(name, sum += dgm_mfn_number(dgm_p2m_lookup(&p2m, dgm_gfn(gfn))));
    expect_sum(sum, offset);
}

static void lookups_theirs(const char *name, uint64_t offset)
{
    uint64_t sum = 0;

    MEASURE(name, sum += treemap_lookup(gfn));
    expect_sum(sum, offset);
}

/* Makes `live` slots live in both. */
static void fill_table(uint64_t live)
{
    static uint64_t now;

    for (; now < live; now++) {
        dgm_p2m_publish(&p2m, dgm_gfn(slot[now]), dgm_mfn(MFN_OF(slot[now])));
        treemap_publish(slot[now], MFN_OF(slot[now]));
    }
}

static void measure_changes(void)
{
    for (size_t i = 0; i < OPERATIONS; i++)
        looked_up[i] = slot[SLOTS - 1 - i]; /* not live yet */
    MEASURE("ours change 10000", {
        dgm_p2m_publish(&p2m, dgm_gfn(gfn), dgm_mfn(MFN_OF(gfn)));
        dgm_p2m_unpublish(&p2m, dgm_gfn(gfn));
    });
    MEASURE("theirs change 10000", {
        treemap_publish(gfn, MFN_OF(gfn));
        treemap_unpublish(gfn);
    });
}

int main(void)
{
    static const uint64_t lives[] = {1, 1000, 10000, 1000000};
    uint64_t sum = 0;

    rig_start();
    choose_ram();
    MEASURE("empty", sum += gfn);
    expect_sum(sum, 0);
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++) {
        char name[64];

        fill_table(lives[i]);
        choose_slots(lives[i]);
        snprintf(name, sizeof name, "ours lookup %llu", (unsigned long long)lives[i]);
        lookups_ours(name, MFN_OF(0));
        snprintf(name, sizeof name, "theirs lookup %llu", (unsigned long long)lives[i]);
        lookups_theirs(name, MFN_OF(0));
        choose_ram();
        snprintf(name, sizeof name, "ours local %llu", (unsigned long long)lives[i]);
        lookups_ours(name, 0);
        snprintf(name, sizeof name, "theirs local %llu", (unsigned long long)lives[i]);
        lookups_theirs(name, 0);
        if (lives[i] == 10000)
            measure_changes();
    }
    printf(
        "# measure: bytes of RAM per slot of %u: %.2f (p2m %zu, store %zu, one cache %zu bytes); "
        "a struct page of Linux: 64\n",
        DGM_SLOTS_DEFAULT,
        (double)(dgm_p2m_bytes(DGM_SLOTS_DEFAULT) + dgm_slots_bytes(DGM_SLOTS_DEFAULT) +
                 dgm_slot_cache_bytes(DGM_SLOTS_DEFAULT)) /
            DGM_SLOTS_DEFAULT,
        dgm_p2m_bytes(DGM_SLOTS_DEFAULT), dgm_slots_bytes(DGM_SLOTS_DEFAULT),
        dgm_slot_cache_bytes(DGM_SLOTS_DEFAULT));
    return 0;
}
