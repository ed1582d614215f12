/* SPDX-License-Identifier: MIT */
/*
 * device_env: all that a driver gets
 *
 * The kernel (or the simulator) finds a device, maps its registers, chooses its interrupt, and
 * hands the driver this. The driver knows nothing else of the machine, so it runs in the simulator
 * unchanged.
 */
#ifndef DRAGOMAN_DRIVERS_DEVICE_ENV_H
#define DRAGOMAN_DRIVERS_DEVICE_ENV_H

#include <dragoman/dma/dma.h>
#include <dragoman/base/frames.h>
#include <dragoman/base/reactor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A member of the driver's state. `handle` runs in the reactor's loop, not in an interrupt context.
 */
struct dgm_irq {
    void (*handle)(struct dgm_irq *irq); /* level interrupts: the cause is gone when it returns */
    struct dgm_irq *next;
};

struct dgm_device_env {
    char name[24];       /* for messages: "pci 00:02.0" */
    volatile void *mmio; /* the registers, mapped as device memory */
    size_t mmio_bytes;
    struct dgm_dma_tag tag; /* what the bus allows: windows, mask, coherent; the driver narrows a
                               copy */
    struct dgm_reactor *reactor;
    struct dgm_frames *frames; /* for queues; only while attaching */
    const struct dgm_p2m *p2m; /* for dgm_dma_local() */
    bool irq_message;          /* message-signalled (edge), else level and possibly shared */
    /* Binds the device's interrupt (vector 0): irq->handle is called for it from now on. DGM_OK, or
     * negative: the driver cannot attach. */
    int (*irq_bind)(struct dgm_device_env *env, struct dgm_irq *irq);
    /* Cuts the device off from memory, for good (PCI: bus mastering off): the last resort of a
     * driver whose device cannot be stopped, before its commands end and their memory becomes
     * someone else's. NULL: the embedder has no such means. */
    void (*dma_stop)(struct dgm_device_env *env);
};

#ifdef __cplusplus
}
#endif

#endif
