/* SPDX-License-Identifier: MIT */
/*
 * xenstore's work: each request at each limit, with 31 other guests at theirs, costs no more units
 * than stated, and no turn of the reactor more than its budget and one request. Units are counted
 * by the store itself, so the speed of the machine does not matter. If these fail, one guest's
 * xenstore traffic takes the others' disks.
 */
#include "xenstore_rig.h"

#include <dragoman/base/check.h>
#include <xenstore/connection.h>
#include <xenstore/store.h>

#define OTHERS (DGM_XS_DOMAINS_MAX - 1)

static struct xs_guest *attacker, *others[OTHERS];

static int start(void **state)
{
    xs_rig_start_with(2 << 20, NULL);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/s", ""}), DGM_OK);
    attacker = xs_guest_start(1);
    for (domid_t i = 0; i < OTHERS; i++)
        others[i] = xs_guest_start((domid_t)(2 + i));
    assert_string_equal(xs_quick(attacker, XS_WRITE, 0, "s\0x", 3), "");
    assert_string_equal(xs_quick(attacker, XS_SET_PERMS, 0, "s\0b1", 5), "");
    return 0;
}

static void send_fast(struct xs_guest *guest, uint32_t type, uint32_t tx, const char *payload)
{
    static char bytes[XENSTORE_PAYLOAD_MAX];
    const size_t length = strlen(payload);

    for (size_t i = 0; i < length; i++)
        bytes[i] = payload[i] == '|' ? '\0' : payload[i];
    xs_quick(guest, type, tx, bytes, length);
}

/* --- how a store is brought to its limits --- */

/* A path of the attacker's with as many levels as there may be. */
static const char *deepest_path(void)
{
    static char path[DGM_XS_PATH_MAX];
    size_t length = (size_t)sprintf(path, "s");

    for (unsigned level = 4; level < DGM_XS_LEVELS_MAX; level++)
        length += (size_t)sprintf(path + length, "/%.*s", 20, "a-name-of-many-letters");
    return path;
}

/* The deepest path, and `rest` after it. */
static const char *deepest_with(const char *rest)
{
    static char text[DGM_XS_PATH_MAX + 2100];

    strcpy(text, deepest_path());
    strcat(text, rest);
    return text;
}

static void prepare_nothing(void)
{
}

static void prepare_deep_value(void)
{
    static char value[2050] = "|";

    memset(value + 1, 'v', 2048);
    send_fast(attacker, XS_WRITE, 0, deepest_with(value));
    assert_true(attacker->reply.header.type == XS_WRITE);
}

static void prepare_deep_chain(void)
{
    send_fast(attacker, XS_MKDIR, 0, deepest_with("|"));
    assert_true(attacker->reply.header.type == XS_MKDIR);
}

/* As many children of one directory as a guest may have. */
static void prepare_children(void)
{
    char payload[64];

    for (unsigned i = 0; i < 1000; i++) {
        snprintf(payload, sizeof payload, "s/child-%u|v", i);
        send_fast(attacker, XS_WRITE, 0, payload);
    }
}

/* All guests have made all their nodes below one that the attacker may remove. */
static void prepare_full_subtree(void)
{
    char payload[96];

    prepare_children();
    for (unsigned g = 0; g < OTHERS; g++)
        for (unsigned i = 0; i < 1000; i++) {
            snprintf(payload, sizeof payload, "/local/domain/1/s/%u-%u|v", g, i);
            send_fast(others[g], XS_WRITE, 0, payload);
            if (others[g]->reply.header.type == XS_ERROR)
                break;
        }
}

/* Every guest has all its watches on what the attacker may write, none reads its events, and the
 * queues are full. */
static void prepare_watchers(void)
{
    char payload[96];

    for (unsigned g = 0; g <= OTHERS; g++) {
        struct xs_guest *const guest = g < OTHERS ? others[g] : attacker;

        for (unsigned i = 0; i < dgm_xs_limits_default.watches; i++) {
            snprintf(payload, sizeof payload, "/local/domain/1/s|%u|", i);
            send_fast(guest, XS_WATCH, 0, payload);
        }
        guest->lazy = guest != attacker;
    }
    for (unsigned i = 0; i < 2 * DGM_XS_EVENTS_MAX; i++) {
        snprintf(payload, sizeof payload, "/local/domain/1/s/e%u", i);
        assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){payload, ""}), DGM_OK);
    }
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/local/domain/1/s/e", ""}),
                     DGM_OK);
}

