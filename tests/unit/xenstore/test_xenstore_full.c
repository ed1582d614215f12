/* SPDX-License-Identifier: MIT */
/*
 * xenstore with as many guests as it serves, all at their limits in a store that is full. Requests
 * are random, with a fixed seed: values of any size, watches that fire while memory is short,
 * transactions that commit then, guests that do not read, and guests that end. If these fail, a
 * guest stops Dragoman by an assertion, or takes what is reserved for another.
 */
#include "xenstore_rig.h"
#include <xenstore/store.h>

#define GUESTS       DGM_XS_DOMAINS_MAX
#define BYTES        (640u << 10) /* the least that serves all of them, and about 2,000 cells */
#define SHARED       "/shared"
#define TRANSACTIONS 3

static const struct dgm_xs_limits limits = {
    .nodes = 1000, .watches = 40, .transactions = TRANSACTIONS, .value_bytes = 2048};

static struct {
    uint32_t transactions[TRANSACTIONS]; /* 0: none */
} state_of[GUESTS];

static int start(void **state)
{
    xs_rig_start_with(BYTES, &limits);
    memset(state_of, 0, sizeof state_of);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){SHARED, ""}), DGM_OK);
    /* Every guest may write here, so that the watches of all fire by the requests of each. */
    const struct dgm_xs_perms open = {.entry = {{0, DGM_XS_READ | DGM_XS_WRITE}}, .count = 1};

    assert_int_equal(dgm_xs_store_set_perms(xs_rig.xs, &DGM_XS_DOM0, SHARED, &open), DGM_OK);
    for (domid_t i = 0; i < GUESTS; i++)
        xs_guest_start((domid_t)(1 + i));
    unit_seed();
    return 0;
}

static const char *random_path(domid_t domid)
{
    static char path[128];
    size_t length;

    if (unit_chance(60))
        length = (size_t)sprintf(path, SHARED);
    else
        length = (size_t)sprintf(path, "/local/domain/%u", domid);
    for (unsigned levels = (unsigned)unit_below(4); levels; levels--) {
        const char letter = (char)('a' + unit_below(8));

        length += (size_t)sprintf(path + length, "/%c%s", letter,
                                  unit_chance(5) ? "-a-name-too-long-for-one-cell-alone" : "");
    }
    return path;
}

/* Puts the path, a NUL and `more` bytes into the payload. */
static size_t payload_of(char *payload, domid_t domid, size_t more)
{
    const size_t length = (size_t)sprintf(payload, "%s", random_path(domid)) + 1;

    memset(payload + length, 'x', more);
    return length + more;
}

static void random_request(struct xs_guest *guest)
{
    static char payload[XENSTORE_PAYLOAD_MAX];
    uint32_t *const slot = &state_of[guest->domid - 1].transactions[unit_below(TRANSACTIONS)];
    const uint32_t tx = unit_chance(60) ? *slot : 0;
    const unsigned what = (unsigned)unit_below(100);
    size_t bytes;

    if (what < 45) {
        bytes = payload_of(payload, guest->domid, unit_below(unit_chance(20) ? 2048 : 40));
        xs_quick(guest, XS_WRITE, tx, payload, bytes);
    } else if (what < 60) {
        bytes = payload_of(payload, guest->domid, 0);
        bytes += (size_t)sprintf(payload + bytes, "%u", (unsigned)unit_below(8)) + 1;
        xs_quick(guest, XS_WATCH, 0, payload, bytes);
    } else if (what < 68) {
        bytes = payload_of(payload, guest->domid, 0);
        if (strcmp(payload, SHARED) != 0 && strlen(payload) > 16)
            xs_quick(guest, XS_RM, tx, payload, bytes);
    } else if (what < 72) {
        bytes = payload_of(payload, guest->domid, 0);
        xs_quick(guest, XS_DIRECTORY, tx, payload, bytes);
    } else if (what < 73) {
        xs_quick(guest, XS_RESET_WATCHES, 0, "", 1);
        memset(&state_of[guest->domid - 1], 0, sizeof state_of[0]);
    } else if (what < 75) {
        bytes = payload_of(payload, guest->domid, 0);
        bytes += (size_t)sprintf(payload + bytes, "b%u", guest->domid) + 1;
        xs_quick(guest, XS_SET_PERMS, tx, payload, bytes);
    } else if (*slot) {
        const char *const error = xs_quick(guest, XS_TRANSACTION_END, *slot, "T", 2);

        assert_true(!*error || !strcmp(error, "EAGAIN") || !strcmp(error, "ENOSPC"));
        *slot = 0;
    } else if (!*xs_quick(guest, XS_TRANSACTION_START, 0, "", 1)) {
        *slot = (uint32_t)strtoul(guest->reply.payload, NULL, 10);
    }
}

