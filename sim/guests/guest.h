/* SPDX-License-Identifier: MIT */
/*
 * guest: a domain that uses a disk of Dragoman, honest or hostile
 *
 * A guest's life is straight-line code in a coroutine: it waits for xenstore, makes Linux's
 * handshake, connects its disk, closes it or restarts or dies, connects again. Events drive its I/O
 * separately (front.c). As in Linux, only events announce responses to it, so after a lost wake-up
 * it waits, and the oracle of progress fails.
 */
#ifndef SIM_GUESTS_GUEST_H
#define SIM_GUESTS_GUEST_H

#include <sim/guests/netfront.h>
#include <sim/machine/base.h>
#include <sim/machine/model.h>

#define xen_mb()  __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define xen_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define xen_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)

#include <sim/hypervisor/hypervisor.h>
#include <ucontext.h>
#include <xen/io/blkif.h>
#include <xen/io/xs_wire.h>

#define FRONT_REQUESTS     64u /* that a frontend has in flight */
#define GUEST_FRONTS_MAX   4u
#define FRONT_RING_PAGES   4u /* that a ring may have */
#define GUEST_RING_GFN     1u /* of the first frontend; its indirect pages follow */
#define GUEST_INDIRECT_GFN (GUEST_RING_GFN + FRONT_RING_PAGES)
#define GUEST_FRONT_PAGES  (FRONT_RING_PAGES + FRONT_REQUESTS)
#define GUEST_DATA_GFN     280u
#define GUEST_DATA_FRAMES  320u
#define GUEST_FRAMES       (GUEST_DATA_GFN + GUEST_DATA_FRAMES)
#define GUEST_VIF_GFN      GUEST_FRAMES /* of the frames for its vif, if there is a network */
#define GUEST_REFS         2048u
#define FRAME_SECTORS      8u

struct sim_guest;

struct request_segment {
    uint16_t frame; /* of the data frames */
    uint8_t first, last;
    bool whole; /* no other segment may use the frame */
    grant_ref_t ref;
};

enum request_state { REQUEST_FREE, REQUEST_UNDER_WAY };

/* A request as its guest knows it. */
struct request {
    enum request_state state;
    uint64_t id;
    uint8_t operation;
    bool indirect;
    bool may_fail; /* a fault concerns it */
    bool must_fail;
    bool unwritten; /* the disk has reported a read that it did not do, or did in part */
    uint64_t sector, sectors;
    uint32_t stamp;
    uint64_t since;       /* moment */
    uint64_t deadline_ns; /* of its response */
    uint16_t count;
    grant_ref_t indirect_ref;
    struct request_segment segments[256];
};

struct front {
    struct sim_guest *guest;
    unsigned index;  /* of the guest's frontends */
    uint32_t number; /* virtual device */
    uint32_t disk;   /* controller behind it */
    bool writable;
    uint16_t reads_frames;               /* in a measurement: whole frames of each read; 0: drawn */
    uint16_t frames_first, frames_count; /* the guest's data frames that only this frontend uses */
    bool connected, stopping;
    uint64_t left_ns;       /* when it left its last connection; 0: it is connected */
    bool ticking;           /* front_tick() is on the agenda */
    bool event;             /* one arrived and is not handled yet */
    bool suddenly;          /* this session ends in the middle of its I/O, */
    uint64_t leave_at;      /* when this number of requests is left */
    struct rng ring_orders; /* from which the order of each ring is drawn */
    unsigned ring_order;    /* 1 << ring_order pages */
    bool order_written;     /* into xenstore, by an honest guest */
    blkif_front_ring_t ring;
    grant_ref_t ring_refs[FRONT_RING_PAGES];
    evtchn_port_t port;
    uint64_t shares; /* times that it shared a ring */
    struct request requests[FRONT_REQUESTS];
    unsigned in_flight, depth; /* depth: how many it keeps in flight */
    uint32_t segments_max, block_sectors;
    bool flush;
    bool knows_persistent; /* it offers persistent grants, and */
    bool persistent;       /* the backend too */
    bool ends_grants;      /* as Linux: it ends a grant after the backend has unmapped it */
    uint16_t pool_frames;  /* frames that it uses with persistent grants */
    uint64_t next_id;
    uint64_t left; /* requests that it has still to make */
    uint64_t responses, failed, reads, writes, flushes, sectors_moved, kicks;
    struct model model;
    /* moments: when it connected; when the newest flush was submitted that has the response OK; the
     * oldest response OK to a write that was lost with the power, in this connection (0: none) */
    uint64_t connected_at, flushed_at, lost_at;
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
    bool fired; /* a watch event came */
    uint64_t deadline_ns;
};

