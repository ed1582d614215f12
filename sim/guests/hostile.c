/* SPDX-License-Identifier: MIT */
/*
 * hostile: a guest that attacks, or is badly broken
 *
 * It makes an almost correct handshake, because there is more to attack after it. Then it makes
 * requests of every wrong kind, sets impossible indices, revokes grants or names references that it
 * never granted or that lack a right, floods with events, writes states out of order, invalid keys,
 * bytes that are no xenstore messages, and dies in the middle. The memory that it shares changes
 * while the library loads it.
 *
 * The only check of what it gets is that it never sees another guest's data.
 */
#include <sim/machine/machine.h>

#include <stdio.h>
#include <string.h>
#include <xen/io/protocols.h>
#include <xen/io/xenbus.h>

#define HOSTILE_REFS 64u
#define HOSTILE_REF  4000u /* the first one */
#define LIST_REF     4100u

/* --- memory --- */

static void flip_bits(struct sim_guest *guest, uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (rng_below(&guest->rng, 2))
            bytes[i] = (uint8_t)(rng_below(&guest->rng, 3) ? rng_below(&guest->rng, 12)
                                                           : rng_next(&guest->rng));
}

/* Indices, and xenstore's page, change less often: otherwise the library disconnects the guest
 * immediately, and the rest is never attacked. */
void hostile_loaded(struct sim_guest *guest, uint8_t *frame, uint32_t offset, size_t count)
{
    const bool ring = frame == guest_page(guest, GUEST_RING_GFN);

    if (sim.settling || guest->habit != HABIT_EVERYTHING ||
        rng_below(&guest->rng, ring && offset < 64 ? 600 : 24))
        return;
    if (frame != (uint8_t *)guest->xs.page || guest->wild)
        flip_bits(guest, frame + offset, count);
}

void hostile_meddle(struct sim_guest *guest)
{
    uint8_t *ring = guest_page(guest, GUEST_RING_GFN);
    struct front *front = &guest->fronts[0];

    if (!front->port || sim.settling || guest->habit != HABIT_EVERYTHING)
        return;
    switch (rng_below(&guest->rng, 4)) {
    case 0:
        flip_bits(guest, ring + 64 + rng_below(&guest->rng, 4000), 8);
        break;
    case 1:
        flip_bits(guest, guest_page(guest, GUEST_INDIRECT_GFN + rng_below(&guest->rng, 4)), 64);
        break;
    case 2:
        dgm_hv_guest_send(guest->domid, front->port);
        break;
    default: /* rsp_event */
        if (rng_below(&guest->rng, 8) == 0)
            flip_bits(guest, ring + 12, 4);
        break;
    }
}

/* --- grants --- */

/* Grants another frame by the reference. Some frames have many references. */
static void regrant_frame(struct sim_guest *guest, unsigned i)
{
    const grant_ref_t ref = HOSTILE_REF + i;
    const uint64_t most = rng_below(&guest->rng, 3) ? GUEST_DATA_FRAMES : 4;
    uint64_t gfn = rng_below(&guest->rng, 8) == 0 ? rng_below(&guest->rng, GUEST_DATA_GFN)
                                                  : GUEST_DATA_GFN + rng_below(&guest->rng, most);

    /* Existing mappings stay, whatever the guest writes. */
    if (dgm_hv_grant_pins(guest->domid, ref)) {
        if (rng_below(&guest->rng, 3) == 0)
            dgm_hv_grant_revoke(guest->domid, ref);
        return;
    }
    if (rng_below(&guest->rng, 30) == 0)
        gfn = 100000;
    dgm_hv_grant(guest->domid, ref, gfn, rng_below(&guest->rng, 6) == 0);
    if (rng_below(&guest->rng, 10) == 0)
        (void)dgm_hv_grant_end(guest->domid, ref);
}

static grant_ref_t some_ref(struct sim_guest *guest)
{
    if (rng_below(&guest->rng, 25) == 0)
        return (grant_ref_t)rng_next(&guest->rng);
    return (grant_ref_t)(HOSTILE_REF + rng_below(&guest->rng, HOSTILE_REFS));
}

/* --- requests --- */

static uint64_t some_sector(struct sim_guest *guest)
{
    switch (rng_below(&guest->rng, 8)) {
    case 0:
        return rng_next(&guest->rng);
    case 1:
        return UINT64_MAX - rng_below(&guest->rng, 9);
    case 2:
        return guest->fronts[0].model.sectors - rng_below(&guest->rng, 3);
    default:
        return rng_below(&guest->rng, guest->fronts[0].model.sectors) & ~7ull;
    }
}

static struct blkif_request_segment some_segment(struct sim_guest *guest)
{
    struct blkif_request_segment segment = {some_ref(guest), 0, 7};

