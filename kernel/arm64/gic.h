/* SPDX-License-Identifier: MIT */
/*
 * gic: Xen's virtual interrupt controller, version 2 or 3, polled
 *
 * Interrupts stay masked in PSTATE permanently: the main loop acknowledges each pending interrupt,
 * calls its handlers and ends it. A pending interrupt ends WFI although it is masked. So no code
 * runs in an interrupt context, and no code needs protection from one.
 */
#ifndef KERNEL_ARM64_GIC_H
#define KERNEL_ARM64_GIC_H

#include <dragoman/drivers/device_env.h>
#include <dragoman/drivers/pci.h>

#define GIC_LINES_MAX            64       /* interrupts in use */
#define GIC_REDISTRIBUTOR_BYTES  0x10000u /* version 3: each of its two parts */
#define GIC_V3_DISTRIBUTOR_BYTES 0x10000u

struct gic_place {
    unsigned version;                         /* 2 or 3 */
    uint64_t distributor;                     /* GICD, guest-physical */
    uint64_t second;                          /* version 2: GICC; 3: first redistributor */
    uint64_t distributor_bytes, second_bytes; /* that are used, of any number that there are */
    uint64_t message;                         /* GICv2m frame; 0: none */
    uint32_t cpu_affinity;
};

/* Registers must be mapped. */
void gic_init(const struct gic_place *place);

/* Calls irq->handle for each interrupt `intid` from now on; several may share a line. DGM_ENOSPC:
 * too many lines. */
int gic_bind(uint32_t intid, bool edge, struct dgm_irq *irq);

/* Masks or unmasks interrupt `intid`. False: several handlers share it, and it stays unmasked. */
bool gic_mask(uint32_t intid, bool mask);

/* `irq`, which is bound to a line, is bound to none. */
void gic_unbind(const struct dgm_irq *irq);

/*
 * A message-signalled interrupt: the message that makes the device raise it, bound to `irq`.
 * DGM_ENODEV: no GICv2m frame; DGM_ENOSPC: all its interrupts are used.
 */
int gic_bind_message(struct dgm_irq *irq, struct dgm_pci_message *message);

/* Handles all pending interrupts. True if there was any. */
bool gic_poll(void);

#endif
