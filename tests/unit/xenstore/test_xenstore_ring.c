/* SPDX-License-Identifier: MIT */
/*
 * xenstore over its ring: messages in any pieces, indices that wrap, guests that break the rules,
 * do not read, or never stop. If these fail, a guest hangs, or one guest stops Dragoman or another.
 */
#include "xenstore_rig.h"

#include <port/env.h>

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

static void pieces_of_every_size(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    static struct xs_message message;
    char path[] = "a/b";

    for (size_t piece = 1; piece < 80; piece++) {
        memcpy(message.payload, path, sizeof path);
        memset(message.payload + sizeof path, (int)('a' + piece % 26), 60);
        xs_guest_make(guest, &message, XS_WRITE, 0, NULL, 0);
        message.header.len = sizeof path + 60;
        guest->replied = false;
        xs_guest_send_in_pieces(guest, &message, piece);
        xs_rig_run();
        xs_guest_listen(guest);
        assert_true(guest->replied);
        assert_string_equal(xs_guest_reply(guest), "OK|");
        xs_ask(guest, XS_READ, "a/b|");
        assert_int_equal(guest->reply.header.len, 60);
        assert_memory_equal(guest->reply.payload, message.payload + sizeof path, 60);
    }
}

/* Requests and replies four times as large as the ring, at every offset,
 * over the wrap of indices. */
static void large_messages_and_wraps(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    static char payload[XENSTORE_PAYLOAD_MAX];
    char value[XENSTORE_PAYLOAD_MAX];

    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (char)('a' + i % 23);
    memcpy(payload, "v", 2);
    /* Close to the wrap of 32 bits; a connection itself starts at 0. */
    xs_rig.xs->domains[0].request_consumed = xs_rig.xs->domains[0].response_produced = 0u - 20000;
    guest->page->req_cons = guest->page->req_prod = 0u - 20000;
    guest->page->rsp_cons = guest->page->rsp_prod = 0u - 20000;
    for (size_t length = 1; length <= 2048; length += 61) {
        xs_guest_call(guest, XS_WRITE, 0, payload, 2 + length);
        assert_string_equal(xs_guest_reply(guest), "OK|");
        xs_ask(guest, XS_READ, "v|");
        assert_int_equal(guest->reply.header.len, length);
        memcpy(value, guest->reply.payload, length);
        assert_memory_equal(value, payload + 2, length);
    }
    assert_true(guest->page->req_prod < 1000000);
    /* A payload of the greatest length. */
    memset(payload, 'x', sizeof payload);
    xs_guest_call(guest, XS_READ, 0, payload, sizeof payload);
    assert_string_equal(xs_guest_reply(guest), "!EINVAL");
}

static void assert_stopped(struct xs_guest *guest, uint32_t error)
{
    struct dgm_xs_counters counters;

    xs_rig_run();
    dgm_xs_counters(xs_rig.xs, &counters);
    assert_int_equal(counters.protocol_errors, 1);
    assert_int_equal(guest->page->error, error);
    assert_non_null(strstr(dgm_sim_last_log(), "no longer served"));
    for (unsigned i = 0; i < 3; i++) {
        guest->page->req_prod += 16;
        xs_guest_kick(guest);
        xs_rig_run();
    }
    dgm_xs_counters(xs_rig.xs, &counters);
    assert_int_equal(counters.protocol_errors, 1); /* logged once */
    assert_int_equal(guest->page->rsp_prod, guest->page->rsp_cons);
}

static void hostile_request_index(void **state)
{
    static const uint32_t indices[] = {1025, 4096, 0x80000000u, 0xffffffffu};

    for (size_t i = 0; i < sizeof indices / sizeof indices[0]; i++) {
        struct xs_guest *const bad = xs_guest_start(1), *const good = xs_guest_start(2);
        uint64_t used;

        assert_reply(bad, XS_WATCH, "a|t|", "OK|");
        assert_events(bad, "a t;");
        xs_start_transaction(bad);
        bad->page->req_prod = bad->page->req_cons + indices[i];
        xs_guest_kick(bad);
        assert_stopped(bad, XENSTORE_ERROR_RINGIDX);
        used = xs_rig_used();
        assert_reply(good, XS_WRITE, "a|b", "OK|");
        assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/local/domain/1/a", ""}),
                         DGM_OK);
        xs_rig_run();
        assert_int_equal(xs_rig_used(), used + 2 * DGM_XS_CELL_BYTES);
        dgm_xs_release(xs_rig.xs, 1);
        xs_rig_stop(NULL);
        xs_rig_start(NULL);
    }
}