static uint32_t transaction;

static void open_transaction(void)
{
    xs_quick(attacker, XS_TRANSACTION_START, 0, "", 1);
    transaction = (uint32_t)strtoul(attacker->reply.payload, NULL, 10);
    assert_true(transaction);
}

static void write_in_transaction(unsigned count)
{
    char payload[64];

    open_transaction();
    for (unsigned i = 0; i < count; i++) {
        snprintf(payload, sizeof payload, "s/new-%u|v", i);
        send_fast(attacker, XS_WRITE, transaction, payload);
        assert_int_equal(attacker->reply.header.type, XS_WRITE);
    }
}

/* A transaction that writes as many nodes as the quota allows. */
static void prepare_writes(void)
{
    write_in_transaction(990);
}

/* One of many nodes, below a path that every guest watches with all its watches. */
static void prepare_writes_and_watchers(void)
{
    write_in_transaction(300);
    prepare_watchers();
}

/* A transaction that removes all of a directory, name by name. */
static void prepare_removals(void)
{
    char payload[64];

    prepare_children();
    open_transaction();
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(payload, sizeof payload, "s/child-%u|", i);
        send_fast(attacker, XS_RM, transaction, payload);
    }
}

static void prepare_full_removal(void)
{
    open_transaction();
    send_fast(attacker, XS_READ, transaction, "s|"); /* later there is no memory for it */
    prepare_full_subtree();
    send_fast(attacker, XS_RM, transaction, "s|");
    assert_int_equal(attacker->reply.header.type, XS_RM);
}

static void prepare_deep_in_transaction(void)
{
    prepare_deep_value();
    open_transaction();
}

static void prepare_children_in_transaction(void)
{
    prepare_children();
    open_transaction();
}

/* Watches with the longest paths and tokens, a full queue, transactions as large as they get. */
static void prepare_reset(void)
{
    static char payload[2100];

    for (unsigned i = 0; i < dgm_xs_limits_default.watches; i++) {
        const int head = sprintf(payload, "%u", i);

        memset(payload + head, 'w', 900);
        memset(payload + 901, 't', 949);
        payload[900] = payload[1850] = '\0';
        assert_string_equal(xs_quick(attacker, XS_WATCH, 0, payload, 1851), "");
    }
    for (unsigned t = 0; t < dgm_xs_limits_default.transactions; t++) {
        open_transaction();
        for (unsigned i = 0; i < 80; i++) {
            sprintf(payload, "s/t%u-%u|v", t, i);
            send_fast(attacker, XS_WRITE, transaction, payload);
        }
    }
}

static void prepare_watches(void)
{
    char payload[64];

    for (unsigned i = 0; i + 1 < dgm_xs_limits_default.watches; i++) {
        snprintf(payload, sizeof payload, "s|%u|", i);
        send_fast(attacker, XS_WATCH, 0, payload);
    }
}

/* --- the table --- */

