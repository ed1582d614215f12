/* SPDX-License-Identifier: MIT */
/*
 * xenstore transactions: all or nothing, invisible before the commit, refused after a conflict. If
 * these fail, a frontend's state and its keys do not match, or Linux retries endlessly.
 */
#include "xenstore_rig.h"

static struct xs_guest *one, *two;

static int start(void **state)
{
    xs_rig_start(state);
    one = xs_guest_start(1);
    two = xs_guest_start(2);
    /* A node below which both may write. */
    dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/s/x", "0"});
    dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/s/d/a", "0"});
    dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/s/d/b", "0"});
    for (const char *const *path =
             (const char *const[]){"/s", "/s/x", "/s/d", "/s/d/a", "/s/d/b", NULL};
         *path; path++) {
        struct dgm_xs_perms perms = {.entry = {{0, DGM_XS_READ | DGM_XS_WRITE}}, .count = 1};

        dgm_xs_store_set_perms(xs_rig.xs, &DGM_XS_DOM0, *path, &perms);
    }
    return 0;
}

static void transactions_are_isolated(void **state)
{
    uint32_t tx;

    assert_reply(two, XS_WATCH, "/s|t|", "OK|");
    assert_events(two, "/s t;");
    tx = xs_start_transaction(one);
    assert_reply_in(one, tx, XS_WRITE, "/s/x|1", "OK|");
    assert_reply_in(one, tx, XS_WRITE, "/s/n/m|1", "OK|");
    assert_reply_in(one, tx, XS_RM, "/s/d|", "OK|");
    assert_reply_in(one, tx, XS_READ, "/s/x|", "1");
    assert_reply_in(one, tx, XS_READ, "/s/d/a|", "!ENOENT");
    assert_reply_in(one, tx, XS_DIRECTORY, "/s|", "x|n|");
    assert_reply(one, XS_READ, "/s/x|", "0");
    assert_reply(two, XS_READ, "/s/d/a|", "0");
    assert_reply(two, XS_DIRECTORY, "/s|", "x|d|");
    assert_events(two, "");
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "OK|");
    assert_reply(two, XS_READ, "/s/x|", "1");
    assert_reply(two, XS_READ, "/s/n|",
                 ""); /* permissions are inherited, except that the owner is `one` */
    assert_reply(two, XS_READ, "/s/d/a|", "!ENOENT");
    assert_reply(two, XS_DIRECTORY, "/s|", "x|n|");
    assert_events(two, "/s/x t;/s/n/m t;/s/d t;");
    assert_reply_in(one, tx, XS_READ, "/s/x|", "!ENOENT"); /* the transaction has ended */
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "!ENOENT");
}

static void abort_changes_nothing(void **state)
{
    const uint64_t used = xs_rig_used();
    const uint32_t tx = xs_start_transaction(one);

    assert_reply_in(one, 0, XS_TRANSACTION_START, "|", "2|");
    assert_reply_in(one, tx, XS_TRANSACTION_START, "|", "!EBUSY");
    assert_reply_in(one, tx, XS_WRITE, "/s/x|1", "OK|");
    assert_reply_in(one, tx, XS_WRITE, "/s/y/z|1", "OK|");
    assert_reply_in(one, tx, XS_RM, "/s/d|", "OK|");
    assert_reply_in(one, tx, XS_TRANSACTION_END, "F", "!EINVAL");
    assert_string_equal(xs_end_transaction(one, tx, "F|"), "OK|");
    assert_string_equal(xs_end_transaction(one, 2, "T|"), "OK|");
    assert_reply(one, XS_READ, "/s/x|", "0");
    assert_reply(one, XS_DIRECTORY, "/s|", "x|d|");
    assert_int_equal(xs_rig_used(), used);
}