static void hostile_response_index(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    struct xs_message message;

    guest->page->rsp_cons = 1; /* rsp_cons beyond rsp_prod */
    xs_guest_make(guest, &message, XS_READ, 0, "a", 2);
    xs_guest_put(guest, (const char *)&message, sizeof message.header + 2);
    xs_rig_run();
    guest->page->rsp_cons = guest->page->rsp_prod;
    assert_stopped(guest, XENSTORE_ERROR_RINGIDX);
}

/* Our indices are only published in the page: what the guest writes there has no effect. */
static void our_indices_are_ours(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    uint32_t produced;

    assert_reply(guest, XS_WRITE, "a|b", "OK|");
    produced = guest->page->rsp_prod;
    guest->page->rsp_prod = 0xdeadbeef;
    guest->page->req_cons = 0xdeadbeef;
    guest->page->req_prod += 0;
    xs_guest_kick(guest);
    xs_rig_run();
    guest->page->rsp_prod = produced;
    guest->page->req_cons = guest->page->req_prod;
    assert_reply(guest, XS_READ, "a|", "b");
}

static void message_too_long(void **state)
{
    static const uint32_t lengths[] = {4097, 0x10000, 0x7fffffff, 0xffffffff, 0xfffffff0};

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct xs_guest *const guest = xs_guest_start(1);
        struct xsd_sockmsg header = {.type = XS_READ, .len = lengths[i]};

        xs_guest_put(guest, (const char *)&header, sizeof header);
        assert_stopped(guest, XENSTORE_ERROR_PROTO);
        xs_rig_stop(NULL);
        xs_rig_start(NULL);
    }
}

/* A guest that fills its ring again and again within one turn: the others get their turns. */
static struct dgm_task flood;
static struct xs_guest *flooder;
static unsigned floods;

static void flood_more(struct dgm_task *task)
{
    struct xsd_sockmsg header = {.type = XS_READ, .len = 0};

    flooder->page->rsp_cons = flooder->page->rsp_prod;
    while (xs_guest_put(flooder, (const char *)&header, sizeof header) == sizeof header)
        ;
    xs_guest_kick(flooder);
    floods++;
    dgm_reactor_post(&xs_rig.reactor, task);
}

static void endless_sender(void **state)
{
    struct xs_guest *const victim = xs_guest_start(1);
    struct dgm_xs_counters before, after;
    struct xs_message message;
    unsigned turns = 0;

    flooder = xs_guest_start(2);
    flood.run = flood_more;
    floods = 0;
    dgm_reactor_post(&xs_rig.reactor, &flood);
    for (unsigned i = 0; i < 10; i++)
        dgm_reactor_turn(&xs_rig.reactor);
    xs_guest_make(victim, &message, XS_WRITE, 0, "a\0b", 3);
    xs_guest_put(victim, (const char *)&message, sizeof message.header + 3);
    dgm_xs_counters(xs_rig.xs, &before);
    victim->replied = false;
    for (; !victim->replied; turns++) {
        assert_true(turns < 4);
        dgm_reactor_turn(&xs_rig.reactor);
        xs_guest_listen(victim);
    }
    dgm_xs_counters(xs_rig.xs, &after);
    assert_true(floods > 10);
    assert_true(after.work - before.work <= (turns + 1) * DGM_XS_WORK_PER_TURN);
    assert_true(after.work_turn_max <= DGM_XS_WORK_PER_TURN + 100); /* and one small request */
    dgm_reactor_withdraw(&xs_rig.reactor, &flood);
}

/* One message; xs_guest_listen() is for one reply at a time. */
static bool listen_once(struct xs_guest *guest)
{
    char bytes[sizeof guest->in.header + 17]; /* "/local/domain/1" */

    return xs_guest_get(guest, bytes, sizeof bytes - 1) != 0;
}