    if (rng_below(&guest->rng, 4) == 0) {
        segment.first_sect = (uint8_t)rng_below(&guest->rng, 9);
        segment.last_sect = (uint8_t)rng_below(&guest->rng, 9);
    }
    if (rng_below(&guest->rng, 50) == 0)
        segment.last_sect = (uint8_t)rng_next(&guest->rng);
    return segment;
}

static void fill_direct(struct sim_guest *guest, struct blkif_request *request)
{
    static const uint8_t operations[] = {0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 5, 4, 7, 255};

    request->operation = operations[rng_below(&guest->rng, sizeof operations)];
    request->nr_segments = (uint8_t)rng_range(&guest->rng, 1, 11);
    if (rng_below(&guest->rng, 12) == 0)
        request->nr_segments = (uint8_t)rng_next(&guest->rng);
    request->sector_number = some_sector(guest);
    for (unsigned i = 0; i < 11; i++) {
        request->seg[i] = some_segment(guest);
        if (i && rng_below(&guest->rng, 4) == 0) /* the same reference many times */
            request->seg[i].gref = request->seg[i - 1].gref;
    }
}

static void fill_indirect(struct sim_guest *guest, struct blkif_request_indirect *request)
{
    const uint64_t gfn = GUEST_INDIRECT_GFN + rng_below(&guest->rng, 4);
    const grant_ref_t ref = (grant_ref_t)(LIST_REF + gfn);
    struct blkif_request_segment *list = guest_page(guest, gfn);

    if (!dgm_hv_grant_pins(guest->domid, ref))
        dgm_hv_grant(guest->domid, ref, gfn, rng_below(&guest->rng, 2));
    request->operation = BLKIF_OP_INDIRECT;
    request->indirect_op =
        (uint8_t)(rng_below(&guest->rng, 10) ? rng_below(&guest->rng, 2) : rng_next(&guest->rng));
    request->nr_segments = (uint16_t)rng_range(&guest->rng, 1, 64);
    if (rng_below(&guest->rng, 12) == 0)
        request->nr_segments = (uint16_t)rng_next(&guest->rng);
    request->sector_number = some_sector(guest);
    request->indirect_grefs[0] = rng_below(&guest->rng, 12) ? ref : some_ref(guest);
    for (unsigned i = 0; i < 64; i++)
        list[i] = some_segment(guest);
}

static void submit_nonsense(struct sim_guest *guest)
{
    blkif_front_ring_t *ring = &guest->fronts[0].ring;
    union {
        struct blkif_request direct;
        struct blkif_request_indirect indirect;
        uint8_t bytes[112];
    } request;

    memset(&request, 0, sizeof request);
    if (rng_below(&guest->rng, 20) == 0)
        rng_fill(&guest->rng, request.bytes, sizeof request.bytes);
    else if (rng_below(&guest->rng, 4) == 0)
        fill_indirect(guest, &request.indirect);
    else
        fill_direct(guest, &request.direct);
    request.direct.id = rng_next(&guest->rng);
    memcpy((void *)RING_GET_REQUEST(ring, ring->req_prod_pvt), &request, sizeof request);
    ring->req_prod_pvt++;
}

static void send_events(struct sim_guest *guest, unsigned times)
{
    while (times--)
        dgm_hv_guest_send(guest->domid, guest->fronts[0].port);
}

/* --- life --- */

static void misbehave_once(struct sim_guest *guest)
{
    struct front *front = &guest->fronts[0];
    blkif_sring_t *shared = guest_page(guest, GUEST_RING_GFN);

    switch (rng_below(&guest->rng, 24)) {
    case 0:
        send_events(guest, 200);
        break;
    case 1:
        hostile_abuse_xs(guest);
        break;
    case 2:
        if (rng_below(&guest->rng, 6) == 0) {
            NOTE("guest %llu lets its index jump", guest->domid);
            shared->req_prod += (uint32_t)rng_next(&guest->rng);
            send_events(guest, 1);
        }
        break;
    case 3:
    case 4:
        for (unsigned i = 0; i < 8; i++)
            regrant_frame(guest, (unsigned)rng_below(&guest->rng, HOSTILE_REFS));
        break;
    default:
        if (front->ring.req_prod_pvt - shared->rsp_prod > RING_SIZE(&front->ring))
            front->ring.req_prod_pvt = shared->rsp_prod;
        for (uint64_t n = rng_range(&guest->rng, 1, 8); n; n--)
            if (front->ring.req_prod_pvt - shared->rsp_prod < RING_SIZE(&front->ring))
                submit_nonsense(guest);
        shared->req_prod = front->ring.req_prod_pvt;
        send_events(guest, 1);
        break;
    }
}

static void unshare_rings(struct sim_guest *guest)
{
    struct front *front = &guest->fronts[0];

    front_ungrant_ring(front);
    if (front->port)
        dgm_hv_guest_close(guest->domid, front->port);
    front->port = 0;
}

