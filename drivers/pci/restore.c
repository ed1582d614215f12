/* SPDX-License-Identifier: MIT */
/*
 * pci/restore: a function's registers after a reset, or after its link dropped
 *
 * A link that went down and came up again has reset the function behind it: command register, BARs
 * and MSI-X are cleared, and every read of its memory returns ones. Configuration space works as
 * soon as the link is up, so the registers that were assigned at the start are written again. The
 * registers of the bridges above are not written: a port keeps its own registers when its link
 * drops.
 *
 * The function behind the slot must be the same kind as before (vendor and device). The driver
 * finds out from the disk whether it is the same disk.
 */
#include <drivers/pci/internal.h>

#include <dragoman/base/status.h>

/* PCIe 7.5.3 */
#define PCIE_DEVICE_CAP     4u
#define PCIE_DEVICE_CAP_FLR (1u << 28)
#define PCIE_DEVICE_CONTROL 8u
#define PCIE_DEVICE_FLR     (1u << 15)

int dgm_pci_responds(const struct dgm_pci_device *device)
{
    const uint32_t ids = dgm_pci_read32(device, PCI_VENDOR);
    const uint16_t vendor = (uint16_t)ids;

    if (ids == (device->vendor | (uint32_t)device->id << 16))
        return dgm_pci_is_rejected(device) ? DGM_ENODEV : DGM_OK;
    return vendor == PCI_VENDOR_ABSENT || vendor == PCI_VENDOR_RETRY ? DGM_EAGAIN : DGM_ENODEV;
}

int dgm_pci_reset_start(const struct dgm_pci_device *device)
{
    if (!device->cap_pcie)
        return DGM_EOPNOTSUPP;
    if (!(dgm_pci_read32(device, device->cap_pcie + PCIE_DEVICE_CAP) & PCIE_DEVICE_CAP_FLR))
        return DGM_EOPNOTSUPP;

    const uint16_t control = dgm_pci_read16(device, device->cap_pcie + PCIE_DEVICE_CONTROL);

    dgm_pci_write16(device, PCI_COMMAND, PCI_COMMAND_INTX_OFF);
    dgm_pci_write16(device, device->cap_pcie + PCIE_DEVICE_CONTROL,
                    (uint16_t)(control | PCIE_DEVICE_FLR));
    return DGM_OK;
}

int dgm_pci_reset_finish(const struct dgm_pci_device *device)
{
    if (dgm_pci_responds(device) != DGM_OK)
        return DGM_EAGAIN;
    dgm_pci_write16(device, PCI_COMMAND, PCI_COMMAND_INTX_OFF);
    dgm_pci_bars_write(device);
    return DGM_OK;
}

int dgm_pci_restore(struct dgm_pci_device *device)
{
    const int status = dgm_pci_responds(device);

    if (status != DGM_OK)
        return status;
    if (dgm_pci_sleeping(device)) {
        dgm_pci_power_up(device); /* it may take 10 ms; the caller retries */
        return DGM_EAGAIN;
    }
    dgm_pci_bars_write(device);
    if (dgm_pci_bars_held(device) != DGM_PCI_BARS)
        return DGM_ENODEV; /* larger ones: it would decode other addresses */
    if (device->enabled)
        dgm_pci_enable(device);
    dgm_pci_msix_restore(device); /* the table is in the function's memory: decoding is on */
    if (!device->msix.table)
        dgm_pci_intx(device, device->intx);
    return DGM_OK;
}