/* A guest that never reads: it is served until the ring is full, and stops only its own service. */
static void never_reading_receiver(void **state)
{
    struct xs_guest *const lazy = xs_guest_start(1), *const other = xs_guest_start(2);
    const uint64_t used = xs_rig_used();
    struct dgm_xs_counters counters;
    struct xs_message message;

    lazy->lazy = true;
    for (unsigned i = 0; i < 5000; i++) {
        xs_guest_make(lazy, &message, XS_GET_DOMAIN_PATH, 0, "1", 2);
        xs_guest_put(lazy, (const char *)&message, sizeof message.header + 2);
        xs_rig_run();
    }
    dgm_xs_counters(xs_rig.xs, &counters);
    assert_true(counters.requests < 40);
    assert_int_equal(xs_rig_used(), used);
    assert_int_equal(lazy->page->rsp_prod - lazy->page->rsp_cons, XENSTORE_RING_SIZE);
    assert_reply(other, XS_WRITE, "a|b", "OK|");
    /* When it reads, it gets a reply to every request that it could send. */
    lazy->lazy = false;
    do {
        xs_rig_run();
        lazy->replied = false;
    } while (listen_once(lazy));
    assert_int_equal(lazy->page->rsp_prod, lazy->page->rsp_cons);
    assert_true(lazy->page->req_cons == lazy->page->req_prod ||
                lazy->page->req_prod - lazy->page->req_cons < 18);
}

/* Half a message; the rest never arrives. */
static void half_a_message(void **state)
{
    struct xs_guest *const half = xs_guest_start(1), *const other = xs_guest_start(2);
    struct xsd_sockmsg header = {.type = XS_WRITE, .len = 4096};

    xs_guest_put(half, (const char *)&header, 9);
    xs_rig_run();
    assert_reply(other, XS_WRITE, "a|b", "OK|");
    xs_guest_put(half, (const char *)&header + 9, 7);
    xs_rig_run();
    assert_int_equal(half->page->req_cons, 16);
    xs_guest_put(half, "abcdef", 6);
    xs_rig_run();
    assert_int_equal(half->page->req_cons, 22);
    assert_reply(other, XS_READ, "a|", "b");
    dgm_xs_release(xs_rig.xs, 1);
}

/*
 * Fails: a guest hangs that sends no event for the end of its request. Linux does so if it reads
 * our index before its own is visible to us.
 */
static void an_event_is_not_sent(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    static struct xs_message message;
    size_t length;
    uint32_t end;

    xs_guest_make(guest, &message, XS_WRITE, 0, "a\0b", 3);
    length = sizeof message.header + message.header.len;
    guest->replied = false;
    xs_guest_put(guest, (const char *)&message, length - 1);
    xs_rig_run();
    end = guest->page->req_prod;
    guest->page->req[MASK_XENSTORE_IDX(end)] = 'b';
    guest->page->req_prod = end + 1;
    xs_rig_run();
    assert_int_equal(guest->page->req_cons, end);
    dgm_sim_set_now_ns(dgm_env_now_ns() + 2000000);
    xs_rig_run();
    xs_guest_listen(guest);
    assert_true(guest->replied);
    assert_string_equal(xs_guest_reply(guest), "OK|");
    assert_reply(guest, XS_READ, "a|", "b");
}

/* Notifications are few: one per run in which something moved. */
static void notifications_are_few(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    const unsigned before = guest->notified;

    assert_reply(guest, XS_WRITE, "a|b", "OK|");
    assert_true(guest->notified > before);
    assert_true(guest->notified <= before + 3);
}

/*
 * Two threads, as on two CPUs: a guest that waits for events as Linux does and the server that
 * sleeps when it has no work. A wake-up that is lost on either side hangs, and the alarm ends it.
 */
static unsigned to_guest, to_server; /* events, set and taken atomically */
static bool finished;

static long threaded_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                               uint64_t a5)
{
    if (a1 == EVTCHNOP_send)
        __atomic_store_n(&to_guest, 1, __ATOMIC_SEQ_CST);
    return xs_rig_hypercall(op, a1, a2, a3, a4, a5);
}

static void wait_event(unsigned *event)
{
    while (!__atomic_exchange_n(event, 0, __ATOMIC_SEQ_CST) &&
           !__atomic_load_n(&finished, __ATOMIC_SEQ_CST))
        sched_yield();
}

