/* SPDX-License-Identifier: MIT */
/*
 * front: an honest guest's frontend: its pages, and its use of the ring
 */
#include <sim/machine/machine.h>

#include <string.h>

uint64_t front_ring_gfn(const struct front *front)
{
    return GUEST_RING_GFN + front->index * GUEST_FRONT_PAGES;
}

uint64_t front_indirect_gfn(const struct front *front, unsigned index)
{
    return GUEST_INDIRECT_GFN + front->index * GUEST_FRONT_PAGES + index;
}

void front_start(struct sim_guest *guest, unsigned index, uint32_t disk, bool writable)
{
    struct front *front = &guest->fronts[index];

    guest->front_count = index + 1;
    front->guest = guest;
    front->index = index;
    front->number = 51712 + 16 * index; /* xvda, xvdb, ... */
    front->disk = disk;
    front->writable = writable;
    if (guest->domid == 1)
        front->reads_frames = sim.options.neighbour ? 1 : (uint16_t)sim.options.steady_frames;
    front->depth = (unsigned)rng_range(&guest->rng, 1, rng_below(&guest->rng, 3) ? 32 : 4);
    front->ring_orders = rng_of(sim.options.seed + ((uint64_t)guest->domid << 8 | index), "ring");
    if (rng_below(&front->ring_orders, 4) == 0)
        front->depth = FRONT_REQUESTS;
    if (sim.options.neighbour)
        front->depth = front->reads_frames ? 1 : 32;
    front->knows_persistent = rng_below(&guest->rng, 5) > 0;
    front->ends_grants = rng_below(&guest->rng, 2);
    for (unsigned i = 0; i <= index; i++) { /* each frontend gets an equal part */
        guest->fronts[i].frames_count = (uint16_t)(GUEST_DATA_FRAMES / guest->front_count);
        guest->fronts[i].frames_first = (uint16_t)(i * guest->fronts[i].frames_count);
        guest->fronts[i].pool_frames =
            (uint16_t)rng_range(&guest->rng, 16, guest->fronts[i].frames_count);
    }
    if (sim.options.steady_depth) {
        front->depth = sim.options.steady_depth;
        front->knows_persistent = true;
        front->ends_grants = false;
        front->pool_frames = front->frames_count;
    }
}

/* One page where figures are compared, and in half of the other connections. */
void front_draw_order(struct front *front, unsigned most)
{
    front->ring_order = 0;
    if (sim.options.steady_depth)
        while (sim.options.steady_depth > 32u << front->ring_order)
            front->ring_order++;
    else if (!sim.options.neighbour && rng_below(&front->ring_orders, 2))
        front->ring_order = (unsigned)rng_range(&front->ring_orders, 0, most);
}

/* Makes a new ring and event channel. */
void front_share(struct front *front)
{
    struct sim_guest *guest = front->guest;
    blkif_sring_t *shared = guest_page(guest, front_ring_gfn(front));
    const unsigned pages = 1u << front->ring_order;

    memset(shared, 0, pages * DGM_FRAME_BYTES);
    SHARED_RING_INIT(shared);
    FRONT_RING_INIT(&front->ring, shared, pages * DGM_FRAME_BYTES);
    for (unsigned i = 0; i < pages; i++)
        front->ring_refs[i] = guest_grant(guest, front_ring_gfn(front) + i, false);
    front->port = dgm_hv_guest_port(guest->domid);
    front->shares++;
    front->in_flight = 0;
    front->event = false;
    watch_ring_begins(front);
}

void front_unshare(struct front *front)
{
    guest_pool_end(front);
    for (unsigned i = 0; i < 1u << front->ring_order; i++)
        (void)guest_ungrant(front->guest, front->ring_refs[i], NULL);
    dgm_hv_guest_close(front->guest->domid, front->port);
    front->port = 0;
}

void front_ungrant_ring(struct front *front)
{
    for (unsigned i = 0; i < 1u << front->ring_order; i++)
        if (!dgm_hv_grant_pins(front->guest->domid, front->ring_refs[i]))
            (void)guest_ungrant(front->guest, front->ring_refs[i], NULL);
}

/* --- the ring --- */

static void tick_event(void *context, uint64_t argument)
{
    struct front *front = context;

    (void)argument;
    front->ticking = false;
    front_tick(front);
}

