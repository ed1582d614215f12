/* SPDX-License-Identifier: MIT */
/*
 * device_env: a driver's only access to the machine
 *
 * The kernel (or the simulator) finds a device, maps its registers, chooses its interrupt, and
 * hands the driver this. The driver uses nothing else of the machine, so it runs in the simulator
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

/* A member of the driver's state. `handle` runs in the reactor's loop,
 * not in an interrupt context. */
struct dgm_irq {
    void (*handle)(struct dgm_irq *irq); /* level interrupts: the cause is gone when it returns */
    struct dgm_irq *next;
};

/*
 * How long a driver waits before it resets a device or fails a command. A slow device is not a dead
 * one, so no time is counted from a command's submission: each is counted from the device's last
 * progress. A member that is 0 means the default.
 */
struct dgm_device_times {
    uint64_t start_ns; /* from the start until the device must be ready; 300 s */
    uint64_t stall_ns; /* without progress while commands are in flight, until the reset; 30 s */
    uint64_t retry_ns; /* during which a command is retried whose error may be temporary; 180 s */
    uint64_t
        lost_ns; /* during which a device that left the bus, or fails to reset, may return; 60 s */
};

/* `given` with the defaults filled in. */
static inline struct dgm_device_times dgm_device_times(const struct dgm_device_times *given)
{
    struct dgm_device_times times;

    times.start_ns = given->start_ns ? given->start_ns : 300000000000u;
    times.stall_ns = given->stall_ns ? given->stall_ns : 30000000000u;
    times.retry_ns = given->retry_ns ? given->retry_ns : 180000000000u;
    times.lost_ns = given->lost_ns ? given->lost_ns : 60000000000u;
    return times;
}

struct dgm_device_env {
    char name[24];       /* for messages: "pci 00:02.0" */
    volatile void *mmio; /* the registers (PCI: BAR 0), mapped as device memory; NULL: none */
    size_t mmio_bytes;
    struct dgm_dma_tag tag; /* what the bus allows: windows, mask, coherent; the driver narrows a
                               copy */
    struct dgm_reactor *reactor;
    struct dgm_frames *frames; /* for queues; only during the driver's start function */
    const struct dgm_p2m *p2m; /* for dgm_dma_local() */
    /* The entry of the driver's list of compatible strings that the device's node matches. NULL:
     * the device has no node. */
    const char *compatible;
    /* Reads a property of the node. True: the node has it, and `*value` is its first cell (0 if it
     * has none). Only during the driver's start function. NULL: the device has no node. */
    bool (*property)(const struct dgm_device_env *env, const char *name, uint32_t *value);
    /* PCI: reads configuration space; `offset` is a multiple of 4 below 256. NULL: the device is
     * not on PCI. */
    uint32_t (*config)(const struct dgm_device_env *env, uint32_t offset);
    /* PCI: maps memory BAR `number` as device memory, and sets its size. NULL: there is no such
     * BAR, or the device is not on PCI. Only during the driver's start function. */
    volatile void *(*bar)(const struct dgm_device_env *env, unsigned number, uint64_t *bytes);
    bool irq_message; /* message-signalled (edge), else level and possibly shared */
    /* Binds the device's interrupt (vector 0): irq->handle is called for it from now on. DGM_OK, or
     * negative: the device cannot be used. */
    int (*irq_bind)(struct dgm_device_env *env, struct dgm_irq *irq);
    /*
     * Cuts the device off from memory (PCI: bus mastering off), until `restore` if that is called:
     * the last resort of a driver whose device cannot be stopped, before its commands end and their
     * memory is reused. NULL: the embedder has no such means.
     */
    void (*dma_stop)(struct dgm_device_env *env);
    /*
     * Restores the device's state on the bus (PCI: command register, BARs, MSI-X), which is lost
     * when the link drops. DGM_OK: the registers can be used, of a device of the same kind: the
     * driver then finds out whether it is the same one. DGM_EAGAIN: the device does not respond.
     * DGM_ENODEV: another device is in its place. NULL: the bus keeps no such state.
     */
    int (*restore)(struct dgm_device_env *env);
    /*
     * The device that `restore` found is not the right one, though of its kind: it is cut off from
     * memory, and `restore` looks for the right one in other places too. False: there is no other
     * place. NULL: the same.
     */
    bool (*reject)(struct dgm_device_env *env);
    /*
     * For a level interrupt that is raised repeatedly although the driver finds no cause. With
     * `mask`: masks the interrupt, so that other devices on the line keep theirs, if this device
     * asserts the line, and returns true then. Without: unmasks it. NULL: the embedder has no such
     * means.
     */
    bool (*irq_mask)(struct dgm_device_env *env, bool mask);
    /* The disk's or card's `ready` or `failed` became true; also from within the start function.
     * May be NULL. */
    void (*changed)(struct dgm_device_env *env);
    void *owner; /* the embedder's, for `changed` */
    struct dgm_device_times times;
};

/* The state of a level interrupt line, for the functions below; zero at the start. */
struct dgm_device_line {
    uint32_t idle_run;     /* interrupts in a row for which there was nothing to do */
    bool masked;           /* at the device: the driver polls */
    uint32_t polled;       /* while masked: polls that found something to do */
    uint32_t unmask_after; /* so many of these */
    uint32_t maskings;     /* so far */
};

/*
 * Called for an interrupt for which the driver found nothing to do, after it acknowledged the
 * cause: another device raised it, or a poll was faster, or this device keeps the line asserted.
 * After a hundred in a row, if env->irq_mask finds that this device asserts the line, it is masked
 * at the device: otherwise the interrupt would be served without end, and no other device. True: it
 * was masked now, and the driver polls from now on.
 */
bool dgm_device_line_unserved(struct dgm_device_line *line, struct dgm_device_env *env);
/* Called when the driver finds something to do: the interrupts before had a cause. */
static inline void dgm_device_line_served(struct dgm_device_line *line)
{
    line->idle_run = 0;
}

/* Called when a poll finds something to do. If the line is masked, it is unmasked after a number of
 * such polls; the number doubles each time. */
void dgm_device_line_polled(struct dgm_device_line *line, struct dgm_device_env *env);

/*
 * For drivers: notices a time for which the machine did not run (it was paused, or stopped by a
 * debugger). A driver calls it when its timer fires, and for each interrupt, which may come before
 * the timer. If the timer is late by at least two seconds, that time is not the device's: `excuse`
 * moves the driver's limits by it, so nothing fails because the clock jumped, and a timer that was
 * armed is due now.
 */
void dgm_device_notice_absence(struct dgm_timer *timer, bool fires, struct dgm_reactor *reactor,
                               void (*excuse)(struct dgm_timer *timer, uint64_t absence_ns));
/* Moves a time in the future, a limit, by `absence_ns`. UINT64_MAX is never. */
void dgm_device_extend(uint64_t *limit_ns, uint64_t absence_ns);
/* Moves a time in the past, since which something is measured, but not beyond now. 0 is none. */
void dgm_device_excuse(uint64_t *since_ns, uint64_t absence_ns);

/* A frame of ours that a device reads or writes: a queue, descriptors. */
struct dgm_device_frame {
    void *va;
    dgm_bus_t bus;
};

/* For drivers, in their start function: takes a frame for a queue. `tag`: the driver's copy.
 * DGM_ENOMEM, DGM_ERANGE: `*why` has the cause in words. */
int dgm_device_queue_frame(const struct dgm_device_env *env, const struct dgm_dma_tag *tag,
                           struct dgm_device_frame *frame, const char **why);

#ifdef __cplusplus
}
#endif

#endif
