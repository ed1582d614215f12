/* SPDX-License-Identifier: MIT */
/*
 * blkback_rig: a machine for the tests of blkback
 *
 *   the simulated Xen of sim/, the whole core and the real xenstore, the pools of one reactor;
 *   struct model_disk: a RAM disk behind blkdev.h that does DMA by machine address, obeys and
 * checks its tag, and can be slow, short of queue entries, or broken; struct front: a guest's
 * blkfront, which ends its grants when a response comes (a grant still in use then fails the test,
 * as it would make Linux give up the disk).
 *
 * rig_stop() checks what must hold after every test: mapped == unmapped, no live grant, all slots
 * and records and bounce buffers free, no stale mapping, no DMA outside of what was granted.
 */
#ifndef BLKBACK_RIG_H
#define BLKBACK_RIG_H

#include "unit.h"

#define xen_mb()  __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define xen_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define xen_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)

#include <dragoman/block/blkback.h>
#include <dragoman/base/check.h>
#include <dragoman/core/core.h>
#include <dragoman/base/text.h>
#include <dragoman/xenstore/xenstore.h>
#include <port/sim/sim.h>
#include <sim/hypervisor/hypervisor.h>
#include <xen/io/protocols.h>

#define RIG_RAM_FIRST   0x40000u
#define RIG_RAM_FRAMES  2048u
#define RIG_SLOTS_FIRST 0x80000u
#define RIG_XS_BYTES    (1u << 20)

struct rig {
    struct dgm_reactor reactor;
    struct dgm_frames frames;
    struct dgm_core core;
    struct dgm_evtchn evtchn;
    struct dgm_xenstore *xs;
    struct dgm_blkback_pool pool;
    struct dgm_blkback_env env;
    void *xs_memory;
    struct dgm_guest_account guests[8]; /* by domid */
    uint64_t unmaps_refused;            /* expected by a test that injects them */
    uint64_t now_ns;
};

static struct rig rig;

struct rig_options {
    uint64_t slots;                             /* 0: 2048 */
    uint16_t bounce;                            /* 0: 64 */
    const struct dgm_blkback_pool_sizes *sizes; /* NULL: default */
    uint16_t copies;                            /* buffers for path copy; 0: not offered */
    uint16_t persistent_frames;                 /* frames kept mapped, of all */
    uint16_t identities;                        /* frames mapped at their mfn; 0: not offered */
    uint64_t quota;                             /* slots, or copies, of a guest; 0: all */
};

static inline void rig_start(struct rig_options options)
{
    static const struct dgm_gfn_range anywhere = {{0x100000}, 0x4000000}; /* guests' machine RAM */
    const struct dgm_ram_bank bank = {dgm_gfn(RIG_RAM_FIRST), dgm_mfn(RIG_RAM_FIRST),
                                      RIG_RAM_FRAMES, NULL};
    const uint64_t slots = options.slots ? options.slots : 2048;
    const struct dgm_window window =
        dgm_window((struct dgm_gfn_range){dgm_gfn(RIG_SLOTS_FIRST), slots});
    const struct dgm_gfn_range ram = {dgm_gfn(RIG_RAM_FIRST), RIG_RAM_FRAMES};

    memset(&rig, 0, sizeof rig);
    rig.now_ns = 1000;
    dgm_sim_set_now_ns(rig.now_ns);
    dgm_hv_start(ram.first, ram.count, dgm_mfn(RIG_RAM_FIRST));
    dgm_reactor_init(&rig.reactor);
    dgm_frames_init(&rig.frames);
    assert_int_equal(dgm_frames_add(&rig.frames, ram), DGM_OK);
    rig.xs_memory = aligned_alloc(8, RIG_XS_BYTES);
    assert_int_equal(dgm_core_init(&rig.core,
                                   &(struct dgm_core_config){
                                       .reactor = &rig.reactor,
                                       .frames = &rig.frames,
                                       .banks = &bank,
                                       .bank_count = 1,
                                       .window = &window,
                                       .bounce_frames = options.bounce ? options.bounce : 64,
                                       .copy_frames = options.copies,
                                       .persistent_frames = options.persistent_frames,
                                       .identity_frames = options.identities,
                                       .places = &anywhere,
                                       .place_count = 1,
                                   }),
                     DGM_OK);
    for (domid_t domid = 0; domid < 8; domid++)
        dgm_guest_account_init(&rig.guests[domid], domid,
                               &(struct dgm_guest_limits){
                                   .slots = options.quota ? options.quota : slots,
                                   .copy_buffers = options.quota ? options.quota : options.copies});
    dgm_evtchn_init(&rig.evtchn, &rig.reactor, dgm_hv_shared_info(),
                    &dgm_hv_shared_info()->vcpu_info[0]);
    rig.xs = dgm_xenstore_init(rig.xs_memory, RIG_XS_BYTES, &rig.reactor, &rig.evtchn,
                               &dgm_xs_limits_default);
    assert_non_null(rig.xs);
    assert_int_equal(dgm_blkback_pool_init(&rig.pool, &rig.reactor, &rig.frames, options.sizes),
                     DGM_OK);
    dgm_frames_lock(&rig.frames);
    rig.env = (struct dgm_blkback_env){.reactor = &rig.reactor,
                                       .xs = rig.xs,
                                       .evtchn = &rig.evtchn,
                                       .reach = &rig.core.reach,
                                       .dma = &rig.core.dma,
                                       .pool = &rig.pool};
}

