/* SPDX-License-Identifier: MIT */
/*
 * xenstore: the requests of guests and of domain 0, and their replies. If these fail, a guest finds
 * no disk, or what it wrote is lost.
 */
#include "xenstore_rig.h"

/* --- domain 0 --- */

static void local_values(void **state)
{
    char value[32], longer[5000];

    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/a/b/c", "value"}), DGM_OK);
    assert_int_equal(dgm_xs_read(xs_rig.xs, "/a/b/c", value, sizeof value), 5);
    assert_string_equal(value, "value");
    assert_int_equal(dgm_xs_read(xs_rig.xs, "/a/b", value, sizeof value), 0);
    assert_string_equal(value, "");
    assert_int_equal(dgm_xs_read(xs_rig.xs, "/a/b/c", value, 5), DGM_ERANGE);
    assert_int_equal(dgm_xs_read(xs_rig.xs, "/a/b/c", value, 6), 5);
    assert_int_equal(dgm_xs_read(xs_rig.xs, "/a/c", value, sizeof value), DGM_ENOENT);
    assert_int_equal(dgm_xs_write_number(xs_rig.xs, "/a/n", UINT64_MAX), DGM_OK);
    assert_int_equal(dgm_xs_read(xs_rig.xs, "/a/n", value, sizeof value), 20);
    assert_string_equal(value, "18446744073709551615");
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"a", ""}), DGM_EINVAL);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/a//b", ""}), DGM_EINVAL);
    memset(longer, 'x', sizeof longer);
    longer[4096] = '\0';
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/long", longer}), DGM_OK);
    assert_int_equal(dgm_xs_read(xs_rig.xs, "/long", longer, sizeof longer), 4096);
    longer[4096] = 'x';
    longer[4097] = '\0';
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/long", longer}), DGM_ENOSPC);
    assert_int_equal(dgm_xs_rm(xs_rig.xs, "/a"), DGM_OK);
    assert_int_equal(dgm_xs_rm(xs_rig.xs, "/a"), DGM_ENOENT);
    assert_int_equal(dgm_xs_rm(xs_rig.xs, "/"), DGM_EINVAL);
    assert_int_equal(dgm_xs_read(xs_rig.xs, "/a/b/c", value, sizeof value), DGM_ENOENT);
}

/* Every length around the borders of cells. */
static void values_of_every_length(void **state)
{
    char value[512], got[512];
    const uint64_t used = xs_rig_used();

    for (size_t length = 0; length < sizeof value; length++) {
        for (size_t i = 0; i < length; i++)
            value[i] = (char)('a' + (i * 7 + length) % 26);
        value[length] = '\0';
        assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/v", value}), DGM_OK);
        assert_int_equal(dgm_xs_read(xs_rig.xs, "/v", got, sizeof got), length);
        assert_string_equal(got, value);
        dgm_xs_check(xs_rig.xs);
    }
    assert_int_equal(dgm_xs_rm(xs_rig.xs, "/v"), DGM_OK);
    assert_int_equal(xs_rig_used(), used);
}

static void store_full(void **state)
{
    char path[64], value[32];
    const uint64_t used = xs_rig_used();
    unsigned count = 0;

    do
        snprintf(path, sizeof path, "/full/%u", count++);
    while (dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){path, "x"}) == DGM_OK);
    assert_true(count > 1000);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){path, "x"}), DGM_ENOSPC);
    assert_int_equal(dgm_xs_read(xs_rig.xs, path, value, sizeof value), DGM_ENOENT);
    dgm_xs_check(xs_rig.xs);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/full/0", "y"}), DGM_OK);
    assert_int_equal(dgm_xs_rm(xs_rig.xs, "/full"), DGM_OK);
    assert_int_equal(xs_rig_used(), used);
}

/* --- requests --- */

