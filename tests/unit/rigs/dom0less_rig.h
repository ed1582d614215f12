/* SPDX-License-Identifier: MIT */
/*
 * One guest that Xen created at boot, a store and slots for its page, and a Xen whose hypercalls
 * are recorded and may be refused, one of them at a time.
 */
#ifndef DOM0LESS_RIG_H
#define DOM0LESS_RIG_H

#include "unit.h"

#include <dragoman/xenstore/dom0less.h>
#include <dragoman/hyper/hypercall.h>
#include <port/env.h>
#include <sim/hypervisor/domctl.h>
#include <sim/hypervisor/hypervisor.h>
#include <xenstore/store.h>

#include <xen/domctl.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#include <xen/io/xs_wire.h>
#include <xen/memory.h>
#include <xen/sched.h>

#define DOM0LESS_GUEST     1
#define DOM0LESS_FRAMES    64
#define DOM0LESS_MAGIC_GFN 0x39001 /* where Xen's own tools put the page */
#define DOM0LESS_UNSET     UINT64_MAX
#define DOM0LESS_CALLS_MAX 128

extern struct dom0less_rig {
    struct dgm_reactor reactor;
    struct dgm_evtchn evtchn;
    struct dgm_slots store;
    struct dgm_slot_cache slots;
    uint64_t store_memory[8], slot_memory[8];
    void *xs_memory;
    struct dgm_xenstore *xs;
    struct dgm_dom0less_guest guest;
    evtchn_port_t port; /* the guest's */

    /* Every hypercall, in order; the one numbered `refuse` returns `result` and does nothing. */
    struct {
        unsigned op, command;
    } calls[DOM0LESS_CALLS_MAX];
    int call_count, refuse;
    long result;
} dom0less_rig;

/* cmocka's setup and teardown. */
int dom0less_rig_start(void **state);
int dom0less_rig_stop(void **state);
void dom0less_rig_run(void);
/* No page, slot or channel of the guest is held. */
void dom0less_rig_check_idle(void);
/* The first hypercall of that kind; -1: none. */
int dom0less_find_call(unsigned op, unsigned command);

/* Sends a request over the guest's page ('|' for NUL). The reply as text; an error's name after a
 * '!'. */
const char *dom0less_ask(uint64_t gfn, uint32_t type, const char *payload);

/* Each must succeed; after the release nothing is held. */
void dom0less_prepare(void);
void dom0less_introduce(void);
void dom0less_release(void);

/* Runs a group of tests once for each Xen, in a process of its own: the library keeps the domctl
 * version that it found. Returns main's status. */
int dom0less_each_xen(int (*tests_of_one_xen)(void));

#endif
