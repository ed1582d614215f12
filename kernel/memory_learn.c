/* SPDX-License-Identifier: MIT */
/*
 * memory_learn: machine frames and costs, learnt by grants to ourselves (see memory.h)
 *
 * A grant to ourselves is mapped like a guest's. So its mapping reveals the machine frame of our
 * own RAM where Xen did not map it 1:1, and lets us measure mapping and copying on this machine.
 */
#include "memory.h"
#include "xen.h"

#include <dragoman/base/status.h>
#include <dragoman/hyper/domain.h>
#include <port/env.h>

#include <string.h>
#include <xen/memory.h>

#define MEASURED_FRAMES 32u /* bounce buffers, which are not yet in use */

/* Xen maps our own grant table to the second frame of the grant window. */
static int map_grant_table(const struct devtree *tree, struct dgm_selfgrant *self)
{
    const dgm_gfn_t gfn = dgm_gfn((tree->grant_window.base >> DGM_FRAME_SHIFT) + 1);
    const int status = dgm_domain_map_own(XENMAPSPACE_grant_table, gfn);

    if (status == DGM_OK)
        self->table = dgm_env_va(gfn);
    return status;
}

static bool learn_run(const struct dgm_selfgrant *self, uint64_t first, uint64_t end,
                      uint64_t *mfns)
{
    return first >= end ||
           dgm_selfgrant_learn(self, (struct dgm_gfn_range){dgm_gfn(first), end - first}, mfns) ==
               DGM_OK;
}

/* Learns the machine frames of a bank, except for the run that was given up for slots: the p2m
 * finds those in the window. */
static bool learn_bank(const struct dgm_selfgrant *self, struct dgm_gfn_range bank,
                       struct dgm_gfn_range given_up, uint64_t *mfns)
{
    const uint64_t first = dgm_gfn_number(bank.first), end = first + bank.count;
    const uint64_t gap = dgm_gfn_number(given_up.first), gap_end = gap + given_up.count;

    if (given_up.count == 0 || gap_end <= first || gap >= end)
        return learn_run(self, first, end, mfns);
    memset(mfns, 0xff, bank.count * sizeof mfns[0]);
    return learn_run(self, first, gap, mfns) &&
           learn_run(self, gap_end, end, mfns + (gap_end - first));
}

/* Learns the machine frames of all banks, or ends the start: without them a device gets wrong
 * addresses. */
static void learn_all(struct memory *memory, const struct devtree *tree,
                      const struct dgm_selfgrant *self)
{
    for (size_t i = 0; i < tree->bank_count && memory->mfns[i]; i++) {
        const struct dgm_gfn_range bank = {dgm_gfn(tree->banks[i].base >> DGM_FRAME_SHIFT),
                                           tree->banks[i].bytes >> DGM_FRAME_SHIFT};

        if (!learn_bank(self, bank, memory->balloon.run, memory->mfns[i]))
            dgm_env_panic(__FILE__, __LINE__,
                          "Dom0's memory may not be mapped 1:1 (cache colouring does that), and "
                          "Xen refuses GNTTABOP_map_grant_ref of it, which shows its addresses: "
                          "boot Xen without LLC colours for Dom0");
    }
}

void memory_learn(struct memory *memory, const struct devtree *tree,
                  const struct memory_wants *wants)
{
    struct dgm_core *core = memory->core;
    struct dgm_selfgrant self = {.slots = &core->cache}; /* Dom0 is domain 0 */
    dgm_gfn_t frames[MEASURED_FRAMES];
    struct dgm_reach_costs costs;
    int status;

    if (!memory->mfns[0] && !wants->costs)
        return;
    status = map_grant_table(tree, &self);
    if (status != DGM_OK && memory->mfns[0])
        xen_refuses("XENMEM_add_to_physmap of our grant table, by which Dom0's addresses are "
                    "learnt, as its memory may not be mapped 1:1",
                    status);
    if (status != DGM_OK) {
        dgm_env_log("Xen does not map our own grant table (error %d): what mapping and copying "
                    "cost cannot be measured: mode auto is map",
                    status);
        return;
    }
    if (memory->mfns[0]) {
        learn_all(memory, tree, &self);
        /* It reads the machine frames of its buffers. */
        dgm_dma_init(&core->dma, &core->p2m, &core->bounce);
    }
    if (!wants->costs)
        return;
    for (uint16_t i = 0; i < MEASURED_FRAMES; i++)
        frames[i] = dgm_bounce_gfn(&core->bounce, i);
    if (dgm_selfgrant_measure(&self, frames, MEASURED_FRAMES, &costs) != DGM_OK) {
        dgm_env_log("what mapping and copying cost cannot be measured: mode auto is map");
        return;
    }
    dgm_reach_set_costs(&core->reach, &costs);
    dgm_env_log("a frame mapped and unmapped costs %llu ns, 4096 bytes copied %llu ns, by a guest "
                "%llu ns: mode auto is %s%s",
                (unsigned long long)costs.map >> 10, (unsigned long long)costs.copy >> 10,
                (unsigned long long)costs.guest_copy >> 10,
                core->reach.persistent_costs_more ? "" : "persistent grants, without them ",
                dgm_reach_mode_name(core->reach.cheapest));
}
