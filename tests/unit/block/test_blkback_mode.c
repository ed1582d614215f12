/* SPDX-License-Identifier: MIT */
/*
 * blkback in every mode of reaching a guest's frames: map, persistent, copy, identity. If these
 * fail, a guest gets different bytes in different modes, or a failed read shows it data.
 */
#include "guests_rig.h"

static void data_in_every_mode(void **state)
{
    static const unsigned counts[] = {1, 2, 11, 12, 33, 100, 255, 256};

    FOR_EACH_VARIANT(v)
    {
        const uint64_t *frames = vbd.core.reach.frames;

        print_message("# %s\n", v->name);
        guests_start(guests_everything, 1, v);
        for (unsigned n = 0; n < sizeof counts / sizeof counts[0]; n++) {
            guests_transfer(true, 64 * n + 3, counts[n], n);
            guests_transfer(false, 2048 + 64 * n, counts[n], n + 5);
            guests_transfer(false, 64 * n + 3, counts[n], n + 9);
            guests_transfer(true, 3000 + n, counts[n], n + 14);
        }
        assert_int_equal(frames[DGM_REACH_HELD_COPIED] != 0, v->mode == DGM_REACH_MODE_COPY);
        assert_int_equal(frames[DGM_REACH_HELD_PERSISTENT] != 0,
                         v->held == DGM_REACH_HELD_PERSISTENT);
        assert_int_equal(vbd.core.reach.identity_mapped != 0, v->mode == DGM_REACH_MODE_IDENTITY);
        if (v->persistent_frames == 600 && v->held == DGM_REACH_HELD_PERSISTENT)
            assert_true(guests.back[0].connection.owner.hits > 1000);
        assert_true(guests.back[0].connection.owner.count <= v->persistent_frames);
        guests_stop();
    }
}

/* A read that the disk fails is an error; in mode copy the guest sees no byte of it. */
static void failed_reads(void **state)
{
    struct part parts[256];

    FOR_EACH_VARIANT(v)
    {
        for (unsigned count = 2; count <= 256; count += 127) {
            guests_start(guests_everything, 1, v);
            guests_make_parts(parts, count, 0);
            for (unsigned i = 0; i < count; i++)
                guests_fill(1, parts[i].gfn, 1);
            guests.disk[0].fail_from = count > 11; /* one of the commands of a large request */
            guests.disk[0].fail_count = 1;

            const unsigned index = guests_send(&guests.front[0], false, 0, parts, count);

            front_exchange(&guests.front[0]);
            assert_int_equal(front_status(&guests.front[0], index), BLKIF_RSP_ERROR);
            assert_int_equal(guests.back[0].counters.device_errors, 1);
            assert_int_equal(guests.back[0].counters.bytes_read, 0);
            for (unsigned i = 0; i < count && v->mode == DGM_REACH_MODE_COPY; i++) {
                uint8_t now[DGM_FRAME_BYTES];

                memcpy(now, dgm_hv_page(1, parts[i].gfn), sizeof now);
                guests_fill(1, parts[i].gfn, 1);
                assert_memory_equal(now, dgm_hv_page(1, parts[i].gfn), sizeof now);
            }
            guests_stop();
        }
    }
}

/* A read into a frame that is granted read-only, beside good requests. */
static void reads_into_read_only_grants(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        struct blkif_request request;
        const struct part good = {40, 0, 7};
        unsigned ok[2];

        if (v->persistent)
            continue; /* all of its grants are writable */
        guests_start(guests_everything, 1, v);
        ok[0] = guests_send(&guests.front[0], false, 0, &good, 1);
        memset(&request, 0, sizeof request);
        struct front_request *sent = front_prepare(&guests.front[0], BLKIF_OP_READ, &request.id);

        guests_fill(1, 50, 3);
        request.operation = BLKIF_OP_READ;
        request.nr_segments = 2;
        request.seg[0].gref = sent->refs[0] = dgm_hv_grant_any(1, 51, false);
        request.seg[1].gref = sent->refs[1] = dgm_hv_grant_any(1, 50, true);
        request.seg[0].last_sect = request.seg[1].last_sect = 7;
        sent->ref_count = 2;
        front_put(&guests.front[0], &request, sizeof request);
        ok[1] = guests_send(&guests.front[0], true, 64, &good, 1);
        front_exchange(&guests.front[0]);
        assert_int_equal(front_status(&guests.front[0], ok[0]), BLKIF_RSP_OKAY);
        assert_int_equal(front_status(&guests.front[0], ok[1]), BLKIF_RSP_OKAY);
        assert_int_equal(front_status(&guests.front[0], (unsigned)(sent - guests.front[0].sent)),
                         BLKIF_RSP_ERROR);
        assert_int_equal(guests.back[0].counters.refused[DGM_BLKBACK_BAD_GRANT], 1);
        assert_int_equal(guests.back[0].counters.reads, 1);
        assert_int_equal(guests.back[0].counters.device_errors, 0);
        guests_stop();
    }
}

