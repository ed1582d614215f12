/* SPDX-License-Identifier: MIT */
/*
 * layout: the members of blkback's pool and device
 *
 * They are public for one reason: the caller provides the memory. Only block/ writes them, and only
 * block/ and the simulator's oracles read them; blkback.h names the few members of a device that an
 * embedder may read.
 */
#ifndef DRAGOMAN_BLOCK_LAYOUT_H
#define DRAGOMAN_BLOCK_LAYOUT_H

#include <dragoman/block/blkback.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dgm_blkback_request; /* block/pool.h */
struct dgm_blkback_command;

/* A FIFO of devices that wait for a scarce resource, and a device's entry in it. */
struct dgm_blkback_queue;
struct dgm_blkback_waiter {
    struct dgm_blkback_waiter *next;
    struct dgm_task *task;           /* posted when the resource may be available */
    struct dgm_blkback_queue *queue; /* NULL: not queued */
};
struct dgm_blkback_queue {
    struct dgm_blkback_waiter *first, *last;
};

/* Equal units that several devices use, and one device's share of them: block/share.h. */
struct dgm_blkback_resource {
    struct dgm_reactor *reactor;
    uint32_t total, used;
    int32_t rest;      /* free and promised to no share */
    uint32_t minimums; /* the sum of all minimums */
    uint32_t share_count;
    struct dgm_blkback_queue queue; /* of shares that wait */
};
struct dgm_blkback_share {
    struct dgm_blkback_waiter waiter;
    struct dgm_blkback_resource *resource; /* NULL: not in use */
    uint32_t *guest_extra;                 /* of all shares of its guest, or NULL */
    uint32_t minimum, used;
    uint32_t kept;   /* of `used`: for the next records of the same device */
    uint32_t wanted; /* while it waits */
};

/* What the pool shares among devices: the classes of request records, and command records. */
enum {
    DGM_BLKBACK_COMMANDS = DGM_BLKBACK_CLASSES,
    DGM_BLKBACK_RESOURCES,
};

/* What the devices of one guest share. */
struct dgm_blkback_guest {
    struct dgm_guest_account *account; /* NULL: not in use */
    unsigned devices;
    uint32_t extra[DGM_BLKBACK_RESOURCES];    /* of the pool's resources, beyond minimums */
    struct dgm_blkback_resource slots;        /* within the guest's quota */
    struct dgm_blkback_resource copy_buffers; /* the same */
};

/* The devices that share one disk: the order in which they get entries of its queue. */
struct dgm_blkback_disk {
    struct dgm_blkdev *disk; /* NULL: not in use */
    unsigned devices;
    struct dgm_blkback_queue queue;
};

/* All of it is block's own. */
struct dgm_blkback_pool {
    struct dgm_reactor *reactor;
    struct dgm_blkback_pool_sizes sizes;
    uint16_t devices; /* now */
    struct dgm_blkback_resource resources[DGM_BLKBACK_RESOURCES];
    struct dgm_blkback_request *requests_free[DGM_BLKBACK_CLASSES];
    struct dgm_blkback_command *commands_free;
    struct dgm_blkback_guest guests[DGM_BLKBACK_DEVICES_MAX];
    struct dgm_blkback_disk disks[DGM_BLKBACK_DEVICES_MAX];
    struct dgm_blkback_queue slots_queue;        /* for slots, where quotas exceed them */
    struct dgm_blkback_queue copy_buffers_queue; /* for copy buffers, likewise */
    union {                                      /* an indirect page, copied out */
        struct blkif_request_segment segments[256];
        uint64_t segment_words[256];
    };
};

/* A request as it lies in the ring: the private copy from which all fields are read. */
union dgm_blkif_entry {
    struct blkif_request direct;
    struct blkif_request_indirect indirect;
};

struct dgm_blkback_list {
    struct dgm_blkback_request *first, *last;
};

/* Other rooms use `counters`, `xenbus`, `disk`, `vdev`; the rest is block's own. */
struct dgm_blkback {
    struct dgm_blkback_counters counters;
    struct dgm_xenbus_device xenbus;
    struct dgm_blkback_env env;
    struct dgm_blkdev *disk;
    uint64_t first_block, blocks; /* the part of the disk that is shared */
    struct dgm_dma_tag tag;       /* the disk's, narrowed to what a command record holds */
    char vdev[12];
    bool writable;
    uint16_t segments_max;      /* offered to the frontend */
    uint8_t ring_order_max;     /* offered too: a ring has 1 << order pages */
    uint16_t persistent_frames; /* as configured */
    enum dgm_reach_mode mode;   /* as configured */
    struct dgm_guest_account *guest;
    struct dgm_task task; /* the device's only task */

    /* the connection */
    struct dgm_reach_connection connection;
    struct dgm_reach_connection page_connection; /* of the ring's pages: mapped in every mode */
    struct dgm_reach_frame pages[DGM_RING_PAGES_MAX]; /* the ring's */
    struct dgm_timer release_timer;                   /* ends the wait for the disk at the end */
    struct dgm_ring ring;
    evtchn_port_t port;
    struct dgm_evtchn_binder binder;
    bool connect_pending; /* connecting waits for slots or a retry; the task tries again */
    bool connected;       /* the ring is mapped and the channel bound */
    bool disconnecting;   /* nothing is taken, issued or responded to any more */
    bool quarantined;     /* all is released except the requests that the disk has */
    bool first_event_due; /* the frontend gets one event although no response was written */
    bool kick_due;        /* commands were submitted since the last kick, */
    uint8_t kick_runs;    /* and so many runs of the task have left it to the next one */

    /* its requests: each is in one of these lists, or in none while the disk has it */
    struct dgm_blkback_list parked;   /* some frame waits for a retry */
    struct dgm_blkback_list issuing;  /* reached, not yet completely submitted; oldest first */
    struct dgm_blkback_list finished; /* to be released and responded to */
    struct dgm_blkback_list parked_releases; /* the same, and some frame waits for a retry */
    struct dgm_blkback_list parked_flushes;  /* the disk failed them; each waits for its retry */
    uint32_t records_used;
    uint32_t frames_reserved;    /* during a run: reserved, and not used by a request */
    union dgm_blkif_entry entry; /* the one that was taken from the ring last */
    bool entry_pending;          /* it has no record yet */

    /* its resources, and those for which it waits */
    struct dgm_blkback_guest *shared_guest; /* in the pool */
    struct dgm_blkback_disk *shared_disk;   /* in the pool */
    struct dgm_blkback_share shares[DGM_BLKBACK_RESOURCES];
    struct dgm_blkback_share slots, copy_buffers; /* of the guest's quotas */
    struct dgm_blkback_waiter frames_waiter;      /* for slots or copy buffers of any guest */
    struct dgm_blkback_waiter disk_waiter;        /* for an entry of the disk's queue */
    struct dgm_bounce_device bounce;              /* its minimum of the bounce buffers */
    struct dgm_blkback_command *next_command; /* kept while the device waits for bounce buffers */

    /* durability: block/flush.c */
    uint32_t written;      /* commands that the disk wrote, since the connection began, */
    uint32_t durable;      /* and those of them that a flush covers */
    uint32_t power_losses; /* of the disk, as last seen */
    struct dgm_timer flush_timer;
    uint64_t flush_pause_ns;    /* before the next retry; 0: the last flush succeeded */
    uint64_t flush_deadline_ns; /* no retry after that */
    bool flush_given_up;
};

#ifdef __cplusplus
}
#endif

#endif
