/* SPDX-License-Identifier: MIT */
/*
 * guests: from a guest's introduction to its end
 *
 * Xen creates the guests at boot (dom0less). Each enhanced one gets its xenstore and the disks that
 * the configuration gives it. When it powers off, crashes or is destroyed, its devices are torn
 * down, all that is held of it is released, and the domain is destroyed; the others do not notice.
 * Xen cannot start a dom0less guest again.
 */
#ifndef KERNEL_GUESTS_H
#define KERNEL_GUESTS_H

#include "config.h"
#include "disks.h"

#include <dragoman/block/blkback.h>
#include <dragoman/xenstore/dom0less.h>

enum guest_state {
    GUEST_LIVE,
    GUEST_ENDING, /* its devices drain */
    GUEST_GONE,
};

struct guest {
    struct dgm_dom0less_guest base;
    struct dgm_guest_account account;
    enum guest_state state;
    bool in_xen; /* the domain still exists there */
};

struct guests {
    struct guest guest[CONFIG_GUESTS_MAX];
    size_t count, live; /* live: not yet gone */
    struct {
        struct dgm_blkback back;
        struct guest *guest; /* NULL: free */
    } disk[CONFIG_DISKS_MAX];
    size_t disk_count;
    const struct config *config;
    const struct dgm_blkback_env *env;
    struct dgm_task task;   /* something happened to a domain */
    struct dgm_timer timer; /* looks again while devices drain */
    void (*idle)(void);     /* the last guest is gone */
};

/* Introduces every enhanced guest, with its disks. Says what of the configuration could not be
 * done. */
void guests_start(struct guests *guests, const struct config *config, struct disks *disks,
                  const struct dgm_blkback_env *env, void (*idle)(void));

/* Destroys a live guest, as `xl destroy` would. DGM_ESRCH: no such guest. */
int guests_destroy(struct guests *guests, domid_t domid);

#endif
