/* SPDX-License-Identifier: MIT */
/*
 * blkback by every way to a guest's frames: mapped, kept mapped, copied, at their machine address.
 * If these fail, a guest gets other bytes by one way than by another, a failed read shows it
 * something, one guest's share is another's standstill, or a frame stays mapped (XSA-365, -371).
 */
#include "blkback_rig.h"

struct variant {
    const char *name;
    enum dgm_reach_mode mode;
    uint16_t persistent_frames;
    bool persistent; /* so says the frontend */
    enum dgm_reach_held held;
};

static const struct variant variants[] = {
    {"map", DGM_REACH_MODE_MAP, 0, false, DGM_REACH_HELD_MAPPED},
    {"map, a persistent frontend", DGM_REACH_MODE_MAP, 0, true, DGM_REACH_HELD_MAPPED},
    {"kept", DGM_REACH_MODE_MAP, 600, true, DGM_REACH_HELD_PERSISTENT},
    {"kept, but the frontend cannot", DGM_REACH_MODE_MAP, 600, false, DGM_REACH_HELD_MAPPED},
    {"few kept", DGM_REACH_MODE_MAP, 5, true, DGM_REACH_HELD_PERSISTENT},
    {"auto, kept", DGM_REACH_MODE_AUTO, 600, true, DGM_REACH_HELD_PERSISTENT},
    {"auto", DGM_REACH_MODE_AUTO, 600, false, DGM_REACH_HELD_MAPPED},
    {"copy", DGM_REACH_MODE_COPY, 0, false, DGM_REACH_HELD_COPIED},
    {"copy, keep is nothing to it", DGM_REACH_MODE_COPY, 600, true, DGM_REACH_HELD_COPIED},
    {"identity", DGM_REACH_MODE_IDENTITY, 0, false, DGM_REACH_HELD_IDENTITY},
    {"identity, keep is nothing to it", DGM_REACH_MODE_IDENTITY, 600, true,
     DGM_REACH_HELD_IDENTITY},
};

#define FOR_EACH_VARIANT(v)                                                                        \
    for (const struct variant *v = variants; v < variants + sizeof variants / sizeof variants[0];  \
         v++)

static const struct rig_options everything = {
    .copies = 600, .persistent_frames = 900, .identities = 600};

#define FRONTS_MAX 3

static struct model_disk disks[FRONTS_MAX];
static struct dgm_blkback backs[FRONTS_MAX];
static struct front fronts[FRONTS_MAX];
static bool gone[FRONTS_MAX]; /* the guest ended before its frontend had closed */
static unsigned fronts_used;

/* One more disk for `domid`. */
static void share(domid_t domid, const char *vdev, const struct variant *v)
{
    const unsigned i = fronts_used++;

    gone[i] = false;
    model_start(&disks[i], 8192, 512);
    front_init(&fronts[i], domid, vdev);
    fronts[i].persistent = v->persistent;
    assert_int_equal(
        rig_share_by(&backs[i], domid, vdev, &disks[i].dev, true, v->mode, v->persistent_frames),
        DGM_OK);
}

/* Two guests with a disk each; the first one's keeps all that it is told to do. */
static void two_guests(const struct variant *v)
{
    fronts_used = 0;
    for (domid_t domid = 1; domid <= 2; domid++) {
        guest_start(domid);
        share(domid, "xvda", v);
        front_connect(&fronts[domid - 1]);
    }
    disks[0].hold = true;
}

/* A guest with one disk, connected. */
static void start(struct rig_options options, const struct variant *v)
{
    rig_start(options);
    fronts_used = 0;
    guest_start(1);
    share(1, "xvda", v);
    front_connect(&fronts[0]);
}

static void stop(void)
{
    for (unsigned i = 0; i < fronts_used; i++) {
        if (back_state(&fronts[i]) == XenbusStateConnected && !gone[i])
            front_close(&fronts[i]);
        device_end(&backs[i]);
        model_stop(&disks[i]);
    }
    rig_stop();
}

static void fill(domid_t domid, uint64_t gfn, unsigned salt)
{
    uint8_t *page = dgm_hv_page(domid, gfn);

    for (unsigned i = 0; i < DGM_FRAME_BYTES; i++)
        page[i] = (uint8_t)(gfn * 37 + i * 11 + (i >> 8) * 5 + salt);
}

/* `count` frames apart, unaligned at the ends. */
static void make_parts(struct part *parts, unsigned count, unsigned salt)
{
    for (unsigned i = 0; i < count; i++)
        parts[i] = (struct part){FRONT_DATA_GFN + i * 2 + salt % 3, 0, 7};
    parts[0].first = (uint8_t)(salt % 8);
    if (count > 1)
        parts[count - 1].last = (uint8_t)(salt * 3 % 8);
}

