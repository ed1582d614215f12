/* SPDX-License-Identifier: MIT */
/*
 * fuzz xenstore: many guests of a small store write arbitrary bytes into their rings, in any
 * pieces, at any time
 *
 * Messages are raw bytes, or composed of words with a meaning for the server (so that the fuzzer
 * gets past the framing); indices are rewritten; replies are read late, in part, or never; domain 0
 * changes the store meanwhile, and guests end and return.
 *
 * Properties: the store's invariants (dgm_xs_check) after each step; no request costs more work
 * than stated; the server becomes idle; a guest that follows the protocol gets well-formed
 * messages; and after all is removed at the end, all memory is free.
 */
#include "lib/feed.h"

#include "../tests/unit/rigs/xenstore_rig.h"
#include <xenstore/store.h>

#define SERVED      15 /* as many as the store serves */
#define STORE_BYTES (256u << 10)

/* A payload byte below 32 is replaced by one of these. */
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
    char reply[4200]; /* the bytes that it has read of a message */
    size_t bytes;
} state[SERVED];

static void run_turns(unsigned count)
{
    while (count-- && dgm_reactor_turn(&xs_rig.reactor))
        ;
}

/* As many bytes as fit; unlike Linux, the guest always notifies. */
static void put_bytes(unsigned g, const void *bytes, size_t count)
{
    struct xenstore_domain_interface *const page = xs_rig.guests[g].page;

    for (size_t sent = 0, tries = 0; sent < count && tries < 64; tries++) {
        sent += xs_guest_put(&xs_rig.guests[g], (const char *)bytes + sent, count - sent);
        xs_guest_kick(&xs_rig.guests[g]);
        run_turns(2);
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
    static struct xs_message message;
    const uint8_t tx = (uint8_t)feed_take(feed, 1);

    message.header.type = (uint32_t)feed_below(feed, 24);
    message.header.req_id = (uint32_t)feed_take(feed, 1);
    message.header.tx_id = tx < 128 ? 0 : tx < 240 ? 1u + tx % 12 : (uint32_t)feed_take(feed, 4);
    const size_t bytes = make_payload(feed, message.payload);

    message.header.len = (uint32_t)bytes;
    if (feed_chance(feed, 6)) { /* it states a wrong length, too large or too small */
        message.header.len = (uint32_t)feed_take(feed, 2);
        state[g].honest = false;
    }
    put_bytes(g, &message, sizeof message.header + bytes);
}

/* Reads the available bytes; an honest guest must get well-formed messages. */
static void read_replies(unsigned g, size_t most)
{
    struct xenstore_domain_interface *const page = xs_rig.guests[g].page;
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
                xs_guest_get(&xs_rig.guests[g], reply + state[g].bytes,
                             want - state[g].bytes < most ? want - state[g].bytes : most);
            most--;
            continue;
        }
        fuzz_check(header.type <= XS_TYPE_COUNT);
        fuzz_check(header.type != XS_ERROR ||
                   (header.len && !reply[sizeof header + header.len - 1]));
        state[g].bytes = 0;
    }
    xs_guest_kick(&xs_rig.guests[g]);
}

static void tamper_with_ring(struct feed *feed, unsigned g)
{
    struct xenstore_domain_interface *const page = xs_rig.guests[g].page;
    uint32_t *const indices[] = {&page->req_prod, &page->req_cons,   &page->rsp_prod,
                                 &page->rsp_cons, &page->connection, &page->error};
    const uint32_t step = (uint32_t)feed_take(feed, 4);

    state[g].honest = false;
    *indices[feed_below(feed, 6)] += step;
    xs_guest_kick(&xs_rig.guests[g]);
}

/* Acts as if the guest had not read for long: its next events wait in the server. */
static void stop_reading(struct feed *feed, unsigned g)
{
    struct xenstore_domain_interface *const page = xs_rig.guests[g].page;

    state[g].honest = false;
    page->rsp_cons = page->rsp_prod - XENSTORE_RING_SIZE + (uint32_t)feed_below(feed, 256);
}

