/* SPDX-License-Identifier: MIT */
/*
 * xenstore: permissions and quotas. If these fail, a guest reads or changes what belongs to
 * another, or fills the store.
 */
#include "xenstore_rig.h"

/* --- permissions --- */

static void permissions_of_nodes(void **state)
{
    struct xs_guest *const one = xs_guest_start(1), *const two = xs_guest_start(2);

    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/secret/x", "s"}), DGM_OK);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/open", "o"}), DGM_OK);
    assert_int_equal(
        dgm_xs_set_access(xs_rig.xs, "/open", (struct dgm_xs_access){.others_read = true}), DGM_OK);
    assert_reply(one, XS_READ, "/secret/x|", "!EACCES");
    assert_reply(one, XS_READ, "/secret/y|", "!EACCES"); /* no hint that it is not there */
    assert_reply(one, XS_READ, "/nothing|", "!EACCES");
    assert_reply(one, XS_WRITE, "/nothing|x", "!EACCES");
    assert_reply(one, XS_READ, "/open|", "o");
    assert_reply(one, XS_READ, "/open/y|", "!ENOENT");
    assert_reply(one, XS_WRITE, "/open|x", "!EACCES");
    assert_reply(one, XS_WRITE, "/open/x|x", "!EACCES");
    assert_reply(one, XS_RM, "/open|", "!EACCES");
    assert_reply(one, XS_MKDIR, "/open|", "!EACCES");
    assert_reply(one, XS_SET_PERMS, "/open|n1|", "!EACCES");

    assert_reply(one, XS_WRITE, "a/b|1", "OK|");
    assert_reply(two, XS_READ, "/local/domain/1/a/b|", "!EACCES");
    assert_reply(one, XS_SET_PERMS, "a|n2|r1|", "!EPERM");
    assert_reply(one, XS_SET_PERMS, "a|n1|r2|w3|b4|r0|", "OK|");
    assert_reply(one, XS_GET_PERMS, "a|", "n1|r2|w3|b4|r0|");
    assert_reply(two, XS_DIRECTORY, "/local/domain/1/a|", "b|");
    assert_reply(two, XS_READ, "/local/domain/1/a/b|", "!EACCES"); /* it has its own */
    assert_reply(two, XS_READ, "/local/domain/1/a/c|", "!ENOENT");
    assert_reply(two, XS_WRITE, "/local/domain/1/a/c|x", "!EACCES");
    assert_reply(one, XS_SET_PERMS, "a|n1|b2|", "OK|");
    assert_reply(two, XS_WRITE, "/local/domain/1/a/c/d|x", "OK|");
    assert_reply(two, XS_GET_PERMS, "/local/domain/1/a/c|", "n2|b2|"); /* its own now */
    assert_reply(one, XS_READ, "a/c|", "!EACCES");
    assert_reply(two, XS_SET_PERMS, "/local/domain/1/a/c|n2|r1|", "OK|");
    assert_reply(one, XS_READ, "a/c|", "");
    assert_reply(one, XS_RM, "a|", "OK|");
    assert_reply(two, XS_READ, "/local/domain/1/a|", "!EACCES");

    /* The default rights of other domains. */
    assert_reply(one, XS_WRITE, "w|1", "OK|");
    assert_reply(one, XS_SET_PERMS, "w|w1|", "OK|");
    assert_reply(two, XS_READ, "/local/domain/1/w|", "!EACCES");
    assert_reply(two, XS_WRITE, "/local/domain/1/w|2", "OK|");
    assert_reply(one, XS_READ, "w|", "2");
    assert_reply(two, XS_GET_PERMS, "/local/domain/1/w|", "!EACCES");
    assert_reply(one, XS_SET_PERMS, "w|b1|n2|", "OK|");
    assert_reply(two, XS_WRITE, "/local/domain/1/w|2", "!EACCES");
}

static void ownership_by_dom0(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);

    assert_int_equal(
        dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/local/domain/1/device/vbd/1/state", "1"}),
        DGM_OK);
    assert_reply(guest, XS_GET_PERMS, "device/vbd/1/state|", "n1|r0|");
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/backend/1/x", "1"}), DGM_OK);
    assert_int_equal(
        dgm_xs_set_access(xs_rig.xs, "/backend/1", (struct dgm_xs_access){.reader = 1}), DGM_OK);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/backend/1/state", "2"}),
                     DGM_OK);
    assert_reply(guest, XS_READ, "/backend/1/state|", "2");
    assert_reply(guest, XS_READ, "/backend/1/x|", "!EACCES");
    assert_reply(guest, XS_WRITE, "/backend/1/state|", "!EACCES");
    assert_reply(guest, XS_DIRECTORY, "/backend/1|", "x|state|");
    assert_int_equal(dgm_xs_set_access(xs_rig.xs, "/none", (struct dgm_xs_access){.owner = 1}),
                     DGM_ENOENT);
    assert_int_equal(dgm_xs_set_access(xs_rig.xs, "none", (struct dgm_xs_access){.owner = 1}),
                     DGM_EINVAL);
}

