/* SPDX-License-Identifier: MIT */
/*
 * Proves: of stretches given to Xen for cache maintenance, each is done or counted as refused,
 * whichever Xen refuses and however often it does; Xen is asked for exactly those bytes of those
 * frames, always with a clean; a full batch is not lost; nothing given costs no hypercall.
 * Over: up to four stretches of any frames, batches of two, any refusals.
 *
 * sources: dma/cacheflush.c
 * options: --unwind 6
 * defines: -Dmemset=proof_memset
 * resized: include/dragoman/dma/cachemaint.h s/256u/2u/
 * planted: dma/cacheflush.c s/refused \+= ask/ask/
 * planted: dma/cacheflush.c s/flush->refused_now \+= batch_do\(flush\);/(void)batch_do(flush);/
 * planted: dma/cacheflush.c s/GNTTAB_CACHE_CLEAN \| \(/0 | (/
 * planted: dma/cacheflush.c s/unsigned i = 0; i < count/unsigned i = 1; i < count/
 */
#include "proof.h"

#include <dragoman/dma/cachemaint.h>
#include <dragoman/hyper/hypercall.h>

#define STRETCHES 4

struct stretch {
    uint64_t address;
    uint16_t offset, bytes;
    bool invalidate, done;
} stretch[STRETCHES];

struct dgm_cacheflush flush;
unsigned given, asked;

static void ask_for(const struct gnttab_cache_flush *op, bool granted)
{
    bool known = false;

    prove(op->op & GNTTAB_CACHE_CLEAN);
    for (unsigned i = 0; i < given; i++) {
        const uint32_t ops = GNTTAB_CACHE_CLEAN | (stretch[i].invalidate ? GNTTAB_CACHE_INVAL : 0u);

        if (op->a.dev_bus_addr != stretch[i].address)
            continue;
        known = true;
        prove(op->offset == stretch[i].offset && op->length == stretch[i].bytes && op->op == ops);
        if (granted)
            stretch[i].done = true;
    }
    prove(known);
}

/* Xen: the first that it refuses ends it. */
long dgm_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
    const struct gnttab_cache_flush *ops = (const struct gnttab_cache_flush *)a2;

    prove(op == __HYPERVISOR_grant_table_op && a1 == GNTTABOP_cache_flush);
    prove(a3 > 0 && a3 <= DGM_CACHEFLUSH_BATCH);
    asked++;
    for (unsigned i = 0; i < a3; i++) {
        const bool refused = any_bool();

        ask_for(&ops[i], !refused);
        if (refused)
            return -22;
    }
    return 0;
}

int main(void)
{
    const unsigned count = any_u8() % (STRETCHES + 1);
    unsigned refused, done = 0;

    for (unsigned i = 0; i < count; i++) {
        stretch[i] = (struct stretch){.address = (uint64_t)(100 + i) << DGM_FRAME_SHIFT,
                                      .offset = any_u16(),
                                      .bytes = any_u16(),
                                      .invalidate = any_bool()};
        assume(stretch[i].offset < DGM_FRAME_BYTES && stretch[i].bytes > 0);
        assume(stretch[i].bytes <= DGM_FRAME_BYTES - stretch[i].offset);
        given++;
        dgm_cacheflush_add(&flush, dgm_mfn(100 + i), stretch[i].offset, stretch[i].bytes,
                           stretch[i].invalidate);
    }
    refused = dgm_cacheflush_commit(&flush);
    for (unsigned i = 0; i < count; i++)
        done += stretch[i].done;
    prove(refused <= count && count - refused <= done);
    prove(flush.done == count - refused && flush.refused == refused);
    prove((asked == 0) == (count == 0));
    prove(dgm_cacheflush_commit(&flush) == 0);
    return 0;
}
