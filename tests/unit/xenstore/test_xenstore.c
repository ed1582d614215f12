/* SPDX-License-Identifier: MIT */
/*
 * xenstore: what guests and domain 0 may ask, and what they are answered. If these fail, a guest
 * finds no disk, sees what is not its own, or fills the store.
 */
#include "xenstore_rig.h"

/* --- domain 0 --- */

static void local_values(void **state)
{
    char value[32], longer[5000];

    assert_int_equal(dgm_xs_write(rig.xs, "/a/b/c", "value"), DGM_OK);
    assert_int_equal(dgm_xs_read(rig.xs, "/a/b/c", value, sizeof value), 5);
    assert_string_equal(value, "value");
    assert_int_equal(dgm_xs_read(rig.xs, "/a/b", value, sizeof value), 0);
    assert_string_equal(value, "");
    assert_int_equal(dgm_xs_read(rig.xs, "/a/b/c", value, 5), DGM_ERANGE);
    assert_int_equal(dgm_xs_read(rig.xs, "/a/b/c", value, 6), 5);
    assert_int_equal(dgm_xs_read(rig.xs, "/a/c", value, sizeof value), DGM_ENOENT);
    assert_int_equal(dgm_xs_write_number(rig.xs, "/a/n", UINT64_MAX), DGM_OK);
    assert_int_equal(dgm_xs_read(rig.xs, "/a/n", value, sizeof value), 20);
    assert_string_equal(value, "18446744073709551615");
    assert_int_equal(dgm_xs_write(rig.xs, "a", ""), DGM_EINVAL);
    assert_int_equal(dgm_xs_write(rig.xs, "/a//b", ""), DGM_EINVAL);
    memset(longer, 'x', sizeof longer);
    longer[4096] = '\0';
    assert_int_equal(dgm_xs_write(rig.xs, "/long", longer), DGM_OK);
    assert_int_equal(dgm_xs_read(rig.xs, "/long", longer, sizeof longer), 4096);
    longer[4096] = 'x';
    longer[4097] = '\0';
    assert_int_equal(dgm_xs_write(rig.xs, "/long", longer), DGM_ENOSPC);
    assert_int_equal(dgm_xs_rm(rig.xs, "/a"), DGM_OK);
    assert_int_equal(dgm_xs_rm(rig.xs, "/a"), DGM_ENOENT);
    assert_int_equal(dgm_xs_rm(rig.xs, "/"), DGM_EINVAL);
    assert_int_equal(dgm_xs_read(rig.xs, "/a/b/c", value, sizeof value), DGM_ENOENT);
}

/* Every length around the borders of cells. */
static void values_of_every_length(void **state)
{
    char value[512], got[512];
    const uint64_t used = rig_used();

    for (size_t length = 0; length < sizeof value; length++) {
        for (size_t i = 0; i < length; i++)
            value[i] = (char)('a' + (i * 7 + length) % 26);
        value[length] = '\0';
        assert_int_equal(dgm_xs_write(rig.xs, "/v", value), DGM_OK);
        assert_int_equal(dgm_xs_read(rig.xs, "/v", got, sizeof got), length);
        assert_string_equal(got, value);
        dgm_xs_check(rig.xs);
    }
    assert_int_equal(dgm_xs_rm(rig.xs, "/v"), DGM_OK);
    assert_int_equal(rig_used(), used);
}

static void store_full(void **state)
{
    char path[64], value[32];
    const uint64_t used = rig_used();
    unsigned count = 0;

    do
        snprintf(path, sizeof path, "/full/%u", count++);
    while (dgm_xs_write(rig.xs, path, "x") == DGM_OK);
    assert_true(count > 1000);
    assert_int_equal(dgm_xs_write(rig.xs, path, "x"), DGM_ENOSPC);
    assert_int_equal(dgm_xs_read(rig.xs, path, value, sizeof value), DGM_ENOENT);
    dgm_xs_check(rig.xs);
    assert_int_equal(dgm_xs_write(rig.xs, "/full/0", "y"), DGM_OK);
    assert_int_equal(dgm_xs_rm(rig.xs, "/full"), DGM_OK);
    assert_int_equal(rig_used(), used);
}

static unsigned fired;

static void count_fire(struct dgm_xs_watch *watch)
{
    fired++;
}

#define assert_fires(times)                                                                        \
    do {                                                                                           \
        rig_run();                                                                                 \
        assert_int_equal(fired, times);                                                            \
        fired = 0;                                                                                 \
    } while (0)

