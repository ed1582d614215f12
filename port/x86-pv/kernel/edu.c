/* SPDX-License-Identifier: MIT */
/* edu: see edu.h. */
#include "edu.h"
#include "machine.h"

#include <dragoman/hyper/hypercall.h>
#include <port/arch.h>

#include <xen/physdev.h>

#define EDU_ID        0x11e81234u
#define EDU_MEMORY    0x40000u /* the device's own buffer, in its own addresses */
#define PCI_COMMAND   4
#define PCI_BAR0      16
#define COMMAND_BITS  6 /* memory, bus master */
#define DMA_SOURCE    0x80
#define DMA_TARGET    0x88
#define DMA_COUNT     0x90
#define DMA_COMMAND   0x98
#define DMA_GO        1u
#define DMA_TO_MEMORY 2u

/* A page of ours through which the registers are seen. */
static uint8_t window[DGM_FRAME_BYTES] __attribute__((aligned(4096)));

static void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static uint32_t in32(uint16_t port)
{
    uint32_t value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static uint32_t config_read(unsigned device, unsigned offset)
{
    out32(0xcf8, 0x80000000u | device << 11 | offset);
    return in32(0xcfc);
}

static void config_write(unsigned device, unsigned offset, uint32_t value)
{
    out32(0xcf8, 0x80000000u | device << 11 | offset);
    out32(0xcfc, value);
}

bool edu_start(void)
{
    struct physdev_set_iopl iopl = {.iopl = 1};

    /* Rings below may use ports only if this is requested; Xen emulates the configuration ports. */
    if (dgm_hypercall(__HYPERVISOR_physdev_op, PHYSDEVOP_set_iopl, (uintptr_t)&iopl, 0, 0, 0))
        return false;
    for (unsigned device = 0; device < 32; device++) {
        if (config_read(device, 0) != EDU_ID)
            continue;
        config_write(device, PCI_COMMAND, config_read(device, PCI_COMMAND) | COMMAND_BITS);
        return machine_show(window, config_read(device, PCI_BAR0), PAGE_UNCACHED) == 0;
    }
    return false;
}

static bool edu_copy(uint64_t source, uint64_t target, unsigned bytes, uint32_t direction)
{
    dgm_arch_mmio_write64(window + DMA_SOURCE, source);
    dgm_arch_mmio_write64(window + DMA_TARGET, target);
    dgm_arch_mmio_write64(window + DMA_COUNT, bytes);
    dgm_arch_dma_wmb();
    dgm_arch_mmio_write64(window + DMA_COMMAND, DMA_GO | direction);
    /* Each poll is an exit to QEMU; yielding lets its clock advance. */
    for (unsigned looks = 0; looks < 10000000; looks++) {
        if (!(dgm_arch_mmio_read64(window + DMA_COMMAND) & DMA_GO)) {
            dgm_arch_dma_rmb();
            return true;
        }
    }
    return false;
}

bool edu_read(uint64_t address, unsigned bytes)
{
    return edu_copy(address, EDU_MEMORY, bytes, 0);
}

bool edu_write(uint64_t address, unsigned bytes)
{
    return edu_copy(EDU_MEMORY, address, bytes, DMA_TO_MEMORY);
}
