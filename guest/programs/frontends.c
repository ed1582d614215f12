/* SPDX-License-Identifier: MIT */
/*
 * frontends: block frontends other than Linux's, simulated in user space
 *
 *   frontends
 *
 * The guest's own frontend was unbound from its disks (task "frontends"). Each scenario of
 * frontends.h connects one of them as another frontend might: with other keys, other forms of
 * numbers, another order of states. A scenario that the backend must serve writes and reads its own
 * sectors through the ring, with an event for each response; one that it must refuse waits until
 * the backend closes. Then come all combinations of the ring's keys. Prints a line per scenario:
 *
 *   served NAME DISK | refused NAME DISK | fail NAME: WHAT
 *
 * The cause of a refusal is in the log of Dragoman, where tests/guest/frontends.py looks for it.
 * Dragoman limits the log lines that one guest can cause, so the program waits before a scenario
 * that causes one.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "frontends.h"
#include "lib/blkfront.h"
#include "lib/xen.h"

/* The backend limits the lines that one guest causes: a few at once, then one in ten seconds. */
#define LOG_SECONDS  11
#define SECTOR_BYTES 512u

/* xen/io/blkif.h: operations, and a status */
#define OP_BARRIER    2
#define OP_FLUSH      3
#define OP_DISCARD    5
#define NOT_SUPPORTED (-2)

/* Every key of any scenario: removed before the next one. */
static const char *const all_keys[] = {
    "ring-ref",
    "ring-ref0",
    "ring-ref1",
    "event-channel",
    "ring-page-order",
    "queue-0",
    "protocol",
    "multi-queue-num-queues",
    "feature-persistent",
    "max-requests",
    "max-request-segments",
    "max-request-size",
    "target-id",
    "feature-surprise-remove",
    "feature-online-resize",
    "feature-large-sector-size",
};

static void write_and_compare(unsigned number)
{
    static unsigned turn;

    wait_for(4);
    turn++;
    for (unsigned i = 0; i < XEN_PAGE; i++)
        blkfront.page[0][i] = (uint8_t)(i * 7 + (i >> 8) + number * 31 + turn);
    memset(blkfront.page[1], 0, XEN_PAGE);
    transfer_block(true, number * (XEN_PAGE / SECTOR_BYTES));
    transfer_block(false, number * (XEN_PAGE / SECTOR_BYTES));
    if (memcmp(blkfront.page[0], blkfront.page[1], XEN_PAGE) != 0)
        fail("what is read is not what was written");
}

/* A flush succeeds, whatever sector it names; what is not offered is refused as not supported, so
 * that a frontend can do without it. */
static void send_other_operations(void)
{
    static const uint8_t not_offered[] = {OP_BARRIER, OP_DISCARD, 77};

    if (empty_request(OP_FLUSH, 0) != 0 || empty_request(OP_FLUSH, 5) != 0)
        fail("a flush ends with an error");
    for (size_t i = 0; i < sizeof not_offered; i++)
        if (empty_request(not_offered[i], 0) != NOT_SUPPORTED)
            fail("an operation is not refused as not supported");
}

static void remove_all_keys(void)
{
    for (size_t i = 0; i < sizeof all_keys / sizeof all_keys[0]; i++)
        remove_key(all_keys[i]);
}

/* --- scenarios --- */

/* Writes `count` of the keys, from number `first` on. */
static void write_keys(const char *keys, unsigned first, unsigned count)
{
    char copy[256], *rest = copy, *pair;

    snprintf(copy, sizeof copy, "%s", keys);
    for (unsigned i = 0; (pair = strsep(&rest, ";")); i++) {
        char value[64] = "";
        char *text = strchr(pair, '=');

        if (i - first >= count)
            continue;
        *text++ = '\0';
        for (size_t at = 0; *text; text++) {
            if (*text == '%') {
                at += (size_t)snprintf(value + at, sizeof value - at, "%u",
                                       *++text == 'r' ? blkfront.ring_ref : blkfront.port);
            } else {
                value[at++] = *text;
                value[at] = '\0';
            }
        }
        write_key(pair, value);
    }
}