static void local_watches(void **state)
{
    static struct dgm_xs_watch watch = {.path = "/a/b", .fire = count_fire};
    static struct dgm_xs_watch root = {.path = "/", .fire = count_fire};

    fired = 0;
    dgm_xs_watch(rig.xs, &watch);
    assert_int_equal(fired, 0);
    assert_fires(1);
    assert_int_equal(dgm_xs_write(rig.xs, "/a/bc", ""), DGM_OK);
    assert_int_equal(dgm_xs_write(rig.xs, "/a", ""), DGM_OK);
    assert_fires(0);
    assert_int_equal(dgm_xs_write(rig.xs, "/a/b", ""), DGM_OK);
    assert_fires(1);
    assert_int_equal(dgm_xs_write(rig.xs, "/a/b/c/d", "1"), DGM_OK);
    assert_int_equal(dgm_xs_write(rig.xs, "/a/b/c/d", "1"), DGM_OK);
    assert_fires(1); /* coalesced */
    assert_int_equal(dgm_xs_set_owner(rig.xs, "/a/b/c", 3, true, 0), DGM_OK);
    assert_fires(1);
    assert_int_equal(dgm_xs_rm(rig.xs, "/a"), DGM_OK);
    assert_fires(1);
    dgm_xs_watch(rig.xs, &root);
    assert_fires(1);
    assert_int_equal(dgm_xs_write(rig.xs, "/x", ""), DGM_OK);
    assert_fires(1);
    dgm_xs_domain_changed(rig.xs);
    assert_fires(0); /* a special path lies below nothing */
    assert_int_equal(dgm_xs_write(rig.xs, "/a/b", ""), DGM_OK);
    dgm_xs_unwatch(rig.xs, &watch);
    assert_fires(1); /* the root's */
    dgm_xs_unwatch(rig.xs, &root);
    assert_int_equal(dgm_xs_write(rig.xs, "/a/b", ""), DGM_OK);
    assert_fires(0);
}

static void special_watches(void **state)
{
    static struct dgm_xs_watch in = {.path = "@introduceDomain", .fire = count_fire};
    static struct dgm_xs_watch out = {.path = "@releaseDomain", .fire = count_fire};
    struct guest *guest;

    fired = 0;
    dgm_xs_watch(rig.xs, &in);
    assert_fires(1);
    guest = guest_start(1);
    assert_fires(1);
    dgm_xs_unwatch(rig.xs, &in);
    dgm_xs_watch(rig.xs, &out);
    assert_fires(1);
    dgm_xs_domain_changed(rig.xs);
    assert_fires(1);
    dgm_xs_unwatch(rig.xs, &out);
    assert_reply(guest, XS_WATCH, "@introduceDomain|t|", "!EACCES");
    assert_reply(guest, XS_WATCH, "@releaseDomain|t|", "!EACCES");
    assert_reply(guest, XS_WATCH, "@somethingElse|t|", "!EINVAL");
    dgm_xs_domain_changed(rig.xs);
    assert_events(guest, "");
}

/* --- requests --- */

/* What Linux 6.12 asks first. */
static void as_linux_begins(void **state)
{
    struct guest *guest;
    uint32_t tx;

    assert_int_equal(
        dgm_xs_write(rig.xs, "/local/domain/1/control/platform-feature-xs_reset_watches", "1"), 0);
    assert_int_equal(dgm_xs_write(rig.xs, "/local/domain/1/device/vbd/51712/state", "1"), 0);
    guest = guest_start(1);
    assert_int_equal(dgm_xs_set_owner(rig.xs, "/local/domain/1/control", 1, false, 0), 0);
    assert_reply(guest, XS_READ, "control/platform-feature-xs_reset_watches|", "!EACCES");
    assert_int_equal(dgm_xs_set_owner(rig.xs,
                                      "/local/domain/1/control/platform-feature-xs_reset_watches",
                                      0, false, 1),
                     0);
    assert_reply(guest, XS_READ, "control/platform-feature-xs_reset_watches|", "1");
    assert_reply(guest, XS_RESET_WATCHES, "|", "OK|");
    assert_int_equal(dgm_xs_rm(rig.xs, "/local/domain/1/device"), 0);
    assert_int_equal(dgm_xs_write(rig.xs, "/local/domain/1/device/vbd/51712/state", "1"), 0);
    assert_reply(guest, XS_DIRECTORY, "device|", "vbd|"); /* inherited: the guest owns it */
    assert_reply(guest, XS_DIRECTORY, "device/vbd|", "51712|");
    assert_reply(guest, XS_WATCH, "device|ffff800081234567|", "OK|");
    assert_events(guest, "device ffff800081234567;");
    tx = start_transaction(guest);
    assert_reply_in(guest, tx, XS_READ, "device/vbd/51712/state|", "1");
    assert_reply_in(guest, tx, XS_WRITE, "device/vbd/51712/ring-ref|8", "OK|");
    assert_reply_in(guest, tx, XS_WRITE, "device/vbd/51712/state|3", "OK|");
    assert_reply_in(guest, 0, XS_READ, "device/vbd/51712/state|", "1");
    assert_string_equal(end_transaction(guest, tx, "T|"), "OK|");
    assert_reply(guest, XS_READ, "device/vbd/51712/ring-ref|", "8");
    assert_events(guest, "device/vbd/51712/state ffff800081234567;"
                         "device/vbd/51712/ring-ref ffff800081234567;");
    assert_reply(guest, XS_GET_DOMAIN_PATH, "1|", "/local/domain/1|");
}

