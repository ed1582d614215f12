/* SPDX-License-Identifier: MIT */
/*
 * Proves, for any status of each op, written by Xen or not: exactly the frames of successful ops
 * are published, with the machine frame that Xen reported; every other op is parked, or refused
 * with its slot returned and its quota discharged; the counts agree. This holds after the commit,
 * and after a retry. After the unmap, the slot of a refused op is retired and every other slot is
 * free; for a frame at gfn == mfn, identity is notified whether it was unmapped.
 * Over: a batch of two ops, at slots or at gfn == mfn, with any meanings at each attempt, and
 * hypercalls that stop before any op. Slots, p2m, identity and the meanings (xen_status proves
 * those) are stand-ins that record their calls. That every op becomes final: grant_final.
 *
 * sources: pages/grant.c
 * resized: include/dragoman/pages/grant.h s/(DGM_GRANT_BATCH) +512/\1 2/
 * resized: include/dragoman/hyper/xen_status.h s/(DGM_XEN_TRIES) +12u/\1 3u/
 * options: --unwind 3 --unwindset dgm_grant_unmap_commit.0:7
 * defines: -Dmemset=proof_memset
 * planted: pages/grant.c s/dgm_slot_give\(grant->slots, foreign->quota, foreign->gfn\)/(void)0/
 * planted: pages/grant.c s/grant->parked_last->next_parked = foreign;/;/
 * planted: pages/grant.c s/unmap_quota\[grant->unmap_count\] = foreign->quota/unmap_quota[0] = foreign->quota/
 * planted: pages/grant.c s/identity_unmapped\(grant->p2m->identity, gfn, done\)/identity_unmapped(grant->p2m->identity, gfn, true)/
 */
#include "proof.h"

#include <dragoman/pages/grant.h>
#include <dragoman/hyper/hypercall.h>
#include <pages/identity_table.h>
#include <dragoman/base/status.h>
#include <pages/internal.h>

#define OPS    2
#define SLOTS  1000u /* op i is mapped at the slot SLOTS + i, */
#define PLACES 2000u /* or at the gfn PLACES + i */

enum { FREE, TAKEN, RETIRED } place_is[OPS];
bool at_mfn[OPS];        /* not at a slot */
uint64_t published[OPS]; /* 0: nothing */
uint64_t mapped_at[OPS]; /* in Xen: the frame, 0: not mapped */
unsigned adding;         /* the op for which a slot is taken */
struct dgm_quota quotas[OPS];
struct dgm_p2m p2m;
struct dgm_grant grant;
struct dgm_foreign first, second;
struct dgm_foreign *const foreign[OPS] = {&first, &second};

/* --- stand-ins that record their calls --- */

static uint64_t op_at(dgm_gfn_t gfn)
{
    const uint64_t i =
        dgm_gfn_number(gfn) >= PLACES ? dgm_gfn_number(gfn) - PLACES : dgm_gfn_number(gfn) - SLOTS;

    prove(i < OPS && at_mfn[i] == (dgm_gfn_number(gfn) >= PLACES));
    return i;
}

dgm_gfn_t dgm_slot_take(struct dgm_slot_cache *cache)
{
    prove(place_is[adding] == FREE);
    place_is[adding] = TAKEN;
    return dgm_gfn(SLOTS + adding);
}

void dgm_slot_give(struct dgm_slot_cache *cache, struct dgm_quota *quota, dgm_gfn_t gfn)
{
    const uint64_t i = op_at(gfn);

    prove(!at_mfn[i] && place_is[i] == TAKEN && quota == &quotas[i]);
    prove(mapped_at[i] == 0 && published[i] == 0);
    place_is[i] = FREE;
}

void dgm_slot_retire(struct dgm_slot_cache *cache, dgm_gfn_t gfn)
{
    const uint64_t i = op_at(gfn);

    prove(!at_mfn[i] && place_is[i] == TAKEN);
    place_is[i] = RETIRED;
}

void dgm_identity_unmapped(struct dgm_identity *identity, dgm_gfn_t gfn, bool done)
{
    const uint64_t i = op_at(gfn);

    prove(at_mfn[i] && place_is[i] == TAKEN && done == (mapped_at[i] == 0));
    place_is[i] = done ? FREE : RETIRED;
}

bool dgm_p2m_is_slot(const struct dgm_p2m *of, dgm_gfn_t gfn)
{
    return dgm_gfn_number(gfn) < PLACES;
}

void dgm_p2m_publish(struct dgm_p2m *of, dgm_gfn_t gfn, dgm_mfn_t mfn)
{
    const uint64_t i = op_at(gfn);

    prove(published[i] == 0 && mapped_at[i] == dgm_mfn_number(mfn));
    published[i] = dgm_mfn_number(mfn);
}

void dgm_p2m_unpublish(struct dgm_p2m *of, dgm_gfn_t gfn)
{
    const uint64_t i = op_at(gfn);

    prove(published[i] != 0);
    published[i] = 0;
}

/* --- the meaning of a status: here the status is its own meaning --- */

static int16_t any_status(void)
{
    const int16_t status = any_i16();

    assume(status >= DGM_XEN_OK && status <= DGM_XEN_UNKNOWN);
    return status;
}

