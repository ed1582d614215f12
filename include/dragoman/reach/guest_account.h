/* SPDX-License-Identifier: MIT */
/*
 * guest_account: the resources that one guest uses, on all of its devices together
 *
 * Quotas of slots and of copy buffers, the guest's share of the bounce buffers and of the log, and
 * the tasks that wait until the guest's own requests release some of them. The embedder owns one
 * account per guest and gives it to every device of the guest; reach and dma charge it. It lives
 * until the guest's last frame is released, quarantined ones included.
 */
#ifndef DRAGOMAN_REACH_GUEST_ACCOUNT_H
#define DRAGOMAN_REACH_GUEST_ACCOUNT_H

#include <dragoman/base/log_limit.h>
#include <dragoman/base/quota.h>
#include <dragoman/base/reactor.h>
#include <dragoman/dma/bounce.h>
#include <xen/xen.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The most that a guest uses at a time. */
struct dgm_guest_limits {
    uint64_t slots;
    uint64_t copy_buffers;
    uint64_t vif_slots; /* of the slots: those that its vifs hold while they are connected */
};

/* Other rooms use `domid`, `slots`, `copy_buffers`, `vif_slots`, `bounce`, `log`, `waiters`; the
 * rest is reach's own. */
struct dgm_guest_account {
    domid_t domid;
    struct dgm_quota slots;
    struct dgm_quota copy_buffers;
    uint64_t vif_slots; /* as in struct dgm_guest_limits */
    struct dgm_bounce_share bounce;
    struct dgm_log_limit log; /* for each line that the guest can cause, on any device */
    /* Tasks that got DGM_EDQUOT. The code that releases frames of this guest wakes them
     * (dgm_waiters_wake()). */
    struct dgm_waiters waiters;
    struct dgm_reach_connection *persistent; /* list of the connections with persistent frames */
};

void dgm_guest_account_init(struct dgm_guest_account *account, domid_t domid,
                            const struct dgm_guest_limits *limits);

#ifdef __cplusplus
}
#endif

#endif
