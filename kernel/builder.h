/* SPDX-License-Identifier: MIT */
/*
 * builder: makes a domain and loads a Linux guest into it
 *
 * Xen cannot start one of its boot-time guests again, so Dragoman builds it anew from the images
 * (images.h), with the domain number that it had: the number is the guest's name in the
 * configuration. One guest is built at a time, in steps of a bounded amount of work, one step in a
 * turn of the reactor, so that the others' disks are served meanwhile. The result is a paused
 * domain with memory, console and registers; xenstore and the start are guests.c's.
 *
 *   builder.c        the steps
 *   builder_tree.c   the guest's device tree
 */
#ifndef KERNEL_BUILDER_H
#define KERNEL_BUILDER_H

#include "builder_tree.h"

#include <dragoman/base/reactor.h>
#include <dragoman/pages/foreign.h>
#include <dragoman/pages/slot.h>
#include <xen/event_channel.h>

struct builder {
    struct dgm_reactor *reactor;
    struct dgm_slot_cache *slots;
    unsigned gic_version;
    /* Called once for each guest, from the builder's task: DGM_OK, or why there is no domain. */
    void (*done)(struct builder *builder, int result);
    void *context; /* of `done` */

    const struct config_guest *guest; /* NULL: idle */
    domid_t domid;
    evtchn_port_t console_port; /* the guest's end */
    struct dgm_task task;
    unsigned step;
    uint64_t at; /* how much of the step is done: frames or bytes */
    struct range banks[GUEST_BANKS];
    struct range kernel, ramdisk, tree; /* where they lie in the guest */
    dgm_gfn_t slot[DGM_FOREIGN_BATCH_MAX];
    uint32_t mapped; /* a bit for each slot */
    bool made;       /* the domain exists */
    int failure;     /* of the step; the domain is being destroyed */
    uint64_t copied; /* bytes, of all guests */
    char buffer[BUILDER_TREE_BYTES];
};

/* `done` and `context` are set by the caller. */
void builder_init(struct builder *builder, struct dgm_reactor *reactor,
                  struct dgm_slot_cache *slots, unsigned gic_version);

static inline bool builder_is_idle(const struct builder *builder)
{
    return !builder->guest;
}

/* Begins to build a guest whose can_build is true; the builder is idle. DGM_EAGAIN: too few slots
 * are free now. Another error: its files do not fit into its memory, which is logged. */
int builder_start(struct builder *builder, const struct config_guest *guest);

#endif
