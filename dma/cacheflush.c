/* SPDX-License-Identifier: MIT */
/* cacheflush: cache maintenance by machine address, through Xen. See dragoman/dma/cacheflush.h. */
#include <dma/internal.h>
#include <dragoman/base/check.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/hyper/xen_status.h>
#include <dragoman/base/status.h>

#include <string.h>

static long flush_ops(struct dgm_cacheflush *flush, struct gnttab_cache_flush *ops, unsigned count)
{
    flush->batches++;
    return dgm_grant_table_op(GNTTABOP_cache_flush, ops, count);
}

int dgm_cacheflush_probe(struct dgm_cacheflush *flush)
{
    struct gnttab_cache_flush nothing = {0};
    long result = DGM_EAGAIN;

    memset(flush, 0, sizeof *flush);
    for (unsigned tries = 0; tries < DGM_XEN_TRIES && result != 0; tries++)
        result = flush_ops(flush, &nothing, 1);
    flush->absent = result != 0;
    return (int)result;
}

/* Does one op; `*tries`: further attempts that its batch has left. */
static bool flush_one(struct dgm_cacheflush *flush, struct gnttab_cache_flush *op, unsigned *tries)
{
    for (;;) {
        const long result = flush_ops(flush, op, 1);

        if (dgm_xen_call_meaning(DGM_XEN_CALL_OWN, result) == DGM_XEN_OK)
            return true;
        if (*tries == 0) {
            dgm_xen_log_unknown(&flush->logged, "cache maintenance",
                                (struct dgm_xen_outcome){DGM_XEN_NOT_WRITTEN, result});
            return false;
        }
        --*tries;
    }
}

/* Does the whole batch. Returns how many of its ops were refused. */
static unsigned batch_flush(struct dgm_cacheflush *flush)
{
    const unsigned count = flush->count;
    unsigned refused = 0, tries = DGM_XEN_TRIES;

    flush->count = 0;
    if (flush->absent) {
        refused = count;
    } else if (count && flush_ops(flush, flush->ops, count) != 0) {
        for (unsigned i = 0; i < count; i++) /* maintaining twice is harmless */
            refused += !flush_one(flush, &flush->ops[i], &tries);
    }
    flush->done += count - refused;
    flush->refused += refused;
    return refused;
}

void dgm_cacheflush_add(struct dgm_cacheflush *flush, dgm_mfn_t mfn, struct dgm_span span,
                        bool invalidate)
{
    dgm_assert(span.offset < DGM_FRAME_BYTES);
    dgm_assert(span.bytes > 0 && span.bytes <= DGM_FRAME_BYTES - span.offset);
    if (flush->count == DGM_CACHEFLUSH_BATCH)
        flush->refused_now += batch_flush(flush);
    flush->ops[flush->count++] = (struct gnttab_cache_flush){
        .a.dev_bus_addr = dgm_mfn_address(mfn),
        .offset = (uint16_t)span.offset,
        .length = (uint16_t)span.bytes,
        .op = GNTTAB_CACHE_CLEAN | (invalidate ? GNTTAB_CACHE_INVAL : 0),
    };
}

unsigned dgm_cacheflush_commit(struct dgm_cacheflush *flush)
{
    const unsigned refused = flush->refused_now + batch_flush(flush);

    flush->refused_now = 0;
    return refused;
}
