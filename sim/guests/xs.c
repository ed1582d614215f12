/* SPDX-License-Identifier: MIT */
/*
 * xs: a guest's xenstore client, which moves bytes and notifies like Linux's xenbus_comms.c
 *
 * It notifies only when Linux would. So if the server becomes idle while work is left, it waits,
 * and the oracle of progress fails.
 */
#include <sim/guests/guest.h>
#include <sim/machine/machine.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/hvm/params.h>

void xs_kick(struct sim_guest *guest)
{
    dgm_hv_guest_send(guest->domid, guest->xs.port);
}

/* Waits until Dragoman has made the page and marked it connected. */
bool xs_wait_connected(struct sim_guest *guest)
{
    struct xs *xs = &guest->xs;

    guest->doing = "waits for xenstore";
    xs->port = (evtchn_port_t)dgm_hv_param(guest->domid, HVM_PARAM_STORE_EVTCHN);
    for (;;) {
        const uint64_t gfn = dgm_hv_param(guest->domid, HVM_PARAM_STORE_PFN);

        if (gfn && gfn != UINT64_MAX) {
            xs->page = guest_page(guest, gfn);
            if (xs->page && xs->page->connection == XENSTORE_CONNECTED)
                return true;
        }
        guest_pause(guest);
    }
}

static size_t ring_put(struct xs *xs, const char *bytes, size_t count)
{
    struct xenstore_domain_interface *page = xs->page;
    const uint32_t produced = page->req_prod;
    const uint32_t room = XENSTORE_RING_SIZE - (produced - page->req_cons);

    if (room > XENSTORE_RING_SIZE)
        return 0;
    if (count > room)
        count = room;
    for (size_t i = 0; i < count; i++)
        page->req[MASK_XENSTORE_IDX(produced + i)] = bytes[i];
    xen_wmb();
    page->req_prod = produced + (uint32_t)count;
    return count;
}

static size_t ring_get(struct sim_guest *guest, char *bytes, size_t count)
{
    struct xenstore_domain_interface *page = guest->xs.page;
    const uint32_t consumed = page->rsp_cons;
    const uint32_t there = page->rsp_prod - consumed;

    if (there > XENSTORE_RING_SIZE)
        return 0;
    if (count > there)
        count = there;
    for (size_t i = 0; i < count; i++)
        bytes[i] = page->rsp[MASK_XENSTORE_IDX(consumed + i)];
    page->rsp_cons = consumed + (uint32_t)count;
    xen_mb();
    if (count && page->rsp_prod - consumed >= XENSTORE_RING_SIZE)
        xs_kick(guest);
    return count;
}

void xs_receive(struct sim_guest *guest)
{
    struct xs *xs = &guest->xs;
    const size_t header = sizeof xs->in.header;

    while (xs->page) {
        size_t wanted = header;

        if (xs->in_bytes >= header) {
            if (xs->in.header.len > XENSTORE_PAYLOAD_MAX) {
                SIM_CHECK(guest->hostile, "xenstore sends guest %u a message of %u bytes",
                          guest->domid, xs->in.header.len);
                xs->in_bytes = 0;
                return;
            }
            wanted += xs->in.header.len;
        }
        const size_t got = ring_get(guest, (char *)&xs->in + xs->in_bytes, wanted - xs->in_bytes);

        xs->in_bytes += (uint32_t)got;
        if (xs->in_bytes < wanted) {
            if (got)
                continue;
            return;
        }
        if (wanted == header && xs->in.header.len)
            continue;
        xs->in_bytes = 0;
        if (xs->in.header.type == XS_WATCH_EVENT) {
            xs->fired = true;
            continue;
        }
        if (guest->habit != HABIT_EVERYTHING && xs->in.header.req_id != xs->request_id)
            continue; /* of xs_post() */
        xs->in.payload[xs->in.header.len] = '\0';
        SIM_CHECK(guest->hostile || !xs->replied, "xenstore replies twice to guest %u",
                  guest->domid);
        memcpy(&xs->reply, &xs->in, sizeof xs->reply.header + xs->in.header.len + 1);
        xs->replied = true;
    }
}

