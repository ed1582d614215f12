/* SPDX-License-Identifier: MIT */
/*
 * blkback and the dialects of frontends: all that Linux's backend serves is served, and each
 * refusal is logged with the key. If these fail, a guest other than today's Linux waits for its
 * disk without end, and its owner finds no cause.
 */
#include "one_disk_rig.h"

#include <block/pool.h>

#include <dragoman/base/log_limit.h>

static int start(void **state)
{
    one_disk_start((struct one_disk_options){0});
    return 0;
}

static int stop(void **state)
{
    one_disk_stop();
    return 0;
}

static void remove_key(const char *key)
{
    char path[128];

    front_path(&front, false, key, path);
    (void)dgm_xs_rm(vbd.xs, path);
}

static void remove_all_keys(void)
{
    static const char *const keys[] = {
        "ring-ref",        "ring-ref0",          "ring-ref1", "ring-ref2",
        "ring-ref3",       "event-channel",      "protocol",  "multi-queue-num-queues",
        "ring-page-order", "feature-persistent", "queue-0"};

    for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++)
        remove_key(keys[i]);
}

/* A number of the frontend: %p its port, %r the reference of its ring's first page, %1 of the
 * second one, ... */
static unsigned number_of(char name)
{
    if (name == 'p')
        return front.port;
    return front.ring_refs[name == 'r' ? 0 : name - '0'];
}

/* Writes "KEY=VALUE;..." in place of front_share()'s keys. The ring has as many pages as `keys`
 * say, within what there can be. */
static void share_as(const char *keys)
{
    const char *const order = strstr(keys, "ring-page-order=");
    char copy[256], *rest = copy, *pair;

    front.ring_order = order ? (unsigned)strtoul(order + strlen("ring-page-order="), NULL, 10) : 0;
    if (front.ring_order > DGM_RING_ORDER_MAX)
        front.ring_order = DGM_RING_ORDER_MAX;
    front_share(&front);
    remove_all_keys();
    snprintf(copy, sizeof copy, "%s", keys);
    while ((pair = strsep(&rest, ";"))) {
        char value[64] = "", *text = strchr(pair, '=');

        *text++ = '\0';
        for (size_t at = 0; *text; text++) {
            if (*text == '%')
                at += (size_t)snprintf(value + at, sizeof value - at, "%u", number_of(*++text));
            else
                value[at++] = *text;
        }
        front_write(&front, pair, value);
    }
}

/* --- served --- */

static void dialects_are_served(void **state)
{
    static const char *const served[] = {
        "ring-ref=%r;event-channel=%p",
        "ring-page-order=0;ring-ref0=%r;event-channel=%p",
        "ring-page-order=0;ring-ref=%r;event-channel=%p",
        "ring-page-order=0;ring-ref=7777;ring-ref0=%r;event-channel=%p",
        "multi-queue-num-queues=1;ring-ref=%r;event-channel=%p",
        "multi-queue-num-queues=1;queue-0/ring-ref=%r;queue-0/event-channel=%p",
        "multi-queue-num-queues=1;ring-page-order=0;ring-ref0=%r;event-channel=%p",
        "multi-queue-num-queues=1;ring-page-order=0;queue-0/ring-ref0=%r;queue-0/event-channel=%p",
        "ring-page-order=1;ring-ref0=%r;ring-ref1=%1;event-channel=%p",
        "ring-page-order=2;ring-ref0=%r;ring-ref1=%1;ring-ref2=%2;ring-ref3=%3;event-channel=%p",
        "multi-queue-num-queues=1;ring-page-order=1;queue-0/ring-ref0=%r;queue-0/ring-ref1=%1;"
        "queue-0/event-channel=%p",
        "multi-queue-num-queues=1;queue-0/event-channel=4000;ring-ref=%r;event-channel=%p",
        "ring-ref=  +0%r x;event-channel=\t%p\n;multi-queue-num-queues=01;ring-page-order= 0;"
        "feature-persistent=x",
        "protocol=x86_64-abi;ring-ref=%r;event-channel=%p",
        "protocol= arm-abi\n;ring-ref=%r;event-channel=%p",
        "protocol=\tarm-abi mine;ring-ref=%r;event-channel=%p",
        "protocol=;ring-ref=%r;event-channel=%p",
        "protocol= \t;ring-ref=%r;event-channel=%p",
        "ring-page-order=x;ring-ref=%r;event-channel=%p",
        "ring-page-order=;multi-queue-num-queues=;ring-ref=%r;event-channel=%p",
        "ring-ref=%r;event-channel=%p;feature-persistent=",
    };

    for (unsigned i = 0; i < sizeof served / sizeof served[0]; i++) {
        const struct part part = {FRONT_DATA_GFN, 0, 7};
        unsigned index;

        print_message("# %s\n", served[i]);
        vbd_run();
        share_as(served[i]);
        front_write_number(&front, "state", XenbusStateInitialised);
        vbd_run();
        assert_int_equal(back_state(&front), XenbusStateConnected);
        front_write_number(&front, "state", XenbusStateConnected);
        vbd_run();
        memset(dgm_hv_page(1, FRONT_DATA_GFN), (int)(i + 1), DGM_FRAME_BYTES);
        index = front_rw(&front, true, 8 * i, &part, 1);
        front_exchange(&front);
        assert_int_equal(front_status(&front, index), BLKIF_RSP_OKAY);
        assert_int_equal(disk.bytes[8 * i * 512 + 100], i + 1);
        front_close(&front);
        remove_all_keys();
        front_write_number(&front, "state", XenbusStateInitialising);
    }
}

