/* SPDX-License-Identifier: MIT */
/*
 * pci/cap: capabilities of a function: power, MSI, MSI-X
 *
 * The device supplies the list of capabilities, so it is not trusted: pointers are bounded, and the
 * walk ends after as many steps as fit into configuration space, so a cyclic list ends too (PCI
 * 6.7).
 */
#include <drivers/pci/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <port/arch.h>

#define CAPABILITIES_MAX 48u /* (256 - 64) / 4 */

/* PCI Power Management 1.2, 3.2.4 */
#define PM_CONTROL   4u
#define PM_STATE     3u /* D0 is 0 */
#define PM_SETTLE_NS 10000000u

/* PCI 6.8.1 */
#define MSI_CONTROL        2u
#define MSI_CONTROL_ENABLE (1u << 0)
#define MSI_CONTROL_MANY   (7u << 4)
#define MSI_CONTROL_64     (1u << 7)
#define MSI_ADDRESS        4u

/* PCI 6.8.2 */
#define MSIX_CONTROL        2u
#define MSIX_CONTROL_ENABLE (1u << 15)
#define MSIX_CONTROL_MASK   (1u << 14)
#define MSIX_TABLE          4u
#define MSIX_ENTRY_BYTES    16u
#define MSIX_ENTRY_MASKED   1u

/* PCIe 7.5.3 */
#define PCIE_FLAGS             2u
#define PCIE_FLAGS_SLOT        (1u << 8)
#define PCIE_SLOT_CAP          0x14u
#define PCIE_SLOT_CAP_BUTTON   (1u << 0)
#define PCIE_SLOT_CAP_HOT_PLUG (1u << 6)
#define PCIE_SLOT_CAP_POWER    (1u << 1)
#define PCIE_SLOT_CONTROL      0x18u
#define PCIE_SLOT_POWER_OFF    (1u << 10)
#define PCIE_SLOT_LIGHT        (3u << 8) /* the power indicator: 1 on, 3 off */
#define PCIE_SLOT_LIGHT_ON     (1u << 8)
#define PCIE_SLOT_STATUS       0x1au
#define PCIE_SLOT_BUTTON       (1u << 0) /* cleared by writing a one */
#define PCIE_SLOT_CHANGED      (1u << 3) /* the next bit has changed; cleared likewise */
#define PCIE_SLOT_OCCUPIED     (1u << 6)

bool dgm_pci_sleeping(const struct dgm_pci_device *device)
{
    return device->cap_pm && (dgm_pci_read16(device, device->cap_pm + PM_CONTROL) & PM_STATE);
}

void dgm_pci_power_up(const struct dgm_pci_device *device)
{
    const uint32_t offset = device->cap_pm + PM_CONTROL;

    dgm_pci_write16(device, offset, (uint16_t)(dgm_pci_read16(device, offset) & ~PM_STATE));
}

/*
 * A function loses its registers when it leaves a low-power state, so it enters D0 before addresses
 * are assigned. It may take ten milliseconds (PCI Power Management 1.2, 5.4). Firmware and resets
 * leave functions in D0, so as a rule there is no wait.
 */
static void wake_up(const struct dgm_pci_device *device)
{
    if (!dgm_pci_sleeping(device))
        return;
    dgm_pci_power_up(device);

    const uint64_t awake_ns = dgm_env_now_ns() + PM_SETTLE_NS;

    while (dgm_env_now_ns() < awake_ns)
        dgm_pci_read16(device, device->cap_pm + PM_CONTROL);
}

static void msix_read(struct dgm_pci_device *device)
{
    const uint16_t control = dgm_pci_read16(device, device->cap_msix + MSIX_CONTROL);
    const uint32_t table = dgm_pci_read32(device, device->cap_msix + MSIX_TABLE);

    device->msix_bar = table & 7;
    device->msix_offset = table & ~7u;
    device->msix_entries = (control & 0x7ff) + 1;
    dgm_pci_write16(device, device->cap_msix + MSIX_CONTROL,
                    (uint16_t)(control & ~MSIX_CONTROL_ENABLE));
}