/* The first requests of Linux 6.12. */
static void as_linux_begins(void **state)
{
    struct xs_guest *guest;
    uint32_t tx;

    assert_int_equal(
        dgm_xs_write(xs_rig.xs,
                     (struct dgm_xs_entry){
                         "/local/domain/1/control/platform-feature-xs_reset_watches", "1"}),
        0);
    assert_int_equal(
        dgm_xs_write(xs_rig.xs,
                     (struct dgm_xs_entry){"/local/domain/1/device/vbd/51712/state", "1"}),
        0);
    guest = xs_guest_start(1);
    assert_int_equal(
        dgm_xs_set_access(xs_rig.xs, "/local/domain/1/control", (struct dgm_xs_access){.owner = 1}),
        0);
    assert_reply(guest, XS_READ, "control/platform-feature-xs_reset_watches|", "!EACCES");
    assert_int_equal(dgm_xs_set_access(xs_rig.xs,
                                       "/local/domain/1/control/platform-feature-xs_reset_watches",
                                       (struct dgm_xs_access){.reader = 1}),
                     0);
    assert_reply(guest, XS_READ, "control/platform-feature-xs_reset_watches|", "1");
    assert_reply(guest, XS_RESET_WATCHES, "|", "OK|");
    assert_int_equal(dgm_xs_rm(xs_rig.xs, "/local/domain/1/device"), 0);
    assert_int_equal(
        dgm_xs_write(xs_rig.xs,
                     (struct dgm_xs_entry){"/local/domain/1/device/vbd/51712/state", "1"}),
        0);
    assert_reply(guest, XS_DIRECTORY, "device|", "vbd|"); /* inherited: the guest owns it */
    assert_reply(guest, XS_DIRECTORY, "device/vbd|", "51712|");
    assert_reply(guest, XS_WATCH, "device|ffff800081234567|", "OK|");
    assert_events(guest, "device ffff800081234567;");
    tx = xs_start_transaction(guest);
    assert_reply_in(guest, tx, XS_READ, "device/vbd/51712/state|", "1");
    assert_reply_in(guest, tx, XS_WRITE, "device/vbd/51712/ring-ref|8", "OK|");
    assert_reply_in(guest, tx, XS_WRITE, "device/vbd/51712/state|3", "OK|");
    assert_reply_in(guest, 0, XS_READ, "device/vbd/51712/state|", "1");
    assert_string_equal(xs_end_transaction(guest, tx, "T|"), "OK|");
    assert_reply(guest, XS_READ, "device/vbd/51712/ring-ref|", "8");
    assert_events(guest, "device/vbd/51712/state ffff800081234567;"
                         "device/vbd/51712/ring-ref ffff800081234567;");
    assert_reply(guest, XS_GET_DOMAIN_PATH, "1|", "/local/domain/1|");
}

static void every_request_has_its_reply(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    static char large[XENSTORE_PAYLOAD_MAX];

    assert_reply(guest, XS_WRITE, "a/b|hello", "OK|");
    assert_reply(guest, XS_READ, "a/b|", "hello");
    assert_reply(guest, XS_READ, "/local/domain/1/a/b|", "hello");
    assert_reply(guest, XS_READ, "a|", "");
    assert_reply(guest, XS_WRITE, "a/b|", "OK|");
    assert_reply(guest, XS_READ, "a/b|", "");
    assert_reply(guest, XS_WRITE, "a/b|bin||ary|", "OK|");
    assert_reply(guest, XS_READ, "a/b|", "bin||ary|");
    assert_reply(guest, XS_MKDIR, "a/c|", "OK|");
    assert_reply(guest, XS_MKDIR, "a/c|", "OK|");
    assert_reply(guest, XS_WRITE, "a/a|", "OK|");
    assert_reply(guest, XS_DIRECTORY, "a|", "b|c|a|");
    assert_reply(guest, XS_DIRECTORY, "a/b|", "");
    assert_reply(guest, XS_DIRECTORY, "a/d|", "!ENOENT");
    assert_reply(guest, XS_GET_PERMS, "a/b|", "n1|r0|");
    assert_reply(guest, XS_RM, "a/c|", "OK|");
    assert_reply(guest, XS_RM, "a/c|", "OK|"); /* its parent exists */
    assert_reply(guest, XS_RM, "x/y|", "!ENOENT");
    assert_reply(guest, XS_DIRECTORY, "a|", "b|a|");
    assert_reply(guest, XS_RM, "a|", "OK|");
    assert_reply(guest, XS_READ, "a/b|", "!ENOENT");
    assert_reply(guest, XS_GET_DOMAIN_PATH, "65535|", "/local/domain/65535|");

    memcpy(large, "large", 6);
    memset(large + 6, 'v', 2048);
    xs_guest_call(guest, XS_WRITE, 0, large, 6 + 2048);
    assert_string_equal(xs_guest_reply(guest), "OK|");
    assert_int_equal(strlen(xs_ask(guest, XS_READ, "large|")), 2048);
    xs_guest_call(guest, XS_WRITE, 0, large, 6 + 2049);
    assert_string_equal(xs_guest_reply(guest), "!ENOSPC");
}

