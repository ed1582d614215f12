/* SPDX-License-Identifier: MIT */
/* rings: attacks on indexes, references, shared pages, keys and states of a connection */
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>

#include "../lib/blkfront.h"
#include "attacks.h"

#define REF_NEVER 30000u

static volatile uint32_t *transmit(void)
{
    return ring_indexes(&netfront.transmit);
}

static volatile uint32_t *receive(void)
{
    return ring_indexes(&netfront.receive);
}

/* --- indexes --- */

static void set_transmit_producer(uint32_t index)
{
    netfront.produced = index;
    publish();
    wait_for_end();
}

static void producer_beyond_the_ring(void)
{
    set_transmit_producer(netfront.consumed + NETFRONT_ENTRIES + 1);
}

static void producer_far_away(void)
{
    set_transmit_producer(netfront.consumed + 0x80000000u);
}

static void producer_backwards(void)
{
    set_transmit_producer(netfront.consumed - 1);
}

static void buffers_beyond_the_ring(void)
{
    receive()[REQ_PROD] = netfront.posted + NETFRONT_ENTRIES + 1;
    send_event(netfront.ports[1]);
    wait_for_end();
}

static void buffers_backwards(void)
{
    receive()[REQ_PROD] = netfront.posted - 1;
    send_event(netfront.ports[1]);
    wait_for_end();
}

/* The backend has its own copy of what it writes. */
static void responses_overwritten(void)
{
    transmit()[RSP_PROD] = 0x12345678;
    receive()[RSP_PROD] = 0x12345678;
    transmit()[REQ_EVENT] = receive()[REQ_EVENT] = 0x80000000u;
    netfront.consumed = 0;
    send_good_packet();
}

static void events_never_asked_for(void)
{
    transmit()[RSP_EVENT] = receive()[RSP_EVENT] = 0x80000000u;
    for (unsigned i = 0; i < 32; i++)
        send_good_packet();
}

static void one_id_for_all(void)
{
    const uint16_t bytes = make_packet(ARP);

    for (unsigned i = 0; i < NETFRONT_ENTRIES; i++)
        add_entry(&(struct tx_slot){.ref = netfront.pages[0].ref, .id = 0xffff, .bytes = bytes});
    publish();
    if (take_responses(NETFRONT_ENTRIES) != 0)
        fail("a packet is refused for its id");
}

/* Both rings are full of responses all the time; new entries overwrite those to packets. */
static void responses_never_taken(void)
{
    post_buffers(netfront.pages[1].ref, NETFRONT_ENTRIES);
    for (unsigned round = 0; round < 8; round++) {
        for (unsigned i = 0; i < NETFRONT_ENTRIES; i++)
            add_slot(0, 0, make_packet(ARP));
        publish();
        wait_for_responses();
    }
    netfront.consumed = netfront.produced;
}

/* --- references and shared pages --- */

static int send_from(uint32_t ref)
{
    add_entry(&(struct tx_slot){.ref = ref, .bytes = 60});
    publish();
    return take_responses(1);
}

static void revoked_reference(void)
{
    struct granted page = grant_page(0, true);

    revoke_page(&page);
    if (send_from(page.ref) != 1)
        fail("a revoked reference is not refused");
}

static void reference_of_another_domain(void)
{
    struct granted page = grant_page(1, true);

    if (send_from(page.ref) != 1)
        fail("a page for another domain is not refused");
    revoke_page(&page);
}

/* Revoked while packets of it are in the ring. */
static void revoked_in_flight(void)
{
    struct granted page = grant_page(0, true);
    unsigned i;

    for (i = 0; i < 64; i++)
        add_entry(&(struct tx_slot){.ref = page.ref, .bytes = 60});
    publish();
    revoke_page(&page);
    if (take_responses(i) < 0)
        fail("the connection is closed");
}

/* The honest guests' broadcasts arrive in these buffers. */
static void receive_into(uint32_t ref, unsigned count)
{
    post_buffers(ref, count);
    sleep(1);
}

static void buffers_never_granted(void)
{
    receive_into(REF_NEVER, 128);
}

static void buffers_read_only(void)
{
    struct granted page = grant_page(0, false);

    receive_into(page.ref, 64);
    netfront_close();
    revoke_page(&page);
}

/* Packets are written into the very rings. */
static void rings_as_buffers(void)
{
    receive_into(netfront.transmit.ref, 16);
    receive_into(netfront.receive.ref, 16);
}

static void rings_as_packets(void)
{
    (void)send_from(netfront.transmit.ref);
    (void)send_from(netfront.receive.ref);
}

/* --- keys and states --- */

static void begin(void)
{
    netfront_close();
    write_key("state", "1");
    wait_for(2);
}

/* Connects with `key` changed. All keys and the state appear at once. */
static void connect_with(const char *key, const char *value)
{
    begin();
    begin_transaction();
    netfront_write_keys();
    if (value)
        write_key(key, value);
    else
        remove_key(key);
    if (!end_transaction())
        fail("the transaction met another one");
}

/* The backend must refuse that. */
static void refused_for(const char *key, const char *value)
{
    connect_with(key, value);
    wait_for_end();
}

/* The key names this page. */
static void connect_with_ref(const char *key, uint32_t ref)
{
    char text[16];

    snprintf(text, sizeof text, "%u", (unsigned)ref);
    connect_with(key, text);
}

static void no_ring(void)
{
    refused_for("tx-ring-ref", NULL);
}

static void ring_never_granted(void)
{
    refused_for("rx-ring-ref", "30000");
}