/* In each case `two` does something after `one` has done its part in a transaction. */
static void conflicts_end_with_eagain(void **state)
{
    static const struct {
        uint32_t mine;
        const char *with;
        uint32_t theirs;
        const char *what, *verdict;
    } cases[] = {
        {XS_READ, "/s/x|", XS_WRITE, "/s/x|0", "!EAGAIN"},
        {XS_READ, "/s/x|", XS_WRITE, "/s/d/a|0", "OK|"},
        {XS_READ, "/s/x|", XS_READ, "/s/x|", "OK|"},
        {XS_WRITE, "/s/x|1", XS_WRITE, "/s/x|2", "!EAGAIN"},
        {XS_READ, "/s/new|", XS_WRITE, "/s/new|", "!EAGAIN"},
        {XS_READ, "/s/new|", XS_WRITE, "/s/newer|", "OK|"},
        {XS_WRITE, "/s/new|", XS_WRITE, "/s/newer|", "OK|"},       /* neighbours */
        {XS_WRITE, "/s/new/a|", XS_WRITE, "/s/new/b|", "!EAGAIN"}, /* both create "new" */
        {XS_WRITE, "/s/d/c|", XS_RM, "/s/d|", "!EAGAIN"},
        {XS_WRITE, "/s/d/a|1", XS_RM, "/s/d|", "!EAGAIN"},
        {XS_READ, "/s/d/a|", XS_RM, "/s/d|", "!EAGAIN"},
        {XS_DIRECTORY, "/s/d|", XS_WRITE, "/s/d/c|", "!EAGAIN"},
        {XS_DIRECTORY, "/s/d|", XS_RM, "/s/d/a|", "!EAGAIN"},
        {XS_DIRECTORY, "/s/d|", XS_WRITE, "/s/d/a|5", "OK|"},
        {XS_DIRECTORY_PART, "/s/d|0|", XS_WRITE, "/s/d/c|", "!EAGAIN"},
        {XS_GET_PERMS, "/s/d|", XS_WRITE, "/s/d|", "!EAGAIN"},
        {XS_RM, "/s/d|", XS_WRITE, "/s/d/a|5", "OK|"}, /* it read nothing inside */
        {XS_RM, "/s/d|", XS_WRITE, "/s/d|5", "!EAGAIN"},
        {XS_RM, "/s/d/none|", XS_WRITE, "/s/d/none|5", "!EAGAIN"},
        {XS_MKDIR, "/s/x|", XS_RM, "/s/x|", "!EAGAIN"},
        {XS_READ, "/s/x|", XS_RM, "/s/x|", "!EAGAIN"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint32_t tx = xs_start_transaction(one);

        print_message("# type %u %s then %u %s\n", cases[i].mine, cases[i].with, cases[i].theirs,
                      cases[i].what);
        xs_ask_in(one, tx, cases[i].mine, cases[i].with);
        xs_ask(two, cases[i].theirs, cases[i].what);
        assert_string_equal(xs_end_transaction(one, tx, "T|"), cases[i].verdict);
        xs_rig_stop(NULL);
        start(NULL);
    }
}

/* Within a transaction a value that was read stays the same, even if the commit will be refused. */
static void repeated_reads_agree(void **state)
{
    uint32_t tx = xs_start_transaction(one);

    assert_reply_in(one, tx, XS_READ, "/s/x|", "0");
    assert_reply_in(one, tx, XS_READ, "/s/none|", "!ENOENT");
    assert_reply(two, XS_WRITE, "/s/x|9", "OK|");
    assert_reply(two, XS_WRITE, "/s/none|9", "OK|");
    assert_reply_in(one, tx, XS_READ, "/s/x|", "0");
    assert_reply_in(one, tx, XS_READ, "/s/none|", "!ENOENT");
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "!EAGAIN");
    /* A node that was removed and created again is another node. */
    tx = xs_start_transaction(one);
    assert_reply_in(one, tx, XS_READ, "/s/d/a|", "0");
    assert_reply(two, XS_RM, "/s/d/a|", "OK|");
    assert_reply(two, XS_WRITE, "/s/d/a|0", "OK|");
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "!EAGAIN");
}

