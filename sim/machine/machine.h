/* SPDX-License-Identifier: MIT */
/*
 * machine: the whole: Dragoman's library as it ships, on a simulated Xen, with disks and guests
 *
 * One process runs one seed: everything is drawn from it, nothing from the host's clock or from
 * addresses. sim_run() builds the machine, runs it until enough requests were answered, lets every
 * guest end, and looks whether everything was returned. It comes back only if nothing was wrong.
 */
#ifndef SIM_MACHINE_MACHINE_H
#define SIM_MACHINE_MACHINE_H

#include <sim/machine/base.h>
#include <sim/guests/guest.h>
#include <sim/machine/memory.h>

#include <dragoman/block/blkback.h>
#include <dragoman/xenstore/xenstore.h>
#include <dragoman/drivers/nvme.h>
#include <dragoman/core/core.h>
#include <kernel/guests.h>

#define SIM_GUESTS_MAX 8u

enum sim_fault {
    FAULT_MAP,       /* Xen refuses to map a reference */
    FAULT_UNMAP,     /* Xen refuses to unmap one */
    FAULT_BATCH,     /* a whole grant hypercall fails, or stops half-way */
    FAULT_CHANNEL,   /* no event channel to be had */
    FAULT_ERROR,     /* the disk answers with an error */
    FAULT_SILENCE,   /* the disk never answers a command: it is reset in the end */
    FAULT_FATAL,     /* the disk reports a fatal status: it is reset */
    FAULT_GONE,      /* the disk fails for good: is pulled out, does not stop, does not start */
    FAULT_LINE,      /* the disk forgets an interrupt */
    FAULT_DEATH,     /* a guest dies or is destroyed in the middle of it all */
    FAULT_RESTART,   /* a guest begins anew without a word */
    FAULT_HOSTILE,   /* the hostile guest is hostile */
    FAULT_CACHE,     /* there are masters that do not see caches */
    FAULT_SCARCE,    /* few slots, buffers, records */
    FAULT_COPY,      /* Xen refuses a copy */
    FAULT_AGAIN,     /* Xen wants to be asked again, for a map or a copy */
    FAULT_UNWRITTEN, /* the disk says that it has read, and has not */
    SIM_FAULTS,
};

extern const char *const sim_fault_names[SIM_FAULTS];

/* How the guests' frames are reached. */
enum sim_mode {
    MODE_DRAWN,
    MODE_MAP,
    MODE_COPY,
    MODE_IDENTITY,
    MODE_AUTO,
    MODE_PERSISTENT,
    SIM_MODES
};

extern const char *const sim_mode_names[SIM_MODES];

enum sim_nth { NTH_NONE, NTH_HYPERCALL, NTH_COMMAND, NTH_RESET };

struct sim_options {
    uint64_t seed;
    uint64_t requests;  /* answered, of honest guests */
    unsigned guests;    /* one of them hostile if there are two or more */
    uint32_t without;   /* a bit per sim_fault */
    enum sim_mode mode; /* of every guest */
    bool verbose;
    /* fail the n-th */
    enum sim_nth nth_kind;
    uint64_t nth;
    bool for_ever;
};

struct sim_result {
    uint64_t requests, failed, steps, digest, now_ns, refused, bounced, resets;
    uint64_t nth_seen; /* calls or commands that could have been failed */
};

/* What this seed's machine is like. */
struct sim_plan {
    uint32_t rate[SIM_FAULTS]; /* per million chances */
    bool identity;             /* our RAM: mfn == gfn */
    uint64_t ram_mfn;
    uint64_t slots;
    bool ballooned; /* slots are RAM of ours that was given up */
    uint16_t bounce;
    struct dgm_blkback_pool_sizes pool;
    uint32_t domctl;
    bool incoherent[SIM_GUESTS_MAX], blocks4k[SIM_GUESTS_MAX];
    bool flush; /* caches of guests' frames are maintained by Xen */
    enum dgm_reach_mode mode[SIM_GUESTS_MAX];
    bool keeps[SIM_GUESTS_MAX]; /* persistent grants are offered */
    uint16_t copy_frames, persistent_frames, identity_frames;
    struct dgm_gfn_range places[4]; /* where a gfn can be its mfn */
    size_t place_count;
    struct dgm_reach_costs costs; /* what path auto goes by */
};

struct sim_machine {
    struct sim_options options;
    struct sim_plan plan;
    struct rng rng, fault_rng;
    struct dgm_reactor reactor;
    struct dgm_frames frames;
    struct dgm_core core;
    struct dgm_cacheflush flush;
    struct dgm_evtchn evtchn;
    struct dgm_xenstore *xs;
    struct dgm_blkback_pool pool;
    struct dgm_blkback_env env;
    struct guests kernel;
    struct disks disks;
    struct config config;
    struct sim_guest *guests[SIM_GUESTS_MAX];
    unsigned guest_count;
    uint64_t answered, failed; /* of honest guests */
    bool ending;               /* enough was done */
    bool idle;                 /* the kernel says that the last guest is gone */
    bool settling;             /* no more faults */
    uint64_t unmaps_refused;
    uint64_t nth_seen;
};

extern struct sim_machine sim;

void sim_run(const struct sim_options *options, struct sim_result *result);

/* machine.c */
bool sim_hit(enum sim_fault fault); /* does it happen now? */
uint64_t sim_patience_ns(void);     /* after which an honest request is late */
uint64_t sim_xs_patience_ns(void);
/* The backend of a guest's disk, or NULL: it is gone. */
const struct dgm_blkback *sim_back_of(const struct sim_guest *guest);
void sim_wake(void); /* an interrupt of a device: the loop goes on */
void sim_guests_look(void);
void sim_others_act(struct sim_guest *guest); /* a guest runs just now, inside the library's turn */

/* plan.c */
void plan_draw(struct sim_plan *plan, const struct sim_options *options);
void plan_master(unsigned disk, struct sim_master *master);
void plan_scatter(domid_t domid, uint64_t frames);

/* faults.c */
void faults_start(void);
long faults_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);
struct sim_guest *sim_guest_of(domid_t domid);
void faults_hit_disk(uint32_t disk, uint64_t block, uint64_t blocks, uint8_t operation,
                     bool surely);
void faults_hit_all(uint32_t disk);
/* The disk says that it has read these blocks, and has not. */
void faults_unwritten(uint32_t disk, uint64_t block, uint64_t blocks);

/* disks.c: the NVMe controllers */
void disks_boot(void);
/* The kernel's list of them. */
void disks_list(struct disks *list);
uint64_t disks_mmio_read(uintptr_t address, unsigned bytes);
void disks_mmio_write(uintptr_t address, uint64_t value, unsigned bytes);
bool disks_pending(void); /* an interrupt waits */
bool disks_poll(void);    /* delivers interrupts to the drivers; true if there was one */
struct dgm_nvme *disks_driver(unsigned disk);
const void *disks_bytes(unsigned disk);
uint64_t disks_resets(void);
struct dgm_blkdev *sim_disk(unsigned disk);

/* oracle.c */
void oracle_step(void);                           /* what is cheap: after every turn */
void oracle_walk(void);                           /* whole tables */
void oracle_guest(const struct sim_guest *guest); /* is it served in time */
void oracle_disks(void);
void oracle_secrets(void);
void oracle_end(void); /* everything was returned */

/* watch.c: what the library loads from shared memory, one call per load */
void watch_start(void);
void watch_ring_begins(const struct sim_guest *guest);
void watch_list_begins(const struct sim_guest *guest, unsigned index);

#endif
