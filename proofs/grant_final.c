/* SPDX-License-Identifier: MIT */
/*
 * Proves: while no DMA is in flight, every map op is final after a bounded number of retries,
 * whatever Xen returns at each attempt, and then no op is parked; each op becomes final once; while
 * an op is not final, the next retry passes at least one op to Xen.
 * Over: two ops at slots, with any meanings of their statuses at each attempt; xen_status's patience
 * with an op ends at its second failed attempt. All but the list of parked ops and the counting of
 * attempts is a stand-in; grant_unwind proves the rest.
 *
 * sources: pages/grant.c
 * resized: include/dragoman/pages/grant.h s/(DGM_GRANT_BATCH) +512/\1 2/; s/(DGM_GRANT_SHORT_TRIES) +128/\1 1/
 * options: --unwind 3 --unwindset main.1:7
 * defines: -Dmemset=proof_memset
 * planted: pages/grant.c s/if \(dgm_xen_patience_ends\(&foreign->patience\)\)/if (false)/
 * planted: pages/grant.c s/grant->short_tries == DGM_GRANT_SHORT_TRIES/false/
 * planted: pages/grant.c s/left > 0 && !grant->map_short;/left > 1 \&\& !grant->map_short;/
 */
#include "proof.h"

#include <dragoman/pages/grant.h>
#include <dragoman/hyper/hypercall.h>
#include <pages/identity_table.h>
#include <dragoman/base/status.h>
#include <pages/internal.h>

#define OPS     2
#define RETRIES 6 /* after which every op is final */

struct dgm_foreign first, second;
struct dgm_grant grant;
unsigned refused; /* ops whose slot was returned */
unsigned passed;  /* ops passed to Xen since the last retry */

dgm_gfn_t dgm_slot_take(struct dgm_slot_cache *cache)
{
    return dgm_gfn(1000);
}

void dgm_slot_give(struct dgm_slot_cache *cache, struct dgm_quota *quota, dgm_gfn_t gfn)
{
    refused++;
}

void dgm_slot_retire(struct dgm_slot_cache *cache, dgm_gfn_t gfn)
{
}

void dgm_identity_unmapped(struct dgm_identity *identity, dgm_gfn_t gfn, bool done)
{
}

bool dgm_p2m_is_slot(const struct dgm_p2m *of, dgm_gfn_t gfn)
{
    return true;
}

bool dgm_p2m_in_flight(const struct dgm_p2m *of)
{
    return false;
}

void dgm_p2m_publish(struct dgm_p2m *of, dgm_gfn_t gfn, dgm_mfn_t mfn)
{
}

void dgm_p2m_unpublish(struct dgm_p2m *of, dgm_gfn_t gfn)
{
}

void dgm_env_log(const char *format, ...)
{
}

void dgm_xen_log_unknown(struct dgm_xen_logged *logged, const char *operation,
                         struct dgm_xen_outcome outcome)
{
}

enum dgm_xen_meaning dgm_xen_op_meaning(struct dgm_xen_outcome outcome)
{
    const int16_t meaning = any_i16();

    assume(meaning >= DGM_XEN_OK && meaning <= DGM_XEN_UNKNOWN);
    return (enum dgm_xen_meaning)meaning;
}

bool dgm_xen_patience_ends(struct dgm_xen_patience *patience)
{
    return ++patience->tries >= 2;
}

long dgm_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
    passed += (unsigned)a3;
    return 0;
}

int main(void)
{
    struct dgm_foreign *const foreign[OPS] = {&first, &second};

    dgm_grant_init(&grant, NULL, NULL);
    for (unsigned i = 0; i < OPS; i++)
        dgm_grant_map_add(&grant, foreign[i], NULL, (struct dgm_guest_grant){.ref = i, .domid = 1});
    dgm_grant_map_commit(&grant);
    for (unsigned i = 0; i < RETRIES; i++) {
        const size_t parked = grant.map_parked;

        passed = 0;
        dgm_grant_map_retry(&grant);
        prove((passed > 0) == (parked > 0) && passed <= parked);
    }
    prove(grant.map_parked == 0 && !grant.map_short);
    prove(first.status != DGM_EAGAIN && second.status != DGM_EAGAIN);
    prove(grant.mapped + grant.map_refused == OPS && grant.map_refused == refused);
    dgm_grant_check(&grant);
    return 0;
}
