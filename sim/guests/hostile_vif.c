/* SPDX-License-Identifier: MIT */
/*
 * hostile_vif: the network frontend of a guest that attacks
 *
 * It connects almost correctly, then puts entries of every wrong kind into its rings: impossible
 * sizes, offsets, references, flags, extras, ids and indices, and packets with another's address.
 * Its memory changes while the library loads it (hostile_loaded()). No arrival is checked except
 * that no other guest gets what no peer has sent (packets.h).
 */
#include <sim/guests/xenbus.h>
#include <sim/machine/machine.h>

#include <stdio.h>
#include <string.h>
#include <xen/io/xenbus.h>

#define VIF_REFS 32u
#define VIF_REF  5000u /* the first one */

static grant_ref_t draw_ref(struct sim_guest *guest)
{
    if (rng_below(&guest->rng, 20) == 0)
        return (grant_ref_t)rng_next(&guest->rng);
    return (grant_ref_t)(VIF_REF + rng_below(&guest->rng, VIF_REFS));
}

static void change_grant(struct sim_guest *guest)
{
    const grant_ref_t ref = (grant_ref_t)(VIF_REF + rng_below(&guest->rng, VIF_REFS));
    uint64_t gfn;

    if (dgm_hv_grant_pins(guest->domid, ref)) {
        dgm_hv_grant_revoke(guest->domid, ref);
        return;
    }
    gfn = guest->vif->first_gfn + (rng_below(&guest->rng, 10) ? NETFRONT_RING_FRAMES : 0);
    gfn += rng_below(&guest->rng, NETFRONT_FRAMES - NETFRONT_RING_FRAMES);
    dgm_hv_grant(guest->domid, ref, gfn, rng_below(&guest->rng, 3) == 0);
    if (rng_below(&guest->rng, 10) == 0)
        (void)dgm_hv_grant_end(guest->domid, ref);
}

/* Headers of a packet, in one of the frames: some with another guest's address, some of odd
 * lengths. */
static void write_headers(struct sim_guest *guest)
{
    uint8_t *bytes =
        guest_page(guest, guest->vif->first_gfn + NETFRONT_RING_FRAMES +
                              rng_below(&guest->rng, NETFRONT_FRAMES - NETFRONT_RING_FRAMES));
    const uint64_t from = rng_below(&guest->rng, 4) ? guest->domid : rng_below(&guest->rng, 5);

    rng_fill(&guest->rng, bytes, 80);
    memset(bytes, rng_below(&guest->rng, 3) ? 0xff : 0x00, 6);
    memcpy(bytes + 6, (const uint8_t[]){0x00, 0x16, 0x3e, 0, 0, (uint8_t)from}, 6);
    memcpy(bytes + 12, (const uint8_t[]){0x88, 0xb6}, 2); /* no peer's type */
    if (rng_below(&guest->rng, 2))
        memcpy(bytes + 12, (const uint8_t[]){0x08, 0x00, 0x45, 0, 0, 60}, 6);
    bytes[23] = rng_below(&guest->rng, 2) ? 6 : 17;
}

static void put_entry(struct netfront_queue *queue)
{
    struct sim_guest *guest = queue->front->guest;
    netif_tx_request_t entry;

    memset(&entry, 0, sizeof entry);
    entry.gref = draw_ref(guest);
    entry.offset = (uint16_t)(rng_below(&guest->rng, 3) ? 0 : rng_next(&guest->rng));
    entry.flags =
        (uint16_t)(rng_below(&guest->rng, 3) ? rng_below(&guest->rng, 16) : rng_next(&guest->rng));
    entry.id = (uint16_t)rng_next(&guest->rng);
    entry.size = (uint16_t)(rng_below(&guest->rng, 3) ? rng_range(&guest->rng, 1, 3000)
                                                      : rng_next(&guest->rng));
    if (rng_below(&guest->rng, 3))
        entry.flags = 0;
    if (rng_below(&guest->rng, 8) == 0)
        rng_fill(&guest->rng, &entry, sizeof entry);
    *RING_GET_REQUEST(&queue->transmit, queue->transmit.req_prod_pvt++) = entry;
}

static void post_entry(struct netfront_queue *queue)
{
    struct sim_guest *guest = queue->front->guest;
    netif_rx_request_t entry = {.id = (uint16_t)rng_next(&guest->rng)};

    entry.gref = draw_ref(guest);
    *RING_GET_REQUEST(&queue->receive, queue->receive.req_prod_pvt++) = entry;
}

