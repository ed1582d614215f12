/* SPDX-License-Identifier: MIT */
/*
 * grant_rig: a dgm_grant with slots and a p2m, on the simulated hypervisor, with one guest
 *
 * grant_rig_check() compares its counts with those of the hypervisor.
 */
#ifndef GRANT_RIG_H
#define GRANT_RIG_H

#include "unit.h"

#include <dragoman/pages/grant.h>
#include <sim/hypervisor/hypervisor.h>

#define GRANT_RIG_GUEST  3
#define GRANT_RIG_SLOTS  1024u
#define GRANT_RIG_WINDOW 0x200000u

struct grant_rig {
    struct dgm_p2m p2m;
    struct dgm_slots store;
    struct dgm_slot_cache slots;
    struct dgm_grant grant;
    uint64_t p2m_memory[GRANT_RIG_SLOTS * 2], store_memory[GRANT_RIG_SLOTS / 8], slot_memory[8];
};

extern struct grant_rig grant_rig;

int grant_rig_start(void **state);
int grant_rig_stop(void **state);
void grant_rig_check(void);

/* Retries the parked ops, after the longest pause that reach makes. */
void grant_rig_retry(void);
/* The retries after which an op that may still succeed is final. */
#define GRANT_RIG_RETRIES  (DGM_XEN_PATIENCE_MS / GRANT_RIG_PAUSE_MS)
#define GRANT_RIG_PAUSE_MS 250u

/* Adds one map op, at a slot reserved without a quota. */
void grant_rig_add(struct dgm_foreign *foreign, domid_t domid, grant_ref_t ref, bool readonly);

/* Maps one frame of the guest, in a batch of its own; unmaps one. */
void grant_rig_map(struct dgm_foreign *foreign, grant_ref_t ref, bool readonly);
void grant_rig_unmap(struct dgm_foreign *foreign);

/* Unmaps those of `count` frames that are mapped, in one batch. */
void grant_rig_unmap_all(struct dgm_foreign *foreign, unsigned count);

#endif
