/* SPDX-License-Identifier: MIT */
/*
 * guest: a domain that uses a disk of Dragoman's, honest or hostile
 *
 * A guest's life is straight-line code in a coroutine: it waits for xenstore, walks the handshake
 * as Linux does, connects its disk, closes it or drops it or dies, connects again. Its I/O is
 * driven by events beside that (front.c). It hears of answers only by events, as Linux does, so a
 * lost wake-up leaves it waiting and the oracle of progress says so.
 */
#ifndef SIM_GUESTS_GUEST_H
#define SIM_GUESTS_GUEST_H

#include <sim/machine/base.h>
#include <sim/machine/model.h>

#define xen_mb()  __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define xen_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define xen_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)

#include <sim/hypervisor/hypervisor.h>
#include <ucontext.h>
#include <xen/io/blkif.h>
#include <xen/io/xs_wire.h>

#define GUEST_RING_GFN     1u
#define GUEST_INDIRECT_GFN 2u /* one page per request in the ring */
#define GUEST_DATA_GFN     40u
#define GUEST_DATA_FRAMES  320u
#define GUEST_FRAMES       (GUEST_DATA_GFN + GUEST_DATA_FRAMES)
#define GUEST_REFS         2048u
#define FRAME_SECTORS      8u
#define RING_ENTRIES       32u

struct sim_guest;

struct ask_segment {
    uint16_t frame; /* of the data frames */
    uint8_t first, last;
    bool whole; /* nobody else may have a part of the frame */
    grant_ref_t ref;
};

enum ask_state { ASK_FREE, ASK_WAITING, ASK_LEAVING };

/* A request as its guest remembers it. */
struct ask {
    enum ask_state state;
    uint64_t id;
    uint8_t operation;
    bool indirect;
    bool hit; /* a fault was aimed at it: it may fail */
    bool must_fail;
    bool unwritten; /* the disk left out some of what it says that it has read */
    uint64_t sector, sectors;
    uint32_t stamp;
    uint64_t since;       /* moment */
    uint64_t deadline_ns; /* an answer is due */
    uint16_t count;
    grant_ref_t indirect_ref;
    struct ask_segment segments[256];
};

struct front {
    struct sim_guest *guest;
    uint32_t number; /* virtual device */
    uint32_t disk;   /* controller behind it */
    bool connected, stopping;
    bool ticking;      /* a look at the ring is on the agenda */
    bool event;        /* one came, and was not looked at */
    bool suddenly;     /* this session ends in the middle, */
    uint64_t leave_at; /* when so many are left */
    blkif_front_ring_t ring;
    grant_ref_t ring_ref;
    evtchn_port_t port;
    uint64_t shares; /* times that it shared a ring */
    struct ask asks[RING_ENTRIES];
    unsigned under_way, depth; /* depth: how many it keeps under way */
    uint32_t segments_max, block_sectors;
    bool flush;
    bool knows_persistent; /* it has heard of persistent grants, and */
    bool persistent;       /* so has the backend */
    bool ends_grants;      /* as Linux: a grant that the backend let go of is ended */
    uint16_t pool_frames;  /* frames that it uses with persistent grants */
    uint64_t next_id;
    uint64_t left; /* requests that it still wants to make */
    uint64_t answered, failed, reads, writes, flushes, sectors_moved, kicks;
    struct model model;
};

/* The xenstore client. */
struct xs {
    struct xenstore_domain_interface *page;
    evtchn_port_t port;
    uint32_t request_id;
    uint32_t in_bytes;
    bool replied;
    struct {
        struct xsd_sockmsg header;
        char payload[XENSTORE_PAYLOAD_MAX + 1];
    } in, reply;
    bool fired; /* a watch */
    uint64_t deadline_ns;
};

/* "Again" to a reference: the use of it, and how many times more. */
struct again {
    uint64_t use;
    uint32_t left;
};

