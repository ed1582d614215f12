/* SPDX-License-Identifier: MIT */
/* xenstore_rig: see xenstore_rig.h. */
#include "xenstore_rig.h"

struct xs_rig xs_rig;

long xs_rig_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
    void *const argument = (void *)(uintptr_t)a2;

    if (op != __HYPERVISOR_event_channel_op)
        return -38;
    if (a1 == EVTCHNOP_bind_interdomain) {
        struct evtchn_bind_interdomain *const bind = argument;

        if (xs_rig.bind_fails)
            return xs_rig.bind_fails;
        bind->local_port = xs_rig.next_port++;
        for (unsigned i = 0; i < xs_rig.guest_count; i++)
            if (xs_rig.guests[i].domid == bind->remote_dom)
                xs_rig.guests[i].port = bind->local_port;
    }
    if (a1 == EVTCHNOP_unmask) {
        const struct evtchn_unmask *const unmask = argument;

        xs_rig.shared.evtchn_mask[unmask->port / 64] &= ~(1ul << unmask->port % 64);
    }
    if (a1 == EVTCHNOP_send) {
        const struct evtchn_send *const event = argument;

        for (unsigned i = 0; i < xs_rig.guest_count; i++)
            if (xs_rig.guests[i].port == event->port)
                xs_rig.guests[i].notified++;
    }
    return 0;
}

void xs_rig_start_with(size_t bytes, const struct dgm_xs_limits *limits)
{
    static const struct dgm_sim_machine machine = {.hypercall = xs_rig_hypercall};

    memset(&xs_rig, 0, sizeof xs_rig);
    dgm_sim_attach(&machine);
    xs_rig.next_port = 1;
    xs_rig.memory = malloc(bytes);
    memset(xs_rig.memory, 0xa5, bytes);
    dgm_reactor_init(&xs_rig.reactor);
    dgm_evtchn_init(&xs_rig.evtchn, &xs_rig.reactor, &xs_rig.shared, &xs_rig.vcpu);
    xs_rig.xs = dgm_xenstore_init(xs_rig.memory, bytes, &xs_rig.reactor, &xs_rig.evtchn, limits);
    assert_non_null(xs_rig.xs);
}

int xs_rig_start(void **state)
{
    xs_rig_start_with(1 << 20, NULL);
    return 0;
}

int xs_rig_stop(void **state)
{
    dgm_xs_check(xs_rig.xs);
    for (unsigned i = 0; i < xs_rig.guest_count; i++)
        free(xs_rig.guests[i].page);
    free(xs_rig.memory);
    dgm_sim_attach(NULL);
    return 0;
}

void xs_rig_run(void)
{
    for (unsigned turns = 0; dgm_reactor_turn(&xs_rig.reactor); turns++)
        assert_true(turns < 100000);
    dgm_xs_check(xs_rig.xs);
}

uint64_t xs_rig_used(void)
{
    struct dgm_xs_counters counters;

    dgm_xs_counters(xs_rig.xs, &counters);
    return counters.memory_used;
}

struct xs_guest *xs_guest_start(domid_t domid)
{
    struct xs_guest *const guest = &xs_rig.guests[xs_rig.guest_count++];
    char home[64];

    guest->domid = domid;
    guest->page = aligned_alloc(4096, 4096);
    memset(guest->page, 0, 4096);
    guest->page->connection = XENSTORE_RECONNECT;
    snprintf(home, sizeof home, "/local/domain/%u", domid);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){home, ""}), DGM_OK);
    assert_int_equal(dgm_xs_set_access(xs_rig.xs, home, (struct dgm_xs_access){.owner = domid}),
                     DGM_OK);
    assert_int_equal(dgm_xs_introduce(xs_rig.xs, domid, guest->page, 7), DGM_OK);
    assert_int_equal(guest->page->connection, XENSTORE_CONNECTED);
    assert_true(guest->notified);
    return guest;
}