/* Shares `disk` with `domid`; `keep` as in struct dgm_blkback_options. */
static inline int rig_share_by(struct dgm_blkback *back, domid_t domid, const char *vdev,
                               struct dgm_blkdev *disk, bool writable, enum dgm_reach_mode mode,
                               uint16_t keep)
{
    return dgm_blkback_create(back, &rig.env, &rig.guests[domid],
                              &(struct dgm_blkback_options){.vdev = vdev,
                                                            .disk = disk,
                                                            .writable = writable,
                                                            .mode = mode,
                                                            .persistent_frames = keep});
}

/* The same by path map, nothing kept. */
static inline int rig_share(struct dgm_blkback *back, domid_t domid, const char *vdev,
                            struct dgm_blkdev *disk, bool writable)
{
    return rig_share_by(back, domid, vdev, disk, writable, DGM_REACH_MODE_MAP, 0);
}

/* One round of the main loop. True: there is more. */
static inline bool rig_turn(void)
{
    dgm_evtchn_dispatch(&rig.evtchn);
    return dgm_reactor_turn(&rig.reactor);
}

/* Runs until nothing happens any more; something that never ends fails. */
static inline void rig_run(void)
{
    for (int turns = 0; turns < 20000; turns++) {
        if (!rig_turn() && !dgm_hv_shared_info()->vcpu_info[0].evtchn_upcall_pending)
            return;
    }
    fail_msg("the reactor never comes to rest");
}

/* Lets time pass, from one timer to the next. */
static inline void rig_pass(uint64_t ns)
{
    const uint64_t end_ns = rig.now_ns + ns;

    while (rig.now_ns < end_ns) {
        const uint64_t next_ns = dgm_reactor_deadline_ns(&rig.reactor);

        rig.now_ns = next_ns < end_ns ? next_ns : end_ns;
        dgm_sim_set_now_ns(rig.now_ns);
        rig_run();
    }
}

/* No share of any guest's is used, but for slots that were lost. */
static inline void rig_check_shares(void)
{
    uint64_t used = 0, lost = 0;

    for (domid_t domid = 0; domid < 8; domid++) {
        used += rig.guests[domid].slots.used;
        assert_int_equal(rig.guests[domid].copy_buffers.used, 0);
        assert_int_equal(rig.guests[domid].bounce.taken, 0);
        assert_int_equal(rig.guests[domid].waiters.count, 0);
        assert_null(rig.guests[domid].persistent);
    }
    assert_int_equal(used, rig.core.cache.retired);
    assert_int_equal(rig.core.copy_buffers ? rig.core.copy_buffers->reserved : 0, 0);
    assert_int_equal(rig.core.reach.waiters.count, 0);
    if (rig.core.copy_buffers)
        assert_int_equal(rig.core.copy_buffers->free, rig.core.copy_buffers->total);
    for (uint16_t i = 0; rig.core.identity && i < rig.core.identity->total; i++)
        lost += rig.core.identity->entries[i].state == DGM_IDENTITY_LOST;
    if (rig.core.identity)
        assert_int_equal(rig.core.identity->used, lost);
    assert_int_equal(rig.core.cache.retired + lost, rig.unmaps_refused);
}