static unsigned ask(struct front *front, bool write, uint64_t sector, const struct part *parts,
                    unsigned count, int bad)
{
    return count > 11 ? front_rw_indirect(front, write, sector, parts, count, bad, 8)
                      : front_rw(front, write, sector, parts, count, bad);
}

static void expect_same(const struct model_disk *disk, domid_t domid, const struct part *parts,
                        unsigned count, uint64_t sector)
{
    const uint8_t *at = disk->bytes + sector * 512;

    for (unsigned i = 0; i < count; i++) {
        const uint8_t *page = dgm_hv_page(domid, parts[i].gfn);
        const unsigned bytes = (parts[i].last - parts[i].first + 1u) * 512;

        assert_memory_equal(at, page + parts[i].first * 512, bytes);
        at += bytes;
    }
}

static void transfer(bool write, uint64_t sector, unsigned count, unsigned salt)
{
    struct part parts[256];

    make_parts(parts, count, salt);
    for (unsigned i = 0; i < count; i++)
        fill(1, parts[i].gfn, salt);

    const unsigned index = ask(&fronts[0], write, sector, parts, count, -1);

    front_go(&fronts[0]);
    assert_int_equal(front_answer(&fronts[0], index), BLKIF_RSP_OKAY);
    expect_same(&disks[0], 1, parts, count, sector);
    for (unsigned i = 0; i < count; i++) { /* beside its part a frame is as it was */
        const uint8_t *page = dgm_hv_page(1, parts[i].gfn);
        uint8_t now[DGM_FRAME_BYTES];

        memcpy(now, page, sizeof now);
        fill(1, parts[i].gfn, salt);
        for (unsigned at = 0; at < DGM_FRAME_BYTES; at += 512)
            if (at / 512 < parts[i].first || at / 512 > parts[i].last)
                assert_memory_equal(now + at, page + at, 512);
    }
}

static void data_by_every_way(void **state)
{
    static const unsigned counts[] = {1, 2, 11, 12, 33, 100, 255, 256};

    FOR_EACH_VARIANT(v)
    {
        const uint64_t *frames = rig.core.reach.frames;

        print_message("# %s\n", v->name);
        start(everything, v);
        for (unsigned n = 0; n < sizeof counts / sizeof counts[0]; n++) {
            transfer(true, 64 * n + 3, counts[n], n);
            transfer(false, 2048 + 64 * n, counts[n], n + 5);
            transfer(false, 64 * n + 3, counts[n], n + 9);
            transfer(true, 3000 + n, counts[n], n + 14);
        }
        assert_int_equal(frames[DGM_REACH_HELD_COPIED] != 0, v->mode == DGM_REACH_MODE_COPY);
        assert_int_equal(frames[DGM_REACH_HELD_PERSISTENT] != 0,
                         v->held == DGM_REACH_HELD_PERSISTENT);
        assert_int_equal(rig.core.identity->mapped != 0, v->mode == DGM_REACH_MODE_IDENTITY);
        if (v->persistent_frames == 600 && v->held == DGM_REACH_HELD_PERSISTENT)
            assert_true(backs[0].connection.owner.hits > 1000);
        assert_true(backs[0].connection.owner.count <= v->persistent_frames);
        stop();
    }
}

/* What fails on the disk shows the guest nothing of what the disk did; by a copy not one byte. */
static void failed_reads(void **state)
{
    struct part parts[256];

    FOR_EACH_VARIANT(v)
    {
        for (unsigned count = 2; count <= 256; count += 127) {
            start(everything, v);
            make_parts(parts, count, 0);
            for (unsigned i = 0; i < count; i++)
                fill(1, parts[i].gfn, 1);
            disks[0].fail_from = count > 11; /* one of the commands of a large one */
            disks[0].fail_count = 1;

            const unsigned index = ask(&fronts[0], false, 0, parts, count, -1);

            front_go(&fronts[0]);
            assert_int_equal(front_answer(&fronts[0], index), BLKIF_RSP_ERROR);
            assert_int_equal(backs[0].counters.device_errors, 1);
            assert_int_equal(backs[0].counters.bytes_read, 0);
            for (unsigned i = 0; i < count && v->mode == DGM_REACH_MODE_COPY; i++) {
                uint8_t now[DGM_FRAME_BYTES];

                memcpy(now, dgm_hv_page(1, parts[i].gfn), sizeof now);
                fill(1, parts[i].gfn, 1);
                assert_memory_equal(now, dgm_hv_page(1, parts[i].gfn), sizeof now);
            }
            stop();
        }
    }
}

