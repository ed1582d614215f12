/* SPDX-License-Identifier: MIT */
/*
 * capacity.h: checks that the domains fit into the machine, before Xen finds that they do not.
 *
 * If a domain is too large for the machine, or too small for its own kernel, Xen panics with a
 * number instead of a cause. The checks here use Xen's own rules and refuse only configurations
 * that Xen would certainly refuse; Xen's own need of memory beyond them depends on its version.
 */
#ifndef DRAGOMAN_TOOLS_CAPACITY_H
#define DRAGOMAN_TOOLS_CAPACITY_H

#include "boot_tree.h"
#include "guest_config.h"

/*
 * Ends the tool unless each guest's memory holds its kernel, its ramdisk and its device tree, and
 * the interrupt controller of the board's tree supports as many CPUs as the guest has.
 */
void capacity_check_guests(const void *board, const struct guest_config *guests,
                           size_t guest_count);

/* Ends the tool unless all domains and files together fit into the machine's memory. */
void capacity_check_machine(const struct machine_config *machine, const struct guest_config *guests,
                            size_t guest_count, const struct load_plan *plan);

#endif