/* --- quotas --- */

static void quota_of_nodes(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    struct dgm_xs_counters before, after;
    unsigned nodes = 0;
    char path[64];
    uint32_t tx;

    dgm_xs_counters(xs_rig.xs, &before);
    do
        snprintf(path, sizeof path, "n/%u|", nodes++);
    while (strcmp(xs_ask(guest, XS_WRITE, path), "OK|") == 0);
    assert_reply(guest, XS_WRITE, path, "!ENOSPC");
    assert_int_equal(nodes, 1000 - 1); /* its home and "n" count */
    assert_reply(guest, XS_WRITE, "n/0|x", "OK|");
    tx = xs_start_transaction(guest);
    assert_reply_in(guest, tx, XS_WRITE, "m|", "!ENOSPC");
    assert_reply_in(guest, tx, XS_WRITE, "n/0|", "OK|");
    assert_string_equal(xs_end_transaction(guest, tx, "T|"), "OK|");
    assert_reply(guest, XS_RM, "n/0|", "OK|");
    assert_reply(guest, XS_WRITE, "n/0/x|", "!ENOSPC"); /* two, and room for one */
    assert_reply(guest, XS_WRITE, "m|", "OK|");
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/local/domain/1/device", ""}),
                     DGM_OK);
    assert_reply(guest, XS_RM, "n|", "OK|");
    assert_reply(guest, XS_RM, "m|", "OK|");
    assert_int_equal(dgm_xs_rm(xs_rig.xs, "/local/domain/1/device"), DGM_OK);
    dgm_xs_counters(xs_rig.xs, &after);
    assert_int_equal(after.quota_refusals, 4);
    assert_int_equal(after.nodes, before.nodes);
    assert_int_equal(after.memory_used, before.memory_used);
}

static void quota_of_watches_and_transactions(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    const uint64_t used = xs_rig_used();
    char payload[64];

    for (unsigned i = 0; i < 128; i++) {
        snprintf(payload, sizeof payload, "w%u|t|", i);
        assert_reply(guest, XS_WATCH, payload, "OK|");
    }
    assert_reply(guest, XS_WATCH, "more|t|", "!E2BIG");
    assert_reply(guest, XS_UNWATCH, "w5|t|", "OK|");
    assert_reply(guest, XS_WATCH, "more|t|", "OK|");
    for (unsigned i = 0; i < 10; i++)
        xs_start_transaction(guest);
    assert_reply(guest, XS_TRANSACTION_START, "|", "!ENOSPC");
    assert_reply(guest, XS_RESET_WATCHES, "|", "OK|");
    assert_int_equal(xs_rig_used(), used);
    xs_start_transaction(guest);
}

/* All guests take what they can get; each still has its guaranteed part, and domain 0 too. */
static void memory_is_shared_fairly(void **state)
{
    struct xs_guest *guests[8];
    static char payload[2100];
    char path[64];

    for (domid_t i = 0; i < 8; i++)
        guests[i] = xs_guest_start((domid_t)(i + 1));
    memset(payload, 'v', sizeof payload);
    for (unsigned i = 0; i < 7; i++)
        for (unsigned n = 0;; n++) {
            const int length = snprintf(payload, sizeof payload, "v/%u", n) + 1;

            payload[length] = 'v';
            xs_guest_call(guests[i], XS_WRITE, 0, payload, (size_t)length + 2000);
            if (strcmp(xs_guest_reply(guests[i]), "OK|") != 0) {
                assert_reply(guests[i], XS_READ, "none|", "!ENOENT");
                break;
            }
        }
    for (unsigned n = 0; n < 40; n++) {
        snprintf(path, sizeof path, "some/%u|value", n);
        assert_reply(guests[7], XS_WRITE, path, "OK|");
        snprintf(path, sizeof path, "/dom0/%u", n);
        assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){path, "value"}), DGM_OK);
    }
    assert_reply(guests[7], XS_WATCH, "some|t|", "OK|");
    assert_events(guests[7], "some t;");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, xs_rig_start, xs_rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(permissions_of_nodes),    TEST(ownership_by_dom0),
        TEST(quota_of_nodes),          TEST(quota_of_watches_and_transactions),
        TEST(memory_is_shared_fairly),
    };

    return cmocka_run_group_tests_name("xenstore access", tests, NULL, NULL);
}
