/* SPDX-License-Identifier: MIT */
/*
 * fuzz xenstore: three guests who write anything into their rings, in any pieces, at any time
 *
 * Messages come raw, or put together from words that mean something to the server (so that the
 * fuzzer gets past the framing); indices are rewritten; replies are read late, in part, or never;
 * domain 0 changes the store meanwhile, and guests go and come back.
 *
 * What must hold: the store's invariants (dgm_xs_check) after each step; the server comes to rest;
 * a guest that kept to the protocol gets well-formed messages; and when everything is removed at
 * the end, all memory is back.
 */
#include "feed.h"

#include "../tests/unit/rigs/xenstore_rig.h"

#define SERVED      3
#define STORE_BYTES (256u << 10)

/* Payload bytes below 32 stand for these. */
static const char *const words[32] = {
    "",
    "/",
    "/local/domain/1",
    "/local/domain/2",
    "/local/domain/3",
    "device",
    "data",
    "a",
    "b",
    "c/d",
    "/shared",
    "/shared/x",
    "token",
    "T",
    "F",
    "n1",
    "r2",
    "b0",
    "w3",
    "n0",
    "@introduceDomain",
    "@releaseDomain",
    "0",
    "1",
    "2",
    "4294967295",
    "//",
    "a/",
    "value",
    "abcdefghijklmnop",
    "../..",
    "/tool",
};

static struct {
    bool honest;      /* never touched its indices or wrote raw bytes */
    char reply[4200]; /* what it has read of a message */
    size_t bytes;
} state[SERVED];

static void turns(unsigned count)
{
    while (count-- && dgm_reactor_turn(&rig.reactor))
        ;
}

/* As many bytes as fit; the guest kicks whatever Linux would do. */
static void put(unsigned g, const void *bytes, size_t count)
{
    struct xenstore_domain_interface *const page = rig.guests[g].page;

    for (size_t sent = 0, tries = 0; sent < count && tries < 64; tries++) {
        sent += guest_put(&rig.guests[g], (const char *)bytes + sent, count - sent);
        guest_kick(&rig.guests[g]);
        turns(2);
        if (sent < count && page->rsp_prod != page->rsp_cons && tries % 4 == 3)
            break; /* it does not read */
    }
}

static size_t make_payload(struct feed *feed, char *payload)
{
    size_t bytes = 0, items = feed_below(feed, 24);

    while (items-- && bytes < 3000) {
        const uint8_t c = (uint8_t)feed_take(feed, 1);

        if (c >= 32) {
            payload[bytes++] = c == 255 ? '\0' : (char)c;
            continue;
        }
        const size_t length = strlen(words[c]);
        memcpy(payload + bytes, words[c], length);
        bytes += length;
        payload[bytes] = '\0';
        bytes += feed_chance(feed, 160);
    }
    if (feed_chance(feed, 8)) { /* a giant */
        const size_t more = feed_below(feed, 4096 - bytes);

        memset(payload + bytes, 'v', more);
        bytes += more;
    }
    return bytes;
}

static void send_message(struct feed *feed, unsigned g)
{
    static struct message message;
    const uint8_t tx = (uint8_t)feed_take(feed, 1);

    message.header.type = (uint32_t)feed_below(feed, 24);
    message.header.req_id = (uint32_t)feed_take(feed, 1);
    message.header.tx_id = tx < 128 ? 0 : tx < 240 ? 1u + tx % 12 : (uint32_t)feed_take(feed, 4);
    const size_t bytes = make_payload(feed, message.payload);

    message.header.len = (uint32_t)bytes;
    if (feed_chance(feed, 6)) { /* it lies about the length, too much or too little */
        message.header.len = (uint32_t)feed_take(feed, 2);
        state[g].honest = false;
    }
    put(g, &message, sizeof message.header + bytes);
}

/* Reads what is there; an honest guest's messages must be messages. */
static void listen(unsigned g, size_t most)
{
    struct xenstore_domain_interface *const page = rig.guests[g].page;
    char *const reply = state[g].reply;

    if (!state[g].honest) {
        page->rsp_cons = page->rsp_prod;
        return;
    }
    while (most && page->rsp_prod != page->rsp_cons) {
        struct xsd_sockmsg header;
        size_t want = sizeof header;

        memcpy(&header, reply, sizeof header);
        if (state[g].bytes >= sizeof header) {
            fuzz_check(header.len <= XENSTORE_PAYLOAD_MAX);
            want += header.len;
        }
        if (state[g].bytes < want) {
            state[g].bytes +=
                guest_get(&rig.guests[g], reply + state[g].bytes,
                          want - state[g].bytes < most ? want - state[g].bytes : most);
            most--;
            continue;
        }
        fuzz_check(header.type <= XS_TYPE_COUNT);
        fuzz_check(header.type != XS_ERROR ||
                   (header.len && !reply[sizeof header + header.len - 1]));
        state[g].bytes = 0;
    }
    guest_kick(&rig.guests[g]);
}

