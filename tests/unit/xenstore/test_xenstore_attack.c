/* SPDX-License-Identifier: MIT */
/*
 * xenstore under attack: one guest tries to exhaust the server in every way it can. Meanwhile the
 * memory that it takes stays bounded, another guest gets its reply within a few turns of the
 * reactor, every refusal is counted, and after the attacker's end all memory is free again. If
 * these fail, one guest takes xenstore, and with it all disks, from all others.
 */
#include "xenstore_rig.h"

#define ATTACKER 1
#define VICTIM   2

/* A victim gets its reply within so many turns, for any action of the attacker in each of them. */
#define TURNS_MAX 8

static struct xs_guest *attacker, *victim;
static uint64_t used_before; /* with all guests present, before the attack */
static struct dgm_xs_counters before;

static int start(void **state)
{
    xs_rig_start_with(1 << 20, NULL);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/shared", ""}), DGM_OK);
    assert_int_equal(
        dgm_xs_set_access(xs_rig.xs, "/shared",
                          (struct dgm_xs_access){.owner = ATTACKER, .others_read = true}),
        DGM_OK);
    attacker = xs_guest_start(ATTACKER);
    victim = xs_guest_start(VICTIM);
    assert_reply(victim, XS_WRITE, "mine|safe", "OK|");
    used_before = xs_rig_used();
    dgm_xs_counters(xs_rig.xs, &before);
    return 0;
}

static struct dgm_xs_counters read_counters(void)
{
    struct dgm_xs_counters now;

    dgm_xs_counters(xs_rig.xs, &now);
    assert_true(now.memory_used <= now.memory_bytes);
    return now;
}

/* The attacker ends and leaves nothing, and the victim has lost nothing. */
static int stop(void **state)
{
    assert_reply(victim, XS_READ, "mine|", "safe");
    dgm_xs_release(xs_rig.xs, ATTACKER);
    dgm_xs_rm(xs_rig.xs, "/local/domain/1");
    dgm_xs_rm(xs_rig.xs, "/shared");
    xs_rig_run();
    assert_true(xs_rig_used() < used_before);
    return xs_rig_stop(state);
}

/* --- attackers and victims, without a check of the whole store after each request --- */

/* Fills the ring with whole messages and returns their number. The guest reads no reply, but moves
 * its index as if it had. */
static unsigned fill_request_ring(struct xs_guest *guest, const struct xs_message *message)
{
    struct xenstore_domain_interface *const page = guest->page;
    const size_t bytes = sizeof message->header + message->header.len;
    unsigned count = 0;

    page->rsp_cons = page->rsp_prod;
    while (XENSTORE_RING_SIZE - (page->req_prod - page->req_cons) >= bytes) {
        for (size_t i = 0; i < bytes; i++)
            page->req[MASK_XENSTORE_IDX(page->req_prod + i)] = ((const char *)message)[i];
        page->req_prod += (uint32_t)bytes;
        count++;
    }
    xs_guest_kick(guest);
    return count;
}

/* The victim sends a request while the attacker pumps in each turn. Returns the turns it took. */
static unsigned victim_waits(void (*pump)(void))
{
    static struct xs_message message;
    unsigned turns = 0;

    xs_guest_make(victim, &message, XS_READ, 0, "mine", 5);
    victim->replied = false;
    assert_int_equal(xs_guest_put(victim, (const char *)&message, sizeof message.header + 5),
                     sizeof message.header + 5);
    while (!victim->replied) {
        pump();
        dgm_reactor_turn(&xs_rig.reactor);
        xs_guest_listen(victim);
        assert_true(++turns <= TURNS_MAX);
    }
    assert_string_equal(xs_guest_reply(victim), "safe");
    return turns;
}

/* --- a million requests --- */

static struct xs_message kinds[6];
static uint64_t sent;

static void pump_requests(void)
{
    static unsigned which;

    sent += fill_request_ring(attacker, &kinds[which++ % 6]);
}

static void a_million_requests(void **state)
{
    sent = 0;
    xs_guest_make(attacker, &kinds[0], XS_READ, 0, "a", 2);
    xs_guest_make(attacker, &kinds[1], XS_WRITE, 0, "a\0b", 3);
    xs_guest_make(attacker, &kinds[2], XS_DIRECTORY, 0, "", 1); /* refused */
    xs_guest_make(attacker, &kinds[3], 99, 0, "", 0);           /* unknown */
    xs_guest_make(attacker, &kinds[4], XS_WRITE, 7, "c\0d", 3); /* no such transaction */
    xs_guest_make(attacker, &kinds[5], XS_RM, 0, "a", 2);
    while (sent < 1000000) {
        for (unsigned i = 0; i < 100; i++) {
            pump_requests();
            dgm_reactor_turn(&xs_rig.reactor);
        }
        victim_waits(pump_requests);
    }
    xs_rig_run();
    /* The attacker's last replies wait for room in its ring; the rest was served, and counted. */
    const struct dgm_xs_counters now = read_counters();
    assert_in_range(now.requests - before.requests, 990000, sent + 20000);
    assert_true(now.errors - before.errors > 300000);
    assert_int_equal(now.protocol_errors, before.protocol_errors);
    assert_true(now.memory_used < used_before + 4 * 176);
}