/* A read into what was granted read-only, beside good requests. */
static void reads_into_read_only_grants(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        struct blkif_request request;
        const struct part good = {40, 0, 7};
        unsigned ok[2];

        if (v->persistent)
            continue; /* all of its grants are writable */
        start(everything, v);
        ok[0] = ask(&fronts[0], false, 0, &good, 1, -1);
        memset(&request, 0, sizeof request);
        struct front_asked *asked = front_ask(&fronts[0], BLKIF_OP_READ, &request.id);

        fill(1, 50, 3);
        request.operation = BLKIF_OP_READ;
        request.nr_segments = 2;
        request.seg[0].gref = asked->refs[0] = dgm_hv_grant_any(1, 51, false);
        request.seg[1].gref = asked->refs[1] = dgm_hv_grant_any(1, 50, true);
        request.seg[0].last_sect = request.seg[1].last_sect = 7;
        asked->ref_count = 2;
        front_put(&fronts[0], &request, sizeof request);
        ok[1] = ask(&fronts[0], true, 64, &good, 1, -1);
        front_go(&fronts[0]);
        assert_int_equal(front_answer(&fronts[0], ok[0]), BLKIF_RSP_OKAY);
        assert_int_equal(front_answer(&fronts[0], ok[1]), BLKIF_RSP_OKAY);
        assert_int_equal(front_answer(&fronts[0], (unsigned)(asked - fronts[0].asked)),
                         BLKIF_RSP_ERROR);
        assert_int_equal(backs[0].counters.refused[DGM_BLKBACK_BAD_GRANT], 1);
        assert_int_equal(backs[0].counters.reads, 1);
        assert_int_equal(backs[0].counters.device_errors, 0);
        stop();
    }
}

/* --- Xen's moods --- */

/* Which ops of maps and copies (counted from when it was set) are answered with what. */
static struct {
    int16_t status;
    uint64_t from, count, seen;
    unsigned percent;
    bool (*only)(grant_ref_t ref); /* NULL: any */
} mood;

static int16_t in_mood(grant_ref_t ref)
{
    const uint64_t n = mood.seen;

    if (mood.only && !mood.only(ref))
        return 0;
    mood.seen++;
    if (mood.percent)
        return unit_chance(mood.percent) ? mood.status : 0;
    return n >= mood.from && n - mood.from < mood.count ? mood.status : 0;
}

static int16_t on_map(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    return in_mood(op->ref);
}

static int16_t on_copy(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    return in_mood(op->flags & GNTCOPY_dest_gref ? op->dest.u.ref : op->source.u.ref);
}

static void set_mood(int16_t status, uint64_t from, uint64_t count)
{
    memset(&mood, 0, sizeof mood);
    mood.status = status;
    mood.from = from;
    mood.count = count;
    dgm_hv_set_faults(&(struct dgm_hv_faults){.map = on_map, .copy = on_copy});
}

/* Any op of a request may be refused, or asked again, once or for ever: the page, data, delivery,
 * the second mapping of identity. */
static void any_op_of_a_request(void **state)
{
    struct part parts[14];
    uint8_t other[DGM_FRAME_BYTES];

    memset(other, 0x11, sizeof other);
    FOR_EACH_VARIANT(v)
    {
        print_message("# %s\n", v->name);
        for (unsigned write = 0; write < 2; write++) {
            for (unsigned kind = 0; kind < 3; kind++) {
                const int16_t status = kind == 0 ? GNTST_general_error : GNTST_eagain;
                uint64_t ops = 1;

                start(everything, v);
                for (uint64_t n = 0; n < ops; n++) {
                    int16_t answer;

                    make_parts(parts, 14, 1);
                    for (unsigned i = 0; i < 14; i++)
                        fill(1, parts[i].gfn, (unsigned)n);
                    dgm_reach_connection_evict(&backs[0].connection); /* as if it were the first */
                    set_mood(status, n, kind == 2 ? 1000 : 1);

                    const unsigned index = ask(&fronts[0], write, 100, parts, 14, -1);

                    front_push(&fronts[0]);
                    rig_run();
                    rig_pass(6000000000);
                    if (kind < 2)
                        ops = mood.seen > ops ? mood.seen : ops;
                    else
                        ops = 40;
                    front_collect(&fronts[0]);
                    answer = front_answer(&fronts[0], index);
                    assert_true(answer == BLKIF_RSP_OKAY || answer == BLKIF_RSP_ERROR);
                    if (kind == 1)
                        assert_int_equal(answer, BLKIF_RSP_OKAY);
                    if (kind == 2 && n == 0)
                        assert_int_equal(answer, BLKIF_RSP_ERROR);
                    if (answer == BLKIF_RSP_OKAY)
                        expect_same(&disks[0], 1, parts, 14, 100);
                }
                dgm_hv_set_faults(NULL);
                transfer(write, 500, 30, 7);
                stop();
            }
        }
    }
}

