/* SPDX-License-Identifier: MIT */
/*
 * contig: own frames made machine-contiguous, where a guest may choose its machine frames (x86 PV)
 *
 * A PV guest's neighbouring frames are scattered over the machine. A device that is told one
 * address and a length runs past the end of the first frame into a stranger's. Xen's answer is
 * XENMEM_exchange: single frames are handed in, a run of 2^order neighbours below a given number of
 * address bits comes back, under the same guest frame numbers.
 *
 * On an auto-translated guest (every guest on Arm, and PVH) machine frames are not the guest's to
 * choose: dgm_contig_init() answers DGM_EOPNOTSUPP, and all that follows must not be called.
 *
 *     struct dgm_contig contig;                                  // 12 KiB, the caller's
 *     if (dgm_contig_init(&contig, &port, range, 3) == DGM_OK    // range: runs of 2^3 frames
 *         && dgm_contig_make(&contig, 32) > 0)                   // below 4 GiB
 *         ... the first contig.runs runs may be given to a 32-bit device ...
 *     dgm_contig_undo(&contig);
 *
 * Contents are lost: the frames are zeroed before they leave us, because Xen gives them to others
 * as they are, and what comes back holds anything. Nothing else may refer to the frames meanwhile:
 * Xen refuses (DGM_EINVAL) a frame that is mapped a second time, granted and mapped, or a page
 * table.
 *
 * What may fail, and what stands then: see dgm_contig_make(). The frames themselves are never lost:
 * contig->mfn[] tells at every moment which machine frame stands behind which of our frames.
 * Source: xen/memory.h, XENMEM_exchange. Cost on Xen 4.20: 4,300 instructions a frame
 * to make a run of order 9, 5,100 to undo it, one exchange each; for start-up and rare events, not
 * for the path of an I/O.
 */
#ifndef DRAGOMAN_PAGES_CONTIG_H
#define DRAGOMAN_PAGES_CONTIG_H

#include <dragoman/base/addr.h>
#include <xen/xen.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * 2 MiB a run. Xen's own limit is 18 for the control domain and 9 for others; the lists below are
 * sized by it.
 */
#define DGM_CONTIG_ORDER_MAX  9
#define DGM_CONTIG_FRAMES_MAX 512 /* in one region */

/*
 * What differs per port: the page tables and the guest's own book of machine frames (its p2m).
 * Xen's book, the m2p, needs no help: the exchange writes it.
 */
struct dgm_contig_port {
    void *context;
    /* The machine frame behind a frame of ours; DGM_MFN_NONE: not ours. */
    dgm_mfn_t (*mfn)(void *context, dgm_gfn_t gfn);
    /*
     * Takes every mapping of the frames out of the page tables, TLBs flushed, and marks them absent
     * in the p2m. Frames that are unmapped already stay so. 0, or negative errno with any part of
     * them unmapped.
     */
    int (*unmap)(void *context, struct dgm_gfn_range range);
    /*
     * Maps the frames where they were, mfn[i] behind the i-th, and enters that in the p2m. Frames
     * that are mapped so already stay so: it may be called again. 0, or negative errno.
     */
    int (*remap)(void *context, struct dgm_gfn_range range, const dgm_mfn_t *mfn);
};

struct dgm_contig {
    const struct dgm_contig_port *port;
    struct dgm_gfn_range range;
    unsigned order;
    uint64_t runs;      /* contiguous now: the first so many runs of 2^order frames */
    bool mapped;        /* false: a remap failed; dgm_contig_remap() tries again */
    int error;          /* why the last make or undo stopped early; DGM_OK: it did not */
    uint64_t exchanged; /* frames exchanged since init, both ways */
    uint64_t partial;   /* exchanges that Xen did in part */
    dgm_mfn_t mfn[DGM_CONTIG_FRAMES_MAX]; /* behind each frame of the range */
    xen_pfn_t list[DGM_CONTIG_FRAMES_MAX + DGM_CONTIG_FRAMES_MAX]; /* for one hypercall: in, out */
};

/*
 * Describes the region: `range` is our own RAM, a whole number of runs of 2^order frames. `contig`
 * itself must lie outside it. `port` is kept, not copied. DGM_EOPNOTSUPP: this guest is
 * auto-translated, there is nothing to do here. DGM_E2BIG: order or range above the limits.
 * DGM_EINVAL: no whole number of runs, or a frame that is not ours.
 */
int dgm_contig_init(struct dgm_contig *contig, const struct dgm_contig_port *port,
                    struct dgm_gfn_range range, unsigned order);

/*
 * Makes the runs contiguous, each naturally aligned and below 2^address_bits bytes (0: anywhere).
 * Contents are zero afterwards, whatever the result. Asserts: no run is contiguous yet by this
 * module's doing, and the region is mapped.
 *
 * Returns the number of runs made, always the first ones; contig->error says why it is not all of
 * them. The other frames are what they were, and mapped. Negative: none was made. DGM_ENOMEM: Xen
 * has no such memory. DGM_EINVAL: Xen refuses a frame that something still refers to. DGM_EPERM:
 * order above Xen's limit for this domain. The old frames are mapped again, unless
 * contig->mapped is false: then the port failed, contig->error is its reason, and the region must
 * not be touched before dgm_contig_remap() succeeds; contig->runs is true even then.
 */
int64_t dgm_contig_make(struct dgm_contig *contig, unsigned address_bits);

/*
 * Gives the runs back for single frames, which may lie anywhere. Contents are zero afterwards.
 * DGM_OK: all given back. Negative: contig->runs runs are contiguous still, the first ones; and as
 * with make, look at contig->mapped. May be called again.
 */
int dgm_contig_undo(struct dgm_contig *contig);

/* After a port's remap failed (asserts: not mapped): tries it again. DGM_OK: the region is mapped,
 * and zero. */
int dgm_contig_remap(struct dgm_contig *contig);

/* The invariants, as assertions. O(frames). */
void dgm_contig_check(const struct dgm_contig *contig);

#ifdef __cplusplus
}
#endif

#endif