static inline void rig_stop(void)
{
    const struct dgm_hv_stats *stats = dgm_hv_stats();

    dgm_hv_set_faults(NULL);
    rig_run();
    dgm_grant_check(rig.core.grant);
    assert_int_equal(rig.core.grant->unmap_refused, rig.unmaps_refused);
    assert_int_equal(rig.core.grant->live, rig.unmaps_refused);
    assert_int_equal(stats->live, rig.unmaps_refused);
    assert_int_equal(stats->stale, 0);
    assert_int_equal(stats->over, 0);
    assert_int_equal(rig.core.cache.taken, 0);
    assert_int_equal(rig.core.cache.reserved, 0);
    rig_check_shares();
    assert_int_equal(rig.core.bounce.free, rig.core.bounce.total);
    assert_true(dgm_blkback_pool_idle(&rig.pool));
    assert_int_equal(rig.core.p2m.live, 0);
    assert_int_equal(rig.core.bounce.waiters.count, 0);
    for (unsigned port = 0; port < DGM_EVTCHN_PORTS; port++)
        assert_null(rig.evtchn.task[port]);
    dgm_core_check(&rig.core);
    dgm_xs_check(rig.xs);
    dgm_hv_stop();
    free(rig.xs_memory);
}

/* --- the disk --- */

#define MODEL_QUEUE 64

struct model_disk {
    struct dgm_blkdev dev;
    struct dgm_task task;
    uint8_t *bytes;
    uint64_t bytes_total;
    struct dgm_blk_command *queue[MODEL_QUEUE]; /* submitted; the first `kicked` are under way */
    unsigned queued, kicked, depth;
    bool hold;         /* commands stay until it is cleared and model_release() */
    bool backwards;    /* completes the last first */
    bool refuse;       /* submit says DGM_EIO */
    int64_t fail_from; /* commands numbered [from, from + count) fail; -1: none */
    uint64_t fail_count;
    uint64_t number; /* of the next command to complete */
    uint64_t flushes, kicks, queue_full;
    unsigned queued_max;
};

static inline struct model_disk *model_of(struct dgm_blkdev *dev)
{
    return (struct model_disk *)dev; /* its first member */
}

/* A read that fails may have written anything to where it was told. */
static inline void model_scribble(const struct dgm_blk_command *command)
{
    for (uint32_t i = 0; i < command->segment_count; i++) {
        const uint64_t bus = command->segments[i].bus.n;
        uint8_t *memory = dgm_hv_machine(dgm_mfn(bus >> DGM_FRAME_SHIFT));

        assert_true(dgm_hv_may_dma(dgm_mfn(bus >> DGM_FRAME_SHIFT), true));
        memory[bus & (DGM_FRAME_BYTES - 1)] ^= 0xff;
    }
}

/* The rules of the tag, and the oracle: only what is granted now, with that right. */
static inline void model_transfer(struct model_disk *disk, const struct dgm_blk_command *command)
{
    const struct dgm_dma_tag *tag = &disk->dev.tag;
    uint8_t *at = disk->bytes + command->block * disk->dev.block_bytes;
    uint64_t total = 0;

    assert_true(command->segment_count > 0 && command->segment_count <= tag->segments_max);
    for (uint32_t i = 0; i < command->segment_count; i++) {
        uint64_t bus = command->segments[i].bus.n;
        uint32_t left = command->segments[i].bytes;

        assert_true(left > 0);
        if (tag->gap && i > 0)
            assert_int_equal(bus % tag->gap, 0);
        if (tag->gap && i + 1 < command->segment_count)
            assert_int_equal((bus + left) % tag->gap, 0);
        while (left) {
            const dgm_mfn_t mfn = dgm_mfn(bus >> DGM_FRAME_SHIFT);
            const uint32_t offset = (uint32_t)(bus & (DGM_FRAME_BYTES - 1));
            const uint32_t bytes =
                left < DGM_FRAME_BYTES - offset ? left : DGM_FRAME_BYTES - offset;
            uint8_t *memory = dgm_hv_machine(mfn);

            assert_non_null(memory);
            assert_true(dgm_hv_may_dma(mfn, command->op == DGM_BLK_READ));
            if (command->op == DGM_BLK_READ)
                memcpy(memory + offset, at, bytes);
            else
                memcpy(at, memory + offset, bytes);
            at += bytes;
            bus += bytes;
            left -= bytes;
            total += bytes;
        }
    }
    assert_int_equal(total, (uint64_t)command->blocks * disk->dev.block_bytes);
}

