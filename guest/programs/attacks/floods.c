/* SPDX-License-Identifier: MIT */
/* floods: attacks by number: as many packets, events, connections and messages as the guest can
 * send in a time */
#include "attacks.h"

#define FLOOD_S    1.5
#define BATCH      128u
#define PAGE_SLOTS 15u /* of the largest packet: 60,000 bytes, one slot a page */

/* Sends batches of `slots` slots each for a time; all are answered before the next batch. */
static void flood(void (*add_packet)(void), unsigned packets, unsigned slots)
{
    for (const double end = now_s() + FLOOD_S; now_s() < end;) {
        for (unsigned i = 0; i < packets; i++)
            add_packet();
        publish();
        if (take_responses(packets * slots) < 0)
            fail("the connection is closed");
    }
}

static void add_small(void)
{
    add_slot(0, 0, 60);
}

static void flood_small(enum packet_kind kind)
{
    (void)make_packet(kind);
    flood(add_small, BATCH, 1);
}

static void broadcasts(void)
{
    flood_small(ARP);
}

static void multicasts(void)
{
    flood_small(MULTICAST);
}

static void packets_to_the_honest_guest(void)
{
    flood_small(TO_VICTIM);
}

static void forged_packets(void)
{
    flood_small(FORGED);
}

static void add_refused(void)
{
    add_slot(0, 4090, 60);
}

static void refused_packets(void)
{
    flood(add_refused, BATCH, 1);
}

static uint16_t mss; /* of large packets */

/* 60,000 bytes: the first slot says so, and each page after it has 4,000 of them. */
static void add_large(void)
{
    add_slot(TX_MORE | TX_EXTRA | TX_BLANK | TX_VALIDATED, 0, 60000);
    add_entry(&(struct tx_extra){.type = 1, .mss = mss, .large_type = 1});
    for (unsigned i = 1; i < PAGE_SLOTS; i++)
        add_slot(i + 1 < PAGE_SLOTS ? TX_MORE : 0, 0, 4000);
}

static void flood_large(enum packet_kind kind, uint16_t segment_bytes)
{
    (void)make_packet(kind);
    mss = segment_bytes;
    flood(add_large, 8, PAGE_SLOTS + 1);
}

static void large_packets_to_the_honest_guest(void)
{
    flood_large(TO_VICTIM_LARGE, 1448);
}

/* The card sends each in 682 packets. */
static void large_packets_in_small_pieces(void)
{
    flood_large(TO_OUTSIDE_LARGE, 88);
}

static void events(void)
{
    for (const double end = now_s() + FLOOD_S; now_s() < end;) {
        send_event(netfront.ports[0]);
        send_event(netfront.ports[1]);
    }
}

static void connections(void)
{
    for (const double end = now_s() + FLOOD_S; now_s() < end;)
        netfront_connect();
}

static void wrong_connections(void)
{
    for (const double end = now_s() + FLOOD_S; now_s() < end;) {
        netfront_close();
        write_key("state", "1");
        wait_for(2);
        write_key("state", "4");
        wait_for_end();
    }
}

static void states(void)
{
    for (const double end = now_s() + FLOOD_S; now_s() < end;)
        write_key("state", "4");
}

static void buffers_posted_and_taken_back(void)
{
    for (const double end = now_s() + FLOOD_S; now_s() < end;) {
        post_buffers(netfront.pages[1].ref, 64);
        netfront_connect();
    }
}

static const struct attack attacks[] = {
    {"flood_of_broadcasts", SERVED, broadcasts},
    {"flood_of_multicasts", SERVED, multicasts},
    {"flood_to_the_honest_guest", SERVED, packets_to_the_honest_guest},
    {"flood_of_forged_packets", SERVED, forged_packets},
    {"flood_of_refused_packets", REFUSED, refused_packets},
    {"flood_of_large_packets", SERVED, large_packets_to_the_honest_guest},
    {"flood_of_packets_to_be_cut", SERVED, large_packets_in_small_pieces},
    {"flood_of_events", SERVED, events},
    {"flood_of_connections", SERVED, connections},
    {"flood_of_wrong_connections", CLOSED, wrong_connections},
    {"flood_of_states", HARMLESS, states},
    {"flood_of_buffers", HARMLESS, buffers_posted_and_taken_back},
};

const struct attack *flood_attack(unsigned index)
{
    return index < sizeof attacks / sizeof attacks[0] ? &attacks[index] : NULL;
}