static void write_state(struct sim_guest *guest, uint64_t state)
{
    char path[128];

    front_path(&guest->fronts[0], false, "state", path);
    (void)xs_write_number(guest, 0, path, state);
}

static void write_order(const struct front *front, uint64_t order)
{
    char path[128];

    front_path(front, false, "ring-page-order", path);
    (void)xs_write_number(front->guest, 0, path, order);
}

static void write_ref(const struct front *front, unsigned page, uint64_t ref)
{
    char key[24], path[128];

    snprintf(key, sizeof key, "ring-ref%u", page);
    front_path(front, false, key, path);
    (void)xs_write_number(front->guest, 0, path, ref);
}

/* The keys of the ring; in one of four connections one of them is wrong: a larger order, so that
 * references are missing or those of an earlier ring; the reference of another page, or of none. */
static void write_ring_keys(struct front *front)
{
    struct rng *rng = &front->ring_orders;
    const unsigned wrong = (unsigned)rng_below(rng, 16);
    const unsigned page = (unsigned)rng_below(rng, 1u << front->ring_order);

    write_order(front, front->ring_order + (wrong == 0 ? 1 : 0));
    for (unsigned i = 0; i < 1u << front->ring_order; i++)
        write_ref(front, i, front->ring_refs[i]);
    if (wrong == 1)
        write_ref(front, page, front->ring_refs[page ^ 1]);
    else if (wrong == 2)
        write_ref(front, page, rng_next(rng) & UINT32_MAX);
    else if (wrong == 3)
        write_order(front, rng_below(rng, 40));
}

static void tell_almost_right(struct sim_guest *guest)
{
    struct front *front = &guest->fronts[0];
    char path[128];

    write_ring_keys(front);
    front_path(front, false, "event-channel", path);
    (void)xs_write_number(guest, 0, path, front->port);
    front_path(front, false, "protocol", path);
    (void)xs_write(guest, 0, path, XEN_IO_PROTO_ABI_ARM);
    if (rng_below(&guest->rng, 4)) {
        front_path(front, false, "feature-persistent", path);
        (void)xs_write(guest, 0, path, rng_below(&guest->rng, 8) ? "1" : "much");
    }
    front_path(front, false, "multi-queue-num-queues", path);
    (void)xs_write(guest, 0, path, "1");
    if (rng_below(&guest->rng, 5) == 0)
        hostile_write_nonsense(guest);
}

static void connect_and_misbehave(struct sim_guest *guest)
{
    struct front *front = &guest->fronts[0];
    uint64_t rounds = rng_range(&guest->rng, 5, 100);

    write_state(guest,
                rng_below(&guest->rng, 8) ? XenbusStateInitialising : rng_below(&guest->rng, 9));
    guest_sleep(guest, 30 * US);
    front_draw_order(front, 2);
    front_share(front);
    tell_almost_right(guest);
    write_state(guest, rng_below(&guest->rng, 4) ? XenbusStateInitialised : XenbusStateConnected);
    guest_sleep(guest, 50 * US);
    const long long state = front_backend_state(front);

    guest->sessions++;
    NOTE("guest %llu: hostile session %llu, the backend is in state %llu", guest->domid,
         guest->sessions, (uint64_t)state);
    if (state != XenbusStateConnected)
        rounds = 3;
    for (uint64_t i = 0; i < rounds && !guest->may_end; i++) {
        misbehave_once(guest);
        guest_sleep(guest, rng_range(&guest->rng, 2, 60) * US);
    }
    if (rng_below(&guest->rng, 3))
        write_state(guest, XenbusStateClosing);
    if (rng_below(&guest->rng, 3)) {
        write_state(guest, XenbusStateClosed);
        guest_sleep(guest, 20 * US);
    }
    unshare_rings(guest);
}

void hostile_life(struct sim_guest *guest)
{
    const uint64_t dies_after =
        rng_below(&guest->rng, 3) ? UINT64_MAX : rng_range(&guest->rng, 1, 12);
    const uint64_t breaks_after =
        rng_below(&guest->rng, 5) ? UINT64_MAX : rng_range(&guest->rng, 2, 12);

    for (unsigned i = 0; i < HOSTILE_REFS; i++)
        regrant_frame(guest, i);
    (void)xs_wait_connected(guest);
    guest->doing = "is hostile";
    if (guest->habit != HABIT_EVERYTHING)
        flood_life(guest);
    while (!guest->may_end) {
        if (guest->vif && rng_below(&guest->rng, 2))
            hostile_vif_session(guest);
        connect_and_misbehave(guest);
        if (guest->sessions > 60) /* from here on it acts less and less, so that the run ends */
            guest_sleep(guest, (guest->sessions - 60) * 100 * MS);
        if (guest->sessions == breaks_after)
            hostile_break_xs(guest);
        if (guest->sessions >= dies_after)
            break;
    }
    guest_die(guest, rng_below(&guest->rng, 2));
    guest_pause(guest);
}
