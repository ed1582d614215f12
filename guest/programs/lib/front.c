/* SPDX-License-Identifier: MIT */
/* front: see front.h. Sources: xen/io/blkif.h (the 64-bit layout, written as literals: this is the
 * other side of the interface), xen/io/xs_wire.h, Linux's uapi headers xen/evtchn.h and
 * xen/gntalloc.h. */
#define _GNU_SOURCE
#include "front.h"

#include <fcntl.h>
#include <poll.h>
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

#define RING_ENTRIES   32u
#define RING_ENTRY     112u
#define WAIT_S         120 /* emulated machines may be very slow */
#define ENTRY(ring, i) ((uint8_t *)(ring) + 64 + ((i) % RING_ENTRIES) * RING_ENTRY)

struct front front;

static int xenbus, evtchn, gntalloc;
static uint8_t *ring;
static uint32_t page_ref[2], produced, consumed, events;
static char directory[64], backend[128]; /* of the disk that is used */
static uint32_t transaction;             /* 0: none */

double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* --- xenstore: /dev/xen/xenbus --- */

#define XS_ERROR 16

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

int xs(uint32_t type, const char *path, const char *value, char *reply, size_t reply_bytes)
{
    static uint8_t message[sizeof(struct xs_header) + FRONT_PAGE];
    const size_t path_bytes = strlen(path) + 1, value_bytes = value ? strlen(value) : 0;
    struct xs_header header = {
        .type = type, .transaction = transaction, .bytes = (uint32_t)(path_bytes + value_bytes)};

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

void write_key(const char *key, const char *value)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, key);
    if (xs(XS_WRITE, path, value, NULL, 0) < 0)
        fail(key);
}

void begin_transaction(void)
{
    char id[16];

    if (xs(XS_TRANSACTION_START, "", NULL, id, sizeof id) < 0)
        fail("no transaction");
    transaction = (uint32_t)strtoul(id, NULL, 10);
}

bool end_transaction(void)
{
    const bool done = xs(XS_TRANSACTION_END, "T", NULL, NULL, 0) == 0;

    transaction = 0;
    return done;
}

int backend_state(void)
{
    char path[160], state[16];

    snprintf(path, sizeof path, "%s/state", backend);
    return xs(XS_READ, path, NULL, state, sizeof state) < 0 ? 0 : atoi(state);
}

void wait_for(int state)
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

void remove_key(const char *key)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, key);
    (void)xs(XS_RM, path, NULL, NULL, 0); /* an error: it does not exist */
}

/* --- ring and event channel --- */

static uint8_t *grant_page(uint32_t *ref)
{
    struct ioctl_gntalloc_alloc_gref alloc = {
        .domid = 0, .flags = GNTALLOC_FLAG_WRITABLE, .count = 1};
    void *va;

    if (ioctl(gntalloc, IOCTL_GNTALLOC_ALLOC_GREF, &alloc) != 0)
        fail("no page can be granted");
    va = mmap(NULL, FRONT_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, gntalloc, (off_t)alloc.index);
    if (va == MAP_FAILED)
        fail("the granted page cannot be mapped");
    *ref = alloc.gref_ids[0];
    return va;
}

void new_ring(void)
{
    struct ioctl_evtchn_unbind unbind = {.port = front.port};
    struct ioctl_evtchn_bind_unbound_port bind = {.remote_domain = 0};

    if (front.port)
        (void)ioctl(evtchn, IOCTL_EVTCHN_UNBIND, &unbind);
    const int bound = ioctl(evtchn, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &bind);

    if (bound <= 0)
        fail("no event channel");
    front.port = (uint32_t)bound;
    memset(ring, 0, FRONT_PAGE);
    ((uint32_t *)ring)[1] = ((uint32_t *)ring)[3] = 1; /* req_event, rsp_event */
    produced = consumed = 0;
}

/* Takes the pending events; waits a short time for one. */
static void take_events(void)
{
    struct pollfd wait = {.fd = evtchn, .events = POLLIN};
    uint32_t ports[16];

    if (poll(&wait, 1, 20) <= 0)
        return;
    const ssize_t got = read(evtchn, ports, sizeof ports);

    for (ssize_t i = 0; i < got / (ssize_t)sizeof ports[0]; i++) {
        events += ports[i] == front.port;
        (void)write(evtchn, &ports[i], sizeof ports[i]); /* unmasks it */
    }
}

void send_event(void)
{
    struct ioctl_evtchn_notify notify = {.port = front.port};

    if (ioctl(evtchn, IOCTL_EVTCHN_NOTIFY, &notify) != 0)
        fail("no event can be sent");
}

/* Sends the entry, and returns the status in its response. */
static int exchange_entry(uint8_t *entry)
{
    /* The four indexes: req_prod, req_event, rsp_prod, rsp_event. */
    volatile uint32_t *const indexes = (volatile uint32_t *)ring;
    const double end = now_s() + WAIT_S;
    const uint64_t id = 0x1234567800 + produced;
    uint64_t id_echoed;
    int16_t status;

    memcpy(entry + 8, &id, 8);
    memcpy(ENTRY(ring, produced), entry, RING_ENTRY);
    events = 0;
    indexes[3] = consumed + 1;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    indexes[0] = ++produced;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    send_event();
    while (indexes[2] == consumed || events == 0) {
        if (now_s() > end)
            fail(indexes[2] == consumed ? "a request gets no response"
                                        : "a response comes without an event");
        take_events();
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    memcpy(&id_echoed, ENTRY(ring, consumed), 8);
    memcpy(&status, ENTRY(ring, consumed) + 10, 2);
    consumed++;
    if (id_echoed != id)
        fail("a response of another request");
    return status;
}

void transfer_block(bool to_disk, uint64_t sector)
{
    uint8_t entry[RING_ENTRY] = {to_disk ? 1 : 0, 1};

    memcpy(entry + 16, &sector, 8);
    memcpy(entry + 24, &page_ref[to_disk ? 0 : 1], 4);
    entry[29] = 7; /* last_sect */
    if (exchange_entry(entry) != 0)
        fail("a request ends with an error");
}

int empty_request(uint8_t operation, uint64_t sector)
{
    uint8_t entry[RING_ENTRY] = {operation};

    memcpy(entry + 16, &sector, 8);
    return exchange_entry(entry);
}

static void find_disks(void)
{
    char names[256];
    const int bytes = xs(XS_DIRECTORY, "device/vbd", NULL, names, sizeof names);

    for (int at = 0; at < bytes && front.disk_count < FRONT_DISKS_MAX;
         at += (int)strlen(names + at) + 1)
        front.disks[front.disk_count++] = (unsigned)strtoul(names + at, NULL, 10);
}

void front_start(void)
{
    xenbus = open("/dev/xen/xenbus", O_RDWR);
    evtchn = open("/dev/xen/evtchn", O_RDWR);
    gntalloc = open("/dev/xen/gntalloc", O_RDWR);
    if (xenbus < 0 || evtchn < 0 || gntalloc < 0)
        fail("no device of /dev/xen");
    find_disks();
    ring = grant_page(&front.ring_ref);
    front.page[0] = grant_page(&page_ref[0]);
    front.page[1] = grant_page(&page_ref[1]);
}

void front_use(unsigned disk)
{
    char path[128];

    snprintf(directory, sizeof directory, "device/vbd/%u", front.disks[disk]);
    snprintf(path, sizeof path, "%s/backend", directory);
    if (xs(XS_READ, path, NULL, backend, sizeof backend) < 0)
        fail("the disk has no backend");
}