static void ring_ref_of_64_bits(void)
{
    refused_for("tx-ring-ref", "18446744073709551616");
}

static void channel_never_bound(void)
{
    refused_for("event-channel-tx", "900");
}

static void packets_not_copied(void)
{
    refused_for("request-rx-copy", "0");
}

static void queues_beyond_the_offer(void)
{
    refused_for("multi-queue-num-queues", "4294967295");
}

static void no_queues(void)
{
    refused_for("multi-queue-num-queues", "0");
}

/* The keys of one queue stand where those of two are announced. */
static void queues_without_keys(void)
{
    refused_for("multi-queue-num-queues", "2");
}

/* Two queues, each with its channels, and one page as all of their rings. */
static void one_page_for_all_queues(void)
{
    static const char *const refs[] = {"queue-0/tx-ring-ref", "queue-0/rx-ring-ref",
                                       "queue-1/tx-ring-ref", "queue-1/rx-ring-ref"};
    static const char *const channels[] = {"queue-0/event-channel", "queue-1/event-channel"};

    begin();
    write_number("multi-queue-num-queues", 2);
    for (unsigned i = 0; i < 4; i++)
        write_number(refs[i], netfront.transmit.ref);
    for (unsigned i = 0; i < 2; i++)
        write_number(channels[i], netfront.ports[i]);
    netfront_write_keys();
    wait_for_end();
}

static void one_page_for_both_rings(void)
{
    connect_with_ref("rx-ring-ref", netfront.transmit.ref);
    wait_for_end();
}

static void connect_disk(void)
{
    use_device("vbd", blkfront.disks[0]);
    write_key("state", "6");
    wait_for(6);
    write_key("state", "1");
    wait_for(2);
    new_ring();
    blkfront_write_keys();
    wait_for(4);
    use_device("vif", 0);
}

static void close_disk(void)
{
    use_device("vbd", blkfront.disks[0]);
    write_key("state", "6");
    wait_for(6);
    use_device("vif", 0);
}

/* The same page is the ring of a disk and a ring of the interface, and both are in use. */
static void ring_of_a_disk(void)
{
    connect_disk();
    connect_with_ref("tx-ring-ref", blkfront.ring_ref);
    wait_for(4);
    send_event(netfront.ports[0]);
    send_event(blkfront.port);
    sleep(1);
    close_disk();
}

static void states_without_meaning(void)
{
    static const char *const states[] = {"0", "2", "7", "8", "99", "-1", "abc", "", "4294967300"};

    for (unsigned i = 0; i < sizeof states / sizeof states[0]; i++)
        write_key("state", states[i]);
    usleep(100000);
}

static void connected_again_and_again(void)
{
    for (unsigned i = 0; i < 50; i++)
        write_key("state", i % 2 ? "4" : "1");
}

static void keys_changed_while_connected(void)
{
    write_number("tx-ring-ref", REF_NEVER);
    write_number("event-channel-tx", 900);
    write_number("request-rx-copy", 0);
    send_good_packet();
}

static void channels_closed_while_connected(void)
{
    close_port(netfront.ports[0]);
    close_port(netfront.ports[1]);
    netfront.ports[0] = netfront.ports[1] = 0;
    usleep(100000);
}

static const struct attack attacks[] = {
    {"producer_beyond_the_ring", CLOSED, producer_beyond_the_ring},
    {"producer_far_away", CLOSED, producer_far_away},
    {"producer_backwards", CLOSED, producer_backwards},
    {"buffers_beyond_the_ring", CLOSED, buffers_beyond_the_ring},
    {"buffers_backwards", CLOSED, buffers_backwards},
    {"responses_overwritten", SERVED, responses_overwritten},
    {"events_never_asked_for", SERVED, events_never_asked_for},
    {"one_id_for_all", SERVED, one_id_for_all},
    {"responses_never_taken", SERVED, responses_never_taken},
    {"revoked_reference", REFUSED, revoked_reference},
    {"reference_of_another_domain", REFUSED, reference_of_another_domain},
    {"revoked_in_flight", HARMLESS, revoked_in_flight},
    {"buffers_never_granted", HARMLESS, buffers_never_granted},
    {"buffers_read_only", HARMLESS, buffers_read_only},
    {"rings_as_buffers", HARMLESS, rings_as_buffers},
    {"rings_as_packets", HARMLESS, rings_as_packets},
    {"no_ring", CLOSED, no_ring},
    {"ring_never_granted", CLOSED, ring_never_granted},
    {"ring_ref_of_64_bits", CLOSED, ring_ref_of_64_bits},
    {"channel_never_bound", CLOSED, channel_never_bound},
    {"packets_not_copied", CLOSED, packets_not_copied},
    {"queues_beyond_the_offer", CLOSED, queues_beyond_the_offer},
    {"no_queues", CLOSED, no_queues},
    {"queues_without_keys", CLOSED, queues_without_keys},
    {"one_page_for_all_queues", CLOSED, one_page_for_all_queues},
    {"one_page_for_both_rings", CLOSED, one_page_for_both_rings},
    {"ring_of_a_disk", HARMLESS, ring_of_a_disk},
    {"states_without_meaning", HARMLESS, states_without_meaning},
    {"connected_again_and_again", HARMLESS, connected_again_and_again},
    {"keys_changed_while_connected", SERVED, keys_changed_while_connected},
    {"channels_closed_while_connected", HARMLESS, channels_closed_while_connected},
};

const struct attack *ring_attack(unsigned index)
{
    return index < sizeof attacks / sizeof attacks[0] ? &attacks[index] : NULL;
}
