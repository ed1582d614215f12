/* SPDX-License-Identifier: MIT */
/*
 * guests: from a guest's introduction to its end
 *
 * Xen creates the guests at boot (dom0less). Each enhanced one gets its xenstore, and each disk
 * that the configuration gives it as soon as that disk is ready. When a guest powers off, crashes
 * or is destroyed, its devices are removed, all its resources are released, and the domain is
 * destroyed; other guests are not affected. If it is to start again, Dragoman then builds it anew,
 * with the same domain number: from there on it is served like a guest of Xen's.
 *
 *   guests.c    finding guests, and their ends
 *   rebuild.c   building a guest again
 *   restart.c   what follows an end, and when
 *   sharing.c   which guest gets which disk
 */
#ifndef KERNEL_GUESTS_H
#define KERNEL_GUESTS_H

#include "builder.h"
#include "config.h"
#include "disks.h"
#include "guest_console.h"
#include "restart.h"

#include <dragoman/block/blkback.h>
#include <dragoman/xenstore/dom0less.h>

/* Xen numbers dom0less guests from 1; larger numbers are not searched. */
#define GUESTS_DOMIDS 64

enum guest_state {
    GUEST_LIVE,
    GUEST_ENDING,   /* its devices drain */
    GUEST_WAITING,  /* for its next start */
    GUEST_BUILDING, /* as guests->builder does */
    GUEST_GONE,
};

struct guest {
    struct dgm_dom0less_guest base;
    struct dgm_guest_account account;
    enum guest_state state;
    bool in_xen;             /* the domain still exists there */
    bool unclear;            /* Xen did not report its state, which was logged */
    bool to_introduce;       /* its xenstore is not yet served */
    bool given;              /* it has its devices beside disks */
    bool paused;             /* Dragoman built it, and it has not started */
    enum config_action next; /* after its end */
    struct restart restart;
    struct guest_console console; /* of a guest that Dragoman built */
    uint8_t destroy_refused; /* attempts to destroy it that Xen refused without a known cause */
};

/* Other devices of guests than disks. `give` is called once for each guest, before it is
 * introduced; `end` when the guest has ended, then `drained` until it returns true, then
 * `remove`. */
struct guests_devices {
    const char *type; /* of the backends: "vif" */
    /* The slots that these devices of the guest hold while they are connected. */
    uint64_t (*slots)(const struct guests_devices *devices, const struct guest *guest);
    void (*give)(const struct guests_devices *devices, struct guest *guest);
    void (*end)(const struct guests_devices *devices, struct guest *guest);
    bool (*drained)(const struct guests_devices *devices, const struct guest *guest);
    void (*remove)(const struct guests_devices *devices, struct guest *guest);
};

struct guests {
    struct guest guest[CONFIG_GUESTS_MAX];
    size_t count, live; /* live: those that have not ended */
    struct {
        struct dgm_blkback back;
        struct guest *guest; /* NULL: free */
    } disk[CONFIG_DISKS_MAX];
    size_t disk_count;
    bool decided[CONFIG_DISKS_MAX];                    /* of config->disks: shared, or refused */
    const struct disks_entry *given[CONFIG_DISKS_MAX]; /* NULL: not shared */
    bool started;
    domid_t next_domid;  /* of the search for guests */
    uint64_t unprepared; /* a bit for each domid: Xen has not reported whether it is a guest */
    bool unwatched;      /* VIRQ_DOM_EXC is not bound */
    const struct config *config;
    struct disks *disks;
    const struct guests_devices *others; /* NULL: none; set between init and start */
    const struct dgm_blkback_env *env;
    struct dgm_task domains_changed; /* posted by VIRQ_DOM_EXC */
    struct dgm_task disks_changed;   /* posted when a disk became ready or failed */
    struct dgm_timer drain_timer;    /* while devices of an ended guest drain */
    struct dgm_timer retry_timer;    /* retries what Xen failed without a guest's fault */
    uint64_t retry_pause_ns;         /* its pause; 0: nothing to retry */
    struct builder *builder;         /* NULL: no guest can be built */
    struct dgm_timer restart_timer;  /* armed while a guest waits for its next start */
    void (*idle)(void);              /* called when the last guest is gone for good */
};

/* Called first; then `disks_changed` may be posted. `guests` is zeroed. */
void guests_init(struct guests *guests, const struct config *config, struct disks *disks,
                 const struct dgm_blkback_env *env, void (*idle)(void));

/* From now on `builder` builds those guests that start again. Called before guests_start(). */
void guests_set_builder(struct guests *guests, struct builder *builder);

/* Introduces every enhanced guest, with those of its disks that are ready. Logs the parts of the
 * configuration that failed, and the targets that wait for a disk. */
void guests_start(struct guests *guests);

/* Whether Xen has not yet reported if it made this guest. */
static inline bool guests_may_come(const struct guests *guests, domid_t domid)
{
    return domid < GUESTS_DOMIDS && guests->unprepared >> domid & 1;
}

/* Shares the disks that were not decided yet and are ready now. */
void guests_share_disks(struct guests *guests);
/* Logs a line for each disk that is not decided yet. */
void guests_log_waiting(const struct guests *guests);

/* Destroys a live guest, as `xl destroy` would, or one that waits for its next start; it does not
 * start again by itself. DGM_ESRCH: no such guest. */
int guests_destroy(struct guests *guests, domid_t domid);

/* Starts a guest that is gone. DGM_ESRCH: there is no such guest, or it is not gone. DGM_ENOSYS: it
 * cannot be built. */
int guests_create(struct guests *guests, domid_t domid);

/* --- between guests.c and rebuild.c --- */

/* Prepares rebuilds: called by guests_init(). */
void guests_init_rebuilds(struct guests *guests);
/* The guest has ended for good, or waits for its next start. Called when all it had is released. */
void guests_end_life(struct guest *guest);
/* Begins the next start that is due, and arms the timer for the one after. True: a guest waits, or
 * is being built. */
bool guests_rebuild(struct guests *guests);
/* Starts those built guests whose xenstore is served. True: all that are built have started. */
bool guests_unpause(struct guests *guests);
/* Gives a guest its quotas, which its former life has returned. */
void guests_start_quotas(struct guests *guests, struct guest *guest);
/* Runs update_guests() soon. */
void guests_look(struct guests *guests);

#endif