static void requests(void **state)
{
    struct guest *const guest = guest_start(1);
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
    guest_call(guest, XS_WRITE, 0, large, 6 + 2048);
    assert_string_equal(reply_text(guest), "OK|");
    assert_int_equal(strlen(ask(guest, XS_READ, "large|")), 2048);
    guest_call(guest, XS_WRITE, 0, large, 6 + 2049);
    assert_string_equal(reply_text(guest), "!ENOSPC");
}

static void malformed(void **state)
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
    struct guest *const guest = guest_start(1);
    const uint64_t used = rig_used();
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
    assert_int_equal(rig_used(), used);
    dgm_xs_counters(rig.xs, &counters);
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
    struct guest *const guest = guest_start(1);
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
        text = ask(guest, XS_DIRECTORY_PART, payload);
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
    text = ask(guest, XS_DIRECTORY_PART, payload);
    assert_string_equal(text + strlen(generation), "||");
    assert_reply(guest, XS_RM, "d/child-number-0|", "OK|");
    text = ask(guest, XS_DIRECTORY_PART, "d|0|");
    assert_memory_not_equal(text, generation, strlen(generation));
}

/* --- permissions --- */

static void permissions(void **state)
{
    struct guest *const one = guest_start(1), *const two = guest_start(2);

    assert_int_equal(dgm_xs_write(rig.xs, "/secret/x", "s"), DGM_OK);
    assert_int_equal(dgm_xs_write(rig.xs, "/open", "o"), DGM_OK);
    assert_int_equal(dgm_xs_set_owner(rig.xs, "/open", 0, true, 0), DGM_OK);
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

    /* What others may by default. */
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
    struct guest *const guest = guest_start(1);

    assert_int_equal(dgm_xs_write(rig.xs, "/local/domain/1/device/vbd/1/state", "1"), DGM_OK);
    assert_reply(guest, XS_GET_PERMS, "device/vbd/1/state|", "n1|r0|");
    assert_int_equal(dgm_xs_write(rig.xs, "/backend/1/x", "1"), DGM_OK);
    assert_int_equal(dgm_xs_set_owner(rig.xs, "/backend/1", 0, false, 1), DGM_OK);
    assert_int_equal(dgm_xs_write(rig.xs, "/backend/1/state", "2"), DGM_OK);
    assert_reply(guest, XS_READ, "/backend/1/state|", "2");
    assert_reply(guest, XS_READ, "/backend/1/x|", "!EACCES");
    assert_reply(guest, XS_WRITE, "/backend/1/state|", "!EACCES");
    assert_reply(guest, XS_DIRECTORY, "/backend/1|", "x|state|");
    assert_int_equal(dgm_xs_set_owner(rig.xs, "/none", 1, false, 0), DGM_ENOENT);
    assert_int_equal(dgm_xs_set_owner(rig.xs, "none", 1, false, 0), DGM_EINVAL);
}

/* --- watches --- */

