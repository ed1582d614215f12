/* SPDX-License-Identifier: MIT */
/*
 * A store, a few guests and their pages, without a Xen: event channels are answered here, and a
 * guest is a client that moves bytes and notifies exactly as Linux's xenbus_comms.c does. In
 * particular it notifies only when Linux would, so a server that rests with work left hangs, and
 * the test says so.
 */
#ifndef TEST_XENSTORE_H
#define TEST_XENSTORE_H

#include "unit.h"

#include <dragoman/xenstore/xenstore.h>
#include <xen/io/xs_wire.h>
#include <xenstore/store.h>

#define GUESTS_MAX 40

struct message {
    struct xsd_sockmsg header;
    char payload[XENSTORE_PAYLOAD_MAX + 1];
};

struct guest {
    domid_t domid;
    struct xenstore_domain_interface *page;
    evtchn_port_t port; /* Dragoman's end */
    unsigned notified;  /* events from Dragoman */
    bool lazy;          /* never reads its replies */
    uint32_t request_id;
    struct message in; /* being gathered */
    size_t in_bytes;
    struct message reply;
    bool replied;
    char events[256][128]; /* "path token" */
    unsigned event_count;
};

static struct {
    void *memory;
    struct dgm_xenstore *xs;
    struct dgm_reactor reactor;
    struct dgm_evtchn evtchn;
    struct shared_info shared;
    struct vcpu_info vcpu;
    struct guest guests[GUESTS_MAX];
    unsigned guest_count;
    evtchn_port_t next_port;
    int bind_fails; /* status to answer the next bind with */
} rig;

static inline long rig_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                                 uint64_t a5)
{
    void *const argument = (void *)(uintptr_t)a2;

    if (op != __HYPERVISOR_event_channel_op)
        return -38;
    if (a1 == EVTCHNOP_bind_interdomain) {
        struct evtchn_bind_interdomain *const bind = argument;

        if (rig.bind_fails)
            return rig.bind_fails;
        bind->local_port = rig.next_port++;
        for (unsigned i = 0; i < rig.guest_count; i++)
            if (rig.guests[i].domid == bind->remote_dom)
                rig.guests[i].port = bind->local_port;
    }
    if (a1 == EVTCHNOP_unmask) {
        const struct evtchn_unmask *const unmask = argument;

        rig.shared.evtchn_mask[unmask->port / 64] &= ~(1ul << unmask->port % 64);
    }
    if (a1 == EVTCHNOP_send) {
        const struct evtchn_send *const event = argument;

        for (unsigned i = 0; i < rig.guest_count; i++)
            if (rig.guests[i].port == event->port)
                rig.guests[i].notified++;
    }
    return 0;
}

static inline void rig_start_with(size_t bytes, const struct dgm_xs_limits *limits)
{
    static const struct dgm_sim_machine machine = {.hypercall = rig_hypercall};

    memset(&rig, 0, sizeof rig);
    dgm_sim_attach(&machine);
    rig.next_port = 1;
    rig.memory = malloc(bytes);
    memset(rig.memory, 0xa5, bytes);
    dgm_reactor_init(&rig.reactor);
    dgm_evtchn_init(&rig.evtchn, &rig.reactor, &rig.shared, &rig.vcpu);
    rig.xs = dgm_xenstore_init(rig.memory, bytes, &rig.reactor, &rig.evtchn, limits);
    assert_non_null(rig.xs);
}

static inline int rig_start(void **state)
{
    rig_start_with(1 << 20, NULL);
    return 0;
}

static inline int rig_stop(void **state)
{
    dgm_xs_check(rig.xs);
    for (unsigned i = 0; i < rig.guest_count; i++)
        free(rig.guests[i].page);
    free(rig.memory);
    dgm_sim_attach(NULL);
    return 0;
}

/* Runs until nothing is posted; a server that never rests fails here. */
static inline void rig_run(void)
{
    for (unsigned turns = 0; dgm_reactor_turn(&rig.reactor); turns++)
        assert_true(turns < 100000);
    dgm_xs_check(rig.xs);
}

static inline uint64_t rig_used(void)
{
    struct dgm_xs_counters counters;

    dgm_xs_counters(rig.xs, &counters);
    return counters.memory_used;
}

/* Domain 0's part: a home of the guest's own; then the connection. */
static inline struct guest *guest_start(domid_t domid)
{
    struct guest *const guest = &rig.guests[rig.guest_count++];
    char home[64];

    guest->domid = domid;
    guest->page = aligned_alloc(4096, 4096);
    memset(guest->page, 0, 4096);
    guest->page->connection = XENSTORE_RECONNECT;
    snprintf(home, sizeof home, "/local/domain/%u", domid);
    assert_int_equal(dgm_xs_write(rig.xs, home, ""), DGM_OK);
    assert_int_equal(dgm_xs_set_access(rig.xs, home, (struct dgm_xs_access){.owner = domid}),
                     DGM_OK);
    assert_int_equal(dgm_xs_introduce(rig.xs, domid, guest->page, 7), DGM_OK);
    assert_int_equal(guest->page->connection, XENSTORE_CONNECTED);
    assert_true(guest->notified);
    return guest;
}

