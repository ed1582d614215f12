/* SPDX-License-Identifier: MIT */
/*
 * guest_console: the output of a guest that Dragoman built
 *
 * Xen prints what its own guests write to their emulated PL011. Of a guest that Dragoman made, Xen
 * puts the characters into a ring in a page of the guest, and Dragoman prints them, in lines that
 * begin as Xen's do: "DOM1: ". The page is the guest's, so nothing in it is trusted. What a guest
 * prints costs the others no more than a stated amount: after a burst the guest waits
 * for its own console (docs/shares.md).
 */
#ifndef KERNEL_GUEST_CONSOLE_H
#define KERNEL_GUEST_CONSOLE_H

#include <dragoman/base/reactor.h>
#include <dragoman/hyper/evtchn.h>
#include <dragoman/pages/slot.h>

#define GUEST_CONSOLE_LINE 160u /* a longer line is printed in pieces */

struct guest_console {
    struct dgm_reactor *reactor;
    struct dgm_evtchn *evtchn;
    struct dgm_slot_cache *slots;
    domid_t domid;
    dgm_gfn_t page;
    evtchn_port_t port; /* 0: closed */
    struct dgm_task task;
    struct dgm_timer timer; /* armed while its share is used up */
    uint64_t refilled_ns;
    uint32_t share; /* bytes that may be printed now */
    uint32_t length;
    char line[GUEST_CONSOLE_LINE];
};

struct guest_console_env {
    struct dgm_reactor *reactor;
    struct dgm_evtchn *evtchn;
    struct dgm_slot_cache *slots;
};

/* Opens the console of `remote`, whose ring is in its frame GUEST_VUART_GFN. A console that cannot
 * be opened is logged, and the guest runs without. */
void guest_console_open(struct guest_console *console, const struct guest_console_env *env,
                        struct dgm_evtchn_remote remote);

/* Prints the rest, and unmaps the page. No effect on a console that is not open. */
void guest_console_close(struct guest_console *console);

#endif
