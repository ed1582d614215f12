/* SPDX-License-Identifier: MIT */
/*
 * flow: which of a guest's queues a packet goes to
 *
 * A flow is what must stay in order: the packets of one TCP connection or one pair of UDP ports,
 * the other packets between two IP addresses, or the packets between two MAC addresses that are not
 * IP. All packets of a flow have one hash, so they go to one queue. A fragment has no ports, so all
 * fragments of two addresses are one flow.
 *
 * The hash is no secret: a sender that chooses its ports so that all its packets go to one queue
 * gets the speed of one queue, and takes no more of the receiver's share than any sender.
 */
#ifndef NET_FLOW_H
#define NET_FLOW_H

#include <net/packet.h>

/* The queue, from 0 to `count` - 1, of a packet with these parsed headers, which begins at `bytes`.
 * Linear in the bytes of the addresses. */
uint32_t dgm_flow_queue(const struct dgm_packet_headers *headers, const uint8_t *bytes,
                        uint32_t count);

#endif