static inline void model_complete_one(struct model_disk *disk)
{
    const unsigned which = disk->backwards ? disk->kicked - 1 : 0;
    struct dgm_blk_command *command = disk->queue[which];
    const int64_t number = (int64_t)disk->number++;
    const bool bad = disk->fail_from >= 0 && number >= disk->fail_from &&
                     (uint64_t)(number - disk->fail_from) < disk->fail_count;

    disk->queued--;
    disk->kicked--;
    memmove(&disk->queue[which], &disk->queue[which + 1],
            (disk->queued - which) * sizeof disk->queue[0]);
    if (command->op == DGM_BLK_FLUSH)
        disk->flushes++;
    else if (!bad)
        model_transfer(disk, command);
    else if (command->op == DGM_BLK_READ)
        model_scribble(command);
    dgm_waiters_wake(&disk->dev.waiters, &rig.reactor);
    command->done(command, bad ? DGM_EIO : DGM_OK);
}

static inline void model_run(struct dgm_task *task)
{
    struct model_disk *disk = dgm_container(task, struct model_disk, task);

    while (disk->kicked && !disk->hold)
        model_complete_one(disk);
}

static inline void model_release(struct model_disk *disk)
{
    disk->hold = false;
    dgm_reactor_post(&rig.reactor, &disk->task);
}

static inline int model_submit(struct dgm_blkdev *dev, struct dgm_blk_command *command)
{
    struct model_disk *disk = model_of(dev);

    if (disk->refuse)
        return DGM_EIO;
    if (disk->queued >= disk->depth) {
        disk->queue_full++;
        return DGM_EAGAIN;
    }
    if (command->op != DGM_BLK_FLUSH) {
        assert_true(command->blocks > 0);
        assert_true(command->block <= dev->blocks &&
                    command->blocks <= dev->blocks - command->block);
        assert_true(command->op == DGM_BLK_READ || !dev->read_only);
    }
    disk->queue[disk->queued++] = command;
    if (disk->queued > disk->queued_max)
        disk->queued_max = disk->queued;
    return DGM_OK;
}

static inline void model_kick(struct dgm_blkdev *dev)
{
    struct model_disk *disk = model_of(dev);

    disk->kicks++;
    disk->kicked = disk->queued;
    dgm_reactor_post(&rig.reactor, &disk->task);
}

/* A disk of `blocks`, like an NVMe: frames in between must be whole. */
static inline void model_start(struct model_disk *disk, uint64_t blocks, uint32_t block_bytes)
{
    static const struct dgm_blkdev_ops ops = {.submit = model_submit, .kick = model_kick};

    *disk = (struct model_disk){
        .dev = {.ops = &ops,
                .name = "model0",
                .blocks = blocks,
                .block_bytes = block_bytes,
                .write_cache = true,
                .tag = {.mask = UINT64_MAX,
                        .gap = DGM_FRAME_BYTES,
                        .segments_max = 512,
                        .transfer_bytes_max = 128 * 1024,
                        .block_bytes = block_bytes,
                        .coherent = true}},
        .task = {.run = model_run},
        .bytes_total = blocks * block_bytes,
        .depth = MODEL_QUEUE,
        .fail_from = -1,
    };
    disk->bytes = malloc(disk->bytes_total);
    for (uint64_t i = 0; i < disk->bytes_total; i++)
        disk->bytes[i] = (uint8_t)(i * 131 + (i >> 9) * 7 + 3);
}

