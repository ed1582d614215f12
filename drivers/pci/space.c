/* SPDX-License-Identifier: MIT */
/* pci/space: configuration space by ECAM (PCIe 7.2.2), and a function's command register */
#include <drivers/pci/internal.h>

#include <dragoman/base/check.h>
#include <port/arch.h>

static volatile char *config_address(const struct dgm_pci_device *device, uint32_t offset)
{
    const struct dgm_pci_host *host = device->host;

    dgm_assert(offset < 4096 && device->bus >= host->bus_first && device->bus <= host->bus_last);
    return (volatile char *)host->ecam + ((uint32_t)(device->bus - host->bus_first) << 20 |
                                          (uint32_t)device->device << 15 |
                                          (uint32_t)device->function << 12 | offset);
}

uint8_t dgm_pci_read8(const struct dgm_pci_device *device, uint32_t offset)
{
    return dgm_arch_mmio_read8(config_address(device, offset));
}

uint16_t dgm_pci_read16(const struct dgm_pci_device *device, uint32_t offset)
{
    return dgm_arch_mmio_read16(config_address(device, offset));
}

uint32_t dgm_pci_read32(const struct dgm_pci_device *device, uint32_t offset)
{
    return dgm_arch_mmio_read32(config_address(device, offset));
}

void dgm_pci_write16(const struct dgm_pci_device *device, uint32_t offset, uint16_t value)
{
    dgm_arch_mmio_write16(config_address(device, offset), value);
}

void dgm_pci_write32(const struct dgm_pci_device *device, uint32_t offset, uint32_t value)
{
    dgm_arch_mmio_write32(config_address(device, offset), value);
}

static void command_set(const struct dgm_pci_device *device, uint16_t clear, uint16_t set)
{
    const uint16_t command = dgm_pci_read16(device, PCI_COMMAND);

    dgm_pci_write16(device, PCI_COMMAND, (uint16_t)((command & ~clear) | set));
}

void dgm_pci_enable(struct dgm_pci_device *device)
{
    device->enabled = true;
    command_set(device, 0, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

void dgm_pci_master_off(const struct dgm_pci_device *device)
{
    /* A stopped device is not served, so its interrupt line must not stay asserted. */
    command_set(device, PCI_COMMAND_MASTER, PCI_COMMAND_INTX_OFF);
    /* A read completion does not pass the writes that the device sent before it (PCIe 2.4.1). */
    dgm_pci_read32(device, PCI_VENDOR);
}

bool dgm_pci_intx_asserted(const struct dgm_pci_device *device)
{
    const uint16_t status = dgm_pci_read16(device, PCI_STATUS);

    return status != UINT16_MAX && (status & PCI_STATUS_INTERRUPT);
}

void dgm_pci_intx(struct dgm_pci_device *device, bool on)
{
    device->intx = on;
    command_set(device, on ? PCI_COMMAND_INTX_OFF : 0, on ? 0 : PCI_COMMAND_INTX_OFF);
}
