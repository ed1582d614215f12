/* SPDX-License-Identifier: MIT */
/*
 * machine: Dragoman's library as it ships, on a simulated Xen, with disks and guests
 *
 * One process runs one seed, which determines the whole run: it depends neither on the host's clock
 * nor on addresses. sim_run() builds the machine, runs it until enough requests have their
 * responses, ends every guest, and checks that all resources were returned. It returns only if no
 * check failed.
 */
#ifndef SIM_MACHINE_MACHINE_H
#define SIM_MACHINE_MACHINE_H

#include <sim/machine/base.h>
#include <sim/guests/guest.h>
#include <sim/machine/memory.h>

#include <dragoman/block/blkback.h>
#include <dragoman/xenstore/xenstore.h>
#include <drivers/nvme/nvme.h>
#include <dragoman/core/core.h>
#include <kernel/guests.h>

#define SIM_GUESTS_MAX 32u
#define SIM_DISKS_MAX  48u
#define SIM_FRONTS_MAX 64u

enum sim_fault {
    FAULT_MAP,       /* Xen refuses to map a reference */
    FAULT_UNMAP,     /* Xen refuses to unmap one */
    FAULT_BATCH,     /* a whole grant hypercall fails, or stops in the middle */
    FAULT_CHANNEL,   /* Xen binds no event channel at this moment */
    FAULT_ERROR,     /* the disk completes a command with an error */
    FAULT_SILENCE,   /* the disk never completes a command, and is reset */
    FAULT_FATAL,     /* the disk reports a fatal status: it is reset */
    FAULT_GONE,      /* the disk fails permanently: is pulled out, does not stop, does not start */
    FAULT_LINE,      /* the disk omits an interrupt */
    FAULT_DEATH,     /* a guest dies or is destroyed in the middle of its I/O */
    FAULT_RESTART,   /* a guest restarts its connection without closing it */
    FAULT_HOSTILE,   /* the second guest attacks */
    FAULT_CACHE,     /* there are masters that are not coherent */
    FAULT_SCARCE,    /* few slots, buffers, records */
    FAULT_COPY,      /* Xen refuses a copy */
    FAULT_EAGAIN,    /* Xen returns GNTST_eagain for a map or a copy */
    FAULT_UNWRITTEN, /* the disk reports a read that it has not done */
    FAULT_DISKS,     /* guests have several disks, and share some read-only */
    FAULT_STALL,     /* some disks are slow, others hang */
    FAULT_CALL,      /* Xen refuses a hypercall of another kind, with any error */
    FAULT_NETWORK,   /* no fault: each guest has a vif, on one switch with a card */
    SIM_FAULTS,
};

extern const char *const sim_fault_names[SIM_FAULTS];

/* The modes of the guests' disks. */
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

/* The neighbour of a victim that reads 4 KiB at a time; all disks are without faults. */
enum sim_neighbour {
    NEIGHBOUR_NOT_MEASURED,
    NEIGHBOUR_NONE,
    NEIGHBOUR_FLOOD,   /* 32 requests on each of two sound disks */
    NEIGHBOUR_SLOW,    /* the same on two slow disks */
    NEIGHBOUR_HUNG,    /* the same on two disks that hang */
    NEIGHBOUR_SHARED,  /* 32 requests on the victim's disk, which is read-only */
    NEIGHBOUR_HOSTILE, /* all attacks of hostile.c */
    /* A guest with a habit of flood.c. */
    NEIGHBOUR_XENSTORE,
    NEIGHBOUR_RECONNECT,
    NEIGHBOUR_KEYS,
    NEIGHBOUR_EVENTS,
    NEIGHBOUR_MIXED, /* several guests, of the kinds above in turn */
    SIM_NEIGHBOURS
};

extern const char *const sim_neighbour_names[SIM_NEIGHBOURS];

enum sim_nth { NTH_NONE, NTH_HYPERCALL, NTH_COMMAND, NTH_RESET };