static void remove_and_make_again(void **state)
{
    uint32_t tx;

    assert_reply(two, XS_WATCH, "/s/d/b|t|", "OK|");
    assert_events(two, "/s/d/b t;");
    tx = xs_start_transaction(one);
    assert_reply_in(one, tx, XS_RM, "/s/d|", "OK|");
    assert_reply_in(one, tx, XS_RM, "/s/d|", "OK|");
    assert_reply_in(one, tx, XS_WRITE, "/s/d/c/e|1", "OK|");
    assert_reply_in(one, tx, XS_DIRECTORY, "/s/d|", "c|");
    assert_reply_in(one, tx, XS_READ, "/s/d/a|",
                    "!ENOENT"); /* no node of the store is visible below it */
    assert_reply_in(one, tx, XS_WRITE, "/s/d/b|new", "OK|");
    assert_reply_in(one, tx, XS_GET_PERMS, "/s/d|", "b1|");
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "OK|");
    assert_reply(one, XS_DIRECTORY, "/s/d|", "c|b|");
    assert_reply(one, XS_READ, "/s/d/b|", "new");
    assert_reply(one, XS_READ, "/s/d/c/e|", "1");
    assert_events(two, "/s/d/b t;");
    /* A node created and removed within one transaction is no change. */
    tx = xs_start_transaction(one);
    assert_reply_in(one, tx, XS_WRITE, "/s/t/u|1", "OK|");
    assert_reply_in(one, tx, XS_RM, "/s/t|", "OK|");
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "OK|");
    assert_reply(one, XS_READ, "/s/t|", "!ENOENT");
}

static void permissions_inside(void **state)
{
    uint32_t tx;

    assert_reply(one, XS_WRITE, "p|1", "OK|");
    tx = xs_start_transaction(one);
    assert_reply_in(one, tx, XS_SET_PERMS, "p|n1|r2|", "OK|");
    assert_reply_in(one, tx, XS_GET_PERMS, "p|", "n1|r2|");
    assert_reply_in(one, tx, XS_SET_PERMS, "p|n2|", "!EPERM");
    assert_reply(two, XS_READ, "/local/domain/1/p|", "!EACCES");
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "OK|");
    assert_reply(two, XS_READ, "/local/domain/1/p|", "1");
    tx = xs_start_transaction(two);
    assert_reply_in(two, tx, XS_WRITE, "/local/domain/1/p|2", "!EACCES");
    assert_reply_in(two, tx, XS_WRITE, "/local/domain/1/q|2", "!EACCES");
    assert_reply_in(two, tx, XS_RM, "/local/domain/1/p|", "!EACCES");
    assert_string_equal(xs_end_transaction(two, tx, "T|"), "OK|");
}

/* A commit is an event for a guest that may read the node before it or after it, or its parent. */
static void events_of_a_commit(void **state)
{
    uint32_t tx;

    assert_reply(one, XS_WRITE, "p/x|1", "OK|");
    assert_reply(two, XS_WATCH, "/|t|", "OK|");
    assert_events(two, "/ t;");
    tx = xs_start_transaction(one); /* no right before, during or after */
    assert_reply_in(one, tx, XS_WRITE, "p/x|2", "OK|");
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "OK|");
    assert_events(two, "");
    tx = xs_start_transaction(one); /* after */
    assert_reply_in(one, tx, XS_SET_PERMS, "p|n1|r2|", "OK|");
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "OK|");
    assert_events(two, "/local/domain/1/p t;");
    tx = xs_start_transaction(one); /* the parent */
    assert_reply_in(one, tx, XS_WRITE, "p/x|3", "OK|");
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "OK|");
    assert_events(two, "/local/domain/1/p/x t;");
    tx = xs_start_transaction(one); /* the parent of a node that is removed */
    assert_reply_in(one, tx, XS_RM, "p/x|", "OK|");
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "OK|");
    assert_events(two, "/local/domain/1/p/x t;");
    tx = xs_start_transaction(one); /* before */
    assert_reply_in(one, tx, XS_SET_PERMS, "p|n1|", "OK|");
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "OK|");
    assert_events(two, "/local/domain/1/p t;");
    assert_reply(one, XS_SET_PERMS, "p|n1|r2|", "OK|");
    assert_events(two, "/local/domain/1/p t;");
    tx = xs_start_transaction(one); /* before, and removed */
    assert_reply_in(one, tx, XS_SET_PERMS, "p|n1|", "OK|");
    assert_reply_in(one, tx, XS_RM, "p|", "OK|");
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "OK|");
    assert_events(two, "/local/domain/1/p t;");
    tx = xs_start_transaction(one); /* created and removed within: no change */
    assert_reply_in(one, tx, XS_WRITE, "/s/t/u|1", "OK|");
    assert_reply_in(one, tx, XS_RM, "/s/t|", "OK|");
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "OK|");
    assert_events(two, "");
}