/* An op without a status was not done, so it never means OK, REFUSED or NO_DOMAIN. */
enum dgm_xen_meaning dgm_xen_op_meaning(struct dgm_xen_outcome outcome)
{
    const int16_t unwritten = any_status();

    if (outcome.status != DGM_XEN_NOT_WRITTEN)
        return (enum dgm_xen_meaning)outcome.status;
    assume(unwritten == DGM_XEN_RETRY || unwritten == DGM_XEN_SHORT ||
           unwritten == DGM_XEN_UNKNOWN);
    return (enum dgm_xen_meaning)unwritten;
}

bool dgm_xen_patience_ends(struct dgm_xen_patience *patience)
{
    return any_bool();
}

void dgm_xen_log_unknown(struct dgm_xen_logged *logged, const char *operation,
                         struct dgm_xen_outcome outcome)
{
}

/* --- Xen --- */

static void xen_map(struct gnttab_map_grant_ref *op)
{
    const uint64_t i = op_at(dgm_gfn(op->host_addr >> DGM_FRAME_SHIFT));

    prove(mapped_at[i] == 0 && op->ref == i);
    op->status = any_status();
    if (op->status == GNTST_okay) {
        op->dev_bus_addr = (uint64_t)(1 + any_u8()) << DGM_FRAME_SHIFT;
        op->handle = (uint32_t)i + 7;
        mapped_at[i] = op->dev_bus_addr >> DGM_FRAME_SHIFT;
    }
}

static void xen_unmap(struct gnttab_unmap_grant_ref *op)
{
    const uint64_t i = op_at(dgm_gfn(op->host_addr >> DGM_FRAME_SHIFT));

    prove(op->handle == i + 7 && op->dev_bus_addr == 0);
    prove(mapped_at[i] != 0 && published[i] == 0);
    op->status = any_status();
    if (op->status == GNTST_okay)
        mapped_at[i] = 0;
}

void dgm_env_log(const char *format, ...)
{
}

long dgm_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
    const uint64_t done = any_u8(); /* Xen may stop before the end */

    prove(op == __HYPERVISOR_grant_table_op && a3 > 0 && a3 <= DGM_GRANT_BATCH);
    for (uint64_t i = 0; i < a3 && i < done; i++) {
        if (a1 == GNTTABOP_map_grant_ref)
            xen_map(&grant.map[i]);
        else
            xen_unmap(&grant.unmap[i]);
    }
    return done < a3 ? -1 : 0;
}

/* Checks op i after a commit. */
static void check_frame(const struct dgm_foreign *foreign, unsigned i)
{
    const bool ok = foreign->status == DGM_OK, parked = foreign->status == DGM_EAGAIN;

    prove(ok || parked || foreign->status == DGM_EPERM || foreign->status == DGM_ENOSPC ||
          foreign->status == DGM_EIO);
    prove(ok == (mapped_at[i] != 0));
    prove(published[i] == (at_mfn[i] ? 0 : mapped_at[i]));
    prove(at_mfn[i] || place_is[i] == (ok || parked ? TAKEN : FREE));
    prove(!ok || dgm_gfn_number(foreign->gfn) == (at_mfn[i] ? PLACES : SLOTS) + i);
    prove(!ok || dgm_mfn_number(foreign->mfn) == mapped_at[i]);
}

static struct dgm_guest_grant any_grant(unsigned ref)
{
    return (struct dgm_guest_grant){.ref = ref, .domid = any_u16(), .readonly = any_bool()};
}

/* Checks all ops. */
static void judge_all(void)
{
    unsigned good = 0, parked = 0;

    dgm_grant_check(&grant);
    for (unsigned i = 0; i < OPS; i++) {
        check_frame(foreign[i], i);
        good += foreign[i]->status == DGM_OK;
        parked += foreign[i]->status == DGM_EAGAIN;
    }
    prove(grant.map_parked == parked && grant.mapped == good && grant.live == good);
    prove(grant.map_refused == OPS - good - parked);
}

int main(void)
{
    dgm_grant_init(&grant, &p2m, NULL);
    for (unsigned i = 0; i < OPS; i++) {
        adding = i;
        at_mfn[i] = any_bool();
        if (at_mfn[i]) {
            place_is[i] = TAKEN;
            dgm_grant_map_add_at(&grant, foreign[i], dgm_gfn(PLACES + i), any_grant(i));
        } else {
            dgm_grant_map_add(&grant, foreign[i], &quotas[i], any_grant(i));
        }
    }
    dgm_grant_map_commit(&grant);
    judge_all();
    dgm_grant_map_retry(&grant);
    judge_all();

    for (unsigned i = 0; i < OPS; i++) {
        if (foreign[i]->status == DGM_OK)
            dgm_grant_unmap_add(&grant, foreign[i]);
        else /* parked; or at_mfn: its entry is the caller's to remove */
            place_is[i] = FREE;
    }
    dgm_grant_unmap_commit(&grant);
    dgm_grant_check(&grant);
    for (unsigned i = 0; i < OPS; i++) {
        prove(published[i] == 0);
        prove(place_is[i] == (mapped_at[i] ? RETIRED : FREE));
    }
    return 0;
}
