/* SPDX-License-Identifier: MIT */
/*
 * gic: see gic.h. Arm IHI 0048 (GICv2, with the v2m frame of SBSA appendix E) and IHI 0069 (GICv3).
 * The distributor is emulated by Xen, the CPU interface is the hardware's virtual one:
 * acknowledging costs no trap.
 */
#include "gic.h"

#include <dragoman/base/status.h>
#include <port/arch.h>
#include <port/env.h>

#define GICD_CTLR       0x000
#define GICD_IGROUPR    0x080
#define GICD_ISENABLER  0x100
#define GICD_ICENABLER  0x180
#define GICD_IPRIORITYR 0x400
#define GICD_ITARGETSR  0x800
#define GICD_ICFGR      0xc00
#define GICD_IROUTER    0x6000
#define GICR_WAKER      0x014
#define GICR_SGI        0x10000
#define GICC_CTLR       0x00
#define GICC_PMR        0x04
#define GICC_IAR        0x0c
#define GICC_EOIR       0x10
#define V2M_TYPER       0x008
#define V2M_SETSPI      0x040

#define FIRST_SPI  32u
#define NONE       1020u /* this and above: no interrupt to handle */
#define PRIORITY   0xa0u
#define POLL_BOUND 64u /* interrupts per poll: the reactor gets its turn */

static struct gic_place gic;
static uint32_t message_next, message_end;
static struct {
    uint32_t intid;
    struct dgm_irq *first;
} lines[GIC_LINES_MAX];
static unsigned line_count;

static volatile void *register_at(uint64_t base, uint64_t offset)
{
    return (volatile void *)(uintptr_t)(base + offset);
}

static void write_register(uint64_t base, uint64_t offset, uint32_t value)
{
    dgm_arch_mmio_write32(register_at(base, offset), value);
}

static uint32_t read_register(uint64_t base, uint64_t offset)
{
    return dgm_arch_mmio_read32(register_at(base, offset));
}

static void init_v3(void)
{
    write_register(gic.distributor, GICD_CTLR, 1u << 4 | 1u << 1); /* ARE_NS, group 1 */
    write_register(gic.second, GICR_WAKER, read_register(gic.second, GICR_WAKER) & ~2u);
    for (unsigned tries = 0; read_register(gic.second, GICR_WAKER) & 4u; tries++)
        if (tries == 100000)
            dgm_env_panic(__FILE__, __LINE__,
                          "the interrupt redistributor does not wake up: the second reg of "
                          "the interrupt controller is not that of a GICv3");
    __asm__ volatile("msr S3_0_C12_C12_5, %0\n\tisb" ::"r"(1ull)); /* ICC_SRE_EL1 */
    __asm__ volatile("msr S3_0_C4_C6_0, %0" ::"r"(0xffull));       /* ICC_PMR_EL1 */
    __asm__ volatile("msr S3_0_C12_C12_7, %0\n\tisb" ::"r"(1ull)); /* ICC_IGRPEN1_EL1 */
}

static void init_v2(void)
{
    write_register(gic.distributor, GICD_CTLR, 1);
    write_register(gic.second, GICC_PMR, 0xff);
    write_register(gic.second, GICC_CTLR, 1);
    if (gic.message) {
        const uint32_t type = read_register(gic.message, V2M_TYPER);

        message_next = type >> 16 & 0x3ff;
        message_end = message_next + (type & 0x3ff);
    }
}

void gic_init(const struct gic_place *place)
{
    gic = *place;
    if (gic.version == 3)
        init_v3();
    else
        init_v2();
}

static uint32_t acknowledge_interrupt(void)
{
    if (gic.version == 3) {
        uint64_t intid;

        __asm__ volatile("mrs %0, S3_0_C12_C12_0\n\tdsb sy" : "=r"(intid)::"memory");
        return intid & 0xffffff;
    }
    return read_register(gic.second, GICC_IAR) & 0x3ff;
}

static void end_interrupt(uint32_t intid)
{
    if (gic.version == 3)
        __asm__ volatile("msr S3_0_C12_C12_1, %0\n\tisb" ::"r"((uint64_t)intid) : "memory");
    else
        write_register(gic.second, GICC_EOIR, intid);
}

/* The registers that configure `intid`. */
static uint64_t registers_of(uint32_t intid)
{
    return gic.version == 3 && intid < FIRST_SPI ? gic.second + GICR_SGI : gic.distributor;
}

static void enable_line(uint32_t intid, bool enable)
{
    write_register(registers_of(intid), (enable ? GICD_ISENABLER : GICD_ICENABLER) + intid / 32 * 4,
                   1u << intid % 32);
}

static void configure_line(uint32_t intid, bool edge)
{
    const uint64_t base = registers_of(intid);
    const uint64_t group = GICD_IGROUPR + intid / 32 * 4;

    if (gic.version == 3)
        write_register(base, group, read_register(base, group) | 1u << intid % 32);
    dgm_arch_mmio_write8(register_at(base, GICD_IPRIORITYR + intid), PRIORITY);
    if (intid >= FIRST_SPI) {
        const uint64_t config = GICD_ICFGR + intid / 16 * 4;
        const uint32_t shift = intid % 16 * 2 + 1;

        write_register(base, config,
                       (read_register(base, config) & ~(1u << shift)) | (uint32_t)edge << shift);
        if (gic.version == 3)
            dgm_arch_mmio_write64(register_at(base, GICD_IROUTER + 8ull * intid), gic.cpu_affinity);
        else
            dgm_arch_mmio_write8(register_at(base, GICD_ITARGETSR + intid), 1);
    }
    enable_line(intid, true);
}

int gic_bind(uint32_t intid, bool edge, struct dgm_irq *irq)
{
    for (unsigned i = 0; i < line_count; i++)
        if (lines[i].intid == intid) {
            irq->next = lines[i].first;
            lines[i].first = irq;
            return DGM_OK;
        }
    if (line_count == GIC_LINES_MAX)
        return DGM_ENOSPC;
    irq->next = NULL;
    lines[line_count].intid = intid;
    lines[line_count++].first = irq;
    configure_line(intid, edge);
    return DGM_OK;
}

bool gic_mask(uint32_t intid, bool mask)
{
    for (unsigned i = 0; i < line_count; i++)
        if (lines[i].intid == intid && lines[i].first->next)
            return false;
    enable_line(intid, !mask);
    return true;
}

void gic_unbind(const struct dgm_irq *irq)
{
    for (unsigned i = 0; i < line_count; i++)
        for (struct dgm_irq **at = &lines[i].first; *at; at = &(*at)->next)
            if (*at == irq) {
                *at = irq->next;
                return;
            }
}

int gic_bind_message(struct dgm_irq *irq, struct dgm_pci_message *message)
{
    if (!gic.message)
        return DGM_ENODEV;
    if (message_next == message_end)
        return DGM_ENOSPC;
    *message = (struct dgm_pci_message){.address = gic.message + V2M_SETSPI, .data = message_next};
    return gic_bind(message_next++, true, irq);
}

bool gic_poll(void)
{
    unsigned handled = 0;

    for (; handled < POLL_BOUND; handled++) {
        const uint32_t intid = acknowledge_interrupt();

        if (intid >= NONE)
            break;
        for (unsigned i = 0; i < line_count; i++)
            if (lines[i].intid == intid)
                for (struct dgm_irq *irq = lines[i].first; irq; irq = irq->next)
                    irq->handle(irq);
        end_interrupt(intid);
    }
    return handled > 0;
}