void dgm_pci_capabilities(struct dgm_pci_device *device)
{
    if (!(dgm_pci_read16(device, PCI_STATUS) & PCI_STATUS_CAPABILITY))
        return;

    uint8_t at = dgm_pci_read8(device, PCI_CAPABILITIES) & ~3u;

    for (unsigned step = 0; at >= 0x40 && step < CAPABILITIES_MAX; step++) {
        const uint16_t header = dgm_pci_read16(device, at);
        uint8_t *const offset = (header & 0xff) == PCI_CAP_PM     ? &device->cap_pm
                                : (header & 0xff) == PCI_CAP_MSI  ? &device->cap_msi
                                : (header & 0xff) == PCI_CAP_MSIX ? &device->cap_msix
                                : (header & 0xff) == PCI_CAP_PCIE ? &device->cap_pcie
                                                                  : NULL;

        if (offset && *offset == 0)
            *offset = at;
        at = (uint8_t)(header >> 8 & ~3u);
    }

    wake_up(device);
    if (device->cap_msix)
        msix_read(device);
    if (device->cap_msi) {
        const uint16_t control = dgm_pci_read16(device, device->cap_msi + MSI_CONTROL);

        dgm_pci_write16(device, device->cap_msi + MSI_CONTROL,
                        (uint16_t)(control & ~MSI_CONTROL_ENABLE));
    }
}

unsigned dgm_pci_port_type(const struct dgm_pci_device *device)
{
    if (!device->cap_pcie)
        return 0xff;
    return dgm_pci_read16(device, device->cap_pcie + PCIE_FLAGS) >> 4 & 0xf;
}

bool dgm_pci_has_slot(const struct dgm_pci_device *port)
{
    return port->cap_pcie &&
           (dgm_pci_read16(port, port->cap_pcie + PCIE_FLAGS) & PCIE_FLAGS_SLOT) &&
           (dgm_pci_read32(port, port->cap_pcie + PCIE_SLOT_CAP) &
            (PCIE_SLOT_CAP_BUTTON | PCIE_SLOT_CAP_HOT_PLUG));
}

void dgm_pci_slot_power(const struct dgm_pci_slot *slot)
{
    const uint32_t at = slot->port.cap_pcie;
    const uint16_t status = dgm_pci_read16(&slot->port, at + PCIE_SLOT_STATUS);
    const uint16_t control = dgm_pci_read16(&slot->port, at + PCIE_SLOT_CONTROL);

    if (status == UINT16_MAX || !(status & PCIE_SLOT_OCCUPIED) ||
        !(control & PCIE_SLOT_POWER_OFF) ||
        !(dgm_pci_read32(&slot->port, at + PCIE_SLOT_CAP) & PCIE_SLOT_CAP_POWER))
        return;
    dgm_pci_write16(
        &slot->port, at + PCIE_SLOT_CONTROL,
        (uint16_t)((control & ~(PCIE_SLOT_POWER_OFF | PCIE_SLOT_LIGHT)) | PCIE_SLOT_LIGHT_ON));
}

/* Whether the card in the slot is on: it responds. */
static bool card_responds(const struct dgm_pci_slot *slot)
{
    const struct dgm_pci_device card = {.host = slot->port.host, .bus = slot->bus};

    return (uint16_t)dgm_pci_read32(&card, PCI_VENDOR) != PCI_VENDOR_ABSENT;
}

enum dgm_pci_slot_event dgm_pci_slot_take(const struct dgm_pci_slot *slot)
{
    const uint32_t offset = slot->port.cap_pcie + PCIE_SLOT_STATUS;
    const uint16_t status = dgm_pci_read16(&slot->port, offset);
    const uint16_t news = status & (PCIE_SLOT_BUTTON | PCIE_SLOT_CHANGED);