static inline void model_stop(struct model_disk *disk)
{
    assert_int_equal(disk->queued, 0);
    assert_int_equal(disk->dev.waiters.count, 0);
    free(disk->bytes);
}

/* --- the frontend --- */

#define FRONT_RING_GFN 1
#define FRONT_DATA_GFN 16
#define FRONT_FRAMES   2048
#define FRONT_ASKED    64

/* One request as the guest remembers it, by its index (the low bits of the id). */
struct front_asked {
    bool used, answered;
    uint64_t id;
    uint8_t operation; /* that the response must echo */
    int16_t status;
    unsigned ref_count;
    grant_ref_t refs[260];
};

struct front {
    domid_t domid;
    uint32_t number;
    grant_ref_t ring_ref;
    evtchn_port_t port;
    blkif_front_ring_t ring;
    struct front_asked asked[FRONT_ASKED];
    unsigned outstanding, answers, next;
    uint64_t events;
    bool persistent;                  /* set before it shares: it reuses its grants, */
    grant_ref_t grants[FRONT_FRAMES]; /* one for each frame; 0: none yet */
};

/* A guest with its home in xenstore, as the kernel makes it. */
static inline void guest_start(domid_t domid)
{
    char path[64];

    dgm_hv_domain_add(domid, FRONT_FRAMES);
    snprintf(path, sizeof path, "/local/domain/%u", domid);
    assert_int_equal(dgm_xs_write(rig.xs, path, ""), DGM_OK);
    assert_int_equal(dgm_xs_set_access(rig.xs, path, (struct dgm_xs_access){.owner = domid}),
                     DGM_OK);
}

static inline void front_path(const struct front *front, bool backend, const char *key, char *path)
{
    if (backend)
        snprintf(path, 128, "/local/domain/0/backend/vbd/%u/%u/%s", front->domid, front->number,
                 key);
    else
        snprintf(path, 128, "/local/domain/%u/device/vbd/%u/%s", front->domid, front->number, key);
}

/* The frontend's own keys, and the backend's as the frontend reads them. */
static inline void front_write(const struct front *front, const char *key, const char *value)
{
    char path[128];

    front_path(front, false, key, path);
    assert_int_equal(dgm_xs_write(rig.xs, path, value), DGM_OK);
}

static inline void front_write_number(const struct front *front, const char *key, uint64_t number)
{
    char value[24];

    snprintf(value, sizeof value, "%llu", (unsigned long long)number);
    front_write(front, key, value);
}

static inline long long key_number(const struct front *front, bool backend, const char *key)
{
    char path[128], value[64];

    front_path(front, backend, key, path);
    if (dgm_xs_read(rig.xs, path, value, sizeof value) < 0)
        return -1;
    return strtoll(value, NULL, 10);
}

#define back_state(front) key_number(front, true, "state")

static inline void front_init(struct front *front, domid_t domid, const char *vdev)
{
    memset(front, 0, sizeof *front);
    front->domid = domid;
    assert_int_equal(dgm_blkback_vdev_number(vdev, &front->number), DGM_OK);
}

static inline uint64_t front_ring_gfn(const struct front *front)
{
    return FRONT_RING_GFN + ((front->number >> 4) & 7); /* a ring per disk */
}

/* A fresh ring and channel, published in xenstore. */
static inline void front_share(struct front *front)
{
    blkif_sring_t *shared = dgm_hv_page(front->domid, front_ring_gfn(front));

    memset(shared, 0, DGM_FRAME_BYTES);
    SHARED_RING_INIT(shared);
    FRONT_RING_INIT(&front->ring, shared, DGM_FRAME_BYTES);
    front->ring_ref = dgm_hv_grant_any(front->domid, front_ring_gfn(front), false);
    front->port = dgm_hv_guest_port(front->domid);
    front->outstanding = front->answers = front->next = 0;
    memset(front->asked, 0, sizeof front->asked);
    front_write_number(front, "ring-ref", front->ring_ref);
    front_write_number(front, "event-channel", front->port);
    front_write(front, "protocol", XEN_IO_PROTO_ABI_ARM);
    front_write_number(front, "feature-persistent", front->persistent);
}

