/* SPDX-License-Identifier: MIT */
/*
 * monitor: commands on Dom0's console
 *
 * For an operator at the serial line: help, status, rings, counters, ports, destroy <domid>, plug
 * and unplug <domid> <vif>, poweroff, reboot (docs/running.md). Xen gives console input to Dom0
 * first; three Ctrl-A switch it to the next domain. VIRQ_CONSOLE announces input.
 */
#ifndef KERNEL_MONITOR_H
#define KERNEL_MONITOR_H

#include "network.h"

/* Actions that the kernel provides. */
struct monitor_actions {
    void (*power_off)(void);
    void (*reboot)(void);
    void (*print_counters)(void);
    void (*print_ports)(void);
    /* A guest's vif leaves, or comes. Returns a status. */
    int (*plug_vif)(struct network_vif vif, bool plug);
};

void monitor_start(struct dgm_reactor *reactor, struct dgm_evtchn *evtchn, struct guests *guests,
                   struct monitor_actions actions);

#endif