    if (status == UINT16_MAX || !news)
        return DGM_PCI_SLOT_QUIET;
    dgm_pci_write16(&slot->port, offset, news);
    if (!(status & PCIE_SLOT_OCCUPIED))
        return news & PCIE_SLOT_CHANGED ? DGM_PCI_SLOT_EMPTIED : DGM_PCI_SLOT_QUIET;
    /* The button means "take it out" for a card that is in use, and "switch it on" for another. */
    if ((news & PCIE_SLOT_CHANGED) || !card_responds(slot))
        return DGM_PCI_SLOT_FILLED;
    return DGM_PCI_SLOT_REMOVAL;
}

/* --- message-signalled interrupts --- */

bool dgm_pci_msix_sound(const struct dgm_pci_device *device)
{
    if (device->msix_bar >= DGM_PCI_BARS)
        return false;

    const uint64_t bytes = device->bars[device->msix_bar].bytes;

    return device->msix_offset <= bytes &&
           (uint32_t)device->msix_entries * MSIX_ENTRY_BYTES <= bytes - device->msix_offset;
}

int dgm_pci_msix_open(struct dgm_pci_device *device, volatile void *table)
{
    if (!device->cap_msix)
        return DGM_EOPNOTSUPP;

    const uint32_t offset = device->cap_msix + MSIX_CONTROL;
    const uint16_t control = dgm_pci_read16(device, offset);

    /* The function mask is set while the entries are masked one by one. */
    dgm_pci_write16(device, offset, (uint16_t)(control | MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK));
    for (uint32_t i = 0; i < device->msix_entries; i++)
        dgm_arch_mmio_write32((volatile char *)table + i * MSIX_ENTRY_BYTES + 12,
                              MSIX_ENTRY_MASKED);
    dgm_pci_intx(device, false);
    dgm_pci_write16(device, offset,
                    (uint16_t)((control | MSIX_CONTROL_ENABLE) & ~MSIX_CONTROL_MASK));
    return DGM_OK;
}

static void msix_write(const struct dgm_pci_msix *msix)
{
    volatile char *entry = (volatile char *)msix->table + (uint32_t)msix->index * MSIX_ENTRY_BYTES;

    /* A half-written entry sends no message. */
    dgm_arch_mmio_write32(entry + 12, MSIX_ENTRY_MASKED);
    dgm_arch_mmio_write32(entry, (uint32_t)msix->message.address);
    dgm_arch_mmio_write32(entry + 4, (uint32_t)(msix->message.address >> 32));
    dgm_arch_mmio_write32(entry + 8, msix->message.data);
    dgm_arch_mmio_write32(entry + 12, 0);
}

void dgm_pci_msix_set(struct dgm_pci_device *device, volatile void *table, uint16_t index,
                      struct dgm_pci_message message)
{
    dgm_assert(index < device->msix_entries);
    device->msix = (struct dgm_pci_msix){table, message, index};
    msix_write(&device->msix);
}

void dgm_pci_msix_restore(struct dgm_pci_device *device)
{
    if (device->msix.table && dgm_pci_msix_open(device, device->msix.table) == DGM_OK)
        msix_write(&device->msix);
}

int dgm_pci_msi_set(struct dgm_pci_device *device, struct dgm_pci_message message)
{
    const uint32_t cap = device->cap_msi;

    if (!cap)
        return DGM_EOPNOTSUPP;

    const uint16_t control = dgm_pci_read16(device, cap + MSI_CONTROL);
    const bool wide = control & MSI_CONTROL_64;

    if (!wide && message.address >> 32)
        return DGM_EOPNOTSUPP;
    dgm_pci_write32(device, cap + MSI_ADDRESS, (uint32_t)message.address);
    if (wide)
        dgm_pci_write32(device, cap + MSI_ADDRESS + 4, (uint32_t)(message.address >> 32));
    dgm_pci_write16(device, cap + MSI_ADDRESS + (wide ? 8 : 4), (uint16_t)message.data);
    dgm_pci_intx(device, false);
    dgm_pci_write16(device, cap + MSI_CONTROL,
                    (uint16_t)((control & ~MSI_CONTROL_MANY) | MSI_CONTROL_ENABLE));
    return DGM_OK;
}
