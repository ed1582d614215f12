/* SPDX-License-Identifier: MIT */
/*
 * core: the parts of the foreign-page path, put together
 *
 * What a kernel that embeds the library needs once per reactor, made in the one order that works,
 * with all memory from one pool of frames. Each part's own header is its manual; docs/porting.md
 * says what all of them want from the embedder, and what they cost.
 */
#ifndef DRAGOMAN_CORE_CORE_H
#define DRAGOMAN_CORE_CORE_H

#include <dragoman/dma/dma.h>
#include <dragoman/reach/reach.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dgm_core {
    struct dgm_p2m p2m;
    struct dgm_slots slots;
    struct dgm_slot_cache cache;
    struct dgm_bounce bounce;
    struct dgm_dma dma;
    struct dgm_reach reach;
    struct dgm_grant *grant;
    struct dgm_grantcopy *copy;
    struct dgm_bounce *buffers;        /* NULL: no path copy */
    struct dgm_identity *identity;     /* NULL: no path identity */
    struct dgm_persistent *persistent; /* NULL: nothing is kept mapped */
};

struct dgm_core_config {
    struct dgm_reactor *reactor;
    struct dgm_frames *frames;        /* all memory comes from here */
    const struct dgm_ram_bank *banks; /* our own RAM */
    size_t bank_count;
    const struct dgm_window *window; /* the slots, see slot.h */
    bool slots_later;                /* none is there yet: dgm_slots_add() */
    uint16_t bounce_frames;     /* buffers for devices that cannot reach, or express, the frame; at
                                   least 1 */
    uint16_t copy_frames;       /* for path copy; 0: not offered */
    uint16_t persistent_frames; /* that may be kept mapped, of all guests; 0: none. At most half of
                             the slots that are there are. */
    uint16_t identity_frames;   /* mapped at gfn == mfn at once; 0: not offered */
    const struct dgm_gfn_range *places; /* where, see identity.h */
    size_t place_count;
};

/* `core` and the reactor, which was initialised before, stay where they are; `config` is not kept.
 * DGM_ENOMEM: the pool has too little; what was taken is lost. DGM_EINVAL: the banks overlap, or
 * there are too many. */
int dgm_core_init(struct dgm_core *core, const struct dgm_core_config *config);

/* Every invariant of every part, when nothing is under way. O(window). */
void dgm_core_check(const struct dgm_core *core);

#ifdef __cplusplus
}
#endif

#endif
