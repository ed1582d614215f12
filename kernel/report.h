/* SPDX-License-Identifier: MIT */
/*
 * report: the domain's counters, one per line ("dragoman: counter NAME VALUE"), for operators and
 * for `./dragoman run`. docs/counters.md explains each.
 */
#ifndef KERNEL_REPORT_H
#define KERNEL_REPORT_H

#include "guests.h"
#include "memory.h"
#include "network.h"

void report_print(const struct memory *memory, const struct guests *guests,
                  const struct dgm_xenstore *xs, const struct disks *disks);

/* The same for the network. */
void report_network(const struct network *network);

#endif