static inline void guest_kick(struct guest *guest)
{
    rig.shared.evtchn_pending[guest->port / 64] |= 1ul << guest->port % 64;
    rig.vcpu.evtchn_pending_sel |= 1ul << guest->port / 64;
    rig.vcpu.evtchn_upcall_pending = 1;
    dgm_evtchn_dispatch(&rig.evtchn);
}

/* xb_write(), one turn of its loop: how many bytes went. */
static inline size_t guest_put(struct guest *guest, const char *bytes, size_t count)
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
        guest_kick(guest);
    return count;
}

/* xb_read(), one turn of its loop. */
static inline size_t guest_get(struct guest *guest, char *bytes, size_t count)
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
        guest_kick(guest);
    return count;
}

/* Takes what is there; true if anything moved. */
static inline bool guest_listen(struct guest *guest)
{
    const size_t header = sizeof guest->in.header;
    bool moved = false;

    while (!guest->lazy) {
        size_t wanted = header, got;

        if (guest->in_bytes >= header) {
            assert_true(guest->in.header.len <= XENSTORE_PAYLOAD_MAX);
            wanted += guest->in.header.len;
        }
        got = guest_get(guest, (char *)&guest->in + guest->in_bytes, wanted - guest->in_bytes);
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

/* Sends all of it, in pieces of at most `piece` bytes, reading what comes meanwhile. */
static inline void guest_send_in_pieces(struct guest *guest, const struct message *message,
                                        size_t piece)
{
    const size_t length = sizeof message->header + message->header.len;

    for (size_t sent = 0, idle = 0; sent < length;) {
        const size_t left = length - sent;
        const size_t part =
            guest_put(guest, (const char *)message + sent, left < piece ? left : piece);
        const bool more = dgm_reactor_turn(&rig.reactor);

        sent += part;
        idle = part || more || guest_listen(guest) ? 0 : idle + 1;
        assert_true(idle < 4); /* a lost wake-up */
    }
}

static inline void guest_make(struct guest *guest, struct message *message, uint32_t type,
                              uint32_t tx, const void *payload, size_t bytes)
{
    message->header = (struct xsd_sockmsg){
        .type = type, .req_id = ++guest->request_id, .tx_id = tx, .len = (uint32_t)bytes};
    if (bytes)
        memcpy(message->payload, payload, bytes);
}

/* A request and its reply, gathered in guest->reply. */
static inline void guest_call(struct guest *guest, uint32_t type, uint32_t tx, const void *payload,
                              size_t bytes)
{
    static struct message message;

    guest_make(guest, &message, type, tx, payload, bytes);
    guest->replied = false;
    guest_send_in_pieces(guest, &message, 5000);
    for (unsigned idle = 0; !guest->replied;) {
        const bool more = dgm_reactor_turn(&rig.reactor);

        idle = guest_listen(guest) || more ? 0 : idle + 1;
        assert_true(idle < 4); /* a lost wake-up */
    }
    rig_run();
    guest_listen(guest);
    assert_int_equal(guest->reply.header.req_id, guest->request_id);
    assert_int_equal(guest->reply.header.tx_id, tx);
    assert_true(guest->reply.header.type == type || guest->reply.header.type == XS_ERROR);
}

/* The reply as text: an error's name with a '!' before it; NULs inside become '|'. */
static inline const char *reply_text(struct guest *guest)
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

/* The payload as a string literal with '|' for NUL. */
static inline const char *ask_in(struct guest *guest, uint32_t tx, uint32_t type,
                                 const char *payload)
{
    static char bytes[XENSTORE_PAYLOAD_MAX];
    const size_t length = strlen(payload);

    for (size_t i = 0; i < length; i++)
        bytes[i] = payload[i] == '|' ? '\0' : payload[i];
    guest_call(guest, type, tx, bytes, length);
    return reply_text(guest);
}

static inline const char *ask(struct guest *guest, uint32_t type, const char *payload)
{
    return ask_in(guest, 0, type, payload);
}

#define assert_reply(guest, type, payload, expected)                                               \
    assert_string_equal(ask(guest, type, payload), expected)
#define assert_reply_in(guest, tx, type, payload, expected)                                        \
    assert_string_equal(ask_in(guest, tx, type, payload), expected)

/* The events so far, sorted by arrival, as "path token;path token;"; forgets them. */
static inline const char *events_text(struct guest *guest)
{
    static char text[256 * 129 + 1];
    size_t length = 0;

    do
        rig_run();
    while (guest_listen(guest));
    text[0] = '\0';
    for (unsigned i = 0; i < guest->event_count; i++)
        length += (size_t)sprintf(text + length, "%s;", guest->events[i]);
    guest->event_count = 0;
    return text;
}

#define assert_events(guest, expected) assert_string_equal(events_text(guest), expected)

static inline uint32_t start_transaction(struct guest *guest)
{
    const char *const id = ask(guest, XS_TRANSACTION_START, "|");

    assert_true(id[0] >= '1' && id[0] <= '9');
    return (uint32_t)strtoul(id, NULL, 10);
}

static inline const char *end_transaction(struct guest *guest, uint32_t tx, const char *verdict)
{
    return ask_in(guest, tx, XS_TRANSACTION_END, verdict);
}

#endif
