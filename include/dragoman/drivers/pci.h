/* SPDX-License-Identifier: MIT */
/*
 * pci: the devices behind one PCI Express host bridge
 *
 * Portable: it knows neither the device tree nor the interrupt controller. The kernel describes the
 * host bridge (where its configuration space is mapped, which buses it has, which addresses it
 * forwards) and calls dgm_pci_scan() once. `devices` then has the devices in the order bus, device,
 * function, with addresses assigned. The scan does not assume that firmware has run, and overwrites
 * what firmware assigned.
 *
 * Sections are those of the PCI Local Bus Specification 3.0 (PCI) and of the PCI Express Base
 * Specification 4.0 (PCIe).
 *
 * The limits are 64 devices and 8 levels of bridges; QEMU's `virt` has a handful on bus 0. The scan
 * of an empty bus costs one read per device number, 32 in all. A function costs 10 ms if it must be
 * powered up, and a log line if it is not used; so the scan ends after 256 functions, also if a
 * faulty bridge makes each of 65,536 appear present.
 *
 * A device whose memory does not fit into the host bridge's windows is marked unusable and stays
 * disabled, with a log line that says why. After the scan a device's decoders and bus mastering are
 * off and its interrupts masked; dgm_pci_enable() turns it on.
 */
#ifndef DRAGOMAN_DRIVERS_PCI_H
#define DRAGOMAN_DRIVERS_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_PCI_DEVICES_MAX   64
#define DGM_PCI_FUNCTIONS_MAX 256 /* that are present, bridges and unused ones included */
#define DGM_PCI_DEPTH_MAX     8
#define DGM_PCI_WINDOWS_MAX   4
#define DGM_PCI_BARS          6
#define DGM_PCI_SLOTS_MAX     16

/* Addresses that the host bridge forwards to the bus: pci = cpu - cpu_base + pci_base. */
struct dgm_pci_window {
    uint64_t cpu, pci; /* bytes */
    uint64_t bytes;
    bool prefetchable;
    uint64_t used; /* bytes that are assigned or skipped for alignment; 0 at first */
};

struct dgm_pci_bar {
    uint64_t cpu;   /* the CPU's physical address; 0 with bytes == 0: none */
    uint64_t pci;   /* the value in the register */
    uint64_t bytes; /* a power of two; 0: not implemented, I/O space, or an upper half */
    bool is64, prefetchable;
};

/* The write by which a device signals an interrupt (MSI, MSI-X). */
struct dgm_pci_message {
    uint64_t address;
    uint32_t data; /* MSI: the lower 16 bits */
};

/* The contents of an MSI-X entry. */
struct dgm_pci_msix {
    volatile void *table; /* NULL: none was set */
    struct dgm_pci_message message;
    uint16_t index;
};

struct dgm_pci_host;

struct dgm_pci_device {
    struct dgm_pci_host *host;
    uint8_t bus, device, function;
    uint16_t vendor, id;
    uint32_t class_code; /* 24 bits */
    struct dgm_pci_bar bars[DGM_PCI_BARS];
    bool unusable; /* the device is present, but its memory does not fit: it has no addresses */
    /*
     * INTx: 0 none, else 1 (A) to 4 (D). `root_*` is for the host bridge's interrupt-map: the
     * device on the first bus through which the interrupt passes, and the pin there after each
     * bridge has rotated it (PCI-to-PCI Bridge Architecture 1.2, 9.1).
     */
    uint8_t irq_pin;
    uint8_t root_device, root_function, root_pin;
    /* From the first bus down to it: (device << 3 | function) of each bridge, its own last. Unlike
     * `bus` it does not depend on which other devices are plugged in. */
    uint8_t path[DGM_PCI_DEPTH_MAX], path_length;
    /* Offsets of capabilities in configuration space; 0: absent, or not usable. */
    uint8_t cap_pm, cap_msi, cap_msix, cap_pcie;
    /* MSI-X: which BAR holds the table, where in it, how many entries. */
    uint8_t msix_bar;
    uint16_t msix_entries;
    uint32_t msix_offset;
    /* What dgm_pci_restore() restores. */
    bool enabled, intx;
    struct dgm_pci_msix msix;
    /* A bit for each slot whose card is not this device, though it looks like it. */
    uint16_t rejected;
};

/* A port with a slot: its card may leave and come, or its button requests a removal. */
struct dgm_pci_slot {
    struct dgm_pci_device port;
    uint8_t bus; /* behind the port */
};

struct dgm_pci_host {
    /* given by the kernel */
    volatile void *ecam; /* configuration space of bus_first, 1 MiB per bus */
    uint8_t bus_first, bus_last;
    struct dgm_pci_window windows[DGM_PCI_WINDOWS_MAX];
    size_t window_count;
    /* found by the scan */
    struct dgm_pci_device devices[DGM_PCI_DEVICES_MAX];
    size_t device_count;
    struct dgm_pci_slot slots[DGM_PCI_SLOTS_MAX];
    size_t slot_count;
    size_t skipped; /* devices that are present but cannot be used */
    uint8_t bus_used;
};

