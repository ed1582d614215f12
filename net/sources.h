/* SPDX-License-Identifier: MIT */
/*
 * sources: the IP addresses from which a port may send
 *
 * Checked in IPv4, IPv6, ARP and neighbour advertisements, behind any VLAN tags. Also allowed are
 * what a station sends before it has an address: an ARP probe, a DHCP request, and IPv6's
 * duplicate address detection; and, if some IPv6 address is allowed, the link-local one that
 * follows from the port's MAC address. Other protocols carry no IP address and pass.
 */
#ifndef NET_SOURCES_H
#define NET_SOURCES_H

#include <dragoman/net/switch.h>
#include <net/packet.h>

/* True if `sources` allow a packet of the port with the address `mac`. Its headers were read. */
bool dgm_sources_allow(const struct dgm_ip_sources *sources, uint64_t mac,
                       const struct dgm_packet *packet);

#endif
