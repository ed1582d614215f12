/* SPDX-License-Identifier: MIT */
/*
 * hypervisor: a Xen for hosted tests
 *
 * It implements port/sim's hypercalls as Xen on Arm does, as far as Dragoman uses them: it has
 * domains and their memory, maps granted and foreign frames at gfns of ours, delivers events. The
 * model acts only when it is called: the test acts for the guests, and sets the clock.
 *
 * The machine. Our own domain (0) has its RAM in port/sim's arena; every guest has frames of host
 * memory. Each frame has an mfn, known only to the machine. dgm_hv_machine(mfn) is the memory as a
 * device sees it; dgm_env_va(gfn) as our CPU does, after a map hypercall; dgm_hv_page() as the
 * guest does. All three show the same bytes. A frame mapped read-only is read-only memory for us: a
 * write through it ends the test. A gfn that Xen unmaps becomes a hole: an access to it stops the
 * test.
 *
 * A device in a test calls dgm_hv_may_dma(mfn, write) before it accesses memory: true for our own
 * RAM, and for a guest's frame only while a grant of it is mapped with that right. That is the
 * oracle for "a device accesses only what is granted at this moment".
 *
 * Faults are injected by name (struct dgm_hv_faults). Where Xen's behaviour has traps (facts,
 * xen-arm64 section 3) it is reproduced: an unmap with the wrong host_addr returns okay and leaves
 * the real one mapped; the model counts that (dgm_hv_stats.stale) and tests want it 0.
 *
 * A test:
 *     dgm_hv_start(dgm_gfn(0x40000), 256, dgm_mfn(0x40000));    // our RAM, 1 MiB
 *     dgm_hv_domain_add(1, 64);                                 // a guest with 64 frames
 *     dgm_hv_grant(1, 8, 3, false);                             // its reference 8: gfn 3
 *     ... the library maps reference 8 of domain 1 ...
 *     strcpy(dgm_hv_page(1, 3), "seen by us at dgm_env_va(slot)");
 *     assert_int_equal(dgm_hv_stats()->live, 1);
 *     dgm_hv_stop();
 */
#ifndef SIM_HYPERVISOR_HYPERVISOR_H
#define SIM_HYPERVISOR_HYPERVISOR_H

#include <dragoman/base/addr.h>
#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>

#define DGM_HV_DOMAINS 40   /* domids below this */
#define DGM_HV_REFS    8192 /* grant references per domain */
#define DGM_HV_PORTS   4096 /* ports per domain */

/* --- the machine --- */

/*
 * Starts a machine: our RAM is gfns [first, first + frames), backed by port/sim's arena, with
 * machine frames from `mfn` on (equal to `first` on a direct-mapped Dom0; anything else is a
 * coloured one). Attaches itself to port/sim, hypercalls only; a test with devices or caches
 * attaches its own struct dgm_sim_machine afterwards, with dgm_hv_hypercall in it.
 */
void dgm_hv_start(dgm_gfn_t first, uint64_t frames, dgm_mfn_t mfn);

/*
 * Right after the start: permutes our RAM's machine frames by a seed, as on a Dom0 with cache
 * colouring. dgm_hv_mfn(0, gfn) returns the new one.
 */
void dgm_hv_scatter_ram(uint64_t seed);

/* Frees everything and detaches. */
void dgm_hv_stop(void);

long dgm_hv_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);

/* The memory behind a machine frame, or NULL: no memory there. */
void *dgm_hv_machine(dgm_mfn_t mfn);

/* Whether a device of Dragoman may access this machine frame now. `write`: it writes. */
bool dgm_hv_may_dma(dgm_mfn_t mfn, bool write);

/* The size of the address range of all guests' memory, in each of two views, so that a pointer is
 * classified quickly. */
#define DGM_HV_GUESTS_BYTES ((size_t)1 << 32)
extern char *dgm_hv_guests_at;

static inline bool dgm_hv_is_guests(const void *va)
{
    return dgm_hv_guests_at &&
           (size_t)((const char *)va - dgm_hv_guests_at) < 2 * DGM_HV_GUESTS_BYTES;
}

/* The frame of guests' memory that contains `va`, as the guest sees it, and its number among all
 * guests' frames; NULL: `va` is not in a guest's memory. */
void *dgm_hv_guest_frame(const void *va, uint64_t *index);

/* --- guests --- */

/* A domain with `frames` frames at gfns 0.., zeroed; its machine frames are neighbours, from
 * 0x100000 * domid on. */
void dgm_hv_domain_add(domid_t domid, uint64_t frames);

/* Ends the domain. As on Xen its frames exist while we map them (a zombie); a map returns
 * bad_domain. */
void dgm_hv_domain_destroy(domid_t domid);

/* A guest's frame as the guest sees it. */
void *dgm_hv_page(domid_t domid, uint64_t gfn);

