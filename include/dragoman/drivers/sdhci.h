/* SPDX-License-Identifier: MIT */
/*
 * sdhci: a disk that is an SD card behind an SD host controller
 *
 * One controller with one slot, one card in it: SDSC, SDHC or SDXC, at default speed with four data
 * lines. Transfers go by ADMA2 or, where a controller has only that, by SDMA; both form addresses
 * of 32 bits, so memory above 4 GiB is bounced by whoever maps with device.tag. One command is
 * under way at a time and up to 32 wait in a queue of ours. The caller owns the structure; one
 * frame for descriptors is taken from env->frames while attaching, nothing later.
 *
 * A card has no volatile cache that we could flush: a write is durable when it ends.
 *
 * What may happen, and what comes of it:
 *   card or controller reports   the command ends with DGM_EIO, or DGM_ETIMEDOUT if the card was
 *   an error                     silent, once CMD and DAT lines were reset; the next one goes on
 *   says nothing for 10 seconds  the same, with DGM_ETIMEDOUT
 *   an interrupt is lost         the tick finds the end of the command (`interrupts_lost`)
 *   the lines cannot be reset,   the controller is reset, the card brought up again; it must have
 *   the card does not stop       the CID that it had
 *   that fails, the card is      device.failed: every command ends with DGM_EIO, for good
 *   gone
 *
 * A command ends only when the controller can no longer touch its memory: after a reset, or after
 * env->dma_stop. All of it runs in the reactor's loop; nothing blocks after dgm_sdhci_start(),
 * which polls with deadlines: 1 ms for power to settle, then a dozen commands.
 *
 * Left out, because no use of ours needs it: PIO, UHS and high speed modes, 64-bit addresses, eMMC,
 * CMD23 (CMD12, sent by the controller, ends a transfer with every card and controller).
 */
#ifndef DRAGOMAN_DRIVERS_SDHCI_H
#define DRAGOMAN_DRIVERS_SDHCI_H

#include <dragoman/drivers/driver.h>

#ifdef __cplusplus
extern "C" {
#endif

/* PCI: base class "system", "SD host controller"; the programming interface says nothing new. */
#define DGM_SDHCI_PCI_CLASS      0x080500u
#define DGM_SDHCI_PCI_CLASS_MASK 0xffff00u

#define DGM_SDHCI_QUEUE              32u
#define DGM_SDHCI_DESCRIPTORS        512u   /* of 8 bytes, in one frame */
#define DGM_SDHCI_SEGMENT_BYTES_MAX  65536u /* of one ADMA2 descriptor */
#define DGM_SDHCI_ALIGNMENT          4u
#define DGM_SDHCI_SDMA_BYTES_MAX     (1u << 19) /* SDMA stops at multiples: none is crossed */
#define DGM_SDHCI_TRANSFER_BYTES_MAX (1u << 20) /* 256 segments of blkif */
#define DGM_SDHCI_TICK_NS            1000000000ul
#define DGM_SDHCI_LATE_NS            10000000000ul

enum dgm_sdhci_state {
    DGM_SDHCI_RESETTING,   /* the whole controller, until it says that it is done */
    DGM_SDHCI_CLOCKING,    /* until the clock is stable */
    DGM_SDHCI_SETTLING,    /* until the card has had its time */
    DGM_SDHCI_IDENTIFYING, /* one command after another */
    DGM_SDHCI_LIVE,
    DGM_SDHCI_CLEARING, /* after an error: CMD and DAT lines are being reset */
    DGM_SDHCI_STOPPING, /* then: until the card is ready for the next transfer */
    DGM_SDHCI_FAILED,
};

struct dgm_sdhci {
    struct dgm_blkdev device; /* what blkback gets */
    struct dgm_device_env *env;
    struct dgm_irq irq;
    struct dgm_task task;   /* starts the next command */
    struct dgm_timer timer; /* live: the tick; else the next look */
    enum dgm_sdhci_state state;
    /* commands, oldest first; if `under_way` the oldest is with the controller */
    struct dgm_blk_command *queue[DGM_SDHCI_QUEUE];
    uint32_t queue_first, queue_count;
    bool under_way;
    uint64_t late_ns; /* when the oldest is overdue; 0: it was not tried yet */
    int status;       /* what it ends with when the lines are reset */
    uint64_t *descriptors;
    dgm_bus_t descriptors_bus;
    /* the controller */
    bool adma;
    uint8_t version; /* 0: 1.00, 1: 2.00, 2: 3.00, ... */
    uint32_t base_mhz;
    uint8_t power; /* what to write there */
    bool embedded; /* the slot has no switch that tells whether a card is in it */
    uint64_t deadline_ns, settled_ns;
    /* the card */
    bool attaching;
    bool old_card;   /* before version 2.00: it knows no CMD8 */
    bool in_blocks;  /* addressed in blocks (SDHC, SDXC), else in bytes (SDSC) */
    uint8_t step;    /* of identifying, or of stopping */
    bool asked;      /* its command is with the card */
    uint16_t rca;    /* the card's address */
    uint32_t cid[4]; /* as the response registers hold it */
    uint64_t log_next_ns, log_kept_back;
    /* counters, beside those of `device` */
    uint64_t interrupts, interrupts_idle, interrupts_lost, bogus, recoveries, resets;
};

/*
 * Takes the memory that the driver needs, binds the interrupt and starts to bring controller and
 * card up. DGM_OK: device.ready or device.failed follows, at once or later, and env->changed is
 * called then. device.name is env->name until the caller gives a better one. `sdhci` and `env` stay
 * where they are permanently, even after an error (the interrupt is bound).
 * DGM_ENODEV: no SD host controller, no card, no SD memory card. DGM_EOPNOTSUPP: no DMA, or another
 * thing that this driver needs. DGM_ENOMEM, DGM_ERANGE: no frame, or out of its reach.
 * DGM_ETIMEDOUT, DGM_EIO: no answer, or an error. A line says which and why.
 */
int dgm_sdhci_start(struct dgm_sdhci *sdhci, struct dgm_device_env *env);

/* Asserts every invariant of the queue; for tests and the simulator. */
void dgm_sdhci_check(const struct dgm_sdhci *sdhci);

extern const struct dgm_disk_driver dgm_sdhci_driver;

#ifdef __cplusplus
}
#endif

#endif