/* --- auto --- */

/* Fails: auto is not what costs least, or takes more copy buffers than the guest may have. */
static void auto_is_what_costs_least(void **state)
{
    static const struct {
        struct dgm_reach_costs costs;
        uint64_t quota;
        bool reuses; /* the frontend uses persistent grants */
        enum dgm_reach_held held;
    } cases[] = {
        {{.map = 10, .copy = 9, .guest_copy = 8}, 0, true, DGM_REACH_HELD_PERSISTENT},
        {{.map = 10, .copy = 9, .guest_copy = 8}, 0, false, DGM_REACH_HELD_COPIED},
        {{.map = 8, .copy = 9, .guest_copy = 8}, 0, true, DGM_REACH_HELD_PERSISTENT},
        {{.map = 8, .copy = 9, .guest_copy = 8}, 0, false, DGM_REACH_HELD_MAPPED},
        {{.map = 7, .copy = 9, .guest_copy = 8}, 0, true, DGM_REACH_HELD_MAPPED},
        {{.map = 10, .copy = 9, .guest_copy = 8}, 64, false, DGM_REACH_HELD_COPIED},
        {{.map = 10, .copy = 9, .guest_copy = 8}, 63, false, DGM_REACH_HELD_MAPPED},
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct guests_variant automatic = {
            .mode = DGM_REACH_MODE_AUTO, .persistent_frames = 600, .persistent = cases[i].reuses};
        struct vbd_options options = guests_everything;

        options.quota = cases[i].quota;
        guests_start(options, 0, &automatic);
        dgm_reach_set_costs(&vbd.core.reach, &cases[i].costs);
        front_guest_start(1);
        guests_share(1, "xvda", &automatic);
        front_connect(&guests.front[0]);
        for (unsigned n = 0; n < 4; n++) /* a frame counts as persistent from its second use on */
            guests_transfer(n % 2 == 0, 0, 11, n % 2);
        for (unsigned held = 0; held <= DGM_REACH_HELD_IDENTITY; held++)
            assert_int_equal(guests.back[0].counters.connects[held], held == cases[i].held);
        assert_int_not_equal(vbd.core.reach.frames[cases[i].held], 0);
        guests_stop();
    }
}

/* --- what is not available --- */

static int create(struct dgm_blkback *back, struct model_disk *disk, enum dgm_reach_mode mode,
                  uint16_t persistent_frames)
{
    return vbd_share(back, 1,
                     &(struct dgm_blkback_options){.vdev = "xvda",
                                                   .disk = &disk->dev,
                                                   .writable = true,
                                                   .mode = mode,
                                                   .persistent_frames = persistent_frames});
}

static void what_is_not_offered_is_refused(void **state)
{
    struct dgm_blkback back;
    struct model_disk disk;
    struct vbd_options options = guests_everything;

    vbd_start((struct vbd_options){0});
    model_start(&disk, 64, 512);
    front_guest_start(1);
    assert_int_equal(create(&back, &disk, DGM_REACH_MODE_COPY, 0), DGM_EOPNOTSUPP);
    assert_int_equal(create(&back, &disk, DGM_REACH_MODE_IDENTITY, 0), DGM_EOPNOTSUPP);
    assert_int_equal(create(&back, &disk, DGM_REACH_MODE_AUTO, 100), DGM_OK);
    vbd_end(&back);
    vbd_stop();

    options.quota = 21; /* half of it is less than a direct request */
    vbd_start(options);
    front_guest_start(1);
    for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_AUTO; mode++)
        assert_int_equal(create(&back, &disk, mode, 0), DGM_ENOSPC);
    vbd_stop();
    model_stop(&disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_in_every_mode),
        cmocka_unit_test(failed_reads),
        cmocka_unit_test(reads_into_read_only_grants),
        cmocka_unit_test(auto_is_what_costs_least),
        cmocka_unit_test(what_is_not_offered_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
