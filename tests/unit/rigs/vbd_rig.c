/* SPDX-License-Identifier: MIT */
/* vbd_rig: see vbd_rig.h */
#include "vbd_rig.h"

struct vbd_rig vbd;

void vbd_start(struct vbd_options options)
{
    static const struct dgm_gfn_range anywhere = {{0x100000}, 0x4000000}; /* guests' machine RAM */
    const struct dgm_ram_bank bank = {dgm_gfn(VBD_RAM_FIRST), dgm_mfn(VBD_RAM_FIRST),
                                      VBD_RAM_FRAMES, NULL};
    const uint64_t slots = options.slots ? options.slots : 2048;
    const struct dgm_window window =
        dgm_window((struct dgm_gfn_range){dgm_gfn(VBD_SLOTS_FIRST), slots});
    const struct dgm_gfn_range ram = {dgm_gfn(VBD_RAM_FIRST), VBD_RAM_FRAMES};

    memset(&vbd, 0, sizeof vbd);
    vbd.now_ns = 1000;
    vbd.guest_disks = options.guest_disks;
    dgm_sim_set_now_ns(vbd.now_ns);
    dgm_hv_start(ram.first, ram.count, dgm_mfn(VBD_RAM_FIRST));
    dgm_reactor_init(&vbd.reactor);
    dgm_frames_init(&vbd.frames);
    assert_int_equal(dgm_frames_add(&vbd.frames, ram), DGM_OK);
    vbd.xs_memory = aligned_alloc(8, VBD_XS_BYTES);
    assert_int_equal(dgm_core_init(&vbd.core,
                                   &(struct dgm_core_config){
                                       .reactor = &vbd.reactor,
                                       .frames = &vbd.frames,
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
    for (domid_t domid = 0; domid < VBD_GUESTS; domid++)
        dgm_guest_account_init(&vbd.guests[domid], domid,
                               &(struct dgm_guest_limits){
                                   .slots = options.quota ? options.quota : slots,
                                   .copy_buffers = options.quota ? options.quota : options.copies});
    dgm_evtchn_init(&vbd.evtchn, &vbd.reactor, dgm_hv_shared_info(),
                    &dgm_hv_shared_info()->vcpu_info[0]);
    vbd.xs = dgm_xenstore_init(vbd.xs_memory, VBD_XS_BYTES, &vbd.reactor, &vbd.evtchn,
                               &dgm_xs_limits_default);
    assert_non_null(vbd.xs);
    const struct dgm_blkback_pool_sizes sizes =
        options.sizes ? *options.sizes
                      : dgm_blkback_pool_sizes_for((struct dgm_blkback_pool_room){VBD_DEVICES, 0});

    assert_int_equal(dgm_blkback_pool_init(&vbd.pool, &vbd.reactor, &vbd.frames, &sizes), DGM_OK);
    dgm_frames_lock(&vbd.frames);
    vbd.env = (struct dgm_blkback_env){.reactor = &vbd.reactor,
                                       .xs = vbd.xs,
                                       .evtchn = &vbd.evtchn,
                                       .reach = &vbd.core.reach,
                                       .dma = &vbd.core.dma,
                                       .pool = &vbd.pool};
}

int vbd_share(struct dgm_blkback *back, domid_t domid, const struct dgm_blkback_options *options)
{
    struct dgm_blkback_options all = *options;

    all.guest_disks = vbd.guest_disks;
    return dgm_blkback_create(back, &vbd.env, &vbd.guests[domid], &all);
}

int vbd_share_plain(struct dgm_blkback *back, domid_t domid, const char *vdev,
                    struct dgm_blkdev *disk, bool writable)
{
    return vbd_share(
        back, domid,
        &(struct dgm_blkback_options){
            .vdev = vdev, .disk = disk, .writable = writable, .mode = DGM_REACH_MODE_MAP});
}

bool vbd_turn(void)
{
    dgm_evtchn_dispatch(&vbd.evtchn);
    return dgm_reactor_turn(&vbd.reactor);
}

void vbd_run(void)
{
    for (int turns = 0; turns < 20000; turns++) {
        if (!vbd_turn() && !dgm_hv_shared_info()->vcpu_info[0].evtchn_upcall_pending)
            return;
    }
    fail_msg("the reactor never becomes idle");
}

void vbd_pass(uint64_t ns)
{
    const uint64_t end_ns = vbd.now_ns + ns;

    while (vbd.now_ns < end_ns) {
        const uint64_t next_ns = dgm_reactor_deadline_ns(&vbd.reactor);

        vbd.now_ns = next_ns < end_ns ? next_ns : end_ns;
        dgm_sim_set_now_ns(vbd.now_ns);
        vbd_run();
    }
}

/* Checks that no guest's quota is used, except for slots whose unmap Xen refused. */
static void check_quotas(void)
{
    uint64_t used = 0, lost = 0;

    for (domid_t domid = 0; domid < VBD_GUESTS; domid++) {
        used += vbd.guests[domid].slots.used;
        assert_int_equal(vbd.guests[domid].copy_buffers.used, 0);
        assert_int_equal(vbd.guests[domid].bounce.taken, 0);
        assert_int_equal(vbd.guests[domid].waiters.count, 0);
        assert_null(vbd.guests[domid].persistent);
    }
    assert_int_equal(used, vbd.core.cache.retired);
    assert_int_equal(vbd.core.copy_buffers ? vbd.core.copy_buffers->reserved : 0, 0);
    assert_int_equal(vbd.core.reach.waiters.count, 0);
    if (vbd.core.copy_buffers)
        assert_int_equal(vbd.core.copy_buffers->free, vbd.core.copy_buffers->total);
    if (vbd.core.identity) {
        lost = vbd.core.identity->lost;
        assert_int_equal(vbd.core.identity->used, lost);
    }
    assert_int_equal(vbd.core.cache.retired + lost, vbd.unmaps_refused);
}

void vbd_stop(void)
{
    const struct dgm_hv_stats *stats = dgm_hv_stats();

    dgm_hv_set_faults(NULL);
    vbd_run();
    dgm_grant_check(vbd.core.grant);
    assert_int_equal(vbd.core.grant->unmap_refused, vbd.unmaps_refused);
    assert_int_equal(vbd.core.grant->live, vbd.unmaps_refused);
    assert_int_equal(stats->live, vbd.unmaps_refused);
    assert_int_equal(stats->stale, 0);
    assert_int_equal(stats->over, 0);
    assert_int_equal(vbd.core.cache.taken, 0);
    assert_int_equal(vbd.core.cache.reserved, 0);
    check_quotas();
    assert_int_equal(vbd.core.bounce.free, vbd.core.bounce.total);
    assert_true(dgm_blkback_pool_idle(&vbd.pool));
    assert_int_equal(vbd.core.p2m.live, 0);
    assert_int_equal(vbd.core.bounce.waiters.count, 0);
    for (unsigned port = 0; port < DGM_EVTCHN_PORTS; port++)
        assert_null(vbd.evtchn.task[port]);
    dgm_core_check(&vbd.core);
    dgm_xs_check(vbd.xs);
    dgm_hv_stop();
    free(vbd.xs_memory);
}

void vbd_end(struct dgm_blkback *blkback)
{
    dgm_blkback_guest_gone(blkback);
    vbd_run();
    assert_true(dgm_blkback_idle(blkback));
    dgm_blkback_destroy(blkback);
}