/* A hostile guest polls, because it may have corrupted the indices that events depend on. One that
 * floods takes the replies, so that there is room for more. */
static void hostile_wait(struct sim_guest *guest)
{
    if (guest->habit == HABIT_EVERYTHING) {
        guest_sleep(guest, 100 * US);
        return;
    }
    guest_sleep(guest, 5 * US);
    xs_receive(guest);
}

/* Sends bytes of a message; blocks while the ring is full. */
static bool send_all(struct sim_guest *guest, const char *bytes, size_t count)
{
    while (count) {
        const uint32_t before = guest->xs.page->req_prod;
        const size_t sent = ring_put(&guest->xs, bytes, count);

        xen_mb();
        if (sent && (int32_t)(before - guest->xs.page->req_cons) <= 0)
            xs_kick(guest); /* the server had taken all bytes, so it may be idle */
        bytes += sent;
        count -= sent;
        if (count && !sent) {
            xs_kick(guest);
            if (!guest->hostile)
                guest_pause(guest);
            else if (sim_now() > guest->xs.deadline_ns)
                return false;
            else
                hostile_wait(guest);
        }
    }
    return true;
}

static bool send_request(struct sim_guest *guest, uint32_t type, uint32_t tx, const void *payload,
                         size_t bytes)
{
    struct xs *xs = &guest->xs;
    char message[sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX];
    const struct xsd_sockmsg header = {
        .type = type, .req_id = ++xs->request_id, .tx_id = tx, .len = (uint32_t)bytes};

    memcpy(message, &header, sizeof header);
    memcpy(message + sizeof header, payload, bytes);
    xs->replied = false;
    xs->deadline_ns = sim_now() + sim_xs_patience_ns();
    return send_all(guest, message, sizeof header + bytes);
}

void xs_post(struct sim_guest *guest, uint32_t type, uint32_t tx, const void *payload, size_t bytes)
{
    (void)send_request(guest, type, tx, payload, bytes);
    xs_receive(guest);
}

int xs_call(struct sim_guest *guest, uint32_t type, uint32_t tx, const void *payload, size_t bytes)
{
    struct xs *xs = &guest->xs;

    if (!send_request(guest, type, tx, payload, bytes))
        return -1;
    for (xs_receive(guest); !xs->replied; xs_receive(guest)) {
        if (guest->hostile) {
            if (sim_now() > xs->deadline_ns)
                return -1;
            hostile_wait(guest);
        } else {
            guest_pause(guest);
        }
    }
    xs->deadline_ns = 0;
    if (!guest->hostile) {
        SIM_CHECK(xs->reply.header.req_id == xs->request_id && xs->reply.header.tx_id == tx,
                  "xenstore replies to guest %u with another request's header", guest->domid);
        SIM_CHECK(xs->reply.header.type == type || xs->reply.header.type == XS_ERROR,
                  "xenstore replies to guest %u with type %u", guest->domid, xs->reply.header.type);
    }
    if (xs->reply.header.type != type)
        return -1;
    return (int)xs->reply.header.len;
}

long long xs_read_number(struct sim_guest *guest, uint32_t tx, const char *path)
{
    if (xs_call(guest, XS_READ, tx, path, strlen(path) + 1) <= 0)
        return -1;
    return strtoll(guest->xs.reply.payload, NULL, 10);
}

int xs_write(struct sim_guest *guest, uint32_t tx, const char *path, const char *value)
{
    char payload[512];
    const size_t length = strlen(path) + 1;

    memcpy(payload, path, length);
    memcpy(payload + length, value, strlen(value));
    return xs_call(guest, XS_WRITE, tx, payload, length + strlen(value));
}

int xs_write_number(struct sim_guest *guest, uint32_t tx, const char *path, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return xs_write(guest, tx, path, text);
}

int xs_watch(struct sim_guest *guest, const char *path, const char *token)
{
    char payload[256];
    const int bytes = snprintf(payload, sizeof payload, "%s%c%s", path, 0, token) + 1;

    return xs_call(guest, XS_WATCH, 0, payload, (size_t)bytes);
}
