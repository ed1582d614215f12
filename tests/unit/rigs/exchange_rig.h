/* SPDX-License-Identifier: MIT */
/*
 * exchange_rig: a model of XENMEM_exchange, and a port of contig over it
 *
 * The model behaves like real Xen versions (tests/x86 runs the same code on them). It works extent
 * by extent, refuses a frame that is still mapped, enters the gfn of the output list in its m2p,
 * and gives frames full of another domain's bytes. It fails a test in which a frame returns to Xen
 * with a byte of ours in it.
 */
#ifndef EXCHANGE_RIG_H
#define EXCHANGE_RIG_H

#include "unit.h"

#include <dragoman/pages/contig.h>

#define EXCHANGE_FIRST    0x100u /* our first gfn */
#define EXCHANGE_FRAMES   512u   /* gfns of ours */
#define EXCHANGE_MACHINE  4096u  /* machine frames in the model */
#define EXCHANGE_LOW      2048u  /* those below 2^(12+11) = 2^23 bytes, all free at first */
#define EXCHANGE_LOW_BITS 23
#define EXCHANGE_OURS     0x11 /* in every byte that we used */
#define STRANGERS         0xa5 /* in every byte of a frame that Xen gives */
#define XEN_FREE          UINT64_MAX

struct exchange_rig {
    uint8_t (*memory)[DGM_FRAME_BYTES]; /* per machine frame */
    bool ours[EXCHANGE_MACHINE];
    uint64_t m2p[EXCHANGE_MACHINE];        /* XEN_FREE: not ours */
    unsigned references[EXCHANGE_MACHINE]; /* page table entries of ours */
    uint64_t p2m[EXCHANGE_FRAMES];         /* UINT64_MAX: absent */
    uint64_t table[EXCHANGE_FRAMES];       /* the page tables: mfn, or UINT64_MAX */
    bool auto_translated;
    unsigned order_max;
    uint64_t exchanges;
    /* faults: -1 or UINT64_MAX: none */
    int64_t fail_extent; /* this extent (the larger kind) of every exchange is refused */
    int fail_error;
    uint64_t call, fail_call; /* of unmap, exchange, remap together: the n-th fails */
    bool fail_all_later;
    uint64_t unmap_leaves; /* port_unmap() leaves this gfn mapped, and reports success */
    bool short_is_ok;      /* a short exchange returns 0 */
};

extern struct exchange_rig exchange_rig;
extern const struct dgm_contig_port exchange_rig_port;

int exchange_rig_start(void **state);
int exchange_rig_stop(void **state);

#endif