struct sim_guest {
    domid_t domid;
    bool hostile;
    bool dead;      /* it will not act any more */
    bool disk_gone; /* its disk has failed for good */
    bool doomed;    /* it dies in this session */
    bool finished;  /* its life is over, in peace */
    bool ready_to_end, may_end;
    struct rng rng;
    struct xs xs;
    struct front front;
    /* memory */
    uint8_t *memory;                      /* its first GUEST_FRAMES frames */
    uint8_t taken[GUEST_DATA_FRAMES];     /* a bit per sector */
    uint8_t lost[GUEST_DATA_FRAMES];      /* a grant of it could not be ended: never used again */
    uint8_t (*expected)[DGM_FRAME_BYTES]; /* per data frame: what must be there */
    grant_ref_t free_refs[GUEST_REFS];
    unsigned free_ref_count;
    uint64_t ref_user[DGM_HV_REFS];     /* index + 1 of the ask that uses it */
    grant_ref_t pool_ref[GUEST_FRAMES]; /* persistent: of the frame; 0: not granted now */
    uint32_t ref_lost[DGM_HV_REFS];     /* unmaps that Xen refused */
    struct again again[DGM_HV_REFS];
    /* coroutine */
    ucontext_t context, back;
    void *stack;
    bool running;
    uint64_t wake_ns; /* 0: only an event wakes it */
    uint64_t sleep_serial;
    const char *doing;
    uint64_t sessions, mischief;
    bool wild; /* it has broken its xenstore ring */
};

/* guest.c: lives */
void guest_start(struct sim_guest *guest, uint64_t seed, domid_t domid, bool hostile,
                 uint32_t disk);
void guest_poke(struct sim_guest *guest);  /* something happened: events are looked at */
void guest_pause(struct sim_guest *guest); /* in its coroutine: until poked */
void guest_sleep(struct sim_guest *guest, uint64_t ns);
void guest_die(struct sim_guest *guest, bool destroyed);
grant_ref_t guest_grant(struct sim_guest *guest, uint64_t gfn, bool readonly);
/* False: it is still in use, which must have been our own fault injection. */
bool guest_ungrant(struct sim_guest *guest, grant_ref_t ref);
/* The persistent grant of a frame: it is used again and again. */
grant_ref_t guest_pool_ref(struct sim_guest *guest, uint64_t gfn);
/* A request is done with it. */
void guest_pool_put(struct sim_guest *guest, uint64_t gfn);
/* The connection is over: all are ended. */
void guest_pool_end(struct sim_guest *guest);
void *guest_page(const struct sim_guest *guest, uint64_t gfn);

/* xs.c: requests block the coroutine. Payloads end with their own NULs. */
bool xs_wait_connected(struct sim_guest *guest);
/* The reply's length, or -1: an error reply. */
int xs_call(struct sim_guest *guest, uint32_t type, uint32_t tx, const void *payload, size_t bytes);
long long xs_read_number(struct sim_guest *guest, uint32_t tx, const char *path);
int xs_write(struct sim_guest *guest, uint32_t tx, const char *path, const char *value);
int xs_write_number(struct sim_guest *guest, uint32_t tx, const char *path, uint64_t value);
int xs_watch(struct sim_guest *guest, const char *path, const char *token);
void xs_look(struct sim_guest *guest); /* takes what came */
void xs_kick(struct sim_guest *guest);

/* front.c */
void front_start(struct front *front, struct sim_guest *guest, uint32_t disk);
bool front_connect(struct front *front); /* from InitWait to Connected; false: the backend failed */
void front_io(struct front *front);      /* until what is left is done or it has to stop */
bool front_close(struct front *front);   /* in the orderly way */
bool front_restart(struct front *front); /* without a word, as after a resume */
void front_reopen(struct front *front);  /* a closed one begins anew */
void front_poke(struct front *front);    /* an event came */
void front_tick(struct front *front);    /* may submit, looks at answers if told to */
long long front_backend_state(struct front *front);
void front_share(struct front *front);
void front_unshare(struct front *front);
void front_drop_all(
    struct front *front); /* the connection is over: nothing more will be answered */
bool front_wait_state(struct front *front, long long a, long long b);
void front_check_idle(const struct front *front);
void front_path(const struct front *front, bool backend, const char *key, char *path);
/* ask.c */
bool ask_submit(struct front *front); /* one random honest request; false: no room */
uint8_t *sector_va(const struct sim_guest *guest, uint16_t frame, uint8_t sector);
/* What the guest believes to be there. */
uint8_t *sector_expected(struct sim_guest *guest, uint16_t frame, uint8_t sector);
void give_sectors(struct sim_guest *guest, const struct ask_segment *segment);
/* answer.c */
void ask_answer(struct front *front, const struct blkif_response *response);
void ask_release(struct front *front, struct ask *ask);
void ask_drop(struct front *front, struct ask *ask);

/* hostile.c */
void hostile_life(struct sim_guest *guest);
void hostile_meddle(struct sim_guest *guest); /* changes a little of what is shared */
/* The library is about to load `count` bytes of what it shares. */
void hostile_loaded(struct sim_guest *guest, uint8_t *frame, uint32_t offset, size_t count);

#endif
