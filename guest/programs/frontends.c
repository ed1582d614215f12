/* SPDX-License-Identifier: MIT */
/*
 * frontends: block frontends that are not Linux's, played from user space
 *
 *   frontends
 *
 * The guest's own frontend was unbound from its disks (task "frontends"). Each scenario of
 * frontends.h connects one of them as some frontend might: with other keys, other forms of numbers,
 * another order of states. A scenario that the backend must serve writes and reads sectors of its
 * own through the ring, with an event for each response; one that it must refuse waits until the
 * backend closes. Prints a line per scenario:
 *
 *   served NAME DISK | refused NAME DISK | fail NAME: WHAT
 *
 * The cause of a refusal is in the log of Dragoman, where tests/guest/frontends.py looks for it.
 * Dragoman limits the lines that one disk can cause, so scenarios that cause one are spread over
 * the disks.
 *
 * Sources: xen/io/blkif.h (the 64-bit layout, written as literals: this is the other side of the
 * interface), xen/io/xs_wire.h, Linux's uapi headers xen/evtchn.h and xen/gntalloc.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef uint16_t domid_t; /* what xen/evtchn.h expects */
#include <xen/evtchn.h>
#include <xen/gntalloc.h>

#include "frontends.h"

#define DISKS_MAX      8
#define PAGE           4096u
#define RING_ENTRIES   32u
#define RING_ENTRY     112u
#define WAIT_S         120 /* a machine may be very slow */
#define LOGS_PER_DISK  4   /* below the backend's limit of lines at once */
#define SECTOR_BYTES   512u
#define ENTRY(ring, i) ((uint8_t *)(ring) + 64 + ((i) % RING_ENTRIES) * RING_ENTRY)

/* Every key of any scenario: removed before the next one. */
static const char *const all_keys[] = {
    "ring-ref",           "ring-ref0", "ring-ref1", "event-channel",
    "ring-page-order",    "queue-0",   "protocol",  "multi-queue-num-queues",
    "feature-persistent",
};

static int xenbus, evtchn, gntalloc;
static unsigned disk_count, disks[DISKS_MAX]; /* numbers: 51712, ... */
static uint8_t *ring, *page[2];               /* data: written, read */
static uint32_t ring_ref, page_ref[2], port;
static uint32_t produced, consumed, events;
static char directory[64], backend[128]; /* of the scenario's disk */
static const char *name;                 /* the scenario's */

static jmp_buf next_scenario;

/* Ends the scenario. */
static _Noreturn void fail(const char *what)
{
    printf("fail %s: %s\n", name ? name : "start", what);
    if (!name)
        exit(1);
    longjmp(next_scenario, 1);
}

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* --- xenstore: /dev/xen/xenbus --- */

enum { XS_DIRECTORY = 1, XS_READ = 2, XS_WRITE = 11, XS_RM = 13, XS_ERROR = 16 };

struct xs_header {
    uint32_t type, request, transaction, bytes;
};

static void read_all(void *to, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t got = read(xenbus, (char *)to + done, bytes - done);

        if (got <= 0)
            fail("xenstore cannot be read");
        done += (size_t)got;
    }
}

/* The reply's length; -1: xenstore answered with an error. `value`: NULL but for XS_WRITE. */
static int xs(uint32_t type, const char *path, const char *value, char *reply, size_t reply_bytes)
{
    static uint8_t message[sizeof(struct xs_header) + PAGE];
    const size_t path_bytes = strlen(path) + 1, value_bytes = value ? strlen(value) : 0;
    struct xs_header header = {.type = type, .bytes = (uint32_t)(path_bytes + value_bytes)};

    memcpy(message, &header, sizeof header);
    memcpy(message + sizeof header, path, path_bytes);
    if (value)
        memcpy(message + sizeof header + path_bytes, value, value_bytes);
    if (write(xenbus, message, sizeof header + header.bytes) !=
        (ssize_t)(sizeof header + header.bytes))
        fail("xenstore cannot be written to");
    read_all(&header, sizeof header);
    if (header.bytes >= sizeof message)
        fail("xenstore's reply is too long");
    read_all(message, header.bytes);
    if (header.type == XS_ERROR)
        return -1;
    if (reply) {
        const size_t bytes = header.bytes < reply_bytes - 1 ? header.bytes : reply_bytes - 1;

        memcpy(reply, message, bytes);
        reply[bytes] = '\0';
        return (int)bytes;
    }
    return 0;
}

