/* SPDX-License-Identifier: MIT */
/*
 * addr: the three address spaces that must never be mixed up
 *
 *   dgm_gfn_t   a frame as we, the domain, see it (guest-physical, IPA on Arm)
 *   dgm_mfn_t   the machine frame behind it
 *   dgm_bus_t   the byte address that a device is told: machine address plus its window's offset
 *
 * They are one-member structs, so a gfn given where an mfn belongs does not compile. A gfn becomes
 * an mfn only in p2m, an mfn becomes a bus address only in dma.
 *
 * A frame is 4096 bytes, whatever page size a guest uses.
 */
#ifndef DRAGOMAN_BASE_ADDR_H
#define DRAGOMAN_BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DGM_FRAME_SHIFT 12
#define DGM_FRAME_BYTES 4096u

typedef struct {
    uint64_t n;
} dgm_gfn_t;

typedef struct {
    uint64_t n;
} dgm_mfn_t;

typedef struct {
    uint64_t n;
} dgm_bus_t;

#define DGM_GFN_NONE ((dgm_gfn_t){UINT64_MAX})
#define DGM_MFN_NONE ((dgm_mfn_t){UINT64_MAX})

static inline dgm_gfn_t dgm_gfn(uint64_t n)
{
    return (dgm_gfn_t){n};
}

static inline dgm_mfn_t dgm_mfn(uint64_t n)
{
    return (dgm_mfn_t){n};
}

static inline bool dgm_gfn_is_none(dgm_gfn_t gfn)
{
    return gfn.n == UINT64_MAX;
}

static inline bool dgm_mfn_is_none(dgm_mfn_t mfn)
{
    return mfn.n == UINT64_MAX;
}

/* `count` frames from `first`. */
struct dgm_gfn_range {
    dgm_gfn_t first;
    uint64_t count;
};

static inline bool dgm_gfn_in(struct dgm_gfn_range range, dgm_gfn_t gfn)
{
    return gfn.n >= range.first.n && gfn.n - range.first.n < range.count;
}

/*
 * A run of our own RAM. On a direct-mapped Dom0 both numbers are equal; on one whose memory is
 * cache-coloured the machine frames are scattered one by one, and `mfns` names each.
 */
struct dgm_ram_bank {
    dgm_gfn_t gfn;
    dgm_mfn_t mfn; /* of the first frame; unused with `mfns` */
    uint64_t count;
    const uint64_t *mfns; /* `count` of them, the caller's, never changed; NULL: mfn + i */
};

#endif
