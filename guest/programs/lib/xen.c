/* SPDX-License-Identifier: MIT */
/* xen: see xen.h. Sources: xen/io/xs_wire.h; the uapi headers xen/evtchn.h, xen/gntalloc.h. */
#define _GNU_SOURCE
#include "xen.h"

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

#define WAIT_S 120 /* emulated machines may be very slow */

static int xenbus, evtchn, gntalloc;
static char directory[64], backend[128]; /* of the device that is used */
static uint32_t transaction;             /* 0: none */

void xen_open(void)
{
    xenbus = open("/dev/xen/xenbus", O_RDWR);
    evtchn = open("/dev/xen/evtchn", O_RDWR);
    gntalloc = open("/dev/xen/gntalloc", O_RDWR);
    if (xenbus < 0 || evtchn < 0 || gntalloc < 0)
        fail("no device of /dev/xen");
}

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
    static uint8_t message[sizeof(struct xs_header) + XEN_PAGE];
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

void give_up_transaction(void)
{
    if (xs(XS_TRANSACTION_END, "F", NULL, NULL, 0) != 0)
        fail("a transaction cannot be given up");
    transaction = 0;
}

/* --- the keys of a device --- */

void use_device(const char *type, unsigned number)
{
    char path[128];

    snprintf(directory, sizeof directory, "device/%s/%u", type, number);
    snprintf(path, sizeof path, "%s/backend", directory);
    if (xs(XS_READ, path, NULL, backend, sizeof backend) < 0)
        fail("the device has no backend");
}

void write_key(const char *key, const char *value)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, key);
    if (xs(XS_WRITE, path, value, NULL, 0) < 0)
        fail(key);
}

void write_number(const char *key, uint32_t number)
{
    char text[16];

    snprintf(text, sizeof text, "%u", (unsigned)number);
    write_key(key, text);
}

void remove_key(const char *key)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, key);
    (void)xs(XS_RM, path, NULL, NULL, 0); /* an error: it does not exist */
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

/* --- granted pages: /dev/xen/gntalloc --- */

struct granted grant_page(unsigned domid, bool writable)
{
    struct ioctl_gntalloc_alloc_gref alloc = {
        .domid = (uint16_t)domid, .flags = writable ? GNTALLOC_FLAG_WRITABLE : 0, .count = 1};
    struct granted granted;
    void *va;

    if (ioctl(gntalloc, IOCTL_GNTALLOC_ALLOC_GREF, &alloc) != 0)
        fail("no page can be granted");
    va = mmap(NULL, XEN_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, gntalloc, (off_t)alloc.index);
    if (va == MAP_FAILED)
        fail("the granted page cannot be mapped");
    granted = (struct granted){.page = va, .ref = alloc.gref_ids[0], .index = alloc.index};
    return granted;
}

void revoke_page(struct granted *granted)
{
    struct ioctl_gntalloc_dealloc_gref dealloc = {.index = granted->index, .count = 1};

    if (munmap(granted->page, XEN_PAGE) != 0 ||
        ioctl(gntalloc, IOCTL_GNTALLOC_DEALLOC_GREF, &dealloc) != 0)
        fail("the page cannot be revoked");
}

/* --- event channels: /dev/xen/evtchn --- */

uint32_t new_port(void)
{
    struct ioctl_evtchn_bind_unbound_port bind = {.remote_domain = 0};
    const int bound = ioctl(evtchn, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &bind);

    if (bound <= 0)
        fail("no event channel");
    return (uint32_t)bound;
}

void close_port(uint32_t port)
{
    struct ioctl_evtchn_unbind unbind = {.port = port};

    if (port)
        (void)ioctl(evtchn, IOCTL_EVTCHN_UNBIND, &unbind);
}

void send_event(uint32_t port)
{
    struct ioctl_evtchn_notify notify = {.port = port};

    if (ioctl(evtchn, IOCTL_EVTCHN_NOTIFY, &notify) != 0)
        fail("no event can be sent");
}

unsigned take_events(uint32_t port)
{
    struct pollfd wait = {.fd = evtchn, .events = POLLIN};
    uint32_t ports[16];
    unsigned events = 0;

    if (poll(&wait, 1, 20) <= 0)
        return 0;
    const ssize_t got = read(evtchn, ports, sizeof ports);

    for (ssize_t i = 0; i < got / (ssize_t)sizeof ports[0]; i++) {
        events += ports[i] == port;
        (void)write(evtchn, &ports[i], sizeof ports[i]); /* unmasks it */
    }
    return events;
}