/* The machine frame, or DGM_MFN_NONE. Domain 0 is our own RAM. */
dgm_mfn_t dgm_hv_mfn(domid_t domid, uint64_t gfn);

/* Moves a guest's frame to another machine frame, contents kept. Asserts: it is not mapped, `mfn`
 * is free. */
void dgm_hv_set_mfn(domid_t domid, uint64_t gfn, dgm_mfn_t mfn);

/* HVM_PARAM_* of a guest, for HVMOP_get_param and set_param. */
void dgm_hv_set_param(domid_t domid, uint32_t index, uint64_t value);
uint64_t dgm_hv_param(domid_t domid, uint32_t index);

/*
 * --- grants that guests give to us (domain 0) ---
 *
 * What we grant is in our own table, version 1, as on Xen: XENMEM_add_to_physmap maps its
 * frames, and map and copy look there for domain 0's references, which name our own RAM.
 */

/* Reference `ref` of `domid` grants its frame `gfn`. Replaces one that is not mapped. */
void dgm_hv_grant(domid_t domid, grant_ref_t ref, uint64_t gfn, bool readonly);

/* Grants by the next unused reference, as a frontend's allocator does. */
grant_ref_t dgm_hv_grant_any(domid_t domid, uint64_t gfn, bool readonly);

/* Ends the grant, as gnttab_end_foreign_access: false if we still map it (Linux then reports a
 * broken backend). */
bool dgm_hv_grant_end(domid_t domid, grant_ref_t ref);

/* Clears the entry even while we map it, as a guest can: existing mappings stay, and the frame
 * cannot be mapped again. */
void dgm_hv_grant_revoke(domid_t domid, grant_ref_t ref);

/* How many times the reference is mapped now. */
unsigned dgm_hv_grant_pins(domid_t domid, grant_ref_t ref);

/* --- events --- */

struct shared_info *dgm_hv_shared_info(void);

/* The guest allocates a port for us to bind to; returns it. */
evtchn_port_t dgm_hv_guest_port(domid_t domid);

/* The guest sends on its port: our end becomes pending. False: its port is not connected. */
bool dgm_hv_guest_send(domid_t domid, evtchn_port_t port);

/* Events that we sent to the guest's port since the last call. */
uint64_t dgm_hv_guest_events(domid_t domid, evtchn_port_t port);

/* The guest closes its port; ours stays, unbound. */
void dgm_hv_guest_close(domid_t domid, evtchn_port_t port);

/* Raises a virtual interrupt of ours. False: not bound. */
bool dgm_hv_raise_virq(uint32_t virq);

/* Marks a port of ours pending as Xen does, bound or not (a stray event). */
void dgm_hv_set_pending(evtchn_port_t port);

/* True once after evtchn_upcall_pending went from 0 to 1: the moment at which the interrupt line
 * rises. */
bool dgm_hv_interrupt(void);

/* --- faults and counters --- */

/*
 * Each hook may be NULL. `nth` counts from 0 since dgm_hv_start(). A hook that returns 0 has no
 * effect.
 */
struct dgm_hv_faults {
    void *context;
    /* A status (GNTST_*, negative) for one op, which is then not done. */
    int16_t (*map)(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op);
    int16_t (*unmap)(void *context, uint64_t nth, const struct gnttab_unmap_grant_ref *op);
    int16_t (*copy)(void *context, uint64_t nth, const struct gnttab_copy *op);
    /* A result (negative errno) for a whole hypercall, which is then not made; no status is
     * written. */
    long (*call)(void *context, uint64_t nth, unsigned op, unsigned command);
    /* A grant batch stops before its op `nth` (of all ops since start) with -EFAULT, the ops before
     * it done. True: stop. */
    bool (*cut)(void *context, uint64_t nth);
};

/* Limits our maptrack table to `mappings`: further ones get GNTST_no_space. There is no limit after
 * dgm_hv_start(). */
void dgm_hv_set_maptrack(uint64_t mappings);

/* NULL: none. Copied. */
void dgm_hv_set_faults(const struct dgm_hv_faults *faults);

struct dgm_hv_stats {
    uint64_t calls;                /* hypercalls */
    uint64_t map_ops, unmap_ops;   /* ops done with GNTST_okay */
    uint64_t flush_ops;            /* cache maintenance done */
    uint64_t live;                 /* grant mappings now */
    uint64_t foreign;              /* frames mapped by gmfn_foreign now */
    uint64_t ballooned;            /* frames of our RAM ballooned out now */
    uint64_t stale;                /* unmaps that left the page visible: an error of the library */
    uint64_t over;                 /* maps over a gfn that was mapped: an error of the library */
    uint64_t copy_ops, copy_bytes; /* copies done with GNTST_okay */
    uint64_t copy_switches; /* pages acquired for copies: a side differs from the previous op's, or
                               that op failed */
};

const struct dgm_hv_stats *dgm_hv_stats(void);

#endif