static void malformed_requests_are_refused(void **state)
{
    static const struct {
        uint32_t type;
        const char *payload, *reply;
    } cases[] = {
        {XS_READ, "", "!EINVAL"},
        {XS_READ, "a", "!EINVAL"}, /* no end */
        {XS_READ, "a|b|", "!EINVAL"},
        {XS_READ, "|", "!EINVAL"},
        {XS_READ, "/|", "!EACCES"},
        {XS_READ, "//|", "!EINVAL"},
        {XS_READ, "a/|", "!EINVAL"},
        {XS_READ, "a//b|", "!EINVAL"},
        {XS_READ, "a b|", "!EINVAL"},
        {XS_READ, "a.b|", "!EINVAL"},
        {XS_READ, "\xc3\xa4|", "!EINVAL"},
        {XS_READ, "@introduceDomain|", "!EINVAL"},
        {XS_READ, "a@b-c_D9|", "!ENOENT"},
        {XS_DIRECTORY, "", "!EINVAL"},
        {XS_DIRECTORY_PART, "|", "!EINVAL"},
        {XS_DIRECTORY_PART, "a|x|", "!EINVAL"},
        {XS_DIRECTORY_PART, "a|0|", "!ENOENT"},
        {XS_WRITE, "a", "!EINVAL"},
        {XS_WRITE, "", "!EINVAL"},
        {XS_MKDIR, "a", "!EINVAL"},
        {XS_RM, "/|", "!EACCES"},
        {XS_RM, "", "!EINVAL"},
        {XS_WATCH, "a|", "!EINVAL"},
        {XS_WATCH, "a|b", "!EINVAL"},
        {XS_WATCH, "a|b|c|", "!EINVAL"},
        {XS_WATCH, "a b|t|", "!EINVAL"},
        {XS_UNWATCH, "a|b|", "!ENOENT"},
        {XS_UNWATCH, "a|", "!EINVAL"},
        {XS_GET_DOMAIN_PATH, "x|", "!EINVAL"},
        {XS_GET_DOMAIN_PATH, "65536|", "!EINVAL"},
        {XS_GET_DOMAIN_PATH, "", "!EINVAL"},
        {XS_TRANSACTION_END, "T|", "!ENOENT"},
        {XS_TRANSACTION_END, "X|", "!EINVAL"},
        {XS_TRANSACTION_END, "", "!EINVAL"},
        {XS_SET_PERMS, "a|", "!EINVAL"},
        {XS_SET_PERMS, "a|n1", "!EINVAL"},
        {XS_SET_PERMS, "a|x1|", "!EINVAL"},
        {XS_SET_PERMS, "a|n|", "!EINVAL"},
        {XS_SET_PERMS, "a|n1x|", "!EINVAL"},
        {XS_SET_PERMS, "a|n1||", "!EINVAL"},
        {XS_SET_PERMS, "a|n1|", "!ENOENT"},
        {XS_SET_PERMS, "a|n1|r2|r3|r4|r5|r6|", "!ENOSPC"},
        {XS_SET_PERMS, "a|n1|r2|r3|r4|r5|r6|r7|", "!ENOSPC"},
        {XS_CONTROL, "help|", "!EACCES"},
        {XS_INTRODUCE, "1|2|3|", "!EACCES"},
        {XS_RELEASE, "1|", "!EACCES"},
        {XS_IS_DOMAIN_INTRODUCED, "1|", "!EACCES"},
        {XS_RESUME, "1|", "!EACCES"},
        {XS_SET_TARGET, "1|2|", "!EACCES"},
        {XS_WATCH_EVENT, "a|b|", "!ENOSYS"},
        {XS_ERROR, "a|", "!ENOSYS"},
        {20, "a|", "!ENOSYS"},
        {XS_TYPE_COUNT, "a|", "!ENOSYS"},
        {XS_INVALID, "a|", "!ENOSYS"},
        {UINT32_MAX, "", "!ENOSYS"},
    };
    struct xs_guest *const guest = xs_guest_start(1);
    const uint64_t used = xs_rig_used();
    struct dgm_xs_counters counters;
    char path[1100];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print_message("# type %u payload %s\n", cases[i].type, cases[i].payload);
        assert_reply(guest, cases[i].type, cases[i].payload, cases[i].reply);
    }
    assert_reply_in(guest, 99, XS_READ, "a|", "!ENOENT"); /* no such transaction */
    memset(path, 'p', sizeof path);
    path[0] = '/';
    strcpy(path + 1023, "|");
    assert_reply(guest, XS_READ, path, "!EACCES");
    strcpy(path + 1023, "p|");
    assert_reply(guest, XS_READ, path, "!EINVAL");
    assert_int_equal(xs_rig_used(), used);
    dgm_xs_counters(xs_rig.xs, &counters);
    assert_int_equal(counters.requests, sizeof cases / sizeof cases[0] + 3);
    assert_int_equal(counters.errors, counters.requests);
}