struct sim_options {
    uint64_t seed;
    uint64_t requests;  /* of honest guests, with their responses */
    unsigned guests;    /* the second one is hostile; 0: drawn */
    uint32_t without;   /* a bit per sim_fault */
    enum sim_mode mode; /* of every guest */
    enum sim_neighbour neighbour;
    unsigned neighbour_count;
    uint64_t neighbour_ns; /* virtual time of the measurement */
    /* For measurements: one guest keeps `steady_depth` reads in flight, of `steady_frames` whole
     * frames each, without faults. 0: drawn. */
    unsigned steady_depth, steady_frames;
    bool network; /* as FAULT_NETWORK, in any case */
    bool power;   /* faulty disks with a volatile cache lose their power */
    bool verbose;
    /* fail the n-th */
    enum sim_nth nth_kind;
    uint64_t nth;
    bool permanently;
};

/* The bounds of fairness.c. */
#define FAIR_TURNS       8u
#define FAIR_WORK        400000u
#define FAIR_RUN_WORK    40000u /* loads and stores; one large packet takes more than half of it */
#define FAIR_COPY_WORK   24000u /* more with a mirror: a large packet in parts */
#define FAIR_RUN_PACKETS 18u
#define FAIR_COMPLETIONS 4u
#define FAIR_UNITS       8192u
#define FAIR_LINES       8u /* of the log, for each disk and each guest */

/* The maximums that were seen. */
struct fair_result {
    uint64_t turns_max, work_max; /* of a request on a healthy disk, outside of the disk */
    uint64_t turn_work_max;       /* of one turn */
    uint64_t run_work_max;        /* of one run of a task of the network */
    uint64_t units_max;           /* of xenstore, beyond the budgets of its turns */
    uint64_t wait_max;            /* completions of a disk while a device waits for its queue */
};

struct sim_result {
    struct fair_result fair;
    uint64_t victim_reads; /* of the first guest's first disk */
    uint64_t log_lines;    /* at that moment */
    uint64_t requests, failed, steps, digest, now_ns, refused, bounced, resets;
    uint64_t nth_seen; /* calls or commands that could have failed */
};

#define SIM_RAM_FIRST 0x40000u /* gfn of our RAM */
#define SIM_SLOTS_MAX 4096u

#define SIM_LOST_MAX 8 /* mappings that Xen refuses to undo, if its room for them is small */

enum disk_kind {
    DISK_SOUND,  /* none of the faults below happens to it */
    DISK_FAULTY, /* faults at the seed's rates */
    DISK_SLOW,   /* completes a command or two a second */
    DISK_HUNG,   /* completes no command after its first ones, until the run ends */
};

struct disk_plan {
    enum disk_kind kind;
    bool incoherent, blocks4k;
    uint64_t commands;  /* HUNG: the commands that it completes before it hangs */
    uint8_t queue_size; /* entries of its queues, of which one stays free; 0: more than the driver
                           uses */
};

struct front_plan {
    uint8_t guest; /* its number, from 0 */
    uint8_t disk;
    bool writable;
    bool persistent; /* persistent grants are offered */
    enum dgm_reach_mode mode;
};

/* The properties of a seed's machine. */
struct sim_plan {
    uint32_t rate[SIM_FAULTS]; /* per million chances */
    bool identity;             /* our RAM: mfn == gfn */
    uint64_t ram_mfn;
    uint64_t ram_frames; /* without slots */
    uint64_t slots;
    bool ballooned; /* slots are RAM of ours that was ballooned out */
    uint16_t bounce;
    struct dgm_blkback_pool_sizes pool;
    uint32_t domctl;
    uint64_t maptrack; /* grant mappings for which Xen has room; 0: plenty */
    unsigned guest_count, disk_count, front_count;
    bool network; /* each guest has a vif */
    bool hostile[SIM_GUESTS_MAX];
    enum hostile_habit habit[SIM_GUESTS_MAX];
    struct disk_plan disks[SIM_DISKS_MAX];
    struct front_plan fronts[SIM_FRONTS_MAX]; /* by guest */
    bool flush;                               /* Xen maintains the caches for guests' frames */
    uint16_t copy_frames, persistent_frames, identity_frames;
    struct dgm_gfn_range places[4]; /* gfns where Xen can map a frame at gfn == mfn */
    size_t place_count;
    struct dgm_reach_costs costs; /* for mode auto */
};

