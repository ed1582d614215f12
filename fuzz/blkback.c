/* SPDX-License-Identifier: MIT */
/*
 * fuzz blkback: a frontend with arbitrary operations on its ring, its grants and its state
 *
 * Covers all of a request's steps: ring, parser, grants, dma, a model disk, responses; and the
 * xenbus handshake. The machine (tests/unit/rigs/vbd_rig.h) is built once. Each input is one
 * connection, from sharing the ring to the end. After it no grant, slot, record or buffer may be
 * held. The input's last byte chooses the mode; there is one backend per mode. The model disk
 * checks that it accesses only frames that are granted at that moment, with that right.
 */
#include "lib/feed.h"

#include "../tests/unit/rigs/vbd_rig.h"

#define DATA_GFN      200u
#define INDIRECT_GFN  300u
#define REFS_WRITABLE 100u /* .. + 31: the data frames */
#define REFS_READONLY 132u /* .. + 15: the same frames */
#define REFS_INDIRECT 148u /* .. + 3: pages of segments */
#define REFS_NONE     152u /* .. + 7: nothing is granted */
#define REFS_END      160u

static struct model_disk disk;

static const struct {
    const char *vdev;
    enum dgm_reach_mode mode;
    uint16_t persistent_frames;
} modes[] = {
    {"xvda", DGM_REACH_MODE_MAP, 0},
    {"xvdb", DGM_REACH_MODE_COPY, 0},
    {"xvdc", DGM_REACH_MODE_IDENTITY, 0},
    {"xvdd", DGM_REACH_MODE_MAP, 24},
};
#define MODES 4u

static struct dgm_blkback backs[MODES];
static struct front fronts[MODES];
static unsigned mode; /* of this input: index in modes */
#define back  backs[mode]
#define front fronts[mode]
static RING_IDX produced;
static bool granted[REFS_END];

static void grant_frame(grant_ref_t ref, uint64_t gfn, bool readonly)
{
    dgm_hv_grant(1, ref, gfn, readonly);
    granted[ref] = true;
}

static void grant_all(void)
{
    for (grant_ref_t i = 0; i < 32; i++)
        grant_frame(REFS_WRITABLE + i, DATA_GFN + i, false);
    for (grant_ref_t i = 0; i < 16; i++)
        grant_frame(REFS_READONLY + i, DATA_GFN + i, true);
    for (grant_ref_t i = 0; i < 4; i++)
        grant_frame(REFS_INDIRECT + i, INDIRECT_GFN + i, true);
}

/* False: it is still mapped. */
static bool end_grant(grant_ref_t ref)
{
    if (granted[ref] && !dgm_hv_grant_end(1, ref))
        return false;
    granted[ref] = false;
    return true;
}

static void start_once(void)
{
    static bool started;

    if (started)
        return;
    started = true;
    vbd_start((struct vbd_options){.slots = 256,
                                   .bounce = 4,
                                   .copies = 80,
                                   .persistent_frames = 40,
                                   .identities = 20,
                                   .quota = 200});
    model_start(&disk, 4096, 512);
    disk.depth = 16;
    front_guest_start(1);
    for (unsigned i = 0; i < MODES; i++) {
        front_init(&fronts[i], 1, modes[i].vdev);
        assert_int_equal(dgm_blkback_create(&backs[i], &vbd.env, &vbd.guests[1],
                                            &(struct dgm_blkback_options){
                                                .vdev = modes[i].vdev,
                                                .disk = &disk.dev,
                                                .writable = true,
                                                .mode = modes[i].mode,
                                                .guest_disks = MODES,
                                                .persistent_frames = modes[i].persistent_frames}),
                         DGM_OK);
    }
    grant_all();
}

static grant_ref_t random_ref(struct feed *feed)
{
    const uint8_t pick = (uint8_t)feed_take(feed, 1);

    return pick == 255 ? (grant_ref_t)feed_take(feed, 4)
                       : REFS_WRITABLE + pick % (REFS_END - REFS_WRITABLE);
}

