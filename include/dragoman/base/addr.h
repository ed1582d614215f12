/* SPDX-License-Identifier: MIT */
/*
 * addr: the three address spaces that must never be mixed up
 *
 *   dgm_gfn_t   a frame in a domain's guest-physical space (IPA on Arm); ours unless said otherwise
 *   dgm_mfn_t   a machine frame: what the memory controller sees
 *   dgm_bus_t   the byte address that a device is given: machine address plus its window's offset
 *
 * Each is a struct with one member, so a gfn in place of an mfn does not compile. The member is for
 * this header alone: other code uses the operations below. dgm_*_number() and dgm_*_address() leave
 * the typed world, for an interface that takes plain numbers (a hypercall, a register, a log line).
 * A conversion from one space to another is none of these operations; each has one named place:
 *
 *   gfn -> mfn   dgm_p2m_lookup()
 *   mfn -> gfn   dgm_identity_gfn(), for a frame that is mapped at its mfn
 *   mfn -> bus   dgm_dma_map()
 *
 * A frame is 4096 bytes, whatever page size a guest uses.
 */
#ifndef DRAGOMAN_BASE_ADDR_H
#define DRAGOMAN_BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

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

/* Bytes [offset, offset + bytes) of something that the context names: a frame, a map. */
struct dgm_span {
    uint32_t offset, bytes;
};

/* --- gfn --- */

static inline dgm_gfn_t dgm_gfn(uint64_t number)
{
    return (dgm_gfn_t){number};
}

static inline uint64_t dgm_gfn_number(dgm_gfn_t gfn)
{
    return gfn.n;
}

/* The address of the frame's first byte, in the space of gfns. */
static inline uint64_t dgm_gfn_address(dgm_gfn_t gfn)
{
    return gfn.n << DGM_FRAME_SHIFT;
}

static inline bool dgm_gfn_is_none(dgm_gfn_t gfn)
{
    return gfn.n == UINT64_MAX;
}

static inline bool dgm_gfn_equal(dgm_gfn_t a, dgm_gfn_t b)
{
    return a.n == b.n;
}

static inline bool dgm_gfn_below(dgm_gfn_t a, dgm_gfn_t b)
{
    return a.n < b.n;
}

static inline dgm_gfn_t dgm_gfn_add(dgm_gfn_t gfn, uint64_t frames)
{
    return (dgm_gfn_t){gfn.n + frames};
}

/* Frames from `low` up to `high`. Wraps to a large number if `high` is below `low`. */
static inline uint64_t dgm_gfn_diff(dgm_gfn_t high, dgm_gfn_t low)
{
    return high.n - low.n;
}

/* --- mfn --- */

static inline dgm_mfn_t dgm_mfn(uint64_t number)
{
    return (dgm_mfn_t){number};
}

static inline uint64_t dgm_mfn_number(dgm_mfn_t mfn)
{
    return mfn.n;
}

/* The address of the frame's first byte, in the space of mfns. */
static inline uint64_t dgm_mfn_address(dgm_mfn_t mfn)
{
    return mfn.n << DGM_FRAME_SHIFT;
}

static inline bool dgm_mfn_is_none(dgm_mfn_t mfn)
{
    return mfn.n == UINT64_MAX;
}

static inline bool dgm_mfn_equal(dgm_mfn_t a, dgm_mfn_t b)
{
    return a.n == b.n;
}

static inline bool dgm_mfn_below(dgm_mfn_t a, dgm_mfn_t b)
{
    return a.n < b.n;
}

static inline dgm_mfn_t dgm_mfn_add(dgm_mfn_t mfn, uint64_t frames)
{
    return (dgm_mfn_t){mfn.n + frames};
}

/* Frames from `low` up to `high`. Wraps to a large number if `high` is below `low`. */
static inline uint64_t dgm_mfn_diff(dgm_mfn_t high, dgm_mfn_t low)
{
    return high.n - low.n;
}

/* --- bus addresses: of bytes --- */

static inline dgm_bus_t dgm_bus(uint64_t address)
{
    return (dgm_bus_t){address};
}

static inline uint64_t dgm_bus_address(dgm_bus_t bus)
{
    return bus.n;
}

static inline bool dgm_bus_equal(dgm_bus_t a, dgm_bus_t b)
{
    return a.n == b.n;
}

static inline dgm_bus_t dgm_bus_add(dgm_bus_t bus, uint64_t bytes)
{
    return (dgm_bus_t){bus.n + bytes};
}

/* Bytes from `low` up to `high`. Wraps to a large number if `high` is below `low`. */
static inline uint64_t dgm_bus_diff(dgm_bus_t high, dgm_bus_t low)
{
    return high.n - low.n;
}

/* Bytes of `bus` beyond the last multiple of `alignment`, a power of two. */
static inline uint64_t dgm_bus_offset(dgm_bus_t bus, uint64_t alignment)
{
    return bus.n & (alignment - 1);
}

/* --- runs of frames --- */

/* `count` frames from `first`. */
struct dgm_gfn_range {
    dgm_gfn_t first;
    uint64_t count;
};

static inline bool dgm_gfn_in(struct dgm_gfn_range range, dgm_gfn_t gfn)
{
    return dgm_gfn_diff(gfn, range.first) < range.count; /* large for a gfn below the range */
}

/* The gfn after the last one. */
static inline dgm_gfn_t dgm_gfn_range_end(struct dgm_gfn_range range)
{
    return dgm_gfn_add(range.first, range.count);
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

#ifdef __cplusplus
}
#endif

#endif