struct sim_machine {
    struct sim_options options;
    struct sim_plan plan;
    struct rng rng, fault_rng, call_rng;
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
    uint64_t responses, failed; /* of honest guests */
    bool ending;                /* enough requests are done */
    bool idle;                  /* the last guest has ended */
    bool settling;              /* no more faults */
    uint64_t unmaps_refused;
    bool flush_refused; /* Xen maintains caches no more, so what a read brought may be stale */
    uint64_t nth_seen;
    uint64_t victim_reads, log_lines;
    struct { /* by disk of the kernel: what was taken from the ring before this turn */
        uint32_t requests;
        uint64_t connects; /* the connection, by its number */
    } taken[DISKS_MAX];
};

extern struct sim_machine sim;

void sim_run(const struct sim_options *options, struct sim_result *result);

/* machine.c */
bool sim_fault_strikes(enum sim_fault fault); /* whether the fault happens now */
/* The time after which an honest request without a response is a failure. */
uint64_t sim_patience_ns(const struct front *front);
uint64_t sim_xs_patience_ns(void);
/* The backend of a frontend; NULL: it has been removed. */
const struct dgm_blkback *sim_back_of(const struct front *front);
void sim_wake(void);        /* a device raised its interrupt: the loop continues */
void sim_guests_hear(void); /* delivers the events that were sent to them */
/* As if on another CPU, in the middle of the library's turn. */
void sim_guest_acts(struct sim_guest *guest);

/* boot.c: builds the machine of sim.plan and starts the library */
void sim_boot(void);

/* plan.c; what its parts share is in plan.h */
unsigned plan_guests(uint64_t seed); /* their number, if the options do not set it */
void plan_draw(struct sim_plan *plan, const struct sim_options *options);
void plan_master(unsigned disk, struct sim_master *master);
void plan_scatter(domid_t domid, uint64_t frames);

/* faults.c */
void faults_start(void);
long faults_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);
struct sim_guest *sim_guest_of(domid_t domid);
/* The requests for these blocks may fail; one alone must. */
void faults_on_disk(uint32_t disk, uint64_t block, uint64_t blocks, uint8_t operation);
void faults_on_whole_disk(uint32_t disk);
/* The disk reports these blocks as read, without reading them. */
void faults_unwritten(uint32_t disk, uint64_t block, uint64_t blocks);

/* disks.c: the NVMe controllers; what disk_work.c shares with it is in disk.h */
void disks_boot(void);
/* Fills the kernel's list of disks. */
void disks_list(struct disks *list);
uint64_t disks_mmio_read(uintptr_t address, unsigned bytes);
void disks_mmio_write(uintptr_t address, uint64_t value, unsigned bytes);
bool disks_pending(void); /* an interrupt is pending */
bool disks_poll(void);    /* delivers interrupts to the drivers; true if there was one */
struct dgm_nvme *disks_driver(unsigned disk);
const void *disks_bytes(unsigned disk);
uint64_t disks_resets(void);
bool disks_idle(void);            /* no disk has a command */
bool disks_failed(unsigned disk); /* it has failed permanently, or is about to */
/* power.c: the request has ended; `ok`: with the response OK. */
void power_ended(struct front *front, const struct request *request, bool ok);
bool disks_stalls(unsigned disk); /* whether it is slow, or hangs */
void disks_recover(void);         /* makes the disks that hang work again */
struct dgm_blkdev *sim_disk(unsigned disk);

/* oracle.c */
void oracle_step(void);                           /* the cheap checks: after every turn */
void oracle_walk(void);                           /* checks of whole tables */
void oracle_guest(const struct sim_guest *guest); /* checks that it is served in time */
void oracle_disks(void);
void oracle_secrets(void);
void oracle_end(void); /* checks that all resources were returned */

/* fairness.c */
void fairness_attach(struct dgm_blkdev *blkdev); /* wraps the driver's operations */
void fairness_step(void);                        /* after every turn */
void fairness_end(void);                         /* of a run that measures a neighbour */
struct fair_result fairness_result(void);

/* watch.c: what the library loads from shared memory, one call per load */
void watch_start(void);
uint64_t watch_work(void); /* loads and stores of the library so far */
void watch_ring_begins(const struct front *front);
void watch_vif_begins(const struct netfront *front);
void watch_list_begins(const struct front *front, unsigned index);

#endif
