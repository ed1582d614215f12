/* SPDX-License-Identifier: MIT */
/*
 * core: the parts of the foreign-page path, put together
 *
 * An embedder needs these parts once per reactor. dgm_core_init() makes them in the one order that
 * works, with all memory from one pool of frames. Each part's own header is its manual;
 * docs/porting.md says what the parts require of the embedder, and what they cost.
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
    struct dgm_copy_buffers *copy_buffers; /* NULL: mode copy is not offered */
    struct dgm_identity *identity;         /* NULL: mode identity is not offered */
    struct dgm_persistent *persistent;     /* NULL: no frame is kept mapped */
};

struct dgm_core_config {
    struct dgm_reactor *reactor;
    struct dgm_frames *frames;        /* all memory comes from here */
    const struct dgm_ram_bank *banks; /* our own RAM */
    size_t bank_count;
    const struct dgm_window *window; /* the slots, see slot.h */
    bool slots_later; /* the window has no slot at first: dgm_slots_add() adds them */
    /* bounce buffers, for frames that a device cannot reach or cannot express; at least one for
     * each device, and one more */
    uint16_t bounce_frames;
    uint16_t copy_frames; /* copy buffers; 0: mode copy is not offered */
    /* frames that stay mapped for persistent grants, of all guests together, at most half of the
     * slots; 0: none */
    uint16_t persistent_frames;
    uint16_t identity_frames; /* the most frames mapped at gfn == mfn; 0: the mode is not offered */
    const struct dgm_gfn_range *places; /* where, see identity.h */
    size_t place_count;
};

/*
 * Neither `core` nor the reactor, which was initialised before, may move afterwards; `config` is no
 * longer used after the call. DGM_ENOMEM: the pool of frames has too little; what was taken is
 * lost. DGM_EINVAL: the banks overlap, or there are too many.
 */
int dgm_core_init(struct dgm_core *core, const struct dgm_core_config *config);

/* Asserts every invariant of every part; only between requests. O(window). */
void dgm_core_check(const struct dgm_core *core);

#ifdef __cplusplus
}
#endif

#endif
