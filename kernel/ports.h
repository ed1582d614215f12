/* SPDX-License-Identifier: MIT */
/*
 * ports: the statistics of each port of each switch, for the monitor's command `ports`.
 * docs/counters.md explains the lines.
 */
#ifndef KERNEL_PORTS_H
#define KERNEL_PORTS_H

#include "network.h"

/* Logs them: a few lines for each port. */
void ports_print(const struct network *network);

#endif