static void watches(void **state)
{
    struct guest *const guest = guest_start(1);

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
    assert_events(guest, "/local/domain/1/a/b/c abs;"); /* not for each parent it makes */
    assert_reply(guest, XS_MKDIR, "a/b|", "OK|");
    assert_events(guest, ""); /* it was there */
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
    struct guest *const guest = guest_start(1);
    struct message message, got;

    guest_make(guest, &message, XS_WATCH, 0, "a\0t", 4);
    guest_put(guest, (char *)&message, sizeof message.header + 4);
    rig_run();
    guest_get(guest, (char *)&got, sizeof got.header + 3);
    assert_int_equal(got.header.type, XS_WATCH);
    assert_memory_equal(got.payload, "OK", 3);
    guest_get(guest, (char *)&got, sizeof got.header + 4);
    assert_int_equal(got.header.type, XS_WATCH_EVENT);
    assert_memory_equal(got.payload, "a\0t", 4);
}

static void watches_and_permissions(void **state)
{
    struct guest *const one = guest_start(1), *const two = guest_start(2);

    assert_reply(two, XS_WATCH, "/|t|", "OK|");
    assert_events(two, "/ t;");
    assert_reply(one, XS_WRITE, "a/b|1", "OK|");
    assert_int_equal(dgm_xs_write(rig.xs, "/secret", ""), DGM_OK);
    assert_events(two, "");
    assert_reply(one, XS_SET_PERMS, "a|n1|r2|", "OK|");
    assert_events(two, "/local/domain/1/a t;");
    assert_reply(one, XS_WRITE, "a/b|1", "OK|");
    assert_events(two, "/local/domain/1/a/b t;"); /* its parent can be listed */
    assert_reply(one, XS_WRITE, "a/b/c|1", "OK|");
    assert_events(two, "");
    assert_reply(one, XS_RM, "a/b|", "OK|");
    assert_events(two, "/local/domain/1/a/b t;");
    assert_reply(one, XS_SET_PERMS, "a|n1|", "OK|"); /* it loses the right, and hears of it */
    assert_events(two, "/local/domain/1/a t;");
    assert_reply(one, XS_WRITE, "a|", "OK|");
    assert_events(two, "");
}

static void waiting_events_are_merged(void **state)
{
    struct guest *const guest = guest_start(1);

    assert_reply(guest, XS_WATCH, "a|t|", "OK|");
    assert_reply(guest, XS_WATCH, "a/x|u|", "OK|");
    assert_events(guest, "a t;a/x u;");
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(dgm_xs_write_number(rig.xs, "/local/domain/1/a/x", i), DGM_OK);
        assert_int_equal(dgm_xs_write_number(rig.xs, "/local/domain/1/a/y", i), DGM_OK);
    }
    /* In the order of what happened first, and for each from the root downward. */
    assert_events(guest, "a/x t;a/x u;a/y t;");
    assert_int_equal(dgm_xs_write(rig.xs, "/local/domain/1/a/x", ""), DGM_OK);
    assert_events(guest, "a/x t;a/x u;"); /* told once, it is told again */
}

/* A guest that does not read: what waits is merged, bounded, and ends in "look again". */
static void events_are_bounded(void **state)
{
    struct guest *const guest = guest_start(1);
    struct dgm_xs_counters counters;
    const uint64_t used = rig_used();
    char path[64];
    unsigned own = 0;

    assert_reply(guest, XS_WATCH, "a|t|", "OK|");
    assert_reply(guest, XS_WATCH, "a/0|u|", "OK|");
    assert_events(guest, "a t;a/0 u;");
    guest->lazy = true;
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 500; i++) {
            snprintf(path, sizeof path, "/local/domain/1/a/%u", i);
            assert_int_equal(dgm_xs_write(rig.xs, path, ""), DGM_OK);
            if (i % 50 == 0)
                rig_run();
        }
    assert_int_equal(dgm_xs_rm(rig.xs, "/local/domain/1/a"), DGM_OK);
    rig_run();
    assert_true(rig_used() - used < 200 * DGM_XS_CELL_BYTES);
    guest->lazy = false;
    events_text(guest);
    for (unsigned i = 0; i < 256; i++)
        own += strcmp(guest->events[i], "a t") == 0;
    assert_true(own >= 1);
    dgm_xs_counters(rig.xs, &counters);
    assert_true(counters.watch_events < 200);
    assert_int_equal(dgm_xs_write(rig.xs, "/local/domain/1/a/77", ""), DGM_OK);
    assert_events(guest, "a/77 t;"); /* all is as before */
    assert_int_equal(dgm_xs_rm(rig.xs, "/local/domain/1/a"), DGM_OK);
    assert_reply(guest, XS_RESET_WATCHES, "|", "OK|");
    assert_int_equal(rig_used(), used);
}

