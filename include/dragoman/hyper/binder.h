/* SPDX-License-Identifier: MIT */
/*
 * binder: binds the event channels of one frontend, and retries while Xen cannot
 *
 * Xen may have no event channel at the moment, or fail for a reason that no guest causes. Neither
 * is an error of the frontend, so its device waits and tries again after a pause, each pause twice
 * the last one, up to about a second, until Xen binds the channel or the frontend leaves.
 *
 * A backend has one binder for each device. It calls dgm_evtchn_binder_bind() whenever its task
 * finds that connecting is due, and dgm_evtchn_binder_cancel() when the frontend leaves.
 */
#ifndef DRAGOMAN_HYPER_BINDER_H
#define DRAGOMAN_HYPER_BINDER_H

#include <dragoman/base/log_limit.h>
#include <dragoman/hyper/evtchn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The caller's memory. Other rooms use `timer.armed` (an attempt is due); the rest is hyper's
 * own. */
struct dgm_evtchn_binder {
    struct dgm_timer timer; /* the pause before the next attempt */
    struct dgm_evtchn *evtchn;
    struct dgm_task *task;
    uint64_t pause_ns; /* the last one; 0: no attempt has failed */
};

/* `task` is posted at each event, and when an attempt is due. */
void dgm_evtchn_binder_init(struct dgm_evtchn_binder *binder, struct dgm_evtchn *evtchn,
                            struct dgm_task *task);

/*
 * Binds `count` channels, all or none, and writes the local ports. DGM_OK: bound; the caller closes
 * each port. DGM_EAGAIN: not yet; `task` is posted when the next attempt is due, and a call before
 * that makes no hypercall. Else Xen's error for a port that the frontend named wrongly, or for a
 * domain that does not exist. The first failure is logged within `log`. May withdraw `task`.
 */
int dgm_evtchn_binder_bind(struct dgm_evtchn_binder *binder, const struct dgm_evtchn_remote *remote,
                           evtchn_port_t *port, unsigned count, struct dgm_log_limit *log);

/* Makes no further attempt; the next call of dgm_evtchn_binder_bind() is a first one. */
void dgm_evtchn_binder_cancel(struct dgm_evtchn_binder *binder);

#ifdef __cplusplus
}
#endif

#endif