/* Fails: a ring of several pages has fewer requests in flight than entries, or mixes entries up.
 * Twice, so that the entries are used again. */
static void a_full_ring_of_each_order(void **state)
{
    const unsigned depth = disk.depth;

    disk.depth = 128;
    for (front.ring_order = 0; front.ring_order <= DGM_RING_ORDER_MAX; front.ring_order++) {
        const unsigned entries = 32u << front.ring_order;

        front_connect(&front);
        assert_int_equal(RING_SIZE(&front.ring), entries);
        for (unsigned round = 0; round < 2; round++) {
            unsigned index[128];

            disk.stalled = true;
            for (unsigned i = 0; i < entries; i++) {
                const struct part part = {FRONT_DATA_GFN + i, 0, 7};

                memset(dgm_hv_page(1, part.gfn), (int)(i + round + 1), DGM_FRAME_BYTES);
                index[i] = front_rw(&front, true, 8 * i, &part, 1);
            }
            front_exchange(&front);
            assert_int_equal(disk.queued, entries);
            model_resume(&disk);
            front_exchange(&front);
            for (unsigned i = 0; i < entries; i++) {
                assert_int_equal(front_status(&front, index[i]), BLKIF_RSP_OKAY);
                assert_int_equal(disk.bytes[8 * i * 512 + 9], (uint8_t)(i + round + 1));
            }
        }
        front_close(&front);
        remove_all_keys();
        front_write_number(&front, "state", XenbusStateInitialising);
    }
    front.ring_order = 0;
    disk.depth = depth;
}

/* Fails: a guest with few slots is offered rings that leave too few for its requests. */
static void few_slots_few_pages(void **state)
{
    static const struct {
        uint16_t slots, disks;
        uint8_t order;
    } cases[] = {{3, 1, 0},    {255, 1, 0},   {256, 1, 1},   {511, 1, 1},
                 {512, 1, 2},  {65535, 1, 2}, {512, 3, 0},   {1023, 2, 1},
                 {1024, 2, 2}, {1024, 64, 0}, {16384, 15, 2}};

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgm_guest_account guest;

        dgm_guest_account_init(&guest, 1, &(struct dgm_guest_limits){.slots = cases[i].slots});
        assert_int_equal(dgm_blkback_ring_order_max(&guest, cases[i].disks), cases[i].order);
        assert_true(
            dgm_blkback_segments_max(&vbd.core.reach, &guest, DGM_REACH_MODE_MAP, cases[i].disks) +
                (1u << cases[i].order) + 1 <=
            cases[i].slots / cases[i].disks);
    }
}

/* Fails: a guest has larger rings than were counted in its quota. */
static void a_larger_ring_than_offered(void **state)
{
    one_disk_start((struct one_disk_options){.vbd = {.quota = 200}});
    vbd_run();
    assert_int_equal(front_key_number(&front, true, "max-ring-page-order"), 0);
    share_as("ring-page-order=1;ring-ref0=%r;ring-ref1=%1;event-channel=%p");
    front_write_number(&front, "state", XenbusStateInitialised);
    vbd_run();
    assert_int_equal(back_state(&front), XenbusStateClosing);
    assert_non_null(strstr(dgm_sim_last_log(), "ring-page-order \"1\" is too large"));
    front_write_number(&front, "state", XenbusStateClosed);
    vbd_run();
    front_unshare(&front);
    one_disk_stop();
}