static void write_key(const char *key, const char *value)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, key);
    if (xs(XS_WRITE, path, value, NULL, 0) < 0)
        fail(key);
}

static int backend_state(void)
{
    char path[160], state[16];

    snprintf(path, sizeof path, "%s/state", backend);
    return xs(XS_READ, path, NULL, state, sizeof state) < 0 ? 0 : atoi(state);
}

/* Waits for a state of the backend. One that closes instead is not waited for. */
static void wait_for(int state)
{
    const double end = now_s() + WAIT_S;
    int now;

    while ((now = backend_state()) != state) {
        char what[80];

        snprintf(what, sizeof what, "the backend is in state %d, not %d", now, state);
        if (now_s() > end || (now == 5 && state == 4))
            fail(what);
        usleep(5000);
    }
}

/* --- ring and event channel --- */

static uint8_t *grant_page(uint32_t *ref)
{
    struct ioctl_gntalloc_alloc_gref alloc = {
        .domid = 0, .flags = GNTALLOC_FLAG_WRITABLE, .count = 1};
    void *va;

    if (ioctl(gntalloc, IOCTL_GNTALLOC_ALLOC_GREF, &alloc) != 0)
        fail("no page can be granted");
    va = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, gntalloc, (off_t)alloc.index);
    if (va == MAP_FAILED)
        fail("the granted page cannot be mapped");
    *ref = alloc.gref_ids[0];
    return va;
}

static void new_ring(void)
{
    struct ioctl_evtchn_unbind unbind = {.port = port};
    struct ioctl_evtchn_bind_unbound_port bind = {.remote_domain = 0};

    if (port)
        (void)ioctl(evtchn, IOCTL_EVTCHN_UNBIND, &unbind);
    const int bound = ioctl(evtchn, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &bind);

    if (bound <= 0)
        fail("no event channel");
    port = (uint32_t)bound;
    memset(ring, 0, PAGE);
    ((uint32_t *)ring)[1] = ((uint32_t *)ring)[3] = 1; /* req_event, rsp_event */
    produced = consumed = 0;
}

/* Takes the events that are there, waiting a little for one. */
static void take_events(void)
{
    struct pollfd wait = {.fd = evtchn, .events = POLLIN};
    uint32_t ports[16];

    if (poll(&wait, 1, 20) <= 0)
        return;
    const ssize_t got = read(evtchn, ports, sizeof ports);

    for (ssize_t i = 0; i < got / (ssize_t)sizeof ports[0]; i++) {
        events += ports[i] == port;
        (void)write(evtchn, &ports[i], sizeof ports[i]); /* unmasks it */
    }
}

