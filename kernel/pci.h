/* SPDX-License-Identifier: MIT */
/*
 * pci: the host bridges of the device tree, and the controllers behind them that a driver serves
 *
 * Maps each bridge's configuration space, lets the PCI code assign addresses, and gives each
 * controller its environment: registers, interrupt, DMA tag. disks.h describes what happens to
 * them.
 */
#ifndef KERNEL_PCI_H
#define KERNEL_PCI_H

#include "disks.h"
#include "devtree.h"
#include "network.h"

/* Adds all controllers to `disks`, and all network cards to `network` (NULL: cards are not used),
 * in the order bridge, bus, device, function. */
void pci_start(struct disks *disks, struct network *network, struct devtree *tree,
               const struct disks_options *options);

#endif