static void random_segments(struct feed *feed, struct blkif_request_segment *segments,
                            unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const uint8_t bounds = (uint8_t)feed_take(feed, 1);

        segments[i].gref = random_ref(feed);
        segments[i].first_sect = bounds & 7;
        segments[i].last_sect = (bounds >> 3 & 7) | (bounds == 255 ? 8 : 0);
        if (segments[i].first_sect > segments[i].last_sect && bounds < 250) {
            segments[i].first_sect = 0;
            segments[i].last_sect = 7;
        }
    }
}

static void put_entry(const void *entry, size_t bytes)
{
    memcpy(RING_GET_REQUEST(&front.ring, produced), entry, bytes);
    produced++;
}

/* Mostly on the disk; otherwise at its end, beyond it, or so far beyond that a sum wraps. */
static uint64_t random_sector(struct feed *feed)
{
    const uint8_t near = (uint8_t)feed_take(feed, 1);

    if (near < 224)
        return feed_below(feed, 4096);
    if (near < 236)
        return 4096 - feed_below(feed, 100);
    return near < 248 ? 0 - feed_below(feed, 300) : feed_take(feed, 8);
}

static void random_request(struct feed *feed)
{
    struct blkif_request request = {0};

    request.operation = (uint8_t)feed_below(feed, 8);
    request.nr_segments = (uint8_t)feed_below(feed, feed_chance(feed, 8) ? 256 : 12);
    request.id = feed_take(feed, 1);
    request.sector_number = random_sector(feed);
    random_segments(feed, request.seg, request.nr_segments < 11 ? request.nr_segments : 11);
    put_entry(&request, sizeof request);
}

static void random_indirect(struct feed *feed)
{
    struct blkif_request_indirect request = {.operation = BLKIF_OP_INDIRECT};
    const unsigned page = (unsigned)feed_below(feed, 4);
    struct blkif_request_segment *segments = dgm_hv_page(1, INDIRECT_GFN + page);

    request.indirect_op = (uint8_t)feed_below(feed, 3);
    request.nr_segments = (uint16_t)feed_below(feed, feed_chance(feed, 8) ? 600 : 40);
    request.sector_number = random_sector(feed);
    request.id = feed_take(feed, 1);
    request.indirect_grefs[0] =
        feed_chance(feed, 16) ? random_ref(feed) : (grant_ref_t)(REFS_INDIRECT + page);
    random_segments(feed, segments, request.nr_segments < 64 ? request.nr_segments : 64);
    put_entry(&request, sizeof request);
}

static void run_turns(unsigned count)
{
    while (count--)
        vbd_turn();
}

static void push_requests(bool honest)
{
    RING_IDX shown = produced;

    if (honest && produced - front.ring.sring->rsp_prod > RING_SIZE(&front.ring))
        shown = produced = front.ring.sring->rsp_prod + RING_SIZE(&front.ring);
    front.ring.sring->req_prod = shown;
    dgm_hv_guest_send(1, front.port);
}

static void write_state(struct feed *feed)
{
    static const char *const states[] = {"5", "6", "1", "3", "4", "2", "0", "garbage", ""};

    front_write(&front, "state", states[feed_below(feed, 9)]);
}

static const char *const keys[] = {"ring-ref",          "event-channel", "protocol",
                                   "ring-page-order",   "ring-ref0",     "multi-queue-num-queues",
                                   "ring-ref1",         "ring-ref2",     "ring-ref3",
                                   "feature-persistent"};
#define KEYS 9 /* that the frontend writes; the last one depends on the mode */

static void write_key(struct feed *feed)
{
    static const char *const values[] = {
        "", "0", "100", "4294967295", "-1", "arm-abi", "x86_32-abi", "99999999999999999999", "149"};

    const char *const key = keys[feed_below(feed, KEYS)];

    front_write(&front, key, values[feed_below(feed, 9)]);
}

static void remove_keys(void)
{
    char path[128];

    for (unsigned i = 0; i <= KEYS; i++) {
        front_path(&front, false, keys[i], path);
        dgm_xs_rm(vbd.xs, path);
    }
}