void xs_guest_kick(struct xs_guest *guest)
{
    xs_rig.shared.evtchn_pending[guest->port / 64] |= 1ul << guest->port % 64;
    xs_rig.vcpu.evtchn_pending_sel |= 1ul << guest->port / 64;
    xs_rig.vcpu.evtchn_upcall_pending = 1;
    dgm_evtchn_dispatch(&xs_rig.evtchn);
}

size_t xs_guest_put(struct xs_guest *guest, const char *bytes, size_t count)
{
    struct xenstore_domain_interface *const page = guest->page;
    const uint32_t produced = page->req_prod;
    size_t room = XENSTORE_RING_SIZE - (produced - page->req_cons);

    if (count > room)
        count = room;
    for (size_t i = 0; i < count; i++)
        page->req[MASK_XENSTORE_IDX(produced + i)] = bytes[i];
    page->req_prod = produced + (uint32_t)count;
    /* Linux compares without regard to the wrap of the indices; this is what it means. */
    if (count && (int32_t)(produced - page->req_cons) <= 0)
        xs_guest_kick(guest);
    return count;
}

size_t xs_guest_get(struct xs_guest *guest, char *bytes, size_t count)
{
    struct xenstore_domain_interface *const page = guest->page;
    const uint32_t consumed = page->rsp_cons;
    const uint32_t there = page->rsp_prod - consumed;

    assert_true(there <= XENSTORE_RING_SIZE);
    if (count > there)
        count = there;
    for (size_t i = 0; i < count; i++)
        bytes[i] = page->rsp[MASK_XENSTORE_IDX(consumed + i)];
    page->rsp_cons = consumed + (uint32_t)count;
    if (count && page->rsp_prod - consumed >= XENSTORE_RING_SIZE)
        xs_guest_kick(guest);
    return count;
}

bool xs_guest_listen(struct xs_guest *guest)
{
    const size_t header = sizeof guest->in.header;
    bool moved = false;

    while (!guest->lazy) {
        size_t wanted = header, got;

        if (guest->in_bytes >= header) {
            assert_true(guest->in.header.len <= XENSTORE_PAYLOAD_MAX);
            wanted += guest->in.header.len;
        }
        got = xs_guest_get(guest, (char *)&guest->in + guest->in_bytes, wanted - guest->in_bytes);
        guest->in_bytes += got;
        moved = moved || got;
        if (guest->in_bytes < header || guest->in_bytes < header + guest->in.header.len) {
            if (got)
                continue;
            return moved;
        }
        guest->in_bytes = 0;
        guest->in.payload[guest->in.header.len] = '\0';
        if (guest->in.header.type == XS_WATCH_EVENT) {
            const char *const path = guest->in.payload;
            const char *const token = path + strlen(path) + 1;

            assert_int_equal(guest->in.header.req_id, 0);
            assert_int_equal(guest->in.header.tx_id, 0);
            assert_int_equal(guest->in.header.len, token + strlen(token) + 1 - path);
            if (guest->event_count < 256)
                snprintf(guest->events[guest->event_count++], 128, "%.80s %.40s", path, token);
        } else {
            assert_false(guest->replied);
            guest->reply = guest->in;
            guest->replied = true;
        }
    }
    return moved;
}

void xs_guest_send_in_pieces(struct xs_guest *guest, const struct xs_message *message, size_t piece)
{
    const size_t length = sizeof message->header + message->header.len;

    for (size_t sent = 0, idle = 0; sent < length;) {
        const size_t left = length - sent;
        const size_t part =
            xs_guest_put(guest, (const char *)message + sent, left < piece ? left : piece);
        const bool more = dgm_reactor_turn(&xs_rig.reactor);

        sent += part;
        idle = part || more || xs_guest_listen(guest) ? 0 : idle + 1;
        assert_true(idle < 4); /* a lost wake-up */
    }
}