/* The guest takes its ring and channel back, after the backend has closed. */
static inline void front_unshare(struct front *front)
{
    assert_true(dgm_hv_grant_end(front->domid, front->ring_ref));
    dgm_hv_guest_close(front->domid, front->port);
    for (unsigned i = 0; i < FRONT_ASKED; i++) {
        for (unsigned j = 0; front->asked[i].used && j < front->asked[i].ref_count; j++)
            assert_true(dgm_hv_grant_end(front->domid, front->asked[i].refs[j]));
    }
    memset(front->asked, 0, sizeof front->asked);
    for (unsigned i = 0; i < FRONT_FRAMES; i++) {
        if (front->grants[i])
            assert_true(dgm_hv_grant_end(front->domid, front->grants[i]));
        front->grants[i] = 0;
    }
}

/* Linux's order: waits for InitWait, shares, 3, waits for 4, reads the size, 4. */
static inline void front_connect(struct front *front)
{
    rig_run();
    assert_int_equal(back_state(front), XenbusStateInitWait);
    front_share(front);
    front_write_number(front, "state", XenbusStateInitialised);
    rig_run();
    assert_int_equal(back_state(front), XenbusStateConnected);
    assert_true(key_number(front, true, "sectors") > 0);
    front_write_number(front, "state", XenbusStateConnected);
    rig_run();
    assert_int_equal(dgm_hv_guest_events(front->domid, front->port), 1); /* "here I am" */
}

static inline void front_close(struct front *front)
{
    front_write_number(front, "state", XenbusStateClosing);
    rig_run();
    assert_int_equal(back_state(front), XenbusStateClosing);
    front_write_number(front, "state", XenbusStateClosed);
    rig_run();
    assert_int_equal(back_state(front), XenbusStateClosed);
    front_unshare(front);
}

static inline struct front_asked *front_ask(struct front *front, uint8_t operation, uint64_t *id)
{
    unsigned index = front->next++ % FRONT_ASKED;
    struct front_asked *asked;

    while (front->asked[index].used) /* an old one still waits there */
        index = (index + 1) % FRONT_ASKED;
    asked = &front->asked[index];
    memset(asked, 0, sizeof *asked);
    asked->used = true;
    asked->id = *id = 0xabcd000000000000 | (uint64_t)front->next << 8 | index;
    asked->operation = operation;
    return asked;
}

/* A part of a frame of the guest. */
struct part {
    uint64_t gfn;
    uint8_t first, last; /* sectors */
};

/* Puts a raw entry on the ring. */
static inline void front_put(struct front *front, const void *entry, size_t bytes)
{
    struct blkif_request *slot = RING_GET_REQUEST(&front->ring, front->ring.req_prod_pvt);

    memset((void *)slot, 0x5a, 112);
    memcpy((void *)slot, entry, bytes);
    front->ring.req_prod_pvt++;
    front->outstanding++;
}

static inline void front_push(struct front *front)
{
    int notify;

    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&front->ring, notify);
    if (notify)
        assert_true(dgm_hv_guest_send(front->domid, front->port));
}

/* A reference for one request, or the one that is kept for this frame. */
static inline grant_ref_t front_grant_one(struct front *front, struct front_asked *asked,
                                          uint64_t gfn, bool readonly)
{
    if (front->persistent) {
        if (!front->grants[gfn])
            front->grants[gfn] = dgm_hv_grant_any(front->domid, gfn, false);
        return front->grants[gfn];
    }
    return asked->refs[asked->ref_count++] = dgm_hv_grant_any(front->domid, gfn, readonly);
}

/* Data is granted read-only for writes, as it may be. `bad`: that segment gets a reference of
 * nothing; -1: none. */
static inline unsigned front_grant(struct front *front, struct front_asked *asked, bool write,
                                   const struct part *parts, unsigned count, int bad,
                                   struct blkif_request_segment *segments)
{
    for (unsigned i = 0; i < count; i++) {
        grant_ref_t ref = DGM_HV_REFS - 1;

        if ((int)i != bad)
            ref = front_grant_one(front, asked, parts[i].gfn, write);
        segments[i].gref = ref;
        segments[i].first_sect = parts[i].first;
        segments[i].last_sect = parts[i].last;
    }
    return count;
}

