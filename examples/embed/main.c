/* SPDX-License-Identifier: MIT */
/*
 * embed: the library in another kernel
 *
 * A guest has granted six pages for a device to fill, two for each mode. The device reaches the
 * lowest GiB; every second page lies higher and is bounced. A request is a task whose `run` is its
 * next step; a step that must wait adds the task to the waiters for the short resource.
 */
#include <dragoman/base/check.h>
#include <dragoman/core/core.h>
#include <sim/hypervisor/hypervisor.h>
#include <string.h>

enum { GUEST = 1, REQUESTS = 6 };

static const struct dgm_ram_bank ram = {.gfn = {0x8000}, .mfn = {0x8000}, .count = 512};
static const struct dgm_gfn_range slots = {{0x30000}, 256}; /* unused guest-physical space */
static const struct dgm_gfn_range low = {{0x20000}, 4096};  /* also unused: for gfn == mfn */
static const struct dgm_dma_tag tag = {.windows = {{0, 0xc0000000, 0x40000000}},
                                       .window_count = 1,
                                       .mask = UINT32_MAX,
                                       .segments_max = 1,
                                       .block_bytes = 512};
static struct dgm_reactor reactor;
static struct dgm_core core;
static struct dgm_guest_account guest;
static unsigned finished, failed;

static struct request {
    struct dgm_task task;
    struct dgm_reach_connection connection;
    grant_ref_t ref;
    struct dgm_reach_frame page;
    struct dgm_dma_piece piece;
    struct dgm_dma_segment segment;
    struct dgm_dma_map map;
    uint32_t bytes, bounced; /* transferred, and of these bounced */
} requests[REQUESTS];

/* The hardware: it uses bus addresses, and knows neither gfns nor grants. */
static void device_fills(struct request *request)
{
    const uint64_t machine = dgm_bus_address(request->segment.bus) - tag.windows[0].bus_base;
    const dgm_mfn_t mfn = dgm_mfn(machine / DGM_FRAME_BYTES);

    dgm_assert(dgm_hv_may_dma(mfn, true)); /* real hardware has no such check */
    memset((char *)dgm_hv_machine(mfn) + machine % DGM_FRAME_BYTES, 'a' + (int)(request - requests),
           request->segment.bytes);
    dgm_reactor_post(&reactor, &request->task); /* its interrupt */
}

static void respond_to_guest(struct dgm_task *task)
{
    struct request *request = dgm_container(task, struct request, task);

    if (request->page.foreign.status == DGM_EAGAIN) {
        dgm_waiters_add(&core.reach.waiters, task); /* the copy to the guest is parked */
        return;
    }
    dgm_waiters_wake(&guest.waiters, &reactor); /* slots and buffers are free */
    dgm_env_log("%-8s %u bytes, %u bounced", dgm_reach_mode_name(request->connection.mode),
                request->bytes, request->bounced);
    finished++;
}

/* Ends the transfer of one prefix of the page and begins that of the next. */
static void transfer_next(struct dgm_task *task)
{
    struct request *request = dgm_container(task, struct request, task);
    int bytes = request->page.foreign.status; /* or an error */

    if (bytes == DGM_EAGAIN) {
        dgm_waiters_add(&core.reach.waiters, task); /* its mapping or copy is parked */
        return;
    }
    if (request->map.bytes) {
        request->bytes += request->map.bytes;
        request->bounced += request->map.bytes_bounced;
        failed += dgm_dma_unmap(&core.dma, &request->map, true) != DGM_OK;
    }
    if (bytes == DGM_OK && request->bytes < DGM_FRAME_BYTES) {
        request->piece = (struct dgm_dma_piece){request->page.foreign.gfn, 0, DGM_FRAME_BYTES};
        bytes = dgm_dma_map(&core.dma,
                            &(struct dgm_dma_transfer){.tag = &tag,
                                                       .pieces = &request->piece,
                                                       .piece_count = 1,
                                                       .skip_bytes = request->bytes,
                                                       .direction = DGM_DMA_FROM_DEVICE},
                            &request->segment, &request->map);
    }
    if (bytes > 0) {
        device_fills(request);
    } else if (bytes == DGM_EAGAIN) {
        dgm_waiters_add(&core.bounce.waiters, task);
    } else { /* all transferred, or an error: the guest's grant may be bad */
        dgm_reach_release_add(&request->page, 1, DGM_REACH_DELIVER);
        dgm_reach_release_commit(&core.reach);
        task->run = respond_to_guest;
        respond_to_guest(task);
    }
}

static void begin_requests(struct dgm_task *task)
{
    struct request *request = dgm_container(task, struct request, task);

    if (dgm_reach_reserve(&request->connection, 1) != DGM_OK) {
        dgm_waiters_add(&guest.waiters, task); /* until another request responds */
        return;
    }
    request->page.piece =
        (struct dgm_reach_piece){request->ref, 0, DGM_FRAME_BYTES, DGM_REACH_TO_GUEST};
    dgm_reach_add(&request->connection, &request->page, 1);
    dgm_reach_commit(&core.reach); /* a real backend commits once, for all requests of the ring */
    task->run = transfer_next;
    transfer_next(task);
}

int main(void)
{
    const struct dgm_window window = dgm_window(slots);
    struct dgm_frames frames;

    dgm_hv_start(ram.gfn, ram.count, ram.mfn); /* Xen boots, with us and a guest */
    dgm_hv_domain_add(GUEST, REQUESTS);
    dgm_frames_init(&frames);
    dgm_frames_add(&frames, (struct dgm_gfn_range){ram.gfn, ram.count});
    dgm_reactor_init(&reactor);
    if (dgm_core_init(&core, &(struct dgm_core_config){.reactor = &reactor,
                                                       .frames = &frames,
                                                       .banks = &ram,
                                                       .bank_count = 1,
                                                       .window = &window,
                                                       .bounce_frames = 1,
                                                       .copy_frames = 2,
                                                       .identity_frames = 8,
                                                       .places = &low,
                                                       .place_count = 1}) != DGM_OK)
        return 1;
    dgm_guest_account_init(&guest, GUEST,
                           &(struct dgm_guest_limits){.slots = 3, .copy_buffers = 1});
    for (unsigned i = 0; i < REQUESTS; i++) {
        if (i % 2 == 0) /* otherwise the guest's page lies above 4 GiB */
            dgm_hv_set_mfn(GUEST, i, dgm_mfn(dgm_gfn_number(low.first) + i));
        requests[i].ref = dgm_hv_grant_any(GUEST, i, false);
        requests[i].task.run = begin_requests;
        dgm_reach_connection_init(&requests[i].connection, &core.reach, &guest,
                                  (enum dgm_reach_mode)(i / 2), 0);
        dgm_reactor_post(&reactor, &requests[i].task);
    }
    while (finished < REQUESTS)
        dgm_reactor_turn(&reactor); /* false: a kernel sleeps, see docs/porting.md */
    for (unsigned i = 0; i < REQUESTS; i++)
        for (unsigned at = 0; at < DGM_FRAME_BYTES; at++)
            failed += ((char *)dgm_hv_page(GUEST, i))[at] != 'a' + (int)i;
    dgm_core_check(&core);
    dgm_env_log("%u wrong, %u mapped at gfn == mfn, %u still mapped", failed,
                (unsigned)core.reach.identity_mapped, (unsigned)core.grant->live);
    return failed || core.grant->live || dgm_hv_stats()->live;
}
