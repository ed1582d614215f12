/* SPDX-License-Identifier: MIT */
/*
 * Proves: after a batch, whatever Xen said of each op (or did not say), exactly the successes are
 * published with the frame that Xen named, every other op has its slot given back, and the counts
 * agree; after the unmap a refused slot is retired, every other one is free again.
 * Over: batches of up to three, any statuses, "again" included, a hypercall that stops half-way;
 * slots and p2m are stand-ins that record what they are told.
 *
 * sources: core/grant.c
 * options: --unwind 5
 * defines: -Dmemset=proof_memset
 * planted: core/grant.c s/^        dgm_slot_give\(grant->slots, slot\);//
 * planted: core/grant.c s/op->status != GNTST_okay/op->status < 0 \&\& op->status != GNTST_eagain/
 * planted: core/grant.c s/map_of\[again\+\+\] = grant->map_of\[i\]/map_of[again++] = grant->map_of[0]/
 */
#include "proof.h"

#include <dragoman/grant.h>
#include <dragoman/hypercall.h>
#include <dragoman/status.h>

#define OPS   3
#define FIRST 1000u

enum { SLOT_FREE, SLOT_TAKEN, SLOT_RETIRED } slot_is[OPS];
uint64_t published[OPS]; /* 0: nothing */
uint64_t mapped_at[OPS]; /* in Xen: the frame, 0: nothing */
unsigned slots_out, hypercalls;
struct dgm_grant grant;

int dgm_slot_take(struct dgm_slots *slots, dgm_gfn_t *gfn)
{
    if (slots_out == OPS)
        return DGM_EAGAIN;
    slot_is[slots_out] = SLOT_TAKEN;
    *gfn = dgm_gfn(FIRST + slots_out++);
    return DGM_OK;
}

void dgm_slot_give(struct dgm_slots *slots, dgm_gfn_t gfn)
{
    prove(gfn.n - FIRST < OPS && slot_is[gfn.n - FIRST] == SLOT_TAKEN);
    prove(mapped_at[gfn.n - FIRST] == 0);
    prove(published[gfn.n - FIRST] == 0);
    slot_is[gfn.n - FIRST] = SLOT_FREE;
}

void dgm_slot_retire(struct dgm_slots *slots, dgm_gfn_t gfn)
{
    prove(gfn.n - FIRST < OPS && slot_is[gfn.n - FIRST] == SLOT_TAKEN);
    slot_is[gfn.n - FIRST] = SLOT_RETIRED;
}

void dgm_p2m_publish(struct dgm_p2m *p2m, dgm_gfn_t gfn, dgm_mfn_t mfn)
{
    prove(gfn.n - FIRST < OPS && published[gfn.n - FIRST] == 0);
    prove(mapped_at[gfn.n - FIRST] == mfn.n);
    published[gfn.n - FIRST] = mfn.n;
}

void dgm_p2m_unpublish(struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    prove(gfn.n - FIRST < OPS && published[gfn.n - FIRST] != 0);
    published[gfn.n - FIRST] = 0;
}

static void xen_map(struct gnttab_map_grant_ref *op)
{
    const uint64_t slot = (op->host_addr >> DGM_FRAME_SHIFT) - FIRST;

    prove(slot < OPS && mapped_at[slot] == 0);
    op->status = any_i16();
    assume(op->status <= 0);
    if (op->status == GNTST_okay) {
        op->dev_bus_addr = (uint64_t)(1 + any_u8()) << DGM_FRAME_SHIFT;
        op->handle = (uint32_t)slot + 7;
        mapped_at[slot] = op->dev_bus_addr >> DGM_FRAME_SHIFT;
    }
}

static void xen_unmap(struct gnttab_unmap_grant_ref *op)
{
    const uint64_t slot = (op->host_addr >> DGM_FRAME_SHIFT) - FIRST;

    prove(slot < OPS && op->handle == slot + 7 && op->dev_bus_addr == 0);
    prove(published[slot] == 0);
    op->status = any_i16();
    assume(op->status <= 0);
    if (op->status == GNTST_okay)
        mapped_at[slot] = 0;
}

long dgm_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
    const uint64_t done = any_u8(); /* Xen may stop before the end */

    prove(op == __HYPERVISOR_grant_table_op && a3 <= OPS);
    hypercalls++;
    for (uint64_t i = 0; i < a3 && i < done; i++) {
        if (a1 == GNTTABOP_map_grant_ref)
            xen_map(&grant.map[i]);
        else
            xen_unmap(&grant.unmap[i]);
    }
    return done < a3 ? -14 : 0;
}

int main(void)
{
    struct dgm_foreign foreign[OPS];
    const unsigned count = any_u8() % (OPS + 1);
    unsigned good = 0;

    dgm_grant_init(&grant, NULL, NULL);
    for (unsigned i = 0; i < count; i++)
        prove(dgm_grant_map_add(&grant, &foreign[i], any_u16(), any_u32(), any_bool()) == DGM_OK);
    dgm_grant_map_commit(&grant);
    prove(hypercalls <= 2);
    dgm_grant_check(&grant);

    for (unsigned i = 0; i < count; i++) {
        const bool ok = foreign[i].status == DGM_OK;

        prove(ok || foreign[i].status == DGM_EPERM);
        prove(ok == (mapped_at[i] != 0) && published[i] == mapped_at[i]);
        prove(slot_is[i] == (ok ? SLOT_TAKEN : SLOT_FREE));
        prove(!ok || (foreign[i].gfn.n == FIRST + i && foreign[i].mfn.n == mapped_at[i]));
        good += ok;
    }
    prove(grant.live == good && grant.mapped == good && grant.map_refused == count - good);

    for (unsigned i = 0; i < count; i++)
        if (foreign[i].status == DGM_OK)
            dgm_grant_unmap_add(&grant, &foreign[i]);
    dgm_grant_unmap_commit(&grant);
    dgm_grant_check(&grant);
    for (unsigned i = 0; i < count; i++) {
        prove(published[i] == 0);
        prove(slot_is[i] == (mapped_at[i] ? SLOT_RETIRED : SLOT_FREE));
    }
    return 0;
}
