/* SPDX-License-Identifier: MIT */
/*
 * pci: the devices behind one PCI Express host bridge
 *
 * Portable: no device tree and no interrupt controller in it. The kernel describes the host bridge
 * (where its configuration space is mapped, which buses it has, which addresses it forwards), calls
 * dgm_pci_scan() once, and finds the devices in `devices`, in the order bus, device, function, with
 * addresses assigned. No firmware is assumed to have run; what one left behind is overwritten.
 *
 * Sections are those of the PCI Local Bus Specification 3.0 (PCI) and of the PCI Express Base
 * Specification 4.0 (PCIe).
 *
 *   at most 64 devices and bridges nested 8 deep are kept; QEMU's `virt` has a handful on bus 0.
 *   Finding that a bus has no more costs a read per device number, 32 in all.
 *
 * A device that cannot be given its addresses is left out, disabled, with a line that says why.
 * A device is handed over with its decoders and bus mastering off and its interrupts masked:
 * dgm_pci_enable() turns it on.
 */
#ifndef DRAGOMAN_DRIVERS_PCI_H
#define DRAGOMAN_DRIVERS_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_PCI_DEVICES_MAX 64
#define DGM_PCI_DEPTH_MAX   8
#define DGM_PCI_WINDOWS_MAX 4
#define DGM_PCI_BARS        6

#define DGM_PCI_CLASS_NVME 0x010802u /* base class, sub class, programming interface */

/* Addresses that the host bridge forwards to the bus: pci = cpu - cpu_base + pci_base. */
struct dgm_pci_window {
    uint64_t cpu, pci; /* bytes */
    uint64_t bytes;
    bool prefetchable;
    uint64_t used; /* bytes given out or skipped for alignment; 0 at first */
};

struct dgm_pci_bar {
    uint64_t cpu;   /* where the CPU finds it (before any mapping); 0 with bytes == 0: none */
    uint64_t pci;   /* what is in the register */
    uint64_t bytes; /* a power of two; 0: not implemented, I/O space, or the half of another */
    bool is64, prefetchable;
};

struct dgm_pci_host;

struct dgm_pci_device {
    struct dgm_pci_host *host;
    uint8_t bus, device, function;
    uint16_t vendor, id;
    uint32_t class_code; /* 24 bits */
    struct dgm_pci_bar bars[DGM_PCI_BARS];
    /*
     * INTx: 0 none, else 1 (A) to 4 (D). `root_*` is what the host bridge's interrupt-map knows:
     * the device on the first bus that the interrupt arrives from, and its pin after the bridges
     * have turned it (PCI-to-PCI Bridge Architecture 1.2, 9.1).
     */
    uint8_t irq_pin;
    uint8_t root_device, root_function, root_pin;
    /* Offsets of capabilities in configuration space; 0: absent. */
    uint8_t cap_pm, cap_msi, cap_msix, cap_pcie;
    /* MSI-X: which BAR holds the table, where in it, how many entries. */
    uint8_t msix_bar;
    uint16_t msix_entries;
    uint32_t msix_offset;
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
    size_t skipped; /* devices that are there but cannot be used */
    uint8_t bus_used;
};

/* Finds everything and assigns addresses. Returns the number of devices. */
int dgm_pci_scan(struct dgm_pci_host *host);

/* The next device of `class` after `device` (NULL: the first one), or NULL. */
struct dgm_pci_device *dgm_pci_next(struct dgm_pci_host *host, struct dgm_pci_device *device,
                                    uint32_t class_code);

/* Configuration space; `offset` below 4096, aligned. An absent device reads as ones. */
uint8_t dgm_pci_read8(const struct dgm_pci_device *device, uint32_t offset);
uint16_t dgm_pci_read16(const struct dgm_pci_device *device, uint32_t offset);
uint32_t dgm_pci_read32(const struct dgm_pci_device *device, uint32_t offset);
void dgm_pci_write16(const struct dgm_pci_device *device, uint32_t offset, uint16_t value);
void dgm_pci_write32(const struct dgm_pci_device *device, uint32_t offset, uint32_t value);

/* Memory decoding on, and bus mastering: from now on it may do DMA. */
void dgm_pci_enable(const struct dgm_pci_device *device);
/* Bus mastering and the legacy interrupt off. When it returns, no DMA of the device is under way
 * any more. */
void dgm_pci_dma_stop(const struct dgm_pci_device *device);

/* Level interrupts on or off; dgm_pci_scan() leaves them off. */
void dgm_pci_intx(const struct dgm_pci_device *device, bool on);

/*
 * MSI-X. `table` is the table's first byte, mapped as device memory (bars[msix_bar].cpu +
 * msix_offset). Open masks every entry and turns MSI-X on (and INTx off); set tells entry `index`
 * what to write where, and unmasks it. DGM_EOPNOTSUPP: the device has no (sound) MSI-X.
 */
int dgm_pci_msix_open(const struct dgm_pci_device *device, volatile void *table);
void dgm_pci_msix_set(const struct dgm_pci_device *device, volatile void *table, uint16_t index,
                      uint64_t address, uint32_t data);

/* MSI, one vector. Turns INTx off. DGM_EOPNOTSUPP: none, or 32 bits only and the address is not. */
int dgm_pci_msi_set(const struct dgm_pci_device *device, uint64_t address, uint16_t data);

/*
 * Function-level reset (PCIe 6.6.2). The caller has stopped using the device. Start answers
 * DGM_EOPNOTSUPP if it has none. Finish is called from a hundred milliseconds later on: DGM_EAGAIN
 * as long as the device is not back, then its addresses are in place again and it is as after
 * dgm_pci_scan(). Nothing here waits.
 */
int dgm_pci_reset_start(const struct dgm_pci_device *device);
int dgm_pci_reset_finish(const struct dgm_pci_device *device);

#ifdef __cplusplus
}
#endif

#endif
