/* SPDX-License-Identifier: MIT */
/*
 * capacity.h: whether the domains fit into the machine, before Xen finds that they do not.
 *
 * Xen panics over a domain that is too large for the machine, or too small for its own kernel, with
 * a number instead of a cause. The checks here use Xen's own rules and refuse only what Xen would
 * refuse for certain; what Xen needs for itself beyond them depends on its version.
 */
#ifndef DRAGOMAN_TOOLS_CAPACITY_H
#define DRAGOMAN_TOOLS_CAPACITY_H

#include "boot_tree.h"
#include "guest_config.h"

/*
 * Each guest's memory holds its kernel, its ramdisk and its device tree, and the interrupt
 * controller of the board's tree has as many CPUs as the guest; or ends the tool.
 */
void capacity_check_guests(const void *board, const struct guest_config *guests,
                           size_t guest_count);

/* All domains and files fit into the machine's memory together; or ends the tool. */
void capacity_check_machine(const struct machine_config *machine, const struct guest_config *guests,
                            size_t guest_count, const struct load_plan *plan);

#endif