/* --- watches --- */

static void watches_without_end(void **state)
{
    char payload[1200];
    unsigned accepted = 0, refused = 0;

    /* Paths and tokens of the greatest length. */
    for (unsigned i = 0; i < 400; i++) {
        memset(payload, 'w', sizeof payload);
        const int path = snprintf(payload, sizeof payload, "%04u", i);
        payload[path] = 'w';
        payload[900] = '\0';
        payload[964] = '\0';
        const char *const error = xs_quick(attacker, XS_WATCH, 0, payload, 965);

        accepted += !*error;
        refused += *error != '\0';
        if (*error)
            assert_true(!strcmp(error, "E2BIG") || !strcmp(error, "ENOSPC"));
    }
    assert_int_equal(accepted, dgm_xs_limits_default.watches);
    assert_int_equal(read_counters().quota_refusals - before.quota_refusals, refused);
    assert_true(xs_rig_used() - used_before < 1 << 19);
    dgm_xs_check(xs_rig.xs);

    assert_string_equal(xs_quick(attacker, XS_RESET_WATCHES, 0, "", 1), "");
    xs_rig_run();
    assert_int_equal(xs_rig_used(), used_before);
}

/* Setting and removing the same watch many times. */
static void watch_and_unwatch(void **state)
{
    for (unsigned i = 0; i < 5000; i++) {
        assert_string_equal(xs_quick(attacker, XS_WATCH, 0, "x\0t", 4), "");
        if (i % 7)
            assert_string_equal(xs_quick(attacker, XS_WATCH, 0, "x\0t", 4), "EEXIST");
        assert_string_equal(xs_quick(attacker, XS_UNWATCH, 0, "x\0t", 4), "");
    }
    xs_rig_run();
    assert_int_equal(xs_rig_used(), used_before);
}

/* --- transactions --- */

static void transactions_never_ended(void **state)
{
    uint32_t ids[16];
    unsigned open = 0;
    const char *error;
    char payload[64];

    for (unsigned i = 0; i < 500; i++) {
        error = xs_quick(attacker, XS_TRANSACTION_START, 0, "", 1);
        if (!*error && open < 16)
            ids[open++] = (uint32_t)strtoul(attacker->reply.payload, NULL, 10);
        else
            assert_string_equal(error, "ENOSPC");
    }
    assert_int_equal(open, dgm_xs_limits_default.transactions);
    assert_int_equal(read_counters().quota_refusals - before.quota_refusals, 490);

    /* Each is filled until it is refused. */
    for (unsigned i = 0; i < open; i++) {
        unsigned written = 0;

        do {
            const int length = snprintf(payload, sizeof payload, "t%u/%u", i, written++) + 1;

            error = xs_quick(attacker, XS_WRITE, ids[i], payload, (size_t)length);
            assert_true(written < 3000);
        } while (!*error);
        assert_string_equal(error, "ENOSPC");
    }
    dgm_xs_check(xs_rig.xs);

    /* The victim's own transactions neither fail nor need a retry. */
    for (unsigned i = 0; i < 20; i++) {
        const uint32_t tx = xs_start_transaction(victim);

        assert_reply_in(victim, tx, XS_WRITE, "mine|safe", "OK|");
        assert_string_equal(xs_end_transaction(victim, tx, "T|"), "OK|");
    }
    assert_string_equal(xs_quick(attacker, XS_RESET_WATCHES, 0, "", 1), "");
    xs_rig_run();
    assert_int_equal(xs_rig_used(), used_before);
}

/* --- giant values --- */

static unsigned fill_with_giants(struct xs_guest *guest)
{
    static char payload[4096];
    unsigned nodes = 0;
    const char *error;

    memset(payload, 'v', sizeof payload);
    do {
        const int length = snprintf(payload, 64, "giant%u", nodes) + 1;

        payload[length] = 'v';
        error = xs_quick(guest, XS_WRITE, 0, payload,
                         (size_t)length + dgm_xs_limits_default.value_bytes);
        nodes += !*error;
    } while (!*error);
    assert_string_equal(error, "ENOSPC");
    return nodes;
}

