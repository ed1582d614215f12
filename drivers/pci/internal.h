/* SPDX-License-Identifier: MIT */
/*
 * pci/internal: the declarations that the files of the PCI code share, and the layout of
 * configuration space
 *
 *   pci.c      finds devices, numbers buses, opens the bridges' windows
 *   move.c     a device that came back in another slot
 *   restore.c  the registers after a reset, or after the link dropped
 *   bar.c      sizes base address registers and assigns their addresses
 *   cap.c      capabilities: power, MSI, MSI-X
 *   space.c    configuration space, and the command register
 */
#ifndef DRIVERS_PCI_INTERNAL_H
#define DRIVERS_PCI_INTERNAL_H

#include <dragoman/drivers/pci.h>

/* PCI 6.1: the header */
#define PCI_VENDOR        0x00u
#define PCI_COMMAND       0x04u
#define PCI_STATUS        0x06u
#define PCI_CLASS         0x08u /* upper 24 bits */
#define PCI_HEADER_TYPE   0x0eu
#define PCI_BAR0          0x10u
#define PCI_ROM           0x30u
#define PCI_CAPABILITIES  0x34u
#define PCI_INTERRUPT_PIN 0x3du
#define PCI_HEADER_MULTI  0x80u
#define PCI_HEADER_DEVICE 0u
#define PCI_HEADER_BRIDGE 1u
#define PCI_VENDOR_ABSENT 0xffffu
/* "Configuration request retry": present, but not yet able to respond (PCIe 2.3.2). */
#define PCI_VENDOR_RETRY 0x0001u

#define PCI_COMMAND_MEMORY    (1u << 1)
#define PCI_COMMAND_MASTER    (1u << 2)
#define PCI_COMMAND_INTX_OFF  (1u << 10)
#define PCI_STATUS_INTERRUPT  (1u << 3)
#define PCI_STATUS_CAPABILITY (1u << 4)

#define PCI_BAR_IO           (1u << 0)
#define PCI_BAR_TYPE         (3u << 1)
#define PCI_BAR_TYPE_64      (2u << 1)
#define PCI_BAR_PREFETCHABLE (1u << 3)

/* PCI-to-PCI Bridge Architecture 1.2, 3.2: the header of a bridge */
#define PCI_BUSES             0x18u /* primary, secondary, subordinate, latency timer */
#define PCI_IO_WINDOW         0x1cu /* base above limit: closed */
#define PCI_MEMORY_WINDOW     0x20u /* base and limit, MiB */
#define PCI_PREFETCH_WINDOW   0x24u
#define PCI_PREFETCH_BASE_HI  0x28u
#define PCI_PREFETCH_LIMIT_HI 0x2cu
#define PCI_BRIDGE_ROM        0x38u
#define PCI_PREFETCH_64       1u
#define PCI_LOW_END           (1ull << 32) /* of what a 32-bit register can hold */
#define PCI_WINDOW_BYTES      0x100000u    /* granularity of the memory windows */

/* PCI 6.7 and appendix H; PCIe 7.5.3: capabilities */
#define PCI_CAP_PM   0x01u
#define PCI_CAP_MSI  0x05u
#define PCI_CAP_PCIE 0x10u
#define PCI_CAP_MSIX 0x11u

/* space.c: as dgm_pci_read32(). */
uint8_t dgm_pci_read8(const struct dgm_pci_device *device, uint32_t offset);
uint16_t dgm_pci_read16(const struct dgm_pci_device *device, uint32_t offset);
void dgm_pci_write16(const struct dgm_pci_device *device, uint32_t offset, uint16_t value);
void dgm_pci_write32(const struct dgm_pci_device *device, uint32_t offset, uint32_t value);

/* Turns bus mastering and INTx off; afterwards no DMA of the function is in flight. */
void dgm_pci_master_off(const struct dgm_pci_device *device);

/* Where a function's memory BARs may lie: the host windows that its bridges forward. */
struct pci_reach {
    struct dgm_pci_window *low;  /* below 4 GiB, not prefetchable; NULL: none */
    struct dgm_pci_window *high; /* above; NULL: none */
    bool behind_bridge;          /* then only prefetchable memory may lie in `high` */
};

/*
 * bar.c: sizes the first `count` BARs and assigns addresses. DGM_ENOSPC: they do not all fit.
 * DGM_EIO: a register does not hold its address. None is assigned then, and the log names one that
 * is the cause. Decoding must be off.
 */
int dgm_pci_bars_assign(struct dgm_pci_device *device, unsigned count,
                        const struct pci_reach *reach);
/* Writes the assigned addresses into the registers again. */
void dgm_pci_bars_write(const struct dgm_pci_device *device);

/* Whether the BARs of `card` have the sizes and kinds of those of `device`; it clears them.
 * Decoding must be off. */
bool dgm_pci_bars_fit(const struct dgm_pci_device *card, const struct dgm_pci_device *device);
/* The first BAR whose register does not hold its address; DGM_PCI_BARS: all do. */
unsigned dgm_pci_bars_held(const struct dgm_pci_device *device);

/* restore.c: DGM_OK: a function of the same vendor and kind is in the device's place. DGM_EAGAIN:
 * none is there yet. DGM_ENODEV: another one, or one that was rejected. */
int dgm_pci_responds(const struct dgm_pci_device *device);

/* move.c: whether the function in the device's slot was rejected. */
bool dgm_pci_is_rejected(const struct dgm_pci_device *device);
/* A card left the slot or came into it: what was rejected there is no longer known. */
void dgm_pci_forget_rejected(struct dgm_pci_host *host, const struct dgm_pci_slot *slot);

/* cap.c: finds the capabilities, and puts the function into D0. */
void dgm_pci_capabilities(struct dgm_pci_device *device);
/* PCIe 7.5.3.9: whether the port has a slot for hot plug, or one with an attention button. */
bool dgm_pci_has_slot(const struct dgm_pci_device *port);
/* PCIe 7.5.3.11: what the slot reports since the last call. */
enum dgm_pci_slot_event dgm_pci_slot_take(const struct dgm_pci_slot *slot);
/* Switches the slot's power on, if it has a switch and a card (PCIe 7.5.3.10). */
void dgm_pci_slot_power(const struct dgm_pci_slot *slot);
bool dgm_pci_sleeping(const struct dgm_pci_device *device);
void dgm_pci_power_up(const struct dgm_pci_device *device);
/* Whether the MSI-X table lies within a BAR of the function. */
bool dgm_pci_msix_sound(const struct dgm_pci_device *device);
/* Opens MSI-X again and writes the entry that was set last, if one was. */
void dgm_pci_msix_restore(struct dgm_pci_device *device);
/* PCIe 7.5.3.2: the port type, or 0xff. */
unsigned dgm_pci_port_type(const struct dgm_pci_device *device);

#endif