static void tamper(struct feed *feed, unsigned g)
{
    struct xenstore_domain_interface *const page = rig.guests[g].page;
    uint32_t *const indices[] = {&page->req_prod, &page->req_cons,   &page->rsp_prod,
                                 &page->rsp_cons, &page->connection, &page->error};

    state[g].honest = false;
    *indices[feed_below(feed, 6)] += (uint32_t)feed_take(feed, 4);
    guest_kick(&rig.guests[g]);
}

/* As if it had read nothing for long: what it is told now waits in the server. */
static void stop_reading(struct feed *feed, unsigned g)
{
    struct xenstore_domain_interface *const page = rig.guests[g].page;

    state[g].honest = false;
    page->rsp_cons = page->rsp_prod - XENSTORE_RING_SIZE + (uint32_t)feed_below(feed, 256);
}

/* The guest goes, its page with it, and another one comes. */
static void reborn(unsigned g)
{
    struct guest *const guest = &rig.guests[g];
    char home[64];

    dgm_xs_release(rig.xs, guest->domid);
    dgm_xs_domain_changed(rig.xs);
    snprintf(home, sizeof home, "/local/domain/%u", guest->domid);
    dgm_xs_rm(rig.xs, home);
    memset(guest->page, 0, 4096);
    if (dgm_xs_write(rig.xs, home, "") == DGM_OK)
        dgm_xs_set_access(rig.xs, home, (struct dgm_xs_access){.owner = guest->domid});
    fuzz_check(dgm_xs_introduce(rig.xs, guest->domid, guest->page, 7) == DGM_OK);
    memset(&state[g], 0, sizeof state[g]);
    state[g].honest = true;
}

static void change_by_dom0(struct feed *feed)
{
    static const char *const paths[] = {
        "/shared/x",         "/shared",    "/local/domain/1/device/a",
        "/local/domain/2/b", "/tool/deep", "/local/domain/3/data"};
    const char *const path = paths[feed_below(feed, 6)];

    switch (feed_below(feed, 4)) {
    case 0:
        dgm_xs_rm(rig.xs, path);
        break;
    case 1:
        dgm_xs_set_access(rig.xs, path,
                          (struct dgm_xs_access){.owner = (domid_t)feed_below(feed, 4),
                                                 .others_read = feed_chance(feed, 128),
                                                 .reader = (domid_t)feed_below(feed, 4)});
        break;
    default:
        dgm_xs_write(rig.xs, path, words[feed_below(feed, 32)]);
        break;
    }
}

static void step(struct feed *feed)
{
    const unsigned g = (unsigned)feed_below(feed, SERVED);
    char raw[64];

    switch (feed_below(feed, 16)) {
    default:
        send_message(feed, g);
        break;
    case 7:
        stop_reading(feed, g);
        break;
    case 8: /* raw bytes: the rest of a message, or the beginning of a wrong one */
        state[g].honest = false;
        put(g, raw, feed_copy(feed, raw, 1 + feed_below(feed, sizeof raw)));
        break;
    case 9:
        tamper(feed, g);
        break;
    case 10:
        listen(g, 1 + feed_below(feed, 64));
        break;
    case 11:
        change_by_dom0(feed);
        break;
    case 12:
        if (feed_chance(feed, 64))
            reborn(g);
        break;
    case 13:
    case 14:
        listen(g, SIZE_MAX);
        turns(4);
        break;
    case 15:
        turns(1 + (unsigned)feed_below(feed, 8));
        break;
    }
    dgm_xs_check(rig.xs);
}

static void run_input(struct feed *feed)
{
    static const struct dgm_xs_limits limits = {
        .nodes = 24, .watches = 6, .transactions = 3, .value_bytes = 600};
    struct dgm_xs_counters counters;
    uint64_t empty;

    rig_start_with(STORE_BYTES, &limits);
    dgm_xs_write(rig.xs, "/shared", "");
    dgm_xs_write(rig.xs, "/local/domain", "");
    empty = rig_used();
    dgm_xs_set_access(rig.xs, "/shared",
                      (struct dgm_xs_access){.owner = 1, .others_read = true, .reader = 2});
    for (domid_t domid = 1; domid <= SERVED; domid++) {
        guest_start(domid);
        memset(&state[domid - 1], 0, sizeof state[0]);
        state[domid - 1].honest = true;
    }
    while (feed->left)
        step(feed);
    rig_run();

    for (unsigned g = 0; g < SERVED; g++)
        dgm_xs_release(rig.xs, rig.guests[g].domid);
    for (domid_t domid = 1; domid <= SERVED; domid++) {
        char home[64];

        snprintf(home, sizeof home, "/local/domain/%u", domid);
        dgm_xs_rm(rig.xs, home);
    }
    dgm_xs_rm(rig.xs, "/shared");
    dgm_xs_rm(rig.xs, "/tool");
    fuzz_check(dgm_xs_write(rig.xs, "/shared", "") == DGM_OK);
    rig_run();
    fuzz_check(rig_used() == empty);
    dgm_xs_counters(rig.xs, &counters);
    fuzz_check(counters.memory_used <= counters.memory_bytes);
    rig_stop(NULL);
}