static void giant_values(void **state)
{
    static char payload[4096] = "giant";

    assert_string_equal(
        xs_quick(attacker, XS_WRITE, 0, payload, 6 + dgm_xs_limits_default.value_bytes + 1),
        "ENOSPC");
    assert_string_equal(xs_quick(attacker, XS_WRITE, 0, payload, 4096), "ENOSPC");
    assert_int_equal(xs_rig_used(), used_before);
    assert_int_equal(read_counters().quota_refusals - before.quota_refusals, 2);

    /* A thousand nodes of 2 KiB would be all of the memory twice. */
    assert_true(fill_with_giants(attacker) > 100);
    dgm_xs_check(xs_rig.xs);
    assert_reply(victim, XS_WRITE, "other|value", "OK|");
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/tool/ours", "value"}), DGM_OK);
    assert_int_equal(dgm_xs_rm(xs_rig.xs, "/tool"), DGM_OK);
}

/* Every guest but one takes all it can get: what is reserved for that one is still free. */
static void all_against_one(void **state)
{
    struct xs_guest *others[29];
    char path[32];

    for (domid_t i = 0; i < 29; i++) {
        others[i] = xs_guest_start((domid_t)(3 + i));
        fill_with_giants(others[i]);
    }
    fill_with_giants(attacker);
    for (unsigned i = 0; i < 29; i++)
        fill_with_giants(others[i]);
    dgm_xs_check(xs_rig.xs);
    for (unsigned i = 0; i < 50; i++) {
        snprintf(path, sizeof path, "kept/%u|value", i);
        assert_reply(victim, XS_WRITE, path, "OK|");
    }
    assert_reply(victim, XS_WATCH, "mine|token|", "OK|");
    for (unsigned i = 0; i < 29; i++) {
        dgm_xs_release(xs_rig.xs, others[i]->domid);
        snprintf(path, sizeof path, "/local/domain/%u", others[i]->domid);
        assert_int_equal(dgm_xs_rm(xs_rig.xs, path), DGM_OK);
    }
    assert_string_equal(xs_ask(victim, XS_RM, "kept|"), "OK|");
    assert_string_equal(xs_ask(victim, XS_UNWATCH, "mine|token|"), "OK|");
}

/* A length that no message has ends the service, and is counted. */
static void message_too_long(void **state)
{
    const struct xsd_sockmsg header = {.type = XS_WRITE, .len = XENSTORE_PAYLOAD_MAX + 1};

    xs_guest_put(attacker, (const char *)&header, sizeof header);
    xs_rig_run();
    assert_int_equal(read_counters().protocol_errors - before.protocol_errors, 1);
    assert_int_equal(attacker->page->error, XENSTORE_ERROR_PROTO);
    assert_reply(victim, XS_READ, "mine|", "safe");
}

/* --- deep paths --- */

static void deep_paths(void **state)
{
    char path[DGM_XS_PATH_MAX + 8];
    size_t length = 0;

    for (unsigned level = 3; level < DGM_XS_LEVELS_MAX; level++) { /* below the home's three */
        path[length++] = 'd';
        path[length++] = '/';
    }
    path[--length] = '\0';
    assert_string_equal(xs_quick(attacker, XS_WATCH, 0, "d\0t", 4), "");
    for (unsigned i = 0; i < 20; i++) {
        assert_string_equal(xs_quick(attacker, XS_MKDIR, 0, path, length + 1), "");
        dgm_xs_check(xs_rig.xs);
        assert_string_equal(xs_quick(attacker, XS_RM, 0, "d", 2), "");
    }
    xs_rig_run();
    xs_guest_listen(attacker);
    assert_string_equal(xs_quick(attacker, XS_UNWATCH, 0, "d\0t", 4), "");
    assert_int_equal(xs_rig_used(), used_before);

    /* Deeper, and longer, than a path may be. */
    strcpy(path + length, "/d");
    assert_string_equal(xs_quick(attacker, XS_MKDIR, 0, path, length + 3), "EINVAL");
    memset(path, 'd', sizeof path);
    path[sizeof path - 1] = '\0';
    assert_string_equal(xs_quick(attacker, XS_MKDIR, 0, path, sizeof path), "EINVAL");
    assert_int_equal(xs_rig_used(), used_before);
}

/* --- watch floods --- */

static struct xs_message shared_write;

static void pump_shared(void)
{
    char payload[64];
    const size_t length =
        (size_t)snprintf(payload, sizeof payload, "/shared/%u", (unsigned)(sent++ % 900)) + 1;

    xs_guest_make(attacker, &shared_write, XS_WRITE, 0, payload, length);
    fill_request_ring(attacker, &shared_write);
}

