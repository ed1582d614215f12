/* SPDX-License-Identifier: MIT */
/*
 * pci/bar: sizes base address registers and assigns their addresses
 *
 * After a write of ones a register reads back with zeros in the bits below its size (PCI 6.2.5.1).
 * Every memory BAR gets an address that is a multiple of its size, from one of two host windows:
 *
 *   64-bit BAR  the window above 4 GiB, if there is one and the BAR may lie there: a prefetchable
 *               host window, and any bridge above the device, forward only prefetchable memory
 *   otherwise   the window below 4 GiB
 *
 * A 64-bit BAR that does not fit above 4 GiB falls back to the window below. No driver here uses
 * I/O space, so it stays disabled. Either all BARs of a function get an address or none does.
 */
#include <drivers/pci/internal.h>

#include <dragoman/base/status.h>
#include <port/env.h>

/* Sizes the BAR at `index`. Returns how many registers the BAR occupies (1 or 2). */
static unsigned bar_size(const struct dgm_pci_device *device, unsigned index, unsigned count,
                         struct dgm_pci_bar *bar)
{
    const uint32_t offset = PCI_BAR0 + 4 * index;

    dgm_pci_write32(device, offset, UINT32_MAX);

    const uint32_t low = dgm_pci_read32(device, offset);

    dgm_pci_write32(device, offset, 0);
    *bar = (struct dgm_pci_bar){0};
    if (low == 0 || (low & PCI_BAR_IO))
        return 1;

    bar->is64 = (low & PCI_BAR_TYPE) == PCI_BAR_TYPE_64 && index + 1 < count;
    bar->prefetchable = low & PCI_BAR_PREFETCHABLE;

    uint64_t mask = low & ~0xfu;

    if (bar->is64) {
        dgm_pci_write32(device, offset + 4, UINT32_MAX);
        mask |= (uint64_t)dgm_pci_read32(device, offset + 4) << 32;
        dgm_pci_write32(device, offset + 4, 0);
    }
    bar->bytes = mask & -mask; /* the lowest bit that is writable; 0: none */
    return bar->is64 ? 2 : 1;
}

/* Takes naturally aligned addresses for `bar` from `window`. */
static bool window_take(struct dgm_pci_window *window, struct dgm_pci_bar *bar)
{
    if (!window || bar->bytes > window->bytes)
        return false;

    const uint64_t start = window->pci + window->used;
    const uint64_t pad = -start & (bar->bytes - 1);

    if (pad > window->bytes - window->used)
        return false;
    if (bar->bytes > window->bytes - window->used - pad)
        return false;
    bar->pci = start + pad;
    bar->cpu = window->cpu + window->used + pad;
    window->used += pad + bar->bytes;
    return true;
}

static bool bar_place(const struct pci_reach *reach, struct dgm_pci_bar *bar)
{
    const bool high_only_prefetchable =
        reach->high && (reach->high->prefetchable || reach->behind_bridge);

    if (bar->is64 && (bar->prefetchable || !high_only_prefetchable) &&
        window_take(reach->high, bar))
        return true;
    return window_take(reach->low, bar);
}

void dgm_pci_bars_write(const struct dgm_pci_device *device)
{
    for (unsigned i = 0; i < DGM_PCI_BARS; i++) {
        const struct dgm_pci_bar *bar = &device->bars[i];

        if (bar->bytes)
            dgm_pci_write32(device, PCI_BAR0 + 4 * i, (uint32_t)bar->pci);
        if (bar->bytes && bar->is64)
            dgm_pci_write32(device, PCI_BAR0 + 4 * i + 4, (uint32_t)(bar->pci >> 32));
    }
}

bool dgm_pci_bars_fit(const struct dgm_pci_device *card, const struct dgm_pci_device *device)
{
    for (unsigned i = 0; i < DGM_PCI_BARS;) {
        struct dgm_pci_bar bar;
        const unsigned registers = bar_size(card, i, DGM_PCI_BARS, &bar);

        if (bar.bytes != device->bars[i].bytes || bar.is64 != device->bars[i].is64 ||
            bar.prefetchable != device->bars[i].prefetchable)
            return false;
        i += registers;
    }
    return true;
}

unsigned dgm_pci_bars_held(const struct dgm_pci_device *device)
{
    for (unsigned i = 0; i < DGM_PCI_BARS; i++) {
        const struct dgm_pci_bar *bar = &device->bars[i];

        if (bar->bytes == 0)
            continue;
        if ((dgm_pci_read32(device, PCI_BAR0 + 4 * i) & ~0xfu) != (uint32_t)bar->pci ||
            (bar->is64 && dgm_pci_read32(device, PCI_BAR0 + 4 * i + 4) != bar->pci >> 32))
            return i;
    }
    return DGM_PCI_BARS;
}

/* A register with fixed bits among those of the address would decode another one, where accesses to
 * it reach no device or a wrong one. */
static bool bars_hold(const struct dgm_pci_device *device)
{
    const unsigned wrong = dgm_pci_bars_held(device);

    if (wrong == DGM_PCI_BARS)
        return true;
    dgm_env_log("pci %02x:%02x.%x: BAR %u: it does not hold the address that was assigned",
                device->bus, device->device, device->function, wrong);
    return false;
}

static void windows_return(const struct pci_reach *reach, uint64_t low_used, uint64_t high_used)
{
    if (reach->low)
        reach->low->used = low_used;
    if (reach->high)
        reach->high->used = high_used;
}

int dgm_pci_bars_assign(struct dgm_pci_device *device, unsigned count,
                        const struct pci_reach *reach)
{
    const uint64_t low_used = reach->low ? reach->low->used : 0;
    const uint64_t high_used = reach->high ? reach->high->used : 0;

    for (unsigned i = 0; i < count;) {
        struct dgm_pci_bar *bar = &device->bars[i];
        const unsigned registers = bar_size(device, i, count, bar);

        if (bar->bytes && !bar_place(reach, bar)) {
            dgm_env_log(
                "pci %02x:%02x.%x: BAR %u: %lu KiB do not fit into the host bridge's windows",
                device->bus, device->device, device->function, i,
                (unsigned long)(bar->bytes >> 10));
            windows_return(reach, low_used, high_used);
            return DGM_ENOSPC;
        }
        i += registers;
    }
    dgm_pci_bars_write(device);
    if (bars_hold(device))
        return DGM_OK;
    windows_return(reach, low_used, high_used);
    return DGM_EIO;
}