static const struct {
    const char *name;
    void (*prepare)(void);
    uint32_t type;
    bool in_transaction;
    const char *payload; /* NULL: the deepest path */
    /* The bound: units, and units for each node of one guest, watch of all guests, cell. */
    unsigned fixed, per_node, per_watch, per_cell;
} limits[] = {
    {"READ of a large value, deep", prepare_deep_value, XS_READ, false, NULL, 300, 0, 0, 0},
    {"GET_PERMS, deep", prepare_deep_value, XS_GET_PERMS, false, NULL, 300, 0, 0, 0},
    {"DIRECTORY, deep", prepare_deep_value, XS_DIRECTORY, false, NULL, 300, 0, 0, 0},
    {"MKDIR of all levels", prepare_nothing, XS_MKDIR, false, NULL, 300, 0, 0, 0},
    {"RM of all levels", prepare_deep_chain, XS_RM, false, "s|", 300, 0, 0, 0},
    {"READ in a transaction", prepare_deep_in_transaction, XS_READ, true, NULL, 500, 0, 0, 0},
    {"TRANSACTION_START", prepare_children, XS_TRANSACTION_START, false, "|", 300, 0, 0, 0},
    {"GET_DOMAIN_PATH", prepare_nothing, XS_GET_DOMAIN_PATH, false, "1|", 300, 0, 0, 0},
    {"RM of 1,000 children", prepare_children, XS_RM, false, "s|", 300, 6, 0, 0},
    {"RM of all guests' nodes", prepare_full_subtree, XS_RM, false, "s|", 300, 0, 0, 6},
    {"DIRECTORY of 1,000 children", prepare_children, XS_DIRECTORY, false, "s|", 300, 2, 0, 0},
    {"DIRECTORY_PART of all guests' nodes", prepare_full_subtree, XS_DIRECTORY_PART, false,
     "s|1000000|", 300, 0, 0, 2},
    {"DIRECTORY_PART in a transaction", prepare_children_in_transaction, XS_DIRECTORY_PART, true,
     "s|1000000|", 300, 4, 0, 0},
    {"WATCH, the last", prepare_watches, XS_WATCH, false, "s|more|", 500, 0, 0, 0},
    {"UNWATCH, the last, all events waiting", prepare_watchers, XS_UNWATCH, false, "s|127|", 1000,
     0, 0, 0},
    {"RESET_WATCHES", prepare_reset, XS_RESET_WATCHES, false, "|", 300, 0, 0, 1},
    {"WRITE before all watches", prepare_watchers, XS_WRITE, false, "s/e|x", 300, 0, 3, 0},
    {"SET_PERMS before all watches", prepare_watchers, XS_SET_PERMS, false, "s|b1|", 300, 0, 3, 0},
    {"RM before all watches", prepare_watchers, XS_RM, false, "s|", 300, 6, 3, 0},
    {"commit of 990 nodes", prepare_writes, XS_TRANSACTION_END, true, "T|", 300, 20, 0, 0},
    {"commit before all watches", prepare_writes_and_watchers, XS_TRANSACTION_END, true, "T|", 300,
     20, 0, 0},
    {"commit of 1,000 removals", prepare_removals, XS_TRANSACTION_END, true, "T|", 300, 25, 0, 0},
    {"commit of one large removal", prepare_full_removal, XS_TRANSACTION_END, true, "T|", 300, 0, 0,
     6},
    {"abort", prepare_writes, XS_TRANSACTION_END, true, "F|", 300, 10, 0, 0},
};

static uint64_t bound_of(size_t i)
{
    const struct dgm_xs_limits *const most = &dgm_xs_limits_default;

    return limits[i].fixed + (uint64_t)limits[i].per_node * most->nodes +
           (uint64_t)limits[i].per_watch * most->watches * DGM_XS_DOMAINS_MAX +
           (uint64_t)limits[i].per_cell * xs_rig.xs->heap.cells;
}

static void run_until_idle(void)
{
    while (dgm_reactor_turn(&xs_rig.reactor))
        ;
}

static struct dgm_xs_domain *connection_of(const struct xs_guest *guest)
{
    for (size_t i = 0; i < DGM_XS_DOMAINS_MAX; i++)
        if (xs_rig.xs->domains[i].domid == guest->domid)
            return &xs_rig.xs->domains[i];
    return NULL;
}

