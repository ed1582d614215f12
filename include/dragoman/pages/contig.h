/* SPDX-License-Identifier: MIT */
/*
 * contig: own frames made machine-contiguous, where a guest may choose its machine frames (x86 PV)
 *
 * The adjacent frames of a PV guest are scattered over the machine. A device that is given one
 * address and a length would run past the end of the first frame into a frame of another domain.
 * Xen offers XENMEM_exchange: the guest hands in single frames and gets a run of 2^order adjacent
 * frames below a given number of address bits, at the same guest frame numbers.
 *
 * An auto-translated guest (every guest on Arm, and PVH) cannot choose its machine frames:
 * dgm_contig_init() returns DGM_EOPNOTSUPP, and the other functions must not be called.
 *
 *     struct dgm_contig contig;                                  // 12 KiB, the caller's
 *     if (dgm_contig_init(&contig, &port, range, 3) == DGM_OK    // range: runs of 2^3 frames
 *         && dgm_contig_make(&contig, 32) > 0)                   // below 4 GiB
 *         ... the first contig.runs runs may be given to a 32-bit device ...
 *     dgm_contig_undo(&contig);
 *
 * Contents are lost: Xen gives the frames to other domains as they are, so they are zeroed before
 * they leave us, and the frames that Xen returns hold arbitrary data. Nothing else may refer to the
 * frames meanwhile: Xen refuses (DGM_EINVAL) a frame that is mapped a second time, granted and
 * mapped, or a page table.
 *
 * dgm_contig_make() lists the failures and the state after each. No frame is ever lost:
 * contig->mfn[] names at every moment the machine frame behind each of our frames. Source:
 * xen/memory.h, XENMEM_exchange. Cost on Xen 4.20: 4,300 instructions a frame to make a run of
 * order 9, 5,100 to undo it, one exchange each; for the start and rare events, not for each I/O.
 */
#ifndef DRAGOMAN_PAGES_CONTIG_H
#define DRAGOMAN_PAGES_CONTIG_H

#include <dragoman/base/addr.h>
#include <xen/xen.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 2 MiB a run. Xen's own limit is 18 for the control domain and 9 for others; the lists below have
 * this size. */
#define DGM_CONTIG_ORDER_MAX  9
#define DGM_CONTIG_FRAMES_MAX 512 /* in one region */

/*
 * The operations that each port provides: access to the page tables and to the guest's own table of
 * machine frames (its p2m). The exchange itself updates Xen's table, the m2p.
 */
struct dgm_contig_port {
    void *context;
    /* The machine frame behind a frame of ours. DGM_MFN_NONE: not our frame. */
    dgm_mfn_t (*mfn)(void *context, dgm_gfn_t gfn);
    /*
     * Removes every mapping of the frames from the page tables, flushes the TLBs, and marks the
     * frames absent in the p2m. Frames that are already unmapped stay so. Returns 0, or a negative
     * errno with any part of them unmapped.
     */
    int (*unmap)(void *context, struct dgm_gfn_range range);
    /*
     * Maps the frames at their old addresses, mfn[i] behind the i-th, and enters that in the p2m.
     * Frames that are already mapped so stay so, so a second call is allowed. Returns 0, or a
     * negative errno.
     */
    int (*remap)(void *context, struct dgm_gfn_range range, const dgm_mfn_t *mfn);
};

/* All of it is pages' own. */
struct dgm_contig {
    const struct dgm_contig_port *port;
    struct dgm_gfn_range range;
    unsigned order;
    uint64_t runs; /* number of contiguous runs of 2^order frames, the first ones of the range */
    bool mapped;   /* false: a remap failed; dgm_contig_remap() retries it */
    int error;     /* why the last make or undo stopped early; DGM_OK: it did not */
    uint64_t exchanged;                   /* frames exchanged since init, both ways */
    uint64_t partial;                     /* exchanges that Xen made in part */
    dgm_mfn_t mfn[DGM_CONTIG_FRAMES_MAX]; /* machine frame behind each frame of the range */
    xen_pfn_t list[DGM_CONTIG_FRAMES_MAX + DGM_CONTIG_FRAMES_MAX]; /* of one hypercall: in, out */
};

/*
 * Describes the region: `range` is our own RAM, a whole number of runs of 2^order frames. `contig`
 * itself must lie outside it. `port` must stay valid. DGM_EOPNOTSUPP: this guest is auto-translated
 * and has no use for this module. DGM_E2BIG: order or range is above the limits. DGM_EINVAL: not a
 * whole number of runs, or a frame that is not ours.
 */
int dgm_contig_init(struct dgm_contig *contig, const struct dgm_contig_port *port,
                    struct dgm_gfn_range range, unsigned order);

/*
 * Makes the runs contiguous, each naturally aligned and below 2^address_bits bytes (0: anywhere).
 * Contents are zero afterwards, whatever the result. Asserts that this module has made no run
 * contiguous yet, and that the region is mapped.
 *
 * Returns the number of runs made, always the first ones; contig->error is the reason if some are
 * missing. The other frames are unchanged and mapped. Negative: it made none. DGM_ENOMEM: Xen has
 * no such memory. DGM_EINVAL: Xen refuses a frame that something still refers to. DGM_EPERM: order
 * is above Xen's limit for this domain. After an error the old frames are mapped again, unless
 * contig->mapped is false. In that case the port failed, contig->error is its error, and the region
 * must not be touched before dgm_contig_remap() succeeds; contig->runs is correct even then.
 */
int64_t dgm_contig_make(struct dgm_contig *contig, unsigned address_bits);

/*
 * Exchanges the runs for single frames, which may lie anywhere. Contents are zero afterwards.
 * DGM_OK: no run is left. Negative: the first contig->runs runs are still contiguous; as after
 * dgm_contig_make(), check contig->mapped. May be called again.
 */
int dgm_contig_undo(struct dgm_contig *contig);

/* Retries a remap that failed in the port; asserts that the region is not mapped. DGM_OK: the
 * region is mapped, and its contents are zero. */
int dgm_contig_remap(struct dgm_contig *contig);

/* Asserts every invariant. O(frames). */
void dgm_contig_check(const struct dgm_contig *contig);

#ifdef __cplusplus
}
#endif

#endif