/* A guest watches what the attacker may write, and does not read (XSA-349). */
static void flood_of_events(void **state)
{
    struct xs_guest *const sleeper = xs_guest_start(3);
    char payload[64];
    uint64_t most = 0;

    sent = 0;
    for (unsigned i = 0; i < dgm_xs_limits_default.watches; i++) {
        const int length = snprintf(payload, sizeof payload, "/shared|%u|", i);

        for (int c = 0; c < length; c++)
            if (payload[c] == '|')
                payload[c] = '\0';
        assert_string_equal(xs_quick(sleeper, XS_WATCH, 0, payload, (size_t)length), "");
    }
    xs_rig_run();
    xs_guest_listen(sleeper);
    sleeper->lazy = true;
    for (unsigned i = 0; read_counters().requests - before.requests <= 20000; i++) {
        assert_true(i < 100000);
        pump_shared();
        dgm_reactor_turn(&xs_rig.reactor);
        if (i % 100 == 0) {
            victim_waits(pump_shared);
            if (xs_rig_used() > most)
                most = xs_rig_used();
        }
    }
    xs_rig_run();
    assert_true(read_counters().requests - before.requests > 20000);
    /* 900 nodes of the attacker's, and the sleeper's watches and its bounded queue. */
    assert_true(most - used_before < (900 + dgm_xs_limits_default.watches * 2 + 256) * 176);

    /* Now it reads: a bounded number of events, at least one for each watch that fired. */
    sleeper->lazy = false;
    sleeper->event_count = 0;
    const uint64_t events = read_counters().watch_events;
    do
        xs_rig_run();
    while (xs_guest_listen(sleeper));
    assert_true(read_counters().watch_events - events <=
                DGM_XS_EVENTS_MAX + dgm_xs_limits_default.watches + 64);
    assert_true(sleeper->event_count > 0);
    assert_reply(sleeper, XS_RESET_WATCHES, "|", "OK|");
    dgm_xs_release(xs_rig.xs, 3);
    dgm_xs_rm(xs_rig.xs, "/local/domain/3");
}

/* The attacker's own watches on what it writes itself: it only slows itself down. */
static void flood_of_itself(void **state)
{
    char payload[32];

    for (unsigned i = 0; i < 100; i++) {
        const int length = snprintf(payload, sizeof payload, "/shared");

        const int end = length + 1 + snprintf(payload + length + 1, 8, "%u", i) + 1;
        assert_string_equal(xs_quick(attacker, XS_WATCH, 0, payload, (size_t)end), "");
    }
    sent = 0;
    for (unsigned i = 0; i < 300; i++) {
        pump_shared();
        victim_waits(pump_shared);
    }
    xs_rig_run();
}

/* --- a guest that never reads --- */

static void pump_unread(void)
{
    static struct xs_message message;

    xs_guest_make(attacker, &message, XS_READ, 0, "nothing", 8);
    xs_guest_put(attacker, (const char *)&message, sizeof message.header + 8);
    xs_guest_kick(attacker);
}

static void never_reads(void **state)
{
    attacker->lazy = true;
    for (unsigned i = 0; i < 2000; i++) {
        pump_unread();
        dgm_reactor_turn(&xs_rig.reactor);
        if (i % 10 == 0)
            victim_waits(pump_unread);
    }
    xs_rig_run(); /* it stops itself: the server has nothing to do */
    assert_true(attacker->page->rsp_prod - attacker->page->rsp_cons <= XENSTORE_RING_SIZE);
    assert_true(read_counters().requests - before.requests < 400);
    assert_true(xs_rig_used() < used_before + 4 * 176);
}

/* --- coming and going --- */

static void is_introduced_and_released(void **state)
{
    for (unsigned i = 0; i < 2000; i++) {
        dgm_xs_release(xs_rig.xs, ATTACKER);
        attacker->page->connection = XENSTORE_RECONNECT;
        assert_int_equal(dgm_xs_introduce(xs_rig.xs, ATTACKER, attacker->page, 7), DGM_OK);
        attacker->in_bytes = 0;
        xs_quick(attacker, XS_WATCH, 0, "x\0t", 4);
        xs_quick(attacker, XS_TRANSACTION_START, 0, "", 1);
        xs_rig.next_port = 1 + xs_rig.next_port % 1000; /* ports are used again */
        if (xs_rig.next_port == victim->port)
            xs_rig.next_port++;
    }
    xs_rig_run();
    assert_string_equal(xs_quick(attacker, XS_RESET_WATCHES, 0, "", 1), "");
    xs_rig_run();
    assert_int_equal(xs_rig_used(), used_before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_million_requests),       TEST(watches_without_end), TEST(watch_and_unwatch),
        TEST(transactions_never_ended), TEST(giant_values),        TEST(all_against_one),
        TEST(message_too_long),         TEST(deep_paths),          TEST(flood_of_events),
        TEST(flood_of_itself),          TEST(never_reads),         TEST(is_introduced_and_released),
    };

    return cmocka_run_group_tests_name("xenstore under attack", tests, NULL, NULL);
}