/* The guest and its page end, and another guest starts. */
static void restart_guest(unsigned g)
{
    struct xs_guest *const guest = &xs_rig.guests[g];
    char home[64];

    dgm_xs_release(xs_rig.xs, guest->domid);
    dgm_xs_domain_changed(xs_rig.xs);
    snprintf(home, sizeof home, "/local/domain/%u", guest->domid);
    dgm_xs_rm(xs_rig.xs, home);
    memset(guest->page, 0, 4096);
    if (dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){home, ""}) == DGM_OK)
        dgm_xs_set_access(xs_rig.xs, home, (struct dgm_xs_access){.owner = guest->domid});
    fuzz_check(dgm_xs_introduce(xs_rig.xs, guest->domid, guest->page, 7) == DGM_OK);
    memset(&state[g], 0, sizeof state[g]);
    state[g].honest = true;
}

static void change_by_dom0(struct feed *feed)
{
    static const char *const paths[] = {
        "/shared/x",         "/shared",    "/local/domain/1/device/a",
        "/local/domain/2/b", "/tool/deep", "/local/domain/3/data"};
    const char *const path = paths[feed_below(feed, 6)];
    struct dgm_xs_access access;

    switch (feed_below(feed, 4)) {
    case 0:
        dgm_xs_rm(xs_rig.xs, path);
        break;
    case 1:
        access.owner = (domid_t)feed_below(feed, 4);
        access.others_read = feed_chance(feed, 128);
        access.reader = (domid_t)feed_below(feed, 4);
        dgm_xs_set_access(xs_rig.xs, path, access);
        break;
    default:
        dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){path, words[feed_below(feed, 32)]});
        break;
    }
}

static void do_step(struct feed *feed)
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
        put_bytes(g, raw, feed_copy(feed, raw, 1 + feed_below(feed, sizeof raw)));
        break;
    case 9:
        tamper_with_ring(feed, g);
        break;
    case 10:
        read_replies(g, 1 + feed_below(feed, 64));
        break;
    case 11:
        change_by_dom0(feed);
        break;
    case 12:
        if (feed_chance(feed, 64))
            restart_guest(g);
        break;
    case 13:
    case 14:
        read_replies(g, SIZE_MAX);
        run_turns(4);
        break;
    case 15:
        run_turns(1 + (unsigned)feed_below(feed, 8));
        break;
    }
    dgm_xs_check(xs_rig.xs);
}

void run_input(struct feed *feed)
{
    static const struct dgm_xs_limits limits = {
        .nodes = 64, .watches = 6, .transactions = 3, .value_bytes = 600};
    struct dgm_xs_counters counters;
    uint64_t empty;

    xs_rig_start_with(STORE_BYTES, &limits);
    dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/shared", ""});
    dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/local/domain", ""});
    empty = xs_rig_used();
    dgm_xs_set_access(xs_rig.xs, "/shared",
                      (struct dgm_xs_access){.owner = 1, .others_read = true, .reader = 2});
    for (domid_t domid = 1; domid <= SERVED; domid++) {
        xs_guest_start(domid);
        memset(&state[domid - 1], 0, sizeof state[0]);
        state[domid - 1].honest = true;
    }
    while (feed->left)
        do_step(feed);
    xs_rig_run();

    for (unsigned g = 0; g < SERVED; g++)
        dgm_xs_release(xs_rig.xs, xs_rig.guests[g].domid);
    for (domid_t domid = 1; domid <= SERVED; domid++) {
        char home[64];

        snprintf(home, sizeof home, "/local/domain/%u", domid);
        dgm_xs_rm(xs_rig.xs, home);
    }
    dgm_xs_rm(xs_rig.xs, "/shared");
    dgm_xs_rm(xs_rig.xs, "/tool");
    fuzz_check(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/shared", ""}) == DGM_OK);
    xs_rig_run();
    fuzz_check(xs_rig_used() == empty);
    dgm_xs_counters(xs_rig.xs, &counters);
    fuzz_check(counters.memory_used <= counters.memory_bytes);
    fuzz_check(counters.work_request_max <= dgm_xs_work_request_bound(xs_rig.xs));
    xs_rig_stop(NULL);
}