/* --- refused --- */

static void refusals_name_the_key(void **state)
{
    static const struct {
        const char *keys, *line;
    } refused[] = {
        {"event-channel=%p", "ring-ref is missing"},
        {"ring-ref=abc;event-channel=%p", "ring-ref \"abc\" is not a number"},
        {"ring-ref=%r", "event-channel is missing"},
        {"ring-ref=%r;event-channel=4000", "event-channel: Xen refuses"},
        {"ring-ref=8191;event-channel=%p", "ring-ref: Xen refuses"},
        {"ring-page-order=0;event-channel=%p", "ring-ref is missing"},
        {"ring-page-order=1;ring-ref0=%r;ring-ref1=%r;event-channel=%p",
         "ring-ref1 is the reference of another page"},
        {"ring-page-order=2;ring-ref0=%r;ring-ref1=%1;ring-ref2=%2;ring-ref3=%1;event-channel=%p",
         "ring-ref3 is the reference of another page"},
        {"ring-page-order=1;ring-ref0=%r;event-channel=%p", "ring-ref1 is missing"},
        {"ring-page-order=1;ring-ref=%r;event-channel=%p", "ring-ref0 is missing"},
        {"ring-page-order=1;ring-ref0=%r;ring-ref1=x;event-channel=%p",
         "ring-ref1 \"x\" is not a number"},
        {"ring-page-order=2;ring-ref0=%r;ring-ref1=%1;ring-ref2=8191;ring-ref3=%3;event-channel=%p",
         "ring-ref0 and the following: Xen refuses"},
        {"ring-page-order=3;ring-ref0=%r;ring-ref1=%1;ring-ref2=%2;ring-ref3=%3;event-channel=%p",
         "ring-page-order \"3\" is too large"},
        {"ring-page-order=4294967296;ring-ref0=%r;event-channel=%p",
         "ring-page-order \"4294967296\" is too large"},
        {"multi-queue-num-queues=4294967297;ring-ref=%r;event-channel=%p",
         "multi-queue-num-queues: "},
        {"ring-ref=0;event-channel=%p", "ring-ref: Xen refuses"},
        {"ring-ref=4294967295;event-channel=%p", "ring-ref: Xen refuses"},
        {"ring-ref=%r;event-channel=0", "event-channel: Xen refuses"},
        {"ring-ref=%r;event-channel=4294967295", "event-channel: Xen refuses"},
        {"protocol=ARM-ABI;ring-ref=%r;event-channel=%p", "protocol: "},
        {"protocol=arm-abi2;ring-ref=%r;event-channel=%p", "protocol: "},
        {"multi-queue-num-queues=2;ring-ref=%r;event-channel=%p", "multi-queue-num-queues: "},
        {"multi-queue-num-queues=0;ring-ref=%r;event-channel=%p", "multi-queue-num-queues: "},
        {"multi-queue-num-queues=1;queue-0/ring-ref=%r", "ring-ref is missing"},
        {"queue-0/ring-ref=%r;queue-0/event-channel=%p", "ring-ref is missing"},
        {"protocol=x86_32-abi;ring-ref=%r;event-channel=%p", "protocol: "},
    };

    for (unsigned i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        print_message("# %s\n", refused[i].keys);
        vbd_run();
        dgm_sim_set_now_ns(dgm_env_now_ns() + DGM_LOG_LIMIT_REFILL_NS); /* room for a line */
        share_as(refused[i].keys);
        front_write_number(&front, "state", XenbusStateInitialised);
        vbd_run();
        assert_int_equal(back_state(&front), XenbusStateClosing);
        assert_non_null(strstr(dgm_sim_last_log(), refused[i].line));
        assert_int_equal(vbd.core.grant->live, 0);
        front_write_number(&front, "state", XenbusStateClosed);
        vbd_run();
        assert_int_equal(back_state(&front), XenbusStateClosed);
        front_unshare(&front);
        remove_all_keys();
        front_write_number(&front, "state", XenbusStateInitialising);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(dialects_are_served),   TEST(a_full_ring_of_each_order),
        TEST(few_slots_few_pages),   cmocka_unit_test(a_larger_ring_than_offered),
        TEST(refusals_name_the_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
