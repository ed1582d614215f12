/* SPDX-License-Identifier: MIT */
/* blkfront: see blkfront.h. Source: xen/io/blkif.h (the 64-bit layout, written as literals: this is
 * the other side of the interface). */
#define _GNU_SOURCE
#include "blkfront.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "xen.h"

#define RING_ENTRIES   32u
#define RING_ENTRY     112u
#define WAIT_S         120 /* emulated machines may be very slow */
#define ENTRY(ring, i) ((uint8_t *)(ring) + 64 + ((i) % RING_ENTRIES) * RING_ENTRY)

struct blkfront blkfront;

static uint8_t *ring;
static uint32_t page_ref[2], produced, consumed;

void new_ring(void)
{
    close_port(blkfront.port);
    blkfront.port = new_port();
    memset(ring, 0, XEN_PAGE);
    ((uint32_t *)ring)[1] = ((uint32_t *)ring)[3] = 1; /* req_event, rsp_event */
    produced = consumed = 0;
}

void blkfront_write_keys(void)
{
    write_number("ring-ref", blkfront.ring_ref);
    write_number("event-channel", blkfront.port);
    write_key("state", "3");
}

/* Sends the entry, and returns the status in its response. */
static int exchange_entry(uint8_t *entry)
{
    /* The four indexes: req_prod, req_event, rsp_prod, rsp_event. */
    volatile uint32_t *const indexes = (volatile uint32_t *)ring;
    const double end = now_s() + WAIT_S;
    const uint64_t id = 0x1234567800 + produced;
    unsigned events = 0;
    uint64_t id_echoed;
    int16_t status;

    memcpy(entry + 8, &id, 8);
    memcpy(ENTRY(ring, produced), entry, RING_ENTRY);
    indexes[3] = consumed + 1;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    indexes[0] = ++produced;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    send_event(blkfront.port);
    while (indexes[2] == consumed || events == 0) {
        if (now_s() > end)
            fail(indexes[2] == consumed ? "a request gets no response"
                                        : "a response comes without an event");
        events += take_events(blkfront.port);
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

void fill_ring(void)
{
    volatile uint32_t *const indexes = (volatile uint32_t *)ring;
    const double end = now_s() + WAIT_S;

    for (unsigned i = 0; i < RING_ENTRIES; i++) {
        uint8_t *entry = ENTRY(ring, produced++);

        memset(entry, 0, RING_ENTRY); /* a read, of sector 0 */
        entry[1] = 1;                 /* a segment */
        memcpy(entry + 24, &page_ref[1], 4);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    indexes[0] = produced;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    send_event(blkfront.port);
    while (indexes[2] != produced) {
        if (now_s() > end)
            fail("a full ring gets no responses");
        usleep(1000);
    }
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

    for (int at = 0; at < bytes && blkfront.disk_count < BLKFRONT_DISKS_MAX;
         at += (int)strlen(names + at) + 1)
        blkfront.disks[blkfront.disk_count++] = (unsigned)strtoul(names + at, NULL, 10);
}

void blkfront_start(void)
{
    const struct granted granted[3] = {grant_page(0, true), grant_page(0, true),
                                       grant_page(0, true)};

    find_disks();
    ring = granted[0].page;
    blkfront.ring_ref = granted[0].ref;
    for (unsigned i = 0; i < 2; i++) {
        blkfront.page[i] = granted[1 + i].page;
        page_ref[i] = granted[1 + i].ref;
    }
}