/* Persistent, fresh and indirect requests in one batch with any of their ops refused (XSA-365). */
static void errors_mixed_in_one_batch(void **state)
{
    print_message("# seed %llu\n", (unsigned long long)unit_seed());
    FOR_EACH_VARIANT(v)
    {
        static struct part parts[20][40];

        start(everything, v);
        for (unsigned round = 0; round < 12; round++) {
            unsigned index[20], count[20], bad[20], answers[2] = {0};

            set_mood(unit_chance(50) ? GNTST_eagain : GNTST_general_error, 0, 0);
            mood.percent = 5;
            for (unsigned n = 0; n < 20; n++) {
                const bool write = n % 2;

                count[n] = n % 3 ? 1 + (unsigned)unit_below(11) : 12 + (unsigned)unit_below(28);
                bad[n] = unit_chance(20);
                for (unsigned i = 0; i < count[n]; i++)
                    parts[n][i] = (struct part){100 + n * 40 + i, 0, 7};
                for (unsigned i = 0; i < count[n]; i++)
                    fill(1, parts[n][i].gfn, round);
                index[n] = count[n] > 11
                               ? front_rw_indirect(&fronts[0], write, n * 400, parts[n], count[n],
                                                   bad[n] ? (int)(count[n] / 2) : -1, 1000 + n)
                               : front_rw(&fronts[0], write, n * 400, parts[n], count[n],
                                          bad[n] ? (int)(count[n] / 2) : -1);
            }
            front_go(&fronts[0]);
            rig_pass(3000000000);
            front_collect(&fronts[0]);
            for (unsigned n = 0; n < 20; n++) {
                const int16_t answer = front_answer(&fronts[0], index[n]);

                answers[answer == BLKIF_RSP_OKAY]++;
                if (answer == BLKIF_RSP_OKAY)
                    expect_same(&disks[0], 1, parts[n], count[n], n * 400);
                if (bad[n])
                    assert_int_equal(answer, BLKIF_RSP_ERROR);
            }
            assert_int_equal(answers[0] + answers[1], 20);
        }
        dgm_hv_set_faults(NULL);
        transfer(true, 500, 30, 7);
        stop();
    }
}

/* --- the ring's page --- */

static bool is_ring(grant_ref_t ref)
{
    return ref == fronts[0].ring_ref;
}

/* Initialised, and Xen says "again" for the ring's page `times` times. */
static void start_connecting(const struct variant *v, uint64_t times)
{
    rig_start(everything);
    fronts_used = 0;
    guest_start(1);
    share(1, "xvda", v);
    rig_run();
    front_share(&fronts[0]);
    set_mood(GNTST_eagain, 0, times);
    mood.only = is_ring;
    front_write_number(&fronts[0], "state", XenbusStateInitialised);
    rig_run();
    assert_int_equal(back_state(&fronts[0]), XenbusStateInitWait);
}

static void ring_asked_again(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        start_connecting(v, 3);
        rig_pass(20000000);
        assert_int_equal(back_state(&fronts[0]), XenbusStateConnected);
        front_write_number(&fronts[0], "state", XenbusStateConnected);
        rig_run();
        transfer(true, 0, 20, 1);
        stop();
    }
}

static void ring_asked_in_vain(void **state)
{
    start_connecting(&variants[0], 1000);
    rig_pass(3000000000);
    assert_int_equal(mood.seen, DGM_GRANT_TRIES);
    assert_int_equal(back_state(&fronts[0]), XenbusStateClosing);
    front_write_number(&fronts[0], "state", XenbusStateClosed);
    rig_run();
    front_unshare(&fronts[0]);
    front_write_number(&fronts[0], "state", XenbusStateInitialising);
    dgm_hv_set_faults(NULL);
    front_connect(&fronts[0]);
    transfer(true, 0, 20, 1);
    stop();
}