static void misbehave_once(struct sim_guest *guest)
{
    struct netfront *front = guest->vif;
    struct netfront_queue *queue = &front->queue[rng_below(&guest->rng, front->queue_count)];

    for (uint64_t n = rng_below(&guest->rng, 4); n; n--)
        change_grant(guest);
    for (uint64_t n = rng_below(&guest->rng, 4); n; n--)
        write_headers(guest);
    /* Without an attack on the index the ring stays plausible, so that its entries are read. */
    for (uint64_t n = rng_below(&guest->rng, 24);
         n && queue->transmit.req_prod_pvt - queue->transmit.sring->rsp_prod < NETFRONT_ENTRIES;
         n--)
        put_entry(queue);
    for (uint64_t n = rng_below(&guest->rng, 24);
         n && queue->receive.req_prod_pvt - queue->receive.sring->rsp_prod < NETFRONT_ENTRIES; n--)
        post_entry(queue);
    queue->transmit.sring->req_prod = queue->transmit.req_prod_pvt;
    queue->receive.sring->req_prod = queue->receive.req_prod_pvt;
    if (rng_below(&guest->rng, 40) == 0)
        queue->transmit.sring->req_prod += (uint32_t)rng_next(&guest->rng);
    if (rng_below(&guest->rng, 40) == 0)
        queue->receive.sring->req_prod += (uint32_t)rng_next(&guest->rng);
    for (uint64_t n = rng_below(&guest->rng, 8) ? 1 : 50; n; n--)
        dgm_hv_guest_send(guest->domid, queue->ports[0]);
}

/* The keys of one queue; sometimes one is missing, or names a frame of another ring or another
 * channel. */
static void write_queue_keys(const struct frontend *frontend, const struct netfront_queue *queue)
{
    struct sim_guest *guest = frontend->guest;
    static const char *const names[] = {"tx-ring-ref", "rx-ring-ref", "event-channel"};
    uint64_t values[3];

    values[0] = rng_below(&guest->rng, 9) ? queue->ring_refs[0] : draw_ref(guest);
    values[1] =
        rng_below(&guest->rng, 9) ? queue->ring_refs[1] : queue->front->queue[0].ring_refs[0];
    values[2] = queue->ports[0] + (rng_below(&guest->rng, 9) == 0);
    for (size_t i = 0; i < 3; i++) {
        char name[40];

        if (queue->front->queue_count > 1)
            snprintf(name, sizeof name, "queue-%u/%s", queue->number, names[i]);
        else
            snprintf(name, sizeof name, "%s", names[i]);
        if (rng_below(&guest->rng, 40))
            frontend_write_key(frontend, 0, &(struct frontend_key){name, values[i], NULL});
    }
}

/* Mostly the right number of queues; else any of up to 64 bits. */
static uint64_t draw_queue_count(struct sim_guest *guest)
{
    const uint64_t bits = rng_below(&guest->rng, 64);

    return rng_below(&guest->rng, 8) ? guest->vif->queue_count : rng_next(&guest->rng) >> bits;
}

static void write_keys(struct sim_guest *guest)
{
    const struct netfront *front = guest->vif;
    const struct frontend frontend = {.guest = guest, .type = "vif", .number = 0};
    static const char *const names[] = {"request-rx-copy", "feature-sg", "feature-gso-tcpv4",
                                        "feature-ipv6-csum-offload", "multi-queue-num-queues"};
    uint64_t values[5];

    values[0] = rng_below(&guest->rng, 8) > 0;
    values[1] = rng_below(&guest->rng, 2);
    values[2] = rng_below(&guest->rng, 2);
    values[3] = rng_below(&guest->rng, 9);
    values[4] = draw_queue_count(guest);
    for (size_t i = 0; i < 5; i++)
        frontend_write_key(&frontend, 0, &(struct frontend_key){names[i], values[i], NULL});
    for (unsigned i = 0; i < front->queue_count; i++)
        write_queue_keys(&frontend, &front->queue[i]);
}

static void write_state(struct sim_guest *guest, uint64_t state)
{
    const struct frontend frontend = {.guest = guest, .type = "vif", .number = 0};

    frontend_write_key(&frontend, 0, &(struct frontend_key){"state", state, NULL});
}

void hostile_vif_session(struct sim_guest *guest)
{
    write_state(guest,
                rng_below(&guest->rng, 8) ? XenbusStateInitialising : rng_below(&guest->rng, 9));
    guest_sleep(guest, 30 * US);
    netfront_share_rings(guest->vif);
    write_keys(guest);
    write_state(guest,
                rng_below(&guest->rng, 8) ? XenbusStateConnected : rng_below(&guest->rng, 9));
    for (uint64_t n = rng_range(&guest->rng, 3, 40); n && !guest->may_end; n--) {
        misbehave_once(guest);
        guest_sleep(guest, rng_range(&guest->rng, 2, 60) * US);
    }
    if (rng_below(&guest->rng, 3))
        write_state(guest, XenbusStateClosing);
    if (rng_below(&guest->rng, 3))
        write_state(guest, XenbusStateClosed);
    guest_sleep(guest, 20 * US);
    netfront_abandon_rings(guest->vif);
}