static void error_names(void **state)
{
    static const struct {
        int status;
        const char *name;
    } names[] = {
        {DGM_EINVAL, "EINVAL"}, {DGM_EACCES, "EACCES"},   {DGM_EEXIST, "EEXIST"},
        {DGM_EISDIR, "EISDIR"}, {DGM_ENOENT, "ENOENT"},   {DGM_ENOMEM, "ENOMEM"},
        {DGM_ENOSPC, "ENOSPC"}, {DGM_EIO, "EIO"},         {DGM_ENOTEMPTY, "ENOTEMPTY"},
        {DGM_ENOSYS, "ENOSYS"}, {DGM_EROFS, "EROFS"},     {DGM_EBUSY, "EBUSY"},
        {DGM_EAGAIN, "EAGAIN"}, {DGM_EISCONN, "EISCONN"}, {DGM_E2BIG, "E2BIG"},
        {DGM_EPERM, "EPERM"},   {DGM_EPROTO, "EINVAL"},   {-1000, "EINVAL"},
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_string_equal(dgm_xs_wire_error(names[i].status), names[i].name);
}

static void directories_in_parts(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    static char all[16384], parts[16384];
    char payload[128], generation[32] = "";
    size_t length = 0, done = 0;
    const char *text;

    for (unsigned i = 0; i < 500; i++) {
        snprintf(payload, sizeof payload, "d/child-number-%u|", i);
        assert_reply(guest, XS_MKDIR, payload, "OK|");
        length += (size_t)sprintf(all + length, "child-number-%u|", i);
    }
    assert_true(length > XENSTORE_PAYLOAD_MAX);
    assert_reply(guest, XS_DIRECTORY, "d|", "!E2BIG");
    for (;;) {
        snprintf(payload, sizeof payload, "d|%zu|", done);
        text = xs_ask(guest, XS_DIRECTORY_PART, payload);
        if (!generation[0])
            snprintf(generation, sizeof generation, "%.*s", (int)strcspn(text, "|"), text);
        assert_memory_equal(text, generation, strlen(generation));
        text += strlen(generation) + 1;
        strcpy(parts + done, text);
        done += strlen(text);
        if (done > length) /* the empty name at the end */
            break;
    }
    assert_int_equal(done, length + 1);
    assert_memory_equal(parts, all, length);
    snprintf(payload, sizeof payload, "d|%zu|", length + 5);
    text = xs_ask(guest, XS_DIRECTORY_PART, payload);
    assert_string_equal(text + strlen(generation), "||");
    assert_reply(guest, XS_RM, "d/child-number-0|", "OK|");
    text = xs_ask(guest, XS_DIRECTORY_PART, "d|0|");
    assert_memory_not_equal(text, generation, strlen(generation));
}

/* A directory whose names fill a reply to the last byte: the part ends before that. */
static void a_part_that_fills_the_reply(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    char payload[128], name[80];
    size_t left;

    for (size_t spare = 0; spare < 4; spare++) {
        assert_reply(guest, XS_MKDIR, "d|", "OK|");
        for (unsigned i = 0; i < 63; i++) {
            snprintf(payload, sizeof payload, "d/%063u|", i);
            assert_reply(guest, XS_MKDIR, payload, "OK|");
        }
        left = XENSTORE_PAYLOAD_MAX - 63 * 64 - 2 - spare; /* without two NULs */
        left -= strcspn(xs_ask(guest, XS_DIRECTORY_PART, "d|0|"), "|");
        memset(name, 'n', sizeof name);
        name[left] = '\0';
        snprintf(payload, sizeof payload, "d/%s|", name);
        assert_reply(guest, XS_MKDIR, payload, "OK|");
        assert_string_not_equal(xs_ask(guest, XS_DIRECTORY_PART, "d|0|"), "!E2BIG");
        assert_true(guest->reply.header.len <= XENSTORE_PAYLOAD_MAX);
        assert_reply(guest, XS_RM, "d|", "OK|");
    }
}

/* --- the end of a guest --- */

static void release_returns_everything(void **state)
{
    const uint64_t used = xs_rig_used();
    struct xs_guest *const guest = xs_guest_start(1);
    char path[300];
    uint32_t tx;

    assert_reply(guest, XS_WATCH, "a|t|", "OK|");
    tx = xs_start_transaction(guest);
    memset(path, 'x', sizeof path);
    strcpy(path + 250, "|value");
    assert_reply_in(guest, tx, XS_WRITE, path, "OK|");
    assert_reply(guest, XS_WRITE, path, "OK|");
    guest->lazy = true;
    for (unsigned i = 0; i < 200; i++) {
        snprintf(path, sizeof path, "/local/domain/1/a/%u", i);
        assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){path, ""}), DGM_OK);
    }
    dgm_xs_release(xs_rig.xs, 1);
    dgm_xs_check(xs_rig.xs);
    assert_null(xs_rig.evtchn.task[guest->port]);
    assert_int_equal(dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/local/domain/1/a/x", ""}),
                     DGM_OK);
    assert_int_equal(dgm_xs_rm(xs_rig.xs, "/local"), DGM_OK);
    assert_int_equal(xs_rig_used(), used);
    dgm_xs_release(xs_rig.xs, 1); /* nothing */
    xs_rig_run();
}