static void unwatch_forgets_what_waits(void **state)
{
    struct guest *const guest = guest_start(1);
    char path[64];

    assert_reply(guest, XS_WATCH, "a|t|", "OK|");
    assert_reply(guest, XS_WATCH, "b|u|", "OK|");
    assert_events(guest, "a t;b u;");
    for (unsigned i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "/local/domain/1/%c/%u", i % 2 ? 'a' : 'b', i);
        assert_int_equal(dgm_xs_write(rig.xs, path, ""), DGM_OK);
    }
    /* The request overtakes events: at most a few of them go out between two requests. */
    assert_reply(guest, XS_UNWATCH, "a|t|", "OK|");
    events_text(guest);
    for (unsigned i = 8; i < 20; i++)
        assert_true(guest->events[i][0] != 'a');
}

/* --- quotas --- */

static void quota_of_nodes(void **state)
{
    struct guest *const guest = guest_start(1);
    struct dgm_xs_counters before, after;
    unsigned nodes = 0;
    char path[64];
    uint32_t tx;

    dgm_xs_counters(rig.xs, &before);
    do
        snprintf(path, sizeof path, "n/%u|", nodes++);
    while (strcmp(ask(guest, XS_WRITE, path), "OK|") == 0);
    assert_reply(guest, XS_WRITE, path, "!ENOSPC");
    assert_int_equal(nodes, 1000 - 1); /* its home and "n" count */
    assert_reply(guest, XS_WRITE, "n/0|x", "OK|");
    tx = start_transaction(guest);
    assert_reply_in(guest, tx, XS_WRITE, "m|", "!ENOSPC");
    assert_reply_in(guest, tx, XS_WRITE, "n/0|", "OK|");
    assert_string_equal(end_transaction(guest, tx, "T|"), "OK|");
    assert_reply(guest, XS_RM, "n/0|", "OK|");
    assert_reply(guest, XS_WRITE, "n/0/x|", "!ENOSPC"); /* two, and room for one */
    assert_reply(guest, XS_WRITE, "m|", "OK|");
    assert_int_equal(dgm_xs_write(rig.xs, "/local/domain/1/device", ""), DGM_OK);
    assert_reply(guest, XS_RM, "n|", "OK|");
    assert_reply(guest, XS_RM, "m|", "OK|");
    assert_int_equal(dgm_xs_rm(rig.xs, "/local/domain/1/device"), DGM_OK);
    dgm_xs_counters(rig.xs, &after);
    assert_int_equal(after.quota_refusals, 4);
    assert_int_equal(after.nodes, before.nodes);
    assert_int_equal(after.memory_used, before.memory_used);
}

static void quota_of_watches_and_transactions(void **state)
{
    struct guest *const guest = guest_start(1);
    const uint64_t used = rig_used();
    char payload[64];

    for (unsigned i = 0; i < 128; i++) {
        snprintf(payload, sizeof payload, "w%u|t|", i);
        assert_reply(guest, XS_WATCH, payload, "OK|");
    }
    assert_reply(guest, XS_WATCH, "more|t|", "!E2BIG");
    assert_reply(guest, XS_UNWATCH, "w5|t|", "OK|");
    assert_reply(guest, XS_WATCH, "more|t|", "OK|");
    for (unsigned i = 0; i < 10; i++)
        start_transaction(guest);
    assert_reply(guest, XS_TRANSACTION_START, "|", "!ENOSPC");
    assert_reply(guest, XS_RESET_WATCHES, "|", "OK|");
    assert_int_equal(rig_used(), used);
    start_transaction(guest);
}

/* All guests take what they can get; each still has its guaranteed part, and domain 0 too. */
static void memory_is_shared_fairly(void **state)
{
    struct guest *guests[8];
    static char payload[2100];
    char path[64];

    for (domid_t i = 0; i < 8; i++)
        guests[i] = guest_start((domid_t)(i + 1));
    memset(payload, 'v', sizeof payload);
    for (unsigned i = 0; i < 7; i++)
        for (unsigned n = 0;; n++) {
            const int length = snprintf(payload, sizeof payload, "v/%u", n) + 1;

            payload[length] = 'v';
            guest_call(guests[i], XS_WRITE, 0, payload, (size_t)length + 2000);
            if (strcmp(reply_text(guests[i]), "OK|") != 0) {
                assert_reply(guests[i], XS_READ, "none|", "!ENOENT");
                break;
            }
        }
    for (unsigned n = 0; n < 40; n++) {
        snprintf(path, sizeof path, "some/%u|value", n);
        assert_reply(guests[7], XS_WRITE, path, "OK|");
        snprintf(path, sizeof path, "/dom0/%u", n);
        assert_int_equal(dgm_xs_write(rig.xs, path, "value"), DGM_OK);
    }
    assert_reply(guests[7], XS_WATCH, "some|t|", "OK|");
    assert_events(guests[7], "some t;");
}

