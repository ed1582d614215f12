/* SPDX-License-Identifier: MIT */
/*
 * xenstore watches: which guest gets an event for a change, in which order, and how many events may
 * wait. If these fail, a frontend misses its backend's state, or a guest sees what it may not read.
 */
#include "xenstore_rig.h"

/* --- of domain 0 --- */

static unsigned fired;

static void count_fire(struct dgm_xs_watch *watch)
{
    fired++;
}

#define assert_fires(times)                                                                        \
    do {                                                                                           \
        xs_rig_run();                                                                              \
        assert_int_equal(fired, times);                                                            \
        fired = 0;                                                                                 \
    } while (0)

static void local_watches(void **state)
{
    static struct dgm_xs_watch watch = {.path = "/a/b", .fire = count_fire};
    static struct dgm_xs_watch root = {.path = "/", .fire = count_fire};

    fired = 0;
    dgm_xs_watch(xs_rig.xs, &watch);
    assert_int_equal(fired, 0);
    assert_fires(1);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/a/bc", ""}), DGM_OK);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/a", ""}), DGM_OK);
    assert_fires(0);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/a/b", ""}), DGM_OK);
    assert_fires(1);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/a/b/c/d", "1"}), DGM_OK);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/a/b/c/d", "1"}), DGM_OK);
    assert_fires(1); /* coalesced */
    assert_int_equal(dgm_xs_set_access(xs_rig.xs, "/a/b/c",
                                       (struct dgm_xs_access){.owner = 3, .others_read = true}),
                     DGM_OK);
    assert_fires(1);
    assert_int_equal(dgm_xs_rm(xs_rig.xs, "/a"), DGM_OK);
    assert_fires(1);
    dgm_xs_watch(xs_rig.xs, &root);
    assert_fires(1);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/x", ""}), DGM_OK);
    assert_fires(1);
    dgm_xs_domain_changed(xs_rig.xs);
    assert_fires(0); /* a special path lies below nothing */
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/a/b", ""}), DGM_OK);
    dgm_xs_unwatch(xs_rig.xs, &watch);
    assert_fires(1); /* the root's */
    dgm_xs_unwatch(xs_rig.xs, &root);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/a/b", ""}), DGM_OK);
    assert_fires(0);
}

static void special_watches(void **state)
{
    static struct dgm_xs_watch in = {.path = "@introduceDomain", .fire = count_fire};
    static struct dgm_xs_watch out = {.path = "@releaseDomain", .fire = count_fire};
    struct xs_guest *guest;

    fired = 0;
    dgm_xs_watch(xs_rig.xs, &in);
    assert_fires(1);
    guest = xs_guest_start(1);
    assert_fires(1);
    dgm_xs_unwatch(xs_rig.xs, &in);
    dgm_xs_watch(xs_rig.xs, &out);
    assert_fires(1);
    dgm_xs_domain_changed(xs_rig.xs);
    assert_fires(1);
    dgm_xs_unwatch(xs_rig.xs, &out);
    assert_reply(guest, XS_WATCH, "@introduceDomain|t|", "!EACCES");
    assert_reply(guest, XS_WATCH, "@releaseDomain|t|", "!EACCES");
    assert_reply(guest, XS_WATCH, "@somethingElse|t|", "!EINVAL");
    dgm_xs_domain_changed(xs_rig.xs);
    assert_events(guest, "");
}

/* --- of guests --- */

static void watches_fire_once_per_change(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);

    assert_reply(guest, XS_WATCH, "a|rel|", "OK|");
    assert_reply(guest, XS_WATCH, "/local/domain/1/a|abs|", "OK|");
    assert_reply(guest, XS_WATCH, "a|rel|", "!EEXIST");
    assert_reply(guest, XS_WATCH, "/local/domain/1/a|rel|", "!EEXIST"); /* the same path */
    assert_reply(guest, XS_WATCH, "a|rel2|", "OK|");
    assert_events(guest, "a rel;/local/domain/1/a abs;a rel2;");
    assert_reply(guest, XS_UNWATCH, "a|rel2|", "OK|");
    assert_reply(guest, XS_UNWATCH, "a|rel2|", "!ENOENT");
    assert_reply(guest, XS_UNWATCH, "/local/domain/1/a|rel|", "OK|");
    assert_reply(guest, XS_WRITE, "a|", "OK|");
    assert_events(guest, "/local/domain/1/a abs;");
    assert_reply(guest, XS_WRITE, "ab|", "OK|");
    assert_reply(guest, XS_READ, "a|", "");
    assert_events(guest, "");
    assert_reply(guest, XS_WRITE, "a/b/c|", "OK|");
    assert_events(guest,
                  "/local/domain/1/a/b/c abs;"); /* no event for each parent that it creates */
    assert_reply(guest, XS_MKDIR, "a/b|", "OK|");
    assert_events(guest, ""); /* the node existed */
    assert_reply(guest, XS_MKDIR, "a/d|", "OK|");
    assert_reply(guest, XS_SET_PERMS, "a/d|n1|", "OK|");
    assert_events(guest, "/local/domain/1/a/d abs;/local/domain/1/a/d abs;");
    assert_reply(guest, XS_WATCH, "a/b/c|deep|", "OK|");
    assert_reply(guest, XS_WATCH, "a/b/none|none|", "OK|");
    assert_events(guest, "a/b/c deep;a/b/none none;");
    assert_reply(guest, XS_RM, "a/b|", "OK|");
    assert_events(guest, "/local/domain/1/a/b abs;a/b/c deep;");
    assert_reply(guest, XS_WATCH, "/|root|", "OK|");
    assert_events(guest, "/ root;");
    assert_reply(guest, XS_WRITE, "x|", "OK|");
    assert_events(guest, "/local/domain/1/x root;");
    assert_reply(guest, XS_RESET_WATCHES, "|", "OK|");
    assert_reply(guest, XS_WRITE, "a|", "OK|");
    assert_events(guest, "");
}