/* The frontend leaves, or changes its mind, or dies, while the page is parked. */
static void leaving_while_the_ring_is_parked(void **state)
{
    for (unsigned how = 0; how < 4; how++) {
        for (uint64_t times = 2; times <= 12; times += 5) {
            start_connecting(&variants[0], times);
            if (how == 0) { /* closes */
                front_write_number(&fronts[0], "state", XenbusStateClosed);
                rig_run();
                rig_pass(3000000000);
                assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
                front_unshare(&fronts[0]);
                front_write_number(&fronts[0], "state", XenbusStateInitialising);
                dgm_hv_set_faults(NULL);
                front_connect(&fronts[0]);
            } else if (how == 1) { /* closes, and comes back with another page at once */
                const grant_ref_t old = fronts[0].ring_ref;

                front_write_number(&fronts[0], "state", XenbusStateClosed);
                rig_run();
                front_write_number(&fronts[0], "state", XenbusStateInitialising);
                rig_run();
                dgm_hv_guest_close(1, fronts[0].port);
                front_share(&fronts[0]);
                assert_int_not_equal(fronts[0].ring_ref, old);
                front_write_number(&fronts[0], "state", XenbusStateInitialised);
                rig_run();
                rig_pass(3000000000);
                assert_int_equal(back_state(&fronts[0]), XenbusStateConnected);
                assert_true(dgm_hv_grant_end(1, old));
                front_write_number(&fronts[0], "state", XenbusStateConnected);
                rig_run();
            } else if (how == 2) { /* the guest dies */
                dgm_hv_domain_destroy(1);
                dgm_blkback_guest_gone(&backs[0]);
                rig_run();
                assert_false(dgm_blkback_idle(&backs[0]));
                rig_pass(3000000000);
                assert_true(dgm_blkback_idle(&backs[0]));
            } else { /* closes in the very moment in which Xen has said yes */
                rig.now_ns += 3000000000;
                front_write_number(&fronts[0], "state", XenbusStateClosed);
                dgm_sim_set_now_ns(rig.now_ns);
                rig_pass(3000000000);
                assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
                front_unshare(&fronts[0]);
            }
            if (how < 2)
                transfer(true, 0, 5, 1);
            stop();
        }
    }
}

/* --- leaving with requests under way --- */

/* The frontend closes while the disk has its frames; those that are kept too (XSA-371). */
static void closing_with_frames_in_flight(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        for (unsigned dies = 0; dies < 2; dies++) {
            struct part parts[256];

            start(everything, v);
            transfer(false, 0, 40, 1); /* some are kept and idle */
            disks[0].hold = true;
            make_parts(parts, 256, 3);
            for (unsigned i = 0; i < 256; i++)
                fill(1, parts[i].gfn, 2);
            ask(&fronts[0], true, 10, parts, 30, -1);
            ask(&fronts[0], false, 100, parts + 30, 100, -1);
            ask(&fronts[0], false, 1000, parts + 30, 3, -1);
            front_push(&fronts[0]);
            rig_run();
            assert_true(disks[0].queued > 2);
            gone[0] = dies;
            if (dies) {
                dgm_blkback_guest_gone(&backs[0]);
            } else {
                front_write_number(&fronts[0], "state", XenbusStateClosing);
                rig_run();
                front_write_number(&fronts[0], "state", XenbusStateClosed);
            }
            rig_run();
            assert_false(dgm_blkback_idle(&backs[0]));
            if (v->mode != DGM_REACH_MODE_COPY)
                assert_false(dgm_hv_stats()->live == 0);
            model_release(&disks[0]);
            rig_run();
            assert_true(dies ? dgm_blkback_idle(&backs[0])
                             : back_state(&fronts[0]) == XenbusStateClosed);
            assert_int_equal(dgm_hv_stats()->live, 0);
            assert_int_equal(backs[0].counters.dropped, 3);
            front_unshare(&fronts[0]);
            if (v->mode == DGM_REACH_MODE_COPY) { /* who has gone is given nothing */
                uint8_t now[DGM_FRAME_BYTES];

                memcpy(now, dgm_hv_page(1, parts[35].gfn), sizeof now);
                fill(1, parts[35].gfn, 2);
                assert_memory_equal(now, dgm_hv_page(1, parts[35].gfn), sizeof now);
            }
            stop();
        }
    }
}

/* The frontend closes while Xen is asked again for data, or for a delivery. */
static void closing_while_parked(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        for (unsigned from = 0; from < 30; from += 3) {
            struct part parts[14];

            start(everything, v);
            make_parts(parts, 14, 1);
            set_mood(GNTST_eagain, from, 7);
            ask(&fronts[0], false, 0, parts, 14, -1);
            front_push(&fronts[0]);
            rig_run();
            front_write_number(&fronts[0], "state", XenbusStateClosing);
            rig_run();
            front_write_number(&fronts[0], "state", XenbusStateClosed);
            rig_run();
            rig_pass(3000000000);
            assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
            front_unshare(&fronts[0]);
            stop();
        }
    }
}

/* --- shares --- */