/* --- leaving --- */

static void release_returns_everything(void **state)
{
    const uint64_t used = rig_used();
    struct guest *const guest = guest_start(1);
    char path[300];
    uint32_t tx;

    assert_reply(guest, XS_WATCH, "a|t|", "OK|");
    tx = start_transaction(guest);
    memset(path, 'x', sizeof path);
    strcpy(path + 250, "|value");
    assert_reply_in(guest, tx, XS_WRITE, path, "OK|");
    assert_reply(guest, XS_WRITE, path, "OK|");
    guest->lazy = true;
    for (unsigned i = 0; i < 200; i++) {
        snprintf(path, sizeof path, "/local/domain/1/a/%u", i);
        assert_int_equal(dgm_xs_write(rig.xs, path, ""), DGM_OK);
    }
    dgm_xs_release(rig.xs, 1);
    dgm_xs_check(rig.xs);
    assert_null(rig.evtchn.task[guest->port]);
    assert_int_equal(dgm_xs_write(rig.xs, "/local/domain/1/a/x", ""), DGM_OK);
    assert_int_equal(dgm_xs_rm(rig.xs, "/local"), DGM_OK);
    assert_int_equal(rig_used(), used);
    dgm_xs_release(rig.xs, 1); /* nothing */
    rig_run();
}

static void introductions(void **state)
{
    struct guest *const guest = guest_start(1);
    struct xenstore_domain_interface *const page = aligned_alloc(4096, 4096);
    int status = 0;
    domid_t domid;

    assert_int_equal(dgm_xs_introduce(rig.xs, 1, guest->page, 7), DGM_EEXIST);
    memset(page, 0xff, 4096);
    rig.bind_fails = DGM_ESRCH;
    assert_int_equal(dgm_xs_introduce(rig.xs, 2, page, 7), DGM_ESRCH);
    rig.bind_fails = 0;
    for (domid = 2; domid < 100 && !status; domid++) {
        status = dgm_xs_introduce(rig.xs, domid, page, 7);
        assert_int_equal(page->connection, UINT32_MAX); /* nothing that we know: left alone */
        assert_int_equal(page->req_prod + page->rsp_cons + page->req_cons + page->rsp_prod, 0);
    }
    assert_int_equal(status, DGM_ENOSPC);
    assert_int_equal(domid, 2 + DGM_XS_DOMAINS_MAX);
    dgm_xs_release(rig.xs, 5);
    assert_int_equal(dgm_xs_introduce(rig.xs, 77, page, 7), DGM_OK);
    for (domid = 2; domid < 100; domid++)
        dgm_xs_release(rig.xs, domid);
    free(page);
}

static void too_small(void **state)
{
    static char memory[256 * 1024] __attribute__((aligned(8)));

    assert_null(dgm_xenstore_init(memory, sizeof memory - 1, &rig.reactor, &rig.evtchn, NULL));
    rig_stop(NULL);
    rig_start_with(256 * 1024, NULL);
    assert_reply(guest_start(1), XS_WRITE, "a|b", "OK|");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_start, rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(local_values),
        TEST(values_of_every_length),
        TEST(store_full),
        TEST(local_watches),
        TEST(special_watches),
        TEST(as_linux_begins),
        TEST(requests),
        TEST(malformed),
        TEST(error_names),
        TEST(directories_in_parts),
        TEST(permissions),
        TEST(ownership_by_dom0),
        TEST(watches),
        TEST(ack_before_first_event),
        TEST(watches_and_permissions),
        TEST(waiting_events_are_merged),
        TEST(events_are_bounded),
        TEST(unwatch_forgets_what_waits),
        TEST(quota_of_nodes),
        TEST(quota_of_watches_and_transactions),
        TEST(memory_is_shared_fairly),
        TEST(release_returns_everything),
        TEST(introductions),
        TEST(too_small),
    };

    return cmocka_run_group_tests_name("xenstore", tests, NULL, NULL);
}
