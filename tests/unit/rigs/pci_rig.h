/* SPDX-License-Identifier: MIT */
/*
 * pci_rig: a PCI Express hierarchy for the tests
 *
 * Functions are behind the host bridge or behind a bridge. Configuration accesses are routed as
 * hardware routes them, by the bus numbers that were written into the bridges, so with a wrong
 * number a device is not found; a function behind a link (root or downstream port) responds to
 * every device number. pci_check() checks every assigned address: it must be aligned, within a host
 * window, forwarded by every bridge in between, and claimed by no other device.
 */
#ifndef PCI_RIG_H
#define PCI_RIG_H

#include "unit.h"

#include <dragoman/base/status.h>
#include <dragoman/drivers/pci.h>
#include <drivers/pci/internal.h>

#define ECAM      0x4010000000ull
#define TABLE     0x90000000ull
#define FUNCTIONS 120
#define NOWHERE   FUNCTIONS /* as a parent: the function is in no slot */

/* PCIe 7.5.3.11: slot status */
#define PCI_SLOT_BUTTON   0x01u
#define PCI_SLOT_CHANGED  0x08u
#define PCI_SLOT_OCCUPIED 0x40u

struct pci_function {
    int parent; /* -1: the host bridge; or NOWHERE */
    uint8_t device, function;
    uint8_t config[4096], writable[4096];
    uint8_t clears[4096]; /* bits that a one clears */
    uint64_t bar_bytes[6];
    unsigned absent_reads; /* the number of reads that return ones, as after a reset */
    unsigned retry_reads;  /* the number of reads of the IDs that say "not ready yet" */
    bool wild;             /* reads are random */
};

extern struct pci {
    struct dgm_pci_host host;
    struct pci_function functions[FUNCTIONS];
    int count;
    uint8_t bus_first, bus_last;
    uint32_t table[4 * 64]; /* MSI-X */
    uint64_t accesses, now_ns;
} pci;

/* Little-endian values in configuration space. */
void pci_put(uint8_t *at, uint64_t value, unsigned bytes);
uint64_t pci_get(const uint8_t *at, unsigned bytes);

/* A root port or a downstream port: one device behind it. */
bool pci_is_link(const struct pci_function *function);

/* A host bridge with buses 0 to 255 and QEMU's windows; the test changes them before the scan. */
void pci_start(void);

/* cmocka's setup and teardown. */
int pci_rig_start(void **state);
int pci_rig_stop(void **state);

int pci_scan(void);

/* The hierarchy's accesses, for struct dgm_sim_machine; pci_start() attaches them. */
uint64_t pci_read(uintptr_t at, unsigned bytes);
void pci_write(uintptr_t at, uint64_t value, unsigned bytes);

/* An NVMe controller without BARs, as careless firmware leaves it: decoding and mastering. */
struct pci_function *pci_add(int parent, unsigned device, unsigned function);

/* `flags`: the low bits of the register. Takes two registers if it is a 64-bit one. */
void pci_add_bar(struct pci_function *function, unsigned index, uint64_t bytes, uint32_t flags);

/* A bridge; `port` is its type in the PCIe capability: 4 root, 5 upstream, 6 downstream port. */
int pci_add_bridge(int parent, unsigned device, unsigned port, bool wide);

/* A root port with a slot: 0x40 for hot plug, 1 an attention button, 2 a power switch. */
struct pci_function *pci_add_slot(int parent, unsigned device, uint8_t capabilities);

struct pci_function *pci_of(const struct dgm_pci_device *device);

/* The rules of this file's first comment, for all devices that the scan kept. */
void pci_check(void);
/* The same without the state after the scan, and only for those that are present: a device may have
 * left, moved, or been enabled. */
void pci_check_addresses(void);

#endif