static void tick_later(struct front *front, uint64_t delay_ns)
{
    if (front->ticking)
        return;
    front->ticking = true;
    sim_later(delay_ns, tick_event, front, 0);
}

/* Takes the responses, as Linux does in its interrupt handler. */
static void take_responses(struct front *front)
{
    int more;

    do {
        const RING_IDX end = front->ring.sring->rsp_prod;

        xen_rmb();
        SIM_CHECK(end - front->ring.rsp_cons <= front->in_flight,
                  "guest %u: more responses than requests", front->guest->domid);
        for (RING_IDX i = front->ring.rsp_cons; i != end; i++) {
            struct blkif_response response;

            memcpy(&response, RING_GET_RESPONSE(&front->ring, i), sizeof response);
            front->ring.rsp_cons = i + 1;
            request_respond(front, &response);
        }
        RING_FINAL_CHECK_FOR_RESPONSES(&front->ring, more);
    } while (more);
}

static void push_requests(struct front *front)
{
    int notify;

    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&front->ring, notify);
    if (notify) {
        front->kicks++;
        dgm_hv_guest_send(front->guest->domid, front->port);
    }
}

/* Its disk no longer flushes, and the backend sends no responses to flushes: requests that wait for
 * them hang, as intended, and the guest does no more I/O. */
static void stop_for_flushes(struct front *front)
{
    const struct dgm_blkback *back = sim_back_of(front);

    if (!back || !back->flush_given_up)
        return;
    for (unsigned i = 0; i < FRONT_REQUESTS; i++) {
        struct request *request = &front->requests[i];

        if (request->state == REQUEST_UNDER_WAY && request->operation == BLKIF_OP_FLUSH_DISKCACHE)
            request_abandon(front, request);
    }
    front->left = 0;
}

static bool wants_to_leave(const struct front *front)
{
    return front->suddenly && front->left <= front->leave_at;
}

void front_tick(struct front *front)
{
    struct sim_guest *guest = front->guest;
    unsigned wanted;

    if (!front->connected || guest->dead)
        return;
    if (front->event) {
        front->event = false;
        take_responses(front);
    }
    stop_for_flushes(front);
    if (wants_to_leave(front)) {
        guest_poke(guest);
        return;
    }
    if (front->stopping || sim.ending) {
        if (front->in_flight == 0)
            guest_poke(guest);
        return;
    }
    wanted = sim.options.steady_depth ? FRONT_REQUESTS : (unsigned)rng_range(&guest->rng, 0, 6);
    while (front->in_flight < front->depth && front->left && wanted-- && request_submit(front))
        front->left--;
    push_requests(front);
    if (front->left == 0 && front->in_flight == 0)
        guest_poke(guest);
    else if (front->left && front->in_flight < front->depth)
        tick_later(front, rng_range(&guest->rng, 1, 500) * US);
}

/* Called when an event arrived: it is handled a little later, like an interrupt. */
void front_poke(struct front *front)
{
    if (front->connected)
        tick_later(front, rng_range(&front->guest->rng, 1, 20) * US);
}

/* A frontend whose disk is slow or hangs does not delay the session if there is another
 * frontend. */
static bool holds_session(const struct sim_guest *guest, const struct front *front)
{
    bool others = false;

    for (unsigned i = 0; i < guest->front_count; i++)
        others |= guest->fronts[i].connected && !disks_stalls(guest->fronts[i].disk);
    if (!front->connected)
        return false;
    if (sim.ending)
        return front->in_flight;
    return (front->in_flight || front->left) && (!others || !disks_stalls(front->disk));
}

void fronts_io(struct sim_guest *guest)
{
    bool busy = true;

    guest->doing = "does I/O";
    for (unsigned i = 0; i < guest->front_count; i++)
        tick_later(&guest->fronts[i], 1 * US);
    while (busy) {
        busy = false;
        for (unsigned i = 0; i < guest->front_count; i++) {
            const struct front *front = &guest->fronts[i];

            if (front->connected && wants_to_leave(front) && !sim.ending)
                return;
            busy |= holds_session(guest, front);
        }
        if (busy)
            guest_pause(guest);
    }
}

void front_drop_all(struct front *front)
{
    for (unsigned i = 0; i < FRONT_REQUESTS; i++)
        if (front->requests[i].state != REQUEST_FREE)
            request_abandon(front, &front->requests[i]);
}