static void take_step(const struct scenario *scenario, char step, unsigned number)
{
    const char state[] = {step, '\0'};

    switch (step) {
    case 'k':
        write_keys(scenario->keys, 0, UINT_MAX);
        break;
    case 'f':
        write_keys(scenario->keys, 0, 1);
        break;
    case 'l':
        write_keys(scenario->keys, 1, UINT_MAX);
        break;
    case 'e':
        remove_key("event-channel");
        break;
    case 'n':
        new_ring();
        break;
    case 't':
        begin_transaction();
        break;
    case 'T':
        break;
    case 'A':
        give_up_transaction();
        break;
    case 'F':
        fill_ring();
        break;
    case 'D':
        remove_all_keys();
        break;
    case 'O':
        send_other_operations();
        break;
    case 'x':
        write_key("state", "none");
        break;
    case 'W':
        wait_for(2);
        break;
    case 'C':
        wait_for(6);
        break;
    case 'R':
        wait_for(5);
        break;
    case 'I':
        write_and_compare(number);
        break;
    default:
        write_key("state", state);
        break;
    }
}

static void run_frontend(const void *of, unsigned number)
{
    const struct scenario *scenario = of;
    bool refused = false;

    use_device("vbd", blkfront.disks[0]);
    write_key("state", "6");
    wait_for(6);
    remove_all_keys();
    new_ring();
    write_key("state", "1");
    wait_for(2);
    for (const char *step = scenario->steps, *begin = step; *step; step++) {
        if (*step == 't')
            begin = step;
        if (*step == 'T' && !end_transaction()) {
            begin_transaction();
            step = begin;
        } else {
            take_step(scenario, *step, number);
        }
        refused = *step == 'R';
    }
    printf("%s %s %u\n", refused ? "refused" : "served", scenario->name, blkfront.disks[0]);
}

/*
 * One combination. `which`: bit 0 ring-ref, bit 1 ring-ref0. `queue`: no key for the number of
 * queues, one queue, one queue whose keys are below it.
 */
static void attempt_keys(size_t order, unsigned which, unsigned queue, size_t extra)
{
    const char *const level = queue == 2 ? "queue-0/" : "";
    static unsigned number;
    char keys[256], called[32];
    int length =
        snprintf(keys, sizeof keys, "%s%s%s", orders[order], queues[queue > 0], extras[extra]);

    for (unsigned i = 0; i < 2; i++)
        if (which >> i & 1)
            length +=
                snprintf(keys + length, sizeof keys - (size_t)length, "%s%s=%%r;", level, refs[i]);
    snprintf(keys + length, sizeof keys - (size_t)length, "%sevent-channel=%%p", level);
    snprintf(called, sizeof called, "keys_%zu_%u_%u_%zu", order, which, queue, extra);

    const struct scenario scenario = {called, keys, "k3I4I", false};

    (void)play_scenario(called, run_frontend, &scenario, number++);
}

static void attempt_combinations(void)
{
    for (size_t order = 0; order < 2; order++)
        for (unsigned which = 1; which <= 3; which++)
            for (unsigned queue = 0; queue <= 2; queue++)
                for (size_t extra = 0; extra < sizeof extras / sizeof extras[0]; extra++)
                    if (order == 1 || which & 1) /* ring-ref0 belongs to ring-page-order */
                        attempt_keys(order, which, queue, extra);
}

int main(void)
{
    const unsigned count = sizeof scenarios / sizeof scenarios[0];

    setvbuf(stdout, NULL, _IOLBF, 0);
    xen_open();
    blkfront_start();
    for (unsigned i = 0; i < count; i++) {
        if (scenarios[i].logs) /* others may have used up the lines that are allowed at once */
            sleep(LOG_SECONDS);
        (void)play_scenario(scenarios[i].name, run_frontend, &scenarios[i], i);
    }
    attempt_combinations();
    write_key("state", "6"); /* closes the connection in order */
    return 0;
}