/* Ten transactions, each of the greatest size, then dropped by a reset: no memory stays in use. */
static void never_ended(void **state)
{
    const uint64_t used = xs_rig_used();
    char payload[64];

    for (unsigned t = 0; t < 10; t++) {
        const uint32_t tx = (uint32_t)atoi(xs_ask(one, XS_TRANSACTION_START, "|"));

        for (unsigned i = 0; tx && i < 200; i++) {
            snprintf(payload, sizeof payload, "t/%u/%u|v", i % 20, i);
            xs_ask_in(one, tx, XS_WRITE, payload);
        }
    }
    assert_reply(one, XS_WRITE, "mine|", "!ENOSPC"); /* the quota counts what is not committed */
    assert_reply(two, XS_WRITE, "mine|", "OK|");
    assert_reply(two, XS_RM, "mine|", "OK|");
    assert_reply(one, XS_RESET_WATCHES, "|", "OK|");
    assert_int_equal(xs_rig_used(), used);
    assert_reply(one, XS_WRITE, "mine|", "OK|");
}

static void touched_nodes_are_limited(void **state)
{
    const uint32_t tx = xs_start_transaction(one);
    const char *reply = "";
    unsigned i = 0;
    char payload[64];

    for (; i < 2000 && strcmp(reply, "!ENOSPC") != 0; i++) {
        snprintf(payload, sizeof payload, "none%u|", i);
        reply = xs_ask_in(one, tx, XS_READ, payload);
    }
    assert_in_range(i, 1000, DGM_XS_TRANSACTION_NODES);
    assert_string_equal(xs_end_transaction(one, tx, "T|"), "OK|");
}

/* Two guests increment one counter as Linux does: both must end, and no increment may be lost. */
static void counting_together(void **state)
{
    char payload[64];
    unsigned retries = 0;

    for (unsigned done_one = 0, done_two = 0; done_one + done_two < 40;) {
        const uint32_t a = xs_start_transaction(one), b = xs_start_transaction(two);
        const int x = atoi(xs_ask_in(one, a, XS_READ, "/s/x|"));
        const int y = atoi(xs_ask_in(two, b, XS_READ, "/s/x|"));

        snprintf(payload, sizeof payload, "/s/x|%d", x + 1);
        xs_ask_in(one, a, XS_WRITE, payload);
        snprintf(payload, sizeof payload, "/s/x|%d", y + 1);
        xs_ask_in(two, b, XS_WRITE, payload);
        if ((done_one + done_two) % 2) {
            done_one += strcmp(xs_end_transaction(one, a, "T|"), "OK|") == 0;
            done_two += strcmp(xs_end_transaction(two, b, "T|"), "OK|") == 0;
        } else {
            done_two += strcmp(xs_end_transaction(two, b, "T|"), "OK|") == 0;
            done_one += strcmp(xs_end_transaction(one, a, "T|"), "OK|") == 0;
        }
        retries++;
    }
    assert_int_equal(retries, 40);
    assert_reply(one, XS_READ, "/s/x|", "40");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, xs_rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(transactions_are_isolated), TEST(abort_changes_nothing),
        TEST(conflicts_end_with_eagain), TEST(repeated_reads_agree),
        TEST(remove_and_make_again),     TEST(permissions_inside),
        TEST(events_of_a_commit),        TEST(never_ended),
        TEST(touched_nodes_are_limited), TEST(counting_together),
    };

    return cmocka_run_group_tests_name("xenstore transactions", tests, NULL, NULL);
}