/* GNTST_eagain for a reference: the use that gets it, and how many times more. */
struct retries {
    uint64_t use;
    uint32_t left;
};

/* The habits of hostile guests. */
enum hostile_habit {
    HABIT_EVERYTHING, /* hostile.c */
    HABIT_XENSTORE,   /* flood.c: the most expensive requests of xenstore, as many as fit into its
                         ring */
    HABIT_RECONNECT,  /* connects and closes, or restarts */
    HABIT_KEYS,       /* connects with keys that are refused */
    HABIT_EVENTS,     /* sends events */
    HABITS
};

struct sim_guest {
    domid_t domid;
    bool hostile;
    enum hostile_habit habit;
    bool dead;     /* it no longer acts */
    bool doomed;   /* it dies in this session */
    bool finished; /* its coroutine has ended */
    bool ready_to_end, may_end;
    struct rng rng;
    struct xs xs;
    struct front fronts[GUEST_FRONTS_MAX];
    unsigned front_count;
    struct netfront *vif; /* NULL: it has none */
    /* memory */
    uint8_t *memory;                      /* its first GUEST_FRAMES frames */
    uint8_t taken[GUEST_DATA_FRAMES];     /* a bit per sector */
    uint8_t lost[GUEST_DATA_FRAMES];      /* a grant of it did not end: never used again */
    uint8_t (*expected)[DGM_FRAME_BYTES]; /* per data frame: the expected contents */
    grant_ref_t free_refs[GUEST_REFS];
    unsigned free_ref_count;
    uint64_t ref_user[DGM_HV_REFS];     /* the request that uses it: guest_ref_request() */
    grant_ref_t pool_ref[GUEST_FRAMES]; /* persistent grant of the frame; 0: none now */
    uint32_t ref_lost[DGM_HV_REFS];     /* unmaps that Xen refused */
    struct retries retries[DGM_HV_REFS];
    /* coroutine */
    ucontext_t context, back;
    void *stack;
    bool running;
    uint64_t sleep_serial;
    const char *doing;
    uint64_t sessions, failed_attempts; /* to connect */
    uint64_t faults;                    /* that affected it */
    bool wild;                          /* it has corrupted its xenstore ring */
};

/* guest.c: lives */
void guest_start(struct sim_guest *guest, uint64_t seed, domid_t domid, bool hostile);
/* The request that uses the reference, or NULL. */
struct request *guest_ref_request(struct sim_guest *guest, grant_ref_t ref);
void guest_poke(struct sim_guest *guest);  /* runs its coroutine soon */
void guest_pause(struct sim_guest *guest); /* in its coroutine: until poked */
void guest_sleep(struct sim_guest *guest, uint64_t ns);
void guest_die(struct sim_guest *guest, bool destroyed);
grant_ref_t guest_grant(struct sim_guest *guest, uint64_t gfn, bool readonly);
/* False: it is still mapped, because Xen refused an unmap, or because the disk of `front` has not
 * returned the frame within the time that the backend waits after a connection. `front` is NULL for
 * what no device ever accesses. */
bool guest_ungrant(struct sim_guest *guest, grant_ref_t ref, const struct front *front);
/* The persistent grant of a frame, which is reused. */
grant_ref_t guest_pool_ref(struct sim_guest *guest, uint64_t gfn);
/* A request no longer uses it. */
void guest_pool_put(struct front *front, uint64_t gfn);
/* Called after the connection has ended: ends all of its persistent grants. */
void guest_pool_end(struct front *front);
void *guest_page(const struct sim_guest *guest, uint64_t gfn);
uint64_t guest_frame_count(void); /* of a guest's memory, before xenstore's page is added */