/* Finds all devices and assigns addresses. Returns the number of devices. */
int dgm_pci_scan(struct dgm_pci_host *host);

enum dgm_pci_slot_event {
    DGM_PCI_SLOT_QUIET,
    DGM_PCI_SLOT_REMOVAL, /* the attention button was pressed: its card shall be taken out */
    DGM_PCI_SLOT_EMPTIED, /* its card was taken out */
    DGM_PCI_SLOT_FILLED,  /* a card was put in; it may be the one that was taken out before */
};

/*
 * The next slot after `slot` (NULL: the first one) that reports an event since the last call, or
 * NULL. No interrupt is used for it: the caller polls if slot_count is not 0. Of several events
 * between two calls the last one is reported. A card that was put in gets power.
 */
const struct dgm_pci_slot *dgm_pci_slot_next(struct dgm_pci_host *host,
                                             const struct dgm_pci_slot *slot,
                                             enum dgm_pci_slot_event *event);

/* Configuration space; `offset` below 4096, aligned. An absent device reads as ones. */
uint32_t dgm_pci_read32(const struct dgm_pci_device *device, uint32_t offset);

/* Turns memory decoding and bus mastering on: the device may do DMA. */
void dgm_pci_enable(struct dgm_pci_device *device);
/* Turns bus mastering and INTx off, until dgm_pci_restore(). After its return no DMA of the device
 * is in flight. */
void dgm_pci_dma_stop(struct dgm_pci_device *device);

/* Turns INTx on or off; it is off after dgm_pci_scan(). */
void dgm_pci_intx(struct dgm_pci_device *device, bool on);
/* True if the function asserts its INTx line, masked or not. */
bool dgm_pci_intx_asserted(const struct dgm_pci_device *device);

/*
 * MSI-X. `table` is the table's first byte, mapped as device memory (bars[msix_bar].cpu +
 * msix_offset). Open masks every entry, turns MSI-X on and INTx off. Set gives entry `index` its
 * message and unmasks it. DGM_EOPNOTSUPP: the device has no MSI-X, or its table leaves the BAR.
 */
int dgm_pci_msix_open(struct dgm_pci_device *device, volatile void *table);
void dgm_pci_msix_set(struct dgm_pci_device *device, volatile void *table, uint16_t index,
                      struct dgm_pci_message message);

/* MSI with one vector; turns INTx off. DGM_EOPNOTSUPP: the device has no MSI, or it takes only
 * 32-bit addresses and the message's address has more bits. */
int dgm_pci_msi_set(struct dgm_pci_device *device, struct dgm_pci_message message);

/*
 * Function-level reset (PCIe 6.6.2). The caller has stopped using the device. Start returns
 * DGM_EOPNOTSUPP if the device has none. Finish may be called 100 ms later or after that: it
 * returns DGM_EAGAIN while the device does not respond. After DGM_OK the device is in the state
 * after dgm_pci_scan(), with its addresses assigned. Neither function waits.
 */
int dgm_pci_reset_start(const struct dgm_pci_device *device);
int dgm_pci_reset_finish(const struct dgm_pci_device *device);

/*
 * Restores command register, BARs and MSI-X (the entry that was set last) or INTx, which are lost
 * when the link drops. DGM_EAGAIN: the function does not respond yet. DGM_ENODEV: a function of
 * another vendor or kind is in its place. Harmless to a function that lost no state.
 */
int dgm_pci_restore(struct dgm_pci_device *device);

/*
 * Looks for a device that does not respond, or was rejected, in the other slots of the host bridge.
 * If a function of its vendor and kind has come into one of them, the two slots exchange their
 * windows, and with them the devices that were known there: the device is in the other slot then,
 * at the same addresses. Only dgm_pci_restore() turns it on. `root_*` and `path` change with the
 * slot, so a level interrupt is another one.
 *
 * DGM_OK: the device has moved. DGM_EAGAIN: no slot has it. DGM_EOPNOTSUPP: one may have it, but is
 * behind another bridge than the slot where it was, so its addresses do not lead there; or does not
 * forward them. `*slot` is that one.
 */
int dgm_pci_seek(struct dgm_pci_device *device, const struct dgm_pci_slot **slot);

/* The function that restore or seek found is another device: it is cut off from memory, and not
 * taken for this one until its slot reports an event. False: the device is in no slot, so there is
 * no other place for it. */
bool dgm_pci_reject(struct dgm_pci_device *device);

#ifdef __cplusplus
}
#endif

#endif
