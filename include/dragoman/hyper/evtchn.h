/* SPDX-License-Identifier: MIT */
/*
 * evtchn: event channels (2-level ABI), each bound to a task
 *
 * An event posts the channel's task; the work is done in the reactor's turn, bounded and in order.
 * Xen delivers an event by setting bits in shared memory and raising one interrupt.
 * dgm_evtchn_dispatch() clears each pending bit before it posts the task, so an event that arrives
 * while the task runs posts it again.
 *
 * Source: xen/event_channel.h; the order of the scan follows from the 2-level ABI (upcall_pending,
 * then the selector, then the words). One dgm_evtchn per vCPU; at most DGM_EVTCHN_PORTS ports.
 */
#ifndef DRAGOMAN_HYPER_EVTCHN_H
#define DRAGOMAN_HYPER_EVTCHN_H

#include <dragoman/base/log_limit.h>
#include <dragoman/base/reactor.h>
#include <xen/xen.h>
#include <xen/event_channel.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_EVTCHN_PORTS 1024

/* All of it is hyper's own. */
struct dgm_evtchn {
    struct shared_info *shared;
    struct vcpu_info *vcpu;
    struct dgm_reactor *reactor;
    struct dgm_task *task[DGM_EVTCHN_PORTS]; /* NULL: not bound */
    struct dgm_task continuation;            /* continues a dispatch that reached its bound */
    struct dgm_timer resend;                 /* armed while an event is unsent */
    uint64_t resend_pause_ns;
    uint64_t unsent[DGM_EVTCHN_PORTS / 64]; /* ports whose event Xen refused: a bit for each */
    struct dgm_log_limit log;
    uint64_t delivered, stray, sent; /* events */
};

/* `shared` is Xen's shared info page and `vcpu` its part for the reactor's vCPU; both stay mapped.
 * Masks every port: no event is delivered before its port is bound. */
void dgm_evtchn_init(struct dgm_evtchn *evtchn, struct dgm_reactor *reactor,
                     struct shared_info *shared, struct vcpu_info *vcpu);

/* The guest's end of an event channel. */
struct dgm_evtchn_remote {
    domid_t domid;
    evtchn_port_t port;
};

/* Each returns the local port (> 0) or Xen's negative error for the binding. DGM_ENOSPC: also if
 * the port is beyond DGM_EVTCHN_PORTS. DGM_EAGAIN: also if Xen binds the port and does not unmask
 * it. `task` is posted at each event, and for an event that arrived before the binding. Virtual
 * interrupts are those of vCPU 0; since a refusal of one is no guest's doing and may pass, its
 * binding is tried DGM_XEN_TRIES times. */
int dgm_evtchn_bind_interdomain(struct dgm_evtchn *evtchn, struct dgm_evtchn_remote remote,
                                struct dgm_task *task);
int dgm_evtchn_bind_virq(struct dgm_evtchn *evtchn, uint32_t virq, struct dgm_task *task);

/* Closes the port and withdraws its task. Asserts that it is bound. A port that Xen does not close
 * stays masked and costs Xen a port; it is logged. */
void dgm_evtchn_close(struct dgm_evtchn *evtchn, evtchn_port_t port);

/* Sends an event to the other end. One hypercall. An event that Xen refuses is sent again after a
 * pause, each pause twice the last one, until Xen accepts it or the port is closed: the peer may
 * wait for it. Asserts that the port is bound. */
void dgm_evtchn_send(struct dgm_evtchn *evtchn, evtchn_port_t port);

/* A snapshot of a port's two bits, for reports. */
struct dgm_evtchn_bits {
    bool pending, masked;
};
struct dgm_evtchn_bits dgm_evtchn_bits(const struct dgm_evtchn *evtchn, evtchn_port_t port);

/* Posts the tasks of all pending ports; after a bounded number of rounds a posted task of
 * dgm_evtchn continues. Costs one load when nothing is pending. */
void dgm_evtchn_dispatch(struct dgm_evtchn *evtchn);

#ifdef __cplusplus
}
#endif

#endif