/* Fails: a budget is exceeded by a request though it is used up, or its last unit is not used. */
static void budgets_to_the_last_unit(void **state)
{
    struct dgm_xs_domain *const domain = connection_of(attacker);
    struct dgm_xs_schedule *const schedule = &xs_rig.xs->schedule;
    struct xs_message message;
    uint64_t work;

    run_until_idle();
    xs_guest_make(attacker, &message, XS_READ, 0, "s", 2);
    assert_int_equal(xs_guest_put(attacker, (const char *)&message, sizeof message.header + 2),
                     sizeof message.header + 2);
    work = xs_rig.xs->heap.work;
    assert_true(dgm_xs_connection_serve(domain, 0));
    assert_int_equal(xs_rig.xs->heap.work, work);

    schedule->turn = xs_rig.reactor.turns;
    domain->turn = schedule->turn - 1;
    schedule->budget = 0;
    dgm_xs_schedule_ready(xs_rig.xs, domain);
    assert_int_equal(xs_rig.xs->heap.work, work);
    schedule->budget = 1;
    dgm_xs_schedule_ready(xs_rig.xs, domain);
    assert_true(xs_rig.xs->heap.work > work);
    run_until_idle();
}

static void every_request_at_its_limits(void **state)
{
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const uint32_t type = limits[i].type;
        struct dgm_xs_counters counters;

        start(NULL);
        limits[i].prepare();
        run_until_idle();
        xs_rig.xs->counters.work_request_max = 0;
        xs_rig.xs->counters.work_turn_max = 0;
        send_fast(attacker, type, limits[i].in_transaction ? transaction : 0,
                  limits[i].payload ? limits[i].payload : deepest_with("|"));
        assert_true(attacker->reply.header.type == type ||
                    (type == XS_DIRECTORY && !strcmp(attacker->reply.payload, "E2BIG")));
        run_until_idle();
        dgm_xs_counters(xs_rig.xs, &counters);
        print_message("# %-40s %6lu units of %6lu, in a turn %6lu\n", limits[i].name,
                      counters.work_request_max, bound_of(i), counters.work_turn_max);
        assert_true(counters.work_request_max > 0);
        assert_true(counters.work_request_max <= bound_of(i));
        assert_true(bound_of(i) <= dgm_xs_work_request_bound(xs_rig.xs));
        assert_true(counters.work_turn_max <=
                    DGM_XS_WORK_PER_TURN + dgm_xs_work_request_bound(xs_rig.xs));
        xs_rig_stop(NULL);
    }
}

/* The same for what domain 0 does when a guest ends in the middle of a large commit. */
static void the_end_of_a_guest(void **state)
{
    struct dgm_xs_counters counters;
    struct xs_message message;
    uint64_t work, turns;

    prepare_writes_and_watchers();
    run_until_idle();
    xs_guest_make(attacker, &message, XS_TRANSACTION_END, transaction, "T", 2);
    xs_guest_put(attacker, (const char *)&message, sizeof message.header + 2);
    for (unsigned i = 0; !xs_rig.xs->domains[0].announcing; i++) {
        assert_true(i < 1000);
        dgm_reactor_turn(&xs_rig.reactor);
        xs_guest_listen(attacker);
    }
    dgm_xs_check(xs_rig.xs);
    work = xs_rig.xs->heap.work;
    dgm_xs_release(xs_rig.xs, 1);
    assert_true(xs_rig.xs->heap.work - work < 2000);
    assert_non_null(xs_rig.xs->schedule.orphans);
    dgm_xs_check(xs_rig.xs);
    xs_rig.xs->counters.work_turn_max = 0;
    for (turns = 1; dgm_reactor_turn(&xs_rig.reactor); turns++)
        assert_true(xs_rig.xs->heap.work - work <=
                    turns * DGM_XS_WORK_PER_TURN + dgm_xs_work_request_bound(xs_rig.xs));
    dgm_xs_counters(xs_rig.xs, &counters);
    assert_true(counters.work_turn_max <=
                DGM_XS_WORK_PER_TURN + dgm_xs_work_request_bound(xs_rig.xs));
    assert_null(xs_rig.xs->schedule.orphans);
    /* Every guest still learns of every change. */
    for (unsigned g = 0; g < OTHERS; g++) {
        others[g]->lazy = false;
        others[g]->event_count = 0;
        xs_guest_listen(others[g]);
        run_until_idle();
        assert_true(others[g]->event_count > 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, xs_rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_at_its_limits),
        TEST(the_end_of_a_guest),
        TEST(budgets_to_the_last_unit),
    };

    return cmocka_run_group_tests_name("xenstore work", tests, NULL, NULL);
}
