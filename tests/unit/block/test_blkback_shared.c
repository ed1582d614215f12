/* SPDX-License-Identifier: MIT */
/*
 * blkback and the dialects of frontends: all that Linux's backend serves is served, and each
 * refusal is logged with the key. If these fail, a guest other than today's Linux waits for its
 * disk without end, and its owner finds no cause.
 */
#include "one_disk_rig.h"

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

/* Writes "KEY=VALUE;...", %r the ring's reference and %p the port, in place of front_share()'s
 * keys. */
static void share_as(const char *keys)
{
    static const char *const plain[] = {"ring-ref", "event-channel", "protocol",
                                        "feature-persistent"};
    char copy[256], *rest = copy, *pair;

    front_share(&front);
    for (unsigned i = 0; i < sizeof plain / sizeof plain[0]; i++)
        remove_key(plain[i]);
    snprintf(copy, sizeof copy, "%s", keys);
    while ((pair = strsep(&rest, ";"))) {
        char value[64] = "", *text = strchr(pair, '=');

        *text++ = '\0';
        for (size_t at = 0; *text; text++) {
            if (*text == '%')
                at += (size_t)snprintf(value + at, sizeof value - at, "%u",
                                       *++text == 'r' ? front.ring_ref : front.port);
            else
                value[at++] = *text;
        }
        front_write(&front, pair, value);
    }
}

static void remove_all_keys(void)
{
    static const char *const keys[] = {"ring-ref",           "ring-ref0",
                                       "event-channel",      "protocol",
                                       "ring-page-order",    "multi-queue-num-queues",
                                       "feature-persistent", "queue-0"};

    for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++)
        remove_key(keys[i]);
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
        {"ring-page-order=1;ring-ref0=%r;ring-ref1=%r;event-channel=%p", "ring-page-order: "},
        {"ring-page-order=4294967296;ring-ref0=%r;event-channel=%p", "ring-page-order: "},
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
        TEST(dialects_are_served),
        TEST(refusals_name_the_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