/* The guest ends, whatever it holds, and another one with its domid starts. */
static void end_and_return(struct xs_guest *guest)
{
    char home[32];

    snprintf(home, sizeof home, "/local/domain/%u", guest->domid);
    dgm_xs_release(xs_rig.xs, guest->domid);
    dgm_xs_domain_changed(xs_rig.xs);
    (void)dgm_xs_rm(xs_rig.xs, home);
    memset(guest->page, 0, 4096);
    guest->in_bytes = 0;
    memset(&state_of[guest->domid - 1], 0, sizeof state_of[0]);
    if (dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){home, ""}) == DGM_OK)
        dgm_xs_set_access(xs_rig.xs, home, (struct dgm_xs_access){.owner = guest->domid});
    assert_int_equal(dgm_xs_introduce(xs_rig.xs, guest->domid, guest->page, 7), DGM_OK);
    xs_rig.next_port = 1 + xs_rig.next_port % 1000;
    while (xs_rig.evtchn.task[xs_rig.next_port])
        xs_rig.next_port = 1 + xs_rig.next_port % 1000;
}

/* A transaction of many nodes where every guest may have watches. */
static void large_transaction(struct xs_guest *guest)
{
    const unsigned first = (unsigned)unit_below(1000), count = 1 + (unsigned)unit_below(900);
    char payload[64];
    uint32_t tx;

    if (*xs_quick(guest, XS_TRANSACTION_START, 0, "", 1))
        return;
    tx = (uint32_t)strtoul(guest->reply.payload, NULL, 10);
    if (unit_chance(30))
        xs_quick(guest, XS_RM, tx, SHARED "/t", sizeof SHARED "/t");
    for (unsigned i = 0; i < count; i++) {
        const size_t bytes = (size_t)sprintf(payload, SHARED "/t/%u", (first + i) % 1000) + 1;

        if (*xs_quick(guest, XS_WRITE, tx, payload, bytes))
            break;
    }
    xs_quick(guest, XS_TRANSACTION_END, tx, unit_chance(90) ? "T" : "F", 2);
}

static void everything_at_random(void **state)
{
    struct dgm_xs_counters counters;
    uint64_t fullest = 0;

    for (unsigned i = 0; i < 60000; i++) {
        struct xs_guest *const guest = &xs_rig.guests[unit_below(GUESTS)];

        if (unit_below(300) == 0)
            large_transaction(guest);
        else
            random_request(guest);
        guest->event_count = 0;
        if (unit_chance(1))
            dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){random_path(1), "by domain 0"});
        if (unit_below(3000) == 0)
            end_and_return(guest);
        if (i % 64 == 0)
            dgm_xs_check(xs_rig.xs);
        dgm_xs_counters(xs_rig.xs, &counters);
        if (counters.memory_used > fullest)
            fullest = counters.memory_used;
    }
    print_message("# %lu requests, %lu refused for quota or memory, %lu of %lu bytes, %lu events\n",
                  counters.requests, counters.quota_refusals, fullest, counters.memory_bytes,
                  counters.watch_events);
    assert_true(counters.quota_refusals > 5000);
    assert_true(fullest > counters.memory_bytes / 2);
    assert_true(counters.work_request_max <= dgm_xs_work_request_bound(xs_rig.xs));

    for (domid_t domid = 1; domid <= GUESTS; domid++)
        dgm_xs_release(xs_rig.xs, domid);
    dgm_xs_rm(xs_rig.xs, "/local");
    dgm_xs_rm(xs_rig.xs, SHARED);
    xs_rig_run();
    assert_int_equal(xs_rig_used(), DGM_XS_CELL_BYTES); /* the root */
}

