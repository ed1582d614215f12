/* SPDX-License-Identifier: MIT */
/*
 * cacheflush: cache maintenance by machine address, done by Xen (GNTTABOP_cache_flush)
 *
 * For frames that our CPU has not mapped. Ops are added, each within a frame, and done by one
 * hypercall. Xen allows it for our own frames and for those of which we have a grant mapping. It
 * stops at the first op that it refuses and does not say which one that is. So after a refusal the
 * ops are done one by one, with a few further attempts for all of them together: no refusal is a
 * guest's fault. dma learns how many were refused in the end, and all others are done. The caller
 * provides the batch and probes it; only dma/ adds ops. Source: xen/grant_table.h.
 */
#ifndef DRAGOMAN_DMA_CACHEFLUSH_H
#define DRAGOMAN_DMA_CACHEFLUSH_H

#include <dragoman/base/addr.h>
#include <dragoman/hyper/xen_status.h>
#include <xen/xen.h>
#include <xen/grant_table.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_CACHEFLUSH_BATCH 256u

/* Other rooms use the counters `done`, `refused`, `batches`; the rest is dma's own. */
struct dgm_cacheflush {
    struct gnttab_cache_flush ops[DGM_CACHEFLUSH_BATCH];
    unsigned count;
    unsigned refused_now; /* since the last commit, in batches that were full before it */
    bool absent;          /* Xen does not have the hypercall */
    struct dgm_xen_logged logged;
    uint64_t done, refused; /* counters: ops */
    uint64_t batches;       /* counter: hypercalls */
};

/*
 * Tries DGM_XEN_TRIES times, with an op on no bytes, whether Xen has the hypercall. DGM_OK; or
 * DGM_ENOSYS or another error: it does not, and every commit counts all ops as refused without a
 * hypercall.
 */
int dgm_cacheflush_probe(struct dgm_cacheflush *flush);

#ifdef __cplusplus
}
#endif

#endif