/* The acknowledgement of a watch comes before its first event. */
static void ack_before_first_event(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    struct xs_message message, got;

    xs_guest_make(guest, &message, XS_WATCH, 0, "a\0t", 4);
    xs_guest_put(guest, (char *)&message, sizeof message.header + 4);
    xs_rig_run();
    xs_guest_get(guest, (char *)&got, sizeof got.header + 3);
    assert_int_equal(got.header.type, XS_WATCH);
    assert_memory_equal(got.payload, "OK", 3);
    xs_guest_get(guest, (char *)&got, sizeof got.header + 4);
    assert_int_equal(got.header.type, XS_WATCH_EVENT);
    assert_memory_equal(got.payload, "a\0t", 4);
}

static void watches_and_permissions(void **state)
{
    struct xs_guest *const one = xs_guest_start(1), *const two = xs_guest_start(2);

    assert_reply(two, XS_WATCH, "/|t|", "OK|");
    assert_events(two, "/ t;");
    assert_reply(one, XS_WRITE, "a/b|1", "OK|");
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/secret", ""}), DGM_OK);
    assert_events(two, "");
    assert_reply(one, XS_SET_PERMS, "a|n1|r2|", "OK|");
    assert_events(two, "/local/domain/1/a t;");
    assert_reply(one, XS_WRITE, "a/b|1", "OK|");
    assert_events(two, "/local/domain/1/a/b t;"); /* its parent can be listed */
    assert_reply(one, XS_WRITE, "a/b/c|1", "OK|");
    assert_events(two, "");
    assert_reply(one, XS_RM, "a/b|", "OK|");
    assert_events(two, "/local/domain/1/a/b t;");
    assert_reply(one, XS_SET_PERMS, "a|n1|",
                 "OK|"); /* an event also for a reader that loses its right */
    assert_events(two, "/local/domain/1/a t;");
    assert_reply(one, XS_WRITE, "a|", "OK|");
    assert_events(two, "");
}

static void waiting_events_are_merged(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);

    assert_reply(guest, XS_WATCH, "a|t|", "OK|");
    assert_reply(guest, XS_WATCH, "a/x|u|", "OK|");
    assert_events(guest, "a t;a/x u;");
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(dgm_xs_write_number(xs_rig.xs, "/local/domain/1/a/x", i), DGM_OK);
        assert_int_equal(dgm_xs_write_number(xs_rig.xs, "/local/domain/1/a/y", i), DGM_OK);
    }
    /* In the order of what happened first, and for each from the root downward. */
    assert_events(guest, "a/x t;a/x u;a/y t;");
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/local/domain/1/a/x", ""}),
                     DGM_OK);
    assert_events(guest, "a/x t;a/x u;"); /* after delivery the same event may wait again */
}

/* A guest that does not read: its waiting events are merged, then collapse into the watch's own. */
static void events_are_bounded(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    struct dgm_xs_counters counters;
    const uint64_t used = xs_rig_used();
    char path[64];
    unsigned own = 0;

    assert_reply(guest, XS_WATCH, "a|t|", "OK|");
    assert_reply(guest, XS_WATCH, "a/0|u|", "OK|");
    assert_events(guest, "a t;a/0 u;");
    guest->lazy = true;
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 500; i++) {
            snprintf(path, sizeof path, "/local/domain/1/a/%u", i);
            assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){path, ""}), DGM_OK);
            if (i % 50 == 0)
                xs_rig_run();
        }
    assert_int_equal(dgm_xs_rm(xs_rig.xs, "/local/domain/1/a"), DGM_OK);
    xs_rig_run();
    assert_true(xs_rig_used() - used < 200 * DGM_XS_CELL_BYTES);
    guest->lazy = false;
    xs_guest_events(guest);
    for (unsigned i = 0; i < 256; i++)
        own += strcmp(guest->events[i], "a t") == 0;
    assert_true(own >= 1);
    dgm_xs_counters(xs_rig.xs, &counters);
    assert_true(counters.watch_events < 200);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/local/domain/1/a/77", ""}),
                     DGM_OK);
    assert_events(guest, "a/77 t;"); /* all is as before */
    assert_int_equal(dgm_xs_rm(xs_rig.xs, "/local/domain/1/a"), DGM_OK);
    assert_reply(guest, XS_RESET_WATCHES, "|", "OK|");
    assert_int_equal(xs_rig_used(), used);
}

static void unwatch_forgets_what_waits(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    char path[64];

    assert_reply(guest, XS_WATCH, "a|t|", "OK|");
    assert_reply(guest, XS_WATCH, "b|u|", "OK|");
    assert_events(guest, "a t;b u;");
    for (unsigned i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "/local/domain/1/%c/%u", i % 2 ? 'a' : 'b', i);
        assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){path, ""}), DGM_OK);
    }
    /* The request overtakes events: at most a few of them go out between two requests. */
    assert_reply(guest, XS_UNWATCH, "a|t|", "OK|");
    xs_guest_events(guest);
    for (unsigned i = 8; i < 20; i++)
        assert_true(guest->events[i][0] != 'a');
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, xs_rig_start, xs_rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(local_watches),
        TEST(special_watches),
        TEST(watches_fire_once_per_change),
        TEST(ack_before_first_event),
        TEST(watches_and_permissions),
        TEST(waiting_events_are_merged),
        TEST(events_are_bounded),
        TEST(unwatch_forgets_what_waits),
    };

    return cmocka_run_group_tests_name("xenstore watches", tests, NULL, NULL);
}