void xs_guest_make(struct xs_guest *guest, struct xs_message *message, uint32_t type, uint32_t tx,
                   const void *payload, size_t bytes)
{
    message->header = (struct xsd_sockmsg){
        .type = type, .req_id = ++guest->request_id, .tx_id = tx, .len = (uint32_t)bytes};
    if (bytes)
        memcpy(message->payload, payload, bytes);
}

void xs_guest_call(struct xs_guest *guest, uint32_t type, uint32_t tx, const void *payload,
                   size_t bytes)
{
    static struct xs_message message;

    xs_guest_make(guest, &message, type, tx, payload, bytes);
    guest->replied = false;
    xs_guest_send_in_pieces(guest, &message, 5000);
    for (unsigned idle = 0; !guest->replied;) {
        const bool more = dgm_reactor_turn(&xs_rig.reactor);

        idle = xs_guest_listen(guest) || more ? 0 : idle + 1;
        assert_true(idle < 4); /* a lost wake-up */
    }
    xs_rig_run();
    xs_guest_listen(guest);
    assert_int_equal(guest->reply.header.req_id, guest->request_id);
    assert_int_equal(guest->reply.header.tx_id, tx);
    assert_true(guest->reply.header.type == type || guest->reply.header.type == XS_ERROR);
}

const char *xs_quick(struct xs_guest *guest, uint32_t type, uint32_t tx, const void *payload,
                     size_t bytes)
{
    static struct xs_message message;

    xs_guest_make(guest, &message, type, tx, payload, bytes);
    guest->replied = false;
    xs_guest_send_in_pieces(guest, &message, 5000);
    for (unsigned turns = 0; !guest->replied; turns++) {
        dgm_reactor_turn(&xs_rig.reactor);
        xs_guest_listen(guest);
        assert_true(turns < 100000);
    }
    return guest->reply.header.type == XS_ERROR ? guest->reply.payload : "";
}

const char *xs_guest_reply(struct xs_guest *guest)
{
    static char text[XENSTORE_PAYLOAD_MAX + 2];
    const size_t bytes = guest->reply.header.len;

    if (guest->reply.header.type == XS_ERROR) {
        assert_int_equal(guest->reply.payload[bytes - 1], '\0');
        snprintf(text, sizeof text, "!%.16s", guest->reply.payload);
        return text;
    }
    for (size_t i = 0; i < bytes; i++)
        text[i] = guest->reply.payload[i] ? guest->reply.payload[i] : '|';
    text[bytes] = '\0';
    return text;
}

const char *xs_ask_in(struct xs_guest *guest, uint32_t tx, uint32_t type, const char *payload)
{
    static char bytes[XENSTORE_PAYLOAD_MAX];
    const size_t length = strlen(payload);

    for (size_t i = 0; i < length; i++)
        bytes[i] = payload[i] == '|' ? '\0' : payload[i];
    xs_guest_call(guest, type, tx, bytes, length);
    return xs_guest_reply(guest);
}

const char *xs_ask(struct xs_guest *guest, uint32_t type, const char *payload)
{
    return xs_ask_in(guest, 0, type, payload);
}

const char *xs_guest_events(struct xs_guest *guest)
{
    static char text[256 * 129 + 1];
    size_t length = 0;

    do
        xs_rig_run();
    while (xs_guest_listen(guest));
    text[0] = '\0';
    for (unsigned i = 0; i < guest->event_count; i++)
        length += (size_t)sprintf(text + length, "%s;", guest->events[i]);
    guest->event_count = 0;
    return text;
}

uint32_t xs_start_transaction(struct xs_guest *guest)
{
    const char *const id = xs_ask(guest, XS_TRANSACTION_START, "|");

    assert_true(id[0] >= '1' && id[0] <= '9');
    return (uint32_t)strtoul(id, NULL, 10);
}

const char *xs_end_transaction(struct xs_guest *guest, uint32_t tx, const char *verdict)
{
    return xs_ask_in(guest, tx, XS_TRANSACTION_END, verdict);
}
