/* SPDX-License-Identifier: MIT */
/*
 * evtchn: event channels (2-level ABI), each bound to a task
 *
 * An event posts the channel's task; the work is done in the reactor's turn, bounded and in order.
 * Xen delivers by setting bits in shared memory and raising one interrupt; dgm_evtchn_dispatch()
 * clears each pending bit before posting, so that an event that comes while the task runs posts it
 * again.
 *
 * Source: xen/event_channel.h; the order of the scan: facts of the 2-level ABI (upcall_pending,
 * then the selector, then the words). One dgm_evtchn per vCPU; at most DGM_EVTCHN_PORTS ports.
 */
#ifndef DRAGOMAN_HYPER_EVTCHN_H
#define DRAGOMAN_HYPER_EVTCHN_H

#include <dragoman/base/reactor.h>
#include <xen/xen.h>
#include <xen/event_channel.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_EVTCHN_PORTS 1024

struct dgm_evtchn {
    struct shared_info *shared;
    struct vcpu_info *vcpu;
    struct dgm_reactor *reactor;
    struct dgm_task *task[DGM_EVTCHN_PORTS]; /* NULL: nobody's */
    struct dgm_task more;                    /* the rest of a dispatch that had no end */
    uint64_t delivered, stray, sent;         /* events */
};

/* `shared` is Xen's shared info page and `vcpu` the part for the reactor's vCPU, mapped by the
 * caller for good. Masks every port: nothing comes before it is bound. */
void dgm_evtchn_init(struct dgm_evtchn *evtchn, struct dgm_reactor *reactor,
                     struct shared_info *shared, struct vcpu_info *vcpu);

/* Each returns the local port (> 0) or Xen's negative error; DGM_ENOSPC: a port beyond
 * DGM_EVTCHN_PORTS. `task` is posted at each event; one that came before the binding is not
 * lost. Virtual interrupts are those of vCPU 0. */
int dgm_evtchn_bind_interdomain(struct dgm_evtchn *evtchn, domid_t domid, evtchn_port_t remote,
                                struct dgm_task *task);
int dgm_evtchn_bind_virq(struct dgm_evtchn *evtchn, uint32_t virq, struct dgm_task *task);

/* Closes the port; its task is withdrawn. Asserts: it is bound. */
void dgm_evtchn_close(struct dgm_evtchn *evtchn, evtchn_port_t port);

/* Sends an event to the other end. One hypercall. */
void dgm_evtchn_send(struct dgm_evtchn *evtchn, evtchn_port_t port);

/* Posts the tasks of all pending ports, and one of its own if they never end. Cheap when nothing is
 * pending: one load. */
void dgm_evtchn_dispatch(struct dgm_evtchn *evtchn);

#ifdef __cplusplus
}
#endif

#endif
