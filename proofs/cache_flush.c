/* SPDX-License-Identifier: MIT */
/*
 * Proves: each op for Xen's cache maintenance is done or counted as refused, for any refusals of
 * Xen; Xen gets exactly those bytes of those frames, always with a clean; a full batch is not lost;
 * an op that Xen refused at first is done or counted once; a commit of no op makes no hypercall.
 * Over: up to four ops on any frames, batches of two, any refusals, one further attempt.
 *
 * sources: dma/cacheflush.c
 * options: --unwind 6
 * resized: include/dragoman/hyper/xen_status.h s/12u/1u/
 * defines: -Dmemset=proof_memset
 * resized: include/dragoman/dma/cacheflush.h s/256u/2u/
 * planted: dma/cacheflush.c s/refused \+= !flush_one/flush_one/
 * planted: dma/cacheflush.c s/flush->refused_now \+= batch_flush\(flush\);/(void)batch_flush(flush);/
 * planted: dma/cacheflush.c s/GNTTAB_CACHE_CLEAN \| \(/0 | (/
 * planted: dma/cacheflush.c s/unsigned i = 0; i < count/unsigned i = 1; i < count/
 */
#include "proof.h"

#include <dma/internal.h>
#include <dragoman/dma/cacheflush.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/hyper/xen_status.h>

#define OPS 4

struct expected {
    uint64_t address;
    uint16_t offset, bytes;
    bool invalidate, done;
} expected[OPS];

struct dgm_cacheflush flush;
unsigned given, hypercalls;

static void xen_does(const struct gnttab_cache_flush *op, bool granted)
{
    bool known = false;

    prove(op->op & GNTTAB_CACHE_CLEAN);
    for (unsigned i = 0; i < given; i++) {
        const uint32_t ops =
            GNTTAB_CACHE_CLEAN | (expected[i].invalidate ? GNTTAB_CACHE_INVAL : 0u);

        if (op->a.dev_bus_addr != expected[i].address)
            continue;
        known = true;
        prove(op->offset == expected[i].offset && op->length == expected[i].bytes && op->op == ops);
        if (granted)
            expected[i].done = true;
    }
    prove(known);
}

/* Xen: stops at the first op that it refuses. */
long dgm_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
    const struct gnttab_cache_flush *ops = (const struct gnttab_cache_flush *)a2;

    prove(op == __HYPERVISOR_grant_table_op && a1 == GNTTABOP_cache_flush);
    prove(a3 > 0 && a3 <= DGM_CACHEFLUSH_BATCH);
    hypercalls++;
    for (unsigned i = 0; i < a3; i++) {
        const bool refused = any_bool();

        xen_does(&ops[i], !refused);
        if (refused)
            return -22;
    }
    return 0;
}

enum dgm_xen_meaning dgm_xen_call_meaning(enum dgm_xen_call call, long result)
{
    prove(call == DGM_XEN_CALL_OWN);
    return result < 0 ? DGM_XEN_UNKNOWN : DGM_XEN_OK;
}

void dgm_xen_log_unknown(struct dgm_xen_logged *logged, const char *operation,
                         struct dgm_xen_outcome outcome)
{
    prove(outcome.status == DGM_XEN_NOT_WRITTEN && outcome.result < 0);
}

int main(void)
{
    const unsigned count = any_u8() % (OPS + 1);
    unsigned refused, done = 0;

    for (unsigned i = 0; i < count; i++) {
        expected[i] = (struct expected){.address = (uint64_t)(100 + i) << DGM_FRAME_SHIFT,
                                        .offset = any_u16(),
                                        .bytes = any_u16(),
                                        .invalidate = any_bool()};
        assume(expected[i].offset < DGM_FRAME_BYTES && expected[i].bytes > 0);
        assume(expected[i].bytes <= DGM_FRAME_BYTES - expected[i].offset);
        given++;
        dgm_cacheflush_add(
            &flush, dgm_mfn(100 + i),
            (struct dgm_span){.offset = expected[i].offset, .bytes = expected[i].bytes},
            expected[i].invalidate);
    }
    refused = dgm_cacheflush_commit(&flush);
    for (unsigned i = 0; i < count; i++)
        done += expected[i].done;
    prove(refused <= count && count - refused <= done);
    prove(flush.done == count - refused && flush.refused == refused);
    prove((hypercalls == 0) == (count == 0));
    prove(dgm_cacheflush_commit(&flush) == 0);
    return 0;
}