static void do_step(struct feed *feed)
{
    switch (feed_below(feed, 16)) {
    case 0:
    case 1:
    case 2:
        random_request(feed);
        push_requests(true);
        break;
    case 3:
    case 4:
        random_indirect(feed);
        push_requests(true);
        break;
    case 5:
        run_turns(1 + (unsigned)feed_below(feed, 8));
        break;
    case 6: { /* any byte of the ring's pages */
        uint8_t *ring = (uint8_t *)front.ring.sring;
        const size_t bytes = 4096u << front.ring_order, at = feed_below(feed, bytes);

        feed_copy(feed, ring + at, 1 + feed_below(feed, 64) % (bytes - at));
        break;
    }
    case 7: /* any index */
        produced = (RING_IDX)feed_take(feed, 4);
        push_requests(false);
        break;
    case 8:
        disk.stalled = feed_chance(feed, 128);
        if (!disk.stalled)
            model_resume(&disk);
        break;
    case 9:
        disk.backwards = feed_chance(feed, 128);
        disk.refuse = feed_chance(feed, 64);
        disk.fail_from = feed_chance(feed, 128) ? (int64_t)disk.number : -1;
        disk.fail_count = feed_below(feed, 8);
        break;
    case 10: { /* ends a grant, if it is not in use, and makes another */
        const grant_ref_t ref = REFS_WRITABLE + (grant_ref_t)feed_below(feed, 60);

        if (end_grant(ref) && feed_chance(feed, 128)) {
            const uint64_t gfn = DATA_GFN + feed_below(feed, 48);

            grant_frame(ref, gfn, feed_chance(feed, 128));
        }
        break;
    }
    case 11:
        write_state(feed);
        break;
    case 12:
        write_key(feed);
        break;
    default:
        dgm_hv_guest_send(1, front.port);
        run_turns(1);
        break;
    }
}

/* Ends the connection in any state: the disk completes all commands, the frontend closes. */
static void end_run(void)
{
    disk.refuse = disk.backwards = false;
    disk.fail_from = -1;
    model_resume(&disk);
    vbd_run();
    front_write_number(&front, "state", XenbusStateClosed);
    vbd_run();
    fuzz_check(dgm_blkback_idle(&back));
    fuzz_check(dgm_blkback_pool_idle(&vbd.pool));
    fuzz_check(vbd.core.grant->live == 0 && dgm_hv_stats()->live == 0);
    fuzz_check(dgm_hv_stats()->stale == 0 && dgm_hv_stats()->over == 0);
    fuzz_check(vbd.core.cache.taken == 0 && vbd.core.cache.retired == 0);
    fuzz_check(vbd.core.bounce.free == vbd.core.bounce.total);
    fuzz_check(vbd.core.copy_buffers->free == vbd.core.copy_buffers->total);
    fuzz_check(vbd.core.identity->used == 0 &&
               vbd.core.persistent->free == vbd.core.persistent->total);
    fuzz_check(vbd.guests[1].slots.used == 0 && vbd.guests[1].copy_buffers.used == 0);
    dgm_core_check(&vbd.core);
    for (grant_ref_t i = REFS_WRITABLE; i < REFS_END; i++)
        fuzz_check(end_grant(i));
    for (unsigned i = 0; i < 1u << front.ring_order; i++)
        fuzz_check(dgm_hv_grant_end(1, front.ring_refs[i]));
    dgm_hv_guest_close(1, front.port);
    grant_all();
    remove_keys();
    front_write_number(&front, "state", XenbusStateInitialising); /* for the next input */
    vbd_run();
    fuzz_check(back_state(&front) == XenbusStateInitWait);
}

void run_input(struct feed *feed)
{
    start_once();
    vbd_run();
    mode = feed->left ? feed->at[feed->left - 1] % MODES : 0;
    front.ring_order =
        feed->left ? feed->at[feed->left - 1] / MODES % (back.ring_order_max + 1u) : 0;
    front_share(&front);
    front_write_number(&front, "feature-persistent", modes[mode].persistent_frames != 0);
    front_write_number(&front, "state", XenbusStateInitialised);
    vbd_run();
    fuzz_check(back_state(&front) == XenbusStateConnected);
    front_write_number(&front, "state", XenbusStateConnected);
    vbd_run();
    produced = 0;
    while (feed->left)
        do_step(feed);
    end_run();
}