/* Direct, up to 11 parts. Returns the request's index. */
static inline unsigned front_rw(struct front *front, bool write, uint64_t sector,
                                const struct part *parts, unsigned count, int bad)
{
    struct blkif_request request;
    const uint8_t operation = write ? BLKIF_OP_WRITE : BLKIF_OP_READ;

    memset(&request, 0, sizeof request);
    struct front_asked *asked = front_ask(front, operation, &request.id);

    request.operation = operation;
    request.nr_segments = (uint8_t)count;
    request.sector_number = sector;
    front_grant(front, asked, write, parts, count, bad, request.seg);
    front_put(front, &request, sizeof request);
    return (unsigned)(asked - front->asked);
}

/* Indirect, up to 256 parts; the page of segments is the guest's frame `page_gfn`. */
static inline unsigned front_rw_indirect(struct front *front, bool write, uint64_t sector,
                                         const struct part *parts, unsigned count, int bad,
                                         uint64_t page_gfn)
{
    struct blkif_request_indirect request;
    const uint8_t operation = write ? BLKIF_OP_WRITE : BLKIF_OP_READ;

    memset(&request, 0, sizeof request);
    struct front_asked *asked = front_ask(front, operation, &request.id);

    request.operation = BLKIF_OP_INDIRECT;
    request.indirect_op = operation;
    request.nr_segments = (uint16_t)count;
    request.sector_number = sector;
    front_grant(front, asked, write, parts, count, bad, dgm_hv_page(front->domid, page_gfn));
    request.indirect_grefs[0] = front_grant_one(front, asked, page_gfn, true);
    front_put(front, &request, sizeof request);
    return (unsigned)(asked - front->asked);
}

static inline unsigned front_flush(struct front *front)
{
    struct blkif_request request;

    memset(&request, 0, sizeof request);
    struct front_asked *asked = front_ask(front, BLKIF_OP_FLUSH_DISKCACHE, &request.id);

    request.operation = BLKIF_OP_FLUSH_DISKCACHE;
    front_put(front, &request, sizeof request);
    return (unsigned)(asked - front->asked);
}

/* Takes the responses: each is for a request that waits, echoes it, and its grants are free. */
static inline void front_collect(struct front *front)
{
    int more;

    do {
        const RING_IDX end = front->ring.sring->rsp_prod;

        xen_rmb();
        for (RING_IDX i = front->ring.rsp_cons; i != end; i++) {
            const struct blkif_response *response = RING_GET_RESPONSE(&front->ring, i);
            struct front_asked *asked = &front->asked[response->id % FRONT_ASKED];

            assert_true(asked->used && !asked->answered);
            assert_int_equal(response->id, asked->id);
            assert_int_equal(response->operation, asked->operation);
            for (size_t pad = 9; pad < 16; pad++) {
                if (pad != 10 && pad != 11)
                    assert_int_equal(((const uint8_t *)response)[pad], 0);
            }
            asked->answered = true;
            asked->status = response->status;
            for (unsigned j = 0; j < asked->ref_count; j++)
                assert_true(dgm_hv_grant_end(front->domid, asked->refs[j]));
            asked->ref_count = 0;
            front->outstanding--;
            front->answers++;
        }
        front->ring.rsp_cons = end;
        RING_FINAL_CHECK_FOR_RESPONSES(&front->ring, more);
    } while (more);
    front->events += dgm_hv_guest_events(front->domid, front->port);
}

/* The answer to request `index`, which must have come; its place is free again. */
static inline int16_t front_answer(struct front *front, unsigned index)
{
    assert_true(front->asked[index].used);
    assert_true(front->asked[index].answered);
    front->asked[index].used = false;
    return front->asked[index].status;
}

static inline void front_go(struct front *front)
{
    front_push(front);
    rig_run();
    front_collect(front);
}

/* The end of a device: the guest has closed, or is gone. */
static inline void device_end(struct dgm_blkback *blkback)
{
    dgm_blkback_guest_gone(blkback);
    rig_run();
    assert_true(dgm_blkback_idle(blkback));
    dgm_blkback_destroy(blkback);
}

#endif