/* xb_write() and xb_read() with Linux's barriers. */
static void thread_write(volatile struct xenstore_domain_interface *page, const char *bytes,
                         size_t count)
{
    while (count) {
        const uint32_t produced = page->req_prod;
        size_t room = XENSTORE_RING_SIZE - (produced - page->req_cons);

        if (!room) {
            wait_event(&to_guest);
            continue;
        }
        if (room > count)
            room = count;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        for (size_t i = 0; i < room; i++)
            page->req[MASK_XENSTORE_IDX(produced + i)] = *bytes++;
        count -= room;
        __atomic_thread_fence(__ATOMIC_RELEASE);
        page->req_prod = produced + (uint32_t)room;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (produced <= page->req_cons)
            __atomic_store_n(&to_server, 1, __ATOMIC_SEQ_CST);
    }
}

static void thread_read(volatile struct xenstore_domain_interface *page, char *bytes, size_t count)
{
    while (count) {
        const uint32_t consumed = page->rsp_cons;
        size_t there = page->rsp_prod - consumed;

        if (!there) {
            wait_event(&to_guest);
            continue;
        }
        if (there > count)
            there = count;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        for (size_t i = 0; i < there; i++)
            *bytes++ = page->rsp[MASK_XENSTORE_IDX(consumed + i)];
        count -= there;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        page->rsp_cons = consumed + (uint32_t)there;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (page->rsp_prod - consumed >= XENSTORE_RING_SIZE)
            __atomic_store_n(&to_server, 1, __ATOMIC_SEQ_CST);
    }
}

static void *thread_guest(void *argument)
{
    struct xs_guest *const guest = argument;
    static struct xs_message message, reply;
    size_t value = 1;

    for (unsigned i = 0; i < 3000; i++) {
        value = (value * 7 + i) % 2000;
        memcpy(message.payload, "v", 2);
        memset(message.payload + 2, (int)('a' + i % 26), value);
        xs_guest_make(guest, &message, i % 2 ? XS_READ : XS_WRITE, 0, NULL, 0);
        message.header.len = (uint32_t)(i % 2 ? 2 : 2 + value);
        thread_write(guest->page, (char *)&message, sizeof message.header + message.header.len);
        thread_read(guest->page, (char *)&reply, sizeof reply.header);
        if (reply.header.len > XENSTORE_PAYLOAD_MAX || reply.header.req_id != message.header.req_id)
            abort();
        thread_read(guest->page, reply.payload, reply.header.len);
    }
    __atomic_store_n(&finished, true, __ATOMIC_SEQ_CST);
    return guest;
}

static void two_threads(void **state)
{
    static const struct dgm_sim_machine machine = {.hypercall = threaded_hypercall};
    struct xs_guest *const guest = xs_guest_start(1);
    struct dgm_xs_counters counters;
    pthread_t thread;
    void *result;

    finished = false;
    to_guest = to_server = 0;
    dgm_sim_attach(&machine);
    alarm(600);
    assert_int_equal(pthread_create(&thread, NULL, thread_guest, guest), 0);
    while (!__atomic_load_n(&finished, __ATOMIC_SEQ_CST)) {
        wait_event(&to_server);
        xs_guest_kick(guest);
        while (dgm_reactor_turn(&xs_rig.reactor))
            ;
    }
    assert_int_equal(pthread_join(thread, &result), 0);
    alarm(0);
    assert_ptr_equal(result, guest);
    dgm_xs_counters(xs_rig.xs, &counters);
    assert_int_equal(counters.requests, 3000);
    assert_int_equal(counters.errors, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, xs_rig_start, xs_rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pieces_of_every_size),   TEST(large_messages_and_wraps), TEST(hostile_request_index),
        TEST(hostile_response_index), TEST(our_indices_are_ours),     TEST(message_too_long),
        TEST(endless_sender),         TEST(never_reading_receiver),   TEST(half_a_message),
        TEST(an_event_is_not_sent),   TEST(notifications_are_few),    TEST(two_threads),
    };

    return cmocka_run_group_tests_name("xenstore ring", tests, NULL, NULL);
}