/* One guest has all that it may have, with its disk; the other is served all the same. */
static void a_full_share_is_in_nobodys_way(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        struct part parts[24];
        unsigned index[9];
        struct rig_options options = everything;

        options.quota = 50; /* 24 segments are offered */
        rig_start(options);
        two_guests(v);
        for (unsigned n = 0; n < 9; n++) {
            for (unsigned i = 0; i < 8; i++)
                parts[i] = (struct part){100 + n * 8 + i, 0, 7};
            index[n] = front_rw(&fronts[0], n % 2, n * 64, parts, 8, -1);
        }
        front_push(&fronts[0]);
        rig_run();
        assert_true(backs[0].counters.waits > 0);
        assert_null(rig.pool.slots_line.first);
        assert_true(disks[0].queued < 9);
        for (unsigned n = 0; n < 4; n++) {
            for (unsigned i = 0; i < 20; i++)
                parts[i] = (struct part){100 + i, 0, 7};
            const unsigned mine = front_rw_indirect(&fronts[1], n % 2, 0, parts, 20, -1, 8);

            front_go(&fronts[1]);
            assert_int_equal(front_answer(&fronts[1], mine), BLKIF_RSP_OKAY);
        }
        model_release(&disks[0]);
        rig_run();
        front_collect(&fronts[0]);
        for (unsigned n = 0; n < 9; n++)
            assert_int_equal(front_answer(&fronts[0], index[n]), BLKIF_RSP_OKAY);
        stop();
    }
}

/* Two disks of a guest whose share one of them keeps all for itself. */
static void two_disks_and_one_share(void **state)
{
    const struct variant kept = {"kept", DGM_REACH_MODE_MAP, 600, true, DGM_REACH_HELD_PERSISTENT};
    struct rig_options options = everything;
    struct part parts[20];

    options.quota = 44;
    rig_start(options);
    fronts_used = 0;
    guest_start(1);
    share(1, "xvda", &kept);
    front_connect(&fronts[0]);
    for (unsigned n = 0; n < 3; n++) {
        transfer(true, 100 * n, 20, n);
        transfer(false, 100 * n, 11, n);
    }
    assert_true(rig.guests[1].slots.used > 44 - 21); /* the other's request does not fit beside */
    share(1, "xvdb", &kept);
    front_connect(&fronts[1]); /* its ring's page has room too */
    for (unsigned n = 0; n < 6; n++) {
        for (unsigned i = 0; i < 20; i++)
            parts[i] = (struct part){200 + n + i, 0, 7};
        for (unsigned f = 0; f < 2; f++) {
            const unsigned index = front_rw_indirect(&fronts[f], true, 64, parts, 20, -1, 9);

            front_go(&fronts[f]);
            assert_int_equal(front_answer(&fronts[f], index), BLKIF_RSP_OKAY);
        }
    }
    stop();
}

/* Who waits for slots is not in the way of who needs none. */
static void slots_and_buffers_have_their_own_lines(void **state)
{
    const struct variant map = {.mode = DGM_REACH_MODE_MAP}, copy = {.mode = DGM_REACH_MODE_COPY};
    struct part parts[11];
    unsigned index[7];

    for (unsigned i = 0; i < 11; i++)
        parts[i] = (struct part){100 + i, 0, 7};
    rig_start((struct rig_options){.slots = 64, .copies = 64, .quota = 200});
    fronts_used = 0;
    for (domid_t domid = 1; domid <= 2; domid++) {
        guest_start(domid);
        share(domid, "xvda", domid == 1 ? &map : &copy);
        front_connect(&fronts[domid - 1]);
    }
    disks[0].hold = true;
    for (unsigned n = 0; n < 7; n++)
        index[n] = front_rw(&fronts[0], true, n * 88, parts, 11, -1);
    front_push(&fronts[0]);
    rig_run();
    assert_non_null(rig.pool.slots_line.first);
    for (unsigned n = 0; n < 3; n++) {
        const unsigned other = front_rw(&fronts[1], false, 0, parts, 11, -1);

        front_go(&fronts[1]);
        assert_int_equal(front_answer(&fronts[1], other), BLKIF_RSP_OKAY);
    }
    model_release(&disks[0]);
    front_go(&fronts[0]);
    for (unsigned n = 0; n < 7; n++)
        assert_int_equal(front_answer(&fronts[0], index[n]), BLKIF_RSP_OKAY);
    stop();
}

/* One disk has all the room there is, and gives it back: who waits for it is told. */
/* `count` requests: of five nearly all, of seven too many, so that the first disk waits too. */
static void room_comes_back(unsigned count)
{
    FOR_EACH_VARIANT(v)
    {
        struct part parts[11];
        unsigned index[7], other;

        if (v->mode == DGM_REACH_MODE_IDENTITY)
            continue; /* needs its slots only for a moment */
        for (unsigned i = 0; i < 11; i++)
            parts[i] = (struct part){100 + i, 0, 7};
        rig_start((struct rig_options){
            .slots = 64, .copies = 64, .persistent_frames = 8, .identities = 64, .quota = 200});
        two_guests(v);
        for (unsigned n = 0; n < count; n++)
            index[n] = front_rw(&fronts[0], n % 2, n * 88, parts, 11, -1);
        front_push(&fronts[0]);
        rig_run();
        other = front_rw(&fronts[1], false, 0, parts, 11, -1);
        front_push(&fronts[1]);
        rig_run();
        assert_true(backs[1].counters.waits > 0 && (backs[0].counters.waits > 0) == (count == 7));
        model_release(&disks[0]);
        rig_run();
        front_collect(&fronts[0]);
        front_collect(&fronts[1]);
        for (unsigned n = 0; n < count; n++)
            assert_int_equal(front_answer(&fronts[0], index[n]), BLKIF_RSP_OKAY);
        assert_int_equal(front_answer(&fronts[1], other), BLKIF_RSP_OKAY);
        stop();
    }
}

