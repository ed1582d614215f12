/* SPDX-License-Identifier: MIT */
/* netfront: see netfront.h. */
#define _GNU_SOURCE
#include "netfront.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WAIT_S 120 /* emulated machines may be very slow */

#define RING_HEADER 64u
#define TX_BYTES    12u
#define RX_BYTES    8u
#define RSP_ERROR   (-1)

_Static_assert(sizeof(struct tx_slot) == TX_BYTES && sizeof(struct tx_extra) == TX_BYTES,
               "netif.h");

struct netfront netfront;

/* Every key that a connection has: removed before the next one. */
static const char *const all_keys[] = {
    "tx-ring-ref",      "rx-ring-ref",       "event-channel-tx",
    "event-channel-rx", "event-channel",     "request-rx-copy",
    "feature-sg",       "feature-gso-tcpv4", "multi-queue-num-queues",
    "queue-0",
};

volatile uint32_t *ring_indexes(const struct granted *ring)
{
    return (volatile uint32_t *)ring->page;
}

static void clear_ring(struct granted *ring)
{
    memset(ring->page, 0, XEN_PAGE);
    ring_indexes(ring)[REQ_EVENT] = ring_indexes(ring)[RSP_EVENT] = 1;
}

static void new_rings(void)
{
    clear_ring(&netfront.transmit);
    clear_ring(&netfront.receive);
    for (unsigned i = 0; i < 2; i++) {
        close_port(netfront.ports[i]);
        netfront.ports[i] = new_port();
    }
    netfront.produced = netfront.consumed = netfront.posted = 0;
}

void netfront_write_keys(void)
{
    write_number("tx-ring-ref", netfront.transmit.ref);
    write_number("rx-ring-ref", netfront.receive.ref);
    write_number("event-channel-tx", netfront.ports[0]);
    write_number("event-channel-rx", netfront.ports[1]);
    write_number("request-rx-copy", 1);
    write_number("feature-sg", 1);
    write_number("feature-gso-tcpv4", 1);
    write_key("state", "4");
}

void netfront_close(void)
{
    write_key("state", "6");
    wait_for(6);
    for (unsigned i = 0; i < sizeof all_keys / sizeof all_keys[0]; i++)
        remove_key(all_keys[i]);
}

void netfront_connect(void)
{
    netfront_close();
    new_rings();
    write_key("state", "1");
    wait_for(2);
    netfront_write_keys();
    wait_for(4);
}

void add_entry(const void *entry)
{
    memcpy(netfront.transmit.page + RING_HEADER + netfront.produced % NETFRONT_ENTRIES * TX_BYTES,
           entry, TX_BYTES);
    netfront.produced++;
}

void publish(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    ring_indexes(&netfront.transmit)[REQ_PROD] = netfront.produced;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    send_event(netfront.ports[0]);
}

void post_buffers(uint32_t ref, unsigned count)
{
    while (count--) {
        const uint32_t at = netfront.posted++ % NETFRONT_ENTRIES;
        struct {
            uint16_t id, padding;
            uint32_t ref;
        } entry = {(uint16_t)at, 0, ref};

        memcpy(netfront.receive.page + RING_HEADER + at * RX_BYTES, &entry, RX_BYTES);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    ring_indexes(&netfront.receive)[REQ_PROD] = netfront.posted;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    send_event(netfront.ports[1]);
}

static bool has_closed(void)
{
    const int state = backend_state();

    return state == 5 || state == 6;
}

/* Waits until the ring has responses up to `index`. False: the backend has closed instead. */
static bool wait_for_index(uint32_t index)
{
    volatile uint32_t *const indexes = ring_indexes(&netfront.transmit);
    const double end = now_s() + WAIT_S;

    while ((int32_t)(indexes[RSP_PROD] - index) < 0) {
        if (has_closed())
            return false;
        if (now_s() > end)
            fail("a packet gets no response");
        usleep(1000);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return true;
}

void wait_for_responses(void)
{
    if (!wait_for_index(netfront.produced))
        fail("the backend closes");
}

int take_responses(unsigned count)
{
    int refused = 0;

    if (!wait_for_index(netfront.consumed + count))
        return -1;
    while (count--) {
        int16_t status;

        memcpy(&status,
               netfront.transmit.page + RING_HEADER +
                   netfront.consumed++ % NETFRONT_ENTRIES * TX_BYTES + 2,
               sizeof status);
        refused += status == RSP_ERROR;
    }
    return refused;
}

void wait_for_end(void)
{
    const double end = now_s() + WAIT_S;

    while (!has_closed()) {
        if (now_s() > end)
            fail("the backend does not close");
        usleep(1000);
    }
}

void netfront_start(void)
{
    char text[32] = "";

    use_device("vif", 0);
    if (xs(XS_READ, "device/vif/0/mac", NULL, text, sizeof text) < 0 ||
        sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &netfront.mac[0], &netfront.mac[1],
               &netfront.mac[2], &netfront.mac[3], &netfront.mac[4], &netfront.mac[5]) != 6)
        fail("the interface has no address");
    netfront.transmit = grant_page(0, true);
    netfront.receive = grant_page(0, true);
    for (unsigned i = 0; i < NETFRONT_PAGES; i++)
        netfront.pages[i] = grant_page(0, true);
}