/* xs.c: requests block the coroutine. Payloads include their NULs. */
bool xs_wait_connected(struct sim_guest *guest);
/* The reply's length, or -1: an error reply. */
int xs_call(struct sim_guest *guest, uint32_t type, uint32_t tx, const void *payload, size_t bytes);
/* Sends a request without waiting for the reply, which is dropped; for hostile guests. */
void xs_post(struct sim_guest *guest, uint32_t type, uint32_t tx, const void *payload,
             size_t bytes);
long long xs_read_number(struct sim_guest *guest, uint32_t tx, const char *path);
int xs_write(struct sim_guest *guest, uint32_t tx, const char *path, const char *value);
int xs_write_number(struct sim_guest *guest, uint32_t tx, const char *path, uint64_t value);
int xs_watch(struct sim_guest *guest, const char *path, const char *token);
void xs_receive(struct sim_guest *guest); /* receives the pending messages */
void xs_kick(struct sim_guest *guest);

/* front.c */
/* The guest's frontend number `index`, for `disk`. */
void front_start(struct sim_guest *guest, unsigned index, uint32_t disk, bool writable);
/* All connected frontends, until no request is left or the session ends. */
void fronts_io(struct sim_guest *guest);
uint64_t front_ring_gfn(const struct front *front);
uint64_t front_indirect_gfn(const struct front *front, unsigned index);
void front_poke(struct front *front);  /* an event arrived */
void front_tick(struct front *front);  /* may submit, and takes responses after an event */
void front_share(struct front *front); /* a ring of front->ring_order */
void front_unshare(struct front *front);
/* Draws the order of the next ring, up to `most`. */
void front_draw_order(struct front *front, unsigned most);
/* Ends the grants of the ring's pages that no domain has mapped. */
void front_ungrant_ring(struct front *front);
void front_drop_all(struct front *front); /* the connection has ended: no more responses */

/* handshake.c */
bool front_connect(struct front *front); /* from InitWait to Connected; false: the backend failed */
bool front_close(struct front *front);   /* as Linux closes */
bool front_restart(struct front *front); /* without closing, as after a resume */
void front_reopen(struct front *front);  /* after front_close(): from Initialising */
long long front_backend_state(struct front *front);
/* Until the backend's state is `a` or `b`; true: it is `a`. */
bool front_wait_state(struct front *front, long long a, long long b);
/* The path of one of the frontend's keys or, `backend`, of its backend's; 128 bytes. */
void front_path(const struct front *front, bool backend, const char *key, char *path);

/* request.c */
bool request_submit(struct front *front); /* one random honest request; false: no room for it */
uint8_t *sector_va(const struct sim_guest *guest, uint16_t frame, uint8_t sector);
/* The expected contents of a sector. */
uint8_t *sector_expected(struct sim_guest *guest, uint16_t frame, uint8_t sector);
void give_sectors(struct sim_guest *guest, const struct request_segment *segment);
/* For guest.ref_user: a request of one of the guest's frontends. */
uint64_t request_user(const struct request *request, const struct front *front);
/* response.c */
void request_respond(struct front *front, const struct blkif_response *response);
void request_release(struct front *front, struct request *request);
void request_abandon(struct front *front, struct request *request);

/* hostile.c */
void hostile_life(struct sim_guest *guest);
void hostile_meddle(struct sim_guest *guest); /* changes some of the shared memory */
/* Called before the library loads `count` bytes that the guest shares. */
void hostile_loaded(struct sim_guest *guest, uint8_t *frame, uint32_t offset, size_t count);

/* hostile_vif.c: connects its vif, attacks, and closes it */
void hostile_vif_session(struct sim_guest *guest);

/* hostile_xs.c */
void hostile_write_nonsense(struct sim_guest *guest); /* into one of its frontend's keys */
void hostile_abuse_xs(struct sim_guest *guest);       /* one of many ways, drawn */
void hostile_break_xs(struct sim_guest *guest);       /* after this the server disconnects it */

/* flood.c */
/* Until the run ends; for all habits except HABIT_EVERYTHING. */
void flood_life(struct sim_guest *guest);

#endif
