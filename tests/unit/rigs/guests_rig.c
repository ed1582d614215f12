/* SPDX-License-Identifier: MIT */
/* guests_rig: see guests_rig.h */
#include "guests_rig.h"

const struct guests_variant guests_variants[] = {
    {"map", DGM_REACH_MODE_MAP, 0, false, DGM_REACH_HELD_MAPPED},
    {"map, a persistent frontend", DGM_REACH_MODE_MAP, 0, true, DGM_REACH_HELD_MAPPED},
    {"persistent", DGM_REACH_MODE_MAP, 600, true, DGM_REACH_HELD_PERSISTENT},
    {"persistent, but the frontend cannot", DGM_REACH_MODE_MAP, 600, false, DGM_REACH_HELD_MAPPED},
    {"few persistent", DGM_REACH_MODE_MAP, 5, true, DGM_REACH_HELD_PERSISTENT},
    {"auto, persistent", DGM_REACH_MODE_AUTO, 600, true, DGM_REACH_HELD_PERSISTENT},
    {"auto", DGM_REACH_MODE_AUTO, 600, false, DGM_REACH_HELD_MAPPED},
    {"copy", DGM_REACH_MODE_COPY, 0, false, DGM_REACH_HELD_COPIED},
    {"copy, persistent has no effect", DGM_REACH_MODE_COPY, 600, true, DGM_REACH_HELD_COPIED},
    {"identity", DGM_REACH_MODE_IDENTITY, 0, false, DGM_REACH_HELD_IDENTITY},
    {"identity, persistent has no effect", DGM_REACH_MODE_IDENTITY, 600, true,
     DGM_REACH_HELD_IDENTITY},
};

const struct vbd_options guests_everything = {
    .copies = 600, .persistent_frames = 900, .identities = 600};

const struct dgm_blkback_pool_sizes guests_one_of_each = {
    .devices = 4, .each = {.requests = {1, 1, 1}, .commands = 1}};

struct guests guests;

void guests_share(domid_t domid, const char *vdev, const struct guests_variant *v)
{
    const unsigned i = guests.used++;

    guests.gone[i] = false;
    model_start(&guests.disk[i], guests.sectors ? guests.sectors : 8192, 512);
    front_init(&guests.front[i], domid, vdev);
    guests.front[i].persistent = v->persistent;
    assert_int_equal(
        vbd_share(&guests.back[i], domid,
                  &(struct dgm_blkback_options){.vdev = vdev,
                                                .disk = &guests.disk[i].dev,
                                                .writable = true,
                                                .mode = v->mode,
                                                .persistent_frames = v->persistent_frames}),
        DGM_OK);
}

void guests_start(struct vbd_options options, unsigned count, const struct guests_variant *v)
{
    vbd_start(options);
    guests.used = 0;
    for (unsigned i = 0; i < count; i++) {
        front_guest_start((domid_t)(i + 1));
        guests_share((domid_t)(i + 1), "xvda", v);
        front_connect(&guests.front[i]);
    }
}

void guests_start_plain(struct vbd_options options, unsigned count, uint32_t block_bytes)
{
    vbd_start(options);
    guests.used = count;
    for (unsigned i = 0; i < count; i++) {
        const domid_t domid = (domid_t)(i + 1);

        guests.gone[i] = false;
        model_start(&guests.disk[i], 32768 / (block_bytes / 512), block_bytes);
        front_guest_start(domid);
        front_init(&guests.front[i], domid, "xvda");
        assert_int_equal(vbd_share_plain(&guests.back[i], domid, "xvda", &guests.disk[i].dev, true),
                         DGM_OK);
        front_connect(&guests.front[i]);
    }
}

void guests_stop(void)
{
    for (unsigned i = 0; i < guests.used; i++) {
        if (back_state(&guests.front[i]) == XenbusStateConnected && !guests.gone[i])
            front_close(&guests.front[i]);
        vbd_end(&guests.back[i]);
        model_stop(&guests.disk[i]);
    }
    guests.sectors = 0;
    vbd_stop();
}

void guests_fill(domid_t domid, uint64_t gfn, unsigned salt)
{
    uint8_t *page = dgm_hv_page(domid, gfn);

    for (unsigned i = 0; i < DGM_FRAME_BYTES; i++)
        page[i] = (uint8_t)(gfn * 37 + i * 11 + (i >> 8) * 5 + salt);
}

void guests_make_parts(struct part *parts, unsigned count, unsigned salt)
{
    for (unsigned i = 0; i < count; i++)
        parts[i] = (struct part){FRONT_DATA_GFN + i * 2 + salt % 3, 0, 7};
    parts[0].first = (uint8_t)(salt % 8);
    if (count > 1)
        parts[count - 1].last = (uint8_t)(salt * 3 % 8);
}

unsigned guests_send(struct front *front, bool write, uint64_t sector, const struct part *parts,
                     unsigned count)
{
    return count > 11 ? front_rw_indirect(front, write, sector, parts, count, 8)
                      : front_rw(front, write, sector, parts, count);
}

void guests_expect_same(const struct model_disk *disk, domid_t domid, const struct part *parts,
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

void guests_transfer(bool write, uint64_t sector, unsigned count, unsigned salt)
{
    struct part parts[256];

    guests_make_parts(parts, count, salt);
    for (unsigned i = 0; i < count; i++)
        guests_fill(1, parts[i].gfn, salt);

    const unsigned index = guests_send(&guests.front[0], write, sector, parts, count);

    front_exchange(&guests.front[0]);
    assert_int_equal(front_status(&guests.front[0], index), BLKIF_RSP_OKAY);
    guests_expect_same(&guests.disk[0], 1, parts, count, sector);
    for (unsigned i = 0; i < count; i++) { /* outside of the part the frame did not change */
        const uint8_t *page = dgm_hv_page(1, parts[i].gfn);
        uint8_t now[DGM_FRAME_BYTES];

        memcpy(now, page, sizeof now);
        guests_fill(1, parts[i].gfn, salt);
        for (unsigned at = 0; at < DGM_FRAME_BYTES; at += 512)
            if (at / 512 < parts[i].first || at / 512 > parts[i].last)
                assert_memory_equal(now + at, page + at, 512);
    }
}