static void room_comes_back_to_who_waits(void **state)
{
    room_comes_back(5);
    room_comes_back(7);
}

/* A frontend that stands in line for its ring's page, and leaves. */
static void leaving_the_line_before_connecting(void **state)
{
    struct part parts[9];
    unsigned index[7];

    for (unsigned i = 0; i < 9; i++)
        parts[i] = (struct part){100 + i, 0, 7};
    for (unsigned back_again = 0; back_again < 2; back_again++) {
        start((struct rig_options){.slots = 64}, &variants[0]);
        guest_start(2);
        share(2, "xvda", &variants[0]);
        disks[0].hold = true;
        for (unsigned n = 0; n < 7; n++) /* all slots but that of the ring's page */
            index[n] = front_rw(&fronts[0], true, n * 88, parts, 9, -1);
        front_push(&fronts[0]);
        rig_run();
        assert_int_equal(rig.core.cache.taken, 64);
        front_share(&fronts[1]);
        front_write_number(&fronts[1], "state", XenbusStateInitialised);
        rig_run();
        assert_int_equal(back_state(&fronts[1]), XenbusStateInitWait);
        assert_non_null(rig.pool.slots_line.first);
        front_write_number(&fronts[1], "state", XenbusStateClosed);
        rig_run();
        front_unshare(&fronts[1]);
        if (back_again)
            front_write_number(&fronts[1], "state", XenbusStateInitialising);
        model_release(&disks[0]);
        front_go(&fronts[0]);
        for (unsigned n = 0; n < 7; n++)
            assert_int_equal(front_answer(&fronts[0], index[n]), BLKIF_RSP_OKAY);
        transfer(true, 0, 11, 1); /* nobody stands in the way */
        if (back_again)
            front_connect(&fronts[1]);
        stop();
    }
}

/* A disk stands first in line for a record when its guest's other disk uses up their share. */
static void a_full_share_leaves_the_line_for_records(void **state)
{
    static const struct dgm_blkback_pool_sizes few = {.requests = {2, 2, 1}, .commands = 16};
    struct part parts[14];
    unsigned a[2], b, c[2];

    for (unsigned i = 0; i < 14; i++)
        parts[i] = (struct part){100 + i, 0, 7};
    start((struct rig_options){.quota = 30, .sizes = &few}, &variants[0]);
    share(1, "xvdb", &variants[0]);
    front_connect(&fronts[1]);
    guest_start(2);
    share(2, "xvda", &variants[0]);
    front_connect(&fronts[2]);
    disks[0].hold = disks[2].hold = true;
    for (unsigned n = 0; n < 2; n++) /* both small records */
        c[n] = front_rw(&fronts[2], true, n * 8, parts, 1, -1);
    front_push(&fronts[2]);
    rig_run();
    b = front_rw(&fronts[1], true, 0, parts, 11, -1);
    front_push(&fronts[1]);
    rig_run();
    assert_non_null(rig.pool.classes[DGM_BLKBACK_SMALL].line.first);
    for (unsigned n = 0; n < 2; n++) /* the whole share: 2 pages of rings, 2 of segments */
        a[n] = front_rw_indirect(&fronts[0], true, n * 256, parts, 13, -1, 8 + n);
    front_push(&fronts[0]);
    rig_run();
    assert_int_equal(rig.guests[1].slots.used, 30);
    model_release(&disks[2]);
    front_go(&fronts[2]);
    for (unsigned n = 0; n < 2; n++)
        assert_int_equal(front_answer(&fronts[2], c[n]), BLKIF_RSP_OKAY);
    for (unsigned n = 0; n < 3; n++) { /* records are free, and it is served */
        c[0] = front_rw(&fronts[2], false, 0, parts, 3, -1);
        front_go(&fronts[2]);
        assert_int_equal(front_answer(&fronts[2], c[0]), BLKIF_RSP_OKAY);
    }
    model_release(&disks[0]);
    front_go(&fronts[0]);
    front_collect(&fronts[1]);
    for (unsigned n = 0; n < 2; n++)
        assert_int_equal(front_answer(&fronts[0], a[n]), BLKIF_RSP_OKAY);
    assert_int_equal(front_answer(&fronts[1], b), BLKIF_RSP_OKAY);
    stop();
}