/* Reads or writes 8 sectors by one request; the response and an event must come. */
static void transfer(bool to_disk, uint64_t sector)
{
    volatile uint32_t *const indexes =
        (volatile uint32_t *)ring; /* req_prod, req_event, rsp_prod, rsp_event */
    struct ioctl_evtchn_notify notify = {.port = port};
    const double end = now_s() + WAIT_S;
    const uint64_t id = 0x1234567800 + produced;
    uint8_t entry[RING_ENTRY] = {to_disk ? 1 : 0, 1};
    uint64_t answered;
    int16_t status;

    memcpy(entry + 8, &id, 8);
    memcpy(entry + 16, &sector, 8);
    memcpy(entry + 24, &page_ref[to_disk ? 0 : 1], 4);
    entry[29] = 7; /* last_sect */
    memcpy(ENTRY(ring, produced), entry, sizeof entry);
    events = 0;
    indexes[3] = consumed + 1;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    indexes[0] = ++produced;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (ioctl(evtchn, IOCTL_EVTCHN_NOTIFY, &notify) != 0)
        fail("no event can be sent");
    while (indexes[2] == consumed || events == 0) {
        if (now_s() > end)
            fail(indexes[2] == consumed ? "a request gets no response"
                                        : "a response comes without an event");
        take_events();
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    memcpy(&answered, ENTRY(ring, consumed), 8);
    memcpy(&status, ENTRY(ring, consumed) + 10, 2);
    consumed++;
    if (answered != id || status != 0)
        fail(answered != id ? "a response of another request" : "a request ends with an error");
}

static void do_io(unsigned number)
{
    static unsigned turn;

    wait_for(4);
    turn++;
    for (unsigned i = 0; i < PAGE; i++)
        page[0][i] = (uint8_t)(i * 7 + (i >> 8) + number * 31 + turn);
    memset(page[1], 0, PAGE);
    transfer(true, number * (PAGE / SECTOR_BYTES));
    transfer(false, number * (PAGE / SECTOR_BYTES));
    if (memcmp(page[0], page[1], PAGE) != 0)
        fail("what is read is not what was written");
}

/* --- scenarios --- */

static void write_keys(const char *keys)
{
    char copy[256], *rest = copy, *pair;

    snprintf(copy, sizeof copy, "%s", keys);
    while ((pair = strsep(&rest, ";"))) {
        char value[64] = "";
        char *text = strchr(pair, '=');

        *text++ = '\0';
        for (size_t at = 0; *text; text++) {
            if (*text == '%') {
                at += (size_t)snprintf(value + at, sizeof value - at, "%u",
                                       *++text == 'r' ? ring_ref : port);
            } else {
                value[at++] = *text;
                value[at] = '\0';
            }
        }
        write_key(pair, value);
    }
}

static void remove_key(const char *key)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, key);
    (void)xs(XS_RM, path, NULL, NULL, 0); /* an error: it is not there */
}

static void take_step(const struct scenario *scenario, char step, unsigned number)
{
    const char state[] = {step, '\0'};

    switch (step) {
    case 'k':
        write_keys(scenario->keys);
        break;
    case 'e':
        remove_key("event-channel");
        break;
    case 'n':
        new_ring();
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
        do_io(number);
        break;
    default:
        write_key("state", state);
        break;
    }
}

static void play(unsigned number, unsigned disk)
{
    const struct scenario *scenario = &scenarios[number];
    bool refused = false;
    char path[128];

    name = scenario->name;
    snprintf(directory, sizeof directory, "device/vbd/%u", disks[disk]);
    snprintf(path, sizeof path, "%s/backend", directory);
    if (xs(XS_READ, path, NULL, backend, sizeof backend) < 0)
        fail("the disk has no backend");
    write_key("state", "6");
    wait_for(6);
    for (size_t i = 0; i < sizeof all_keys / sizeof all_keys[0]; i++)
        remove_key(all_keys[i]);
    new_ring();
    write_key("state", "1");
    wait_for(2);
    for (const char *step = scenario->steps; *step; step++) {
        take_step(scenario, *step, number);
        refused = *step == 'R';
    }
    printf("%s %s %u\n", refused ? "refused" : "served", name, disks[disk]);
}

static void find_disks(void)
{
    char names[256];
    const int bytes = xs(XS_DIRECTORY, "device/vbd", NULL, names, sizeof names);

    for (int at = 0; at < bytes && disk_count < DISKS_MAX; at += (int)strlen(names + at) + 1)
        disks[disk_count++] = (unsigned)strtoul(names + at, NULL, 10);
}

int main(void)
{
    const unsigned count = sizeof scenarios / sizeof scenarios[0];
    volatile unsigned logs = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    xenbus = open("/dev/xen/xenbus", O_RDWR);
    evtchn = open("/dev/xen/evtchn", O_RDWR);
    gntalloc = open("/dev/xen/gntalloc", O_RDWR);
    if (xenbus < 0 || evtchn < 0 || gntalloc < 0)
        fail("no device of /dev/xen");
    find_disks();
    ring = grant_page(&ring_ref);
    page[0] = grant_page(&page_ref[0]);
    page[1] = grant_page(&page_ref[1]);
    for (volatile unsigned i = 0; i < count; i++) {
        const unsigned disk = logs / LOGS_PER_DISK;

        if (disk >= disk_count)
            fail("too few disks for so many lines of the log");
        if (setjmp(next_scenario) == 0)
            play(i, disk);
        logs += scenarios[i].logs;
    }
    write_key("state", "6"); /* the last one is refused: it ends as a frontend should */
    name = NULL;
    return 0;
}