static void introduced_and_released(void **state)
{
    struct xs_guest *const guest = xs_guest_start(1);
    struct xenstore_domain_interface *const page = aligned_alloc(4096, 4096);
    int status = 0;
    domid_t domid;

    assert_int_equal(dgm_xs_introduce(xs_rig.xs, 1, guest->page, 7), DGM_EEXIST);
    memset(page, 0xff, 4096);
    xs_rig.bind_fails = DGM_ESRCH;
    assert_int_equal(dgm_xs_introduce(xs_rig.xs, 2, page, 7), DGM_ESRCH);
    xs_rig.bind_fails = 0;
    for (domid = 2; domid < 100 && !status; domid++) {
        status = dgm_xs_introduce(xs_rig.xs, domid, page, 7);
        assert_int_equal(page->connection, UINT32_MAX); /* of no known service: it stays as it is */
        assert_int_equal(page->req_prod + page->rsp_cons + page->req_cons + page->rsp_prod, 0);
    }
    assert_int_equal(status, DGM_ENOSPC);
    assert_int_equal(domid, 2 + DGM_XS_DOMAINS_MAX);
    dgm_xs_release(xs_rig.xs, 5);
    assert_int_equal(dgm_xs_introduce(xs_rig.xs, 77, page, 7), DGM_OK);
    for (domid = 2; domid < 100; domid++)
        dgm_xs_release(xs_rig.xs, domid);
    free(page);
}

static void too_small(void **state)
{
    static char memory[256 * 1024] __attribute__((aligned(8)));

    assert_null(
        dgm_xenstore_init(memory, sizeof memory - 1, &xs_rig.reactor, &xs_rig.evtchn, NULL));
    xs_rig_stop(NULL);
    xs_rig_start_with(256 * 1024, NULL);
    assert_reply(xs_guest_start(1), XS_WRITE, "a|b", "OK|");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, xs_rig_start, xs_rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(local_values),
        TEST(values_of_every_length),
        TEST(store_full),
        TEST(as_linux_begins),
        TEST(every_request_has_its_reply),
        TEST(malformed_requests_are_refused),
        TEST(error_names),
        TEST(directories_in_parts),
        TEST(a_part_that_fills_the_reply),
        TEST(release_returns_everything),
        TEST(introduced_and_released),
        TEST(too_small),
    };

    return cmocka_run_group_tests_name("xenstore", tests, NULL, NULL);
}