/* Too little of everything, three guests, each by another way: every request is answered. */
static void shortage_by_every_way(void **state)
{
    static struct part parts[3][16][40];
    const size_t ways = sizeof variants / sizeof variants[0];

    print_message("# seed %llu\n", (unsigned long long)unit_seed());
    for (size_t first = 0; first < ways; first++) {
        rig_start((struct rig_options){.slots = 180,
                                       .bounce = 2,
                                       .copies = 96,
                                       .persistent_frames = 90,
                                       .identities = 7,
                                       .quota = 90});
        fronts_used = 0;
        for (unsigned f = 0; f < 3; f++) {
            guest_start((domid_t)(f + 1));
            share((domid_t)(f + 1), "xvda", &variants[(first + f * 4) % ways]);
            disks[f].dev.tag.gap = f == 1 ? 0 : DGM_FRAME_BYTES;
            disks[f].backwards = f == 2;
            front_connect(&fronts[f]);
        }
        for (unsigned round = 0; round < 6; round++) {
            unsigned index[3][16], count[3][16];

            for (unsigned n = 0; n < 16; n++) {
                for (unsigned f = 0; f < 3; f++) {
                    count[f][n] = 1 + (unsigned)unit_below(n % 2 ? 40 : 11);
                    for (unsigned i = 0; i < count[f][n]; i++) {
                        parts[f][n][i] = (struct part){100 + n * 40 + i, 0, (uint8_t)unit_below(8)};
                        fill((domid_t)(f + 1), parts[f][n][i].gfn, round);
                    }
                    index[f][n] = count[f][n] > 11
                                      ? front_rw_indirect(&fronts[f], n % 3 == 0, n * 320,
                                                          parts[f][n], count[f][n], -1, 1000 + n)
                                      : front_rw(&fronts[f], n % 3 == 0, n * 320, parts[f][n],
                                                 count[f][n], -1);
                    front_push(&fronts[f]);
                }
            }
            rig_run();
            for (unsigned f = 0; f < 3; f++) {
                front_collect(&fronts[f]);
                for (unsigned n = 0; n < 16; n++) {
                    assert_int_equal(front_answer(&fronts[f], index[f][n]), BLKIF_RSP_OKAY);
                    expect_same(&disks[f], fronts[f].domid, parts[f][n], count[f][n], n * 320);
                }
            }
        }
        assert_true(backs[0].counters.waits + backs[1].counters.waits + backs[2].counters.waits);
        stop();
    }
}

/* --- what cannot be --- */

static void what_is_not_offered_is_refused(void **state)
{
    struct dgm_blkback back;
    struct model_disk disk;
    struct rig_options options = everything;

    rig_start((struct rig_options){0});
    model_start(&disk, 64, 512);
    guest_start(1);
    assert_int_equal(rig_share_by(&back, 1, "xvda", &disk.dev, true, DGM_REACH_MODE_COPY, 0),
                     DGM_EOPNOTSUPP);
    assert_int_equal(rig_share_by(&back, 1, "xvda", &disk.dev, true, DGM_REACH_MODE_IDENTITY, 0),
                     DGM_EOPNOTSUPP);
    assert_int_equal(rig_share_by(&back, 1, "xvda", &disk.dev, true, DGM_REACH_MODE_AUTO, 100),
                     DGM_OK);
    device_end(&back);
    rig_stop();

    options.quota = 21; /* half of it is less than a direct request */
    rig_start(options);
    guest_start(1);
    for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_AUTO; mode++)
        assert_int_equal(rig_share_by(&back, 1, "xvda", &disk.dev, true, mode, 0), DGM_ENOSPC);
    rig_stop();
    model_stop(&disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_by_every_way),
        cmocka_unit_test(failed_reads),
        cmocka_unit_test(reads_into_read_only_grants),
        cmocka_unit_test(any_op_of_a_request),
        cmocka_unit_test(errors_mixed_in_one_batch),
        cmocka_unit_test(ring_asked_again),
        cmocka_unit_test(ring_asked_in_vain),
        cmocka_unit_test(leaving_while_the_ring_is_parked),
        cmocka_unit_test(closing_with_frames_in_flight),
        cmocka_unit_test(closing_while_parked),
        cmocka_unit_test(a_full_share_is_in_nobodys_way),
        cmocka_unit_test(two_disks_and_one_share),
        cmocka_unit_test(slots_and_buffers_have_their_own_lines),
        cmocka_unit_test(room_comes_back_to_who_waits),
        cmocka_unit_test(leaving_the_line_before_connecting),
        cmocka_unit_test(a_full_share_leaves_the_line_for_records),
        cmocka_unit_test(shortage_by_every_way),
        cmocka_unit_test(what_is_not_offered_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