/*
 * A commit of a sixth of the cells, more than domain 0's reserve, where 31 guests that do not read
 * watch what it writes. `spare`: what the writer may take beyond what the commit needs.
 */
static const char *commit_beside_events(int spare)
{
    static char payload[XENSTORE_PAYLOAD_MAX];
    const struct dgm_xs_heap *const heap = &xs_rig.xs->heap;
    struct xs_guest *const writer = &xs_rig.guests[0];
    const unsigned count = heap->cells / 6;
    const uint32_t tx = xs_start_transaction(writer);
    const char *verdict;

    for (unsigned n = 0; n < count; n++) {
        const size_t length = (size_t)sprintf(payload, SHARED "/w%u", n) + 1;

        assert_string_equal(xs_quick(writer, XS_WRITE, tx, payload, length), "");
    }
    for (unsigned g = 1; g < GUESTS; g++) {
        assert_string_equal(xs_quick(&xs_rig.guests[g], XS_WATCH, 0, SHARED "\0t", 10), "");
        xs_guest_listen(&xs_rig.guests[g]);
        xs_rig.guests[g].lazy = true;
    }
    for (unsigned n = 0; n < (GUESTS - 1) * heap->guarantee ||
                         (int)heap->free_cells > (int)(heap->unmet + count) + spare;
         n++) {
        sprintf(payload, "/local/domain/%u/fill%u", 2 + n % (GUESTS - 1), n);
        assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){payload, ""}), DGM_OK);
    }
    verdict = xs_quick(writer, XS_TRANSACTION_END, tx, "T", 2);
    dgm_xs_check(xs_rig.xs);
    while (dgm_reactor_turn(&xs_rig.reactor))
        ;
    dgm_xs_check(xs_rig.xs);
    return verdict;
}

/* The commit fits, its events do not: they collapse. */
static void a_commit_beside_its_events(void **state)
{
    assert_string_equal(commit_beside_events(4), "");
}

/* The commit fits only into what is reserved for others. */
static void a_commit_takes_no_reserve(void **state)
{
    assert_string_equal(commit_beside_events(-4), "ENOSPC");
}

/* All guests but one fill the store; what is reserved for that one is there, a commit included. */
static void what_is_reserved_stays(void **state)
{
    static char payload[XENSTORE_PAYLOAD_MAX];
    struct xs_guest *const last = &xs_rig.guests[GUESTS - 1];
    const uint32_t share = xs_rig.xs->heap.guarantee;
    uint32_t tx;

    for (unsigned i = 0; i < 20000; i++)
        random_request(&xs_rig.guests[unit_below(GUESTS - 1)]);
    for (unsigned g = 0; g + 1 < GUESTS; g++)
        for (unsigned n = 0; n < limits.nodes; n++) {
            const size_t length = (size_t)sprintf(payload, "fill%u", n) + 1;

            memset(payload + length, 'x', 500);
            xs_quick(&xs_rig.guests[g], XS_WRITE, 0, payload, length + 500);
        }
    assert_true(share >= 16);
    tx = xs_start_transaction(last);
    for (unsigned n = 0; n < share / 2 - 8; n++) {
        const size_t length = (size_t)sprintf(payload, "mine%u", n) + 1;

        assert_string_equal(xs_quick(last, XS_WRITE, tx, payload, length), "");
    }
    assert_string_equal(xs_quick(last, XS_TRANSACTION_END, tx, "T", 2), "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, xs_rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(everything_at_random),
        TEST(a_commit_beside_its_events),
        TEST(a_commit_takes_no_reserve),
        TEST(what_is_reserved_stays),
    };

    return cmocka_run_group_tests_name("xenstore full", tests, NULL, NULL);
}
