/* SPDX-License-Identifier: MIT */
/*
 * sdhci: the state of one SD host controller and of its card
 *
 * Every file of the driver works on it, and the driver's tests read it. The embedder provides its
 * memory (dgm_sdhci_driver.state_bytes) and sees only its `device`.
 */
#ifndef DRIVERS_SDHCI_SDHCI_H
#define DRIVERS_SDHCI_SDHCI_H

#include <dragoman/drivers/sdhci.h>

/* PCI: base class "system", "SD host controller"; the programming interface is ignored. */
#define DGM_SDHCI_PCI_CLASS      0x080500u
#define DGM_SDHCI_PCI_CLASS_MASK 0xffff00u

#define DGM_SDHCI_QUEUE              32u
#define DGM_SDHCI_DESCRIPTORS        512u   /* of 8 bytes, in one frame */
#define DGM_SDHCI_SEGMENT_BYTES_MAX  65536u /* of one ADMA2 descriptor */
#define DGM_SDHCI_ALIGNMENT          4u
#define DGM_SDHCI_SDMA_BYTES_MAX     (1u << 19) /* SDMA stops at multiples: none is crossed */
#define DGM_SDHCI_TRANSFER_BYTES_MAX (1u << 20) /* 256 segments of blkif */

enum dgm_sdhci_state {
    DGM_SDHCI_LOST,        /* does not respond, or could not be initialised: waits */
    DGM_SDHCI_RESETTING,   /* the whole controller, until it reports the end */
    DGM_SDHCI_CLOCKING,    /* until the clock is stable */
    DGM_SDHCI_SETTLING,    /* until the card's start-up time has passed */
    DGM_SDHCI_IDENTIFYING, /* one command after another */
    DGM_SDHCI_CLEARING,    /* after an error: CMD and DAT lines are being reset */
    DGM_SDHCI_STOPPING,    /* then: until the card is ready for the next transfer */
    DGM_SDHCI_LIVE,
    DGM_SDHCI_FAILED,
};

struct dgm_sdhci {
    struct dgm_blkdev device; /* what a backend uses */
    /* Counters in addition to those of `device`; for reports. */
    uint64_t interrupts, interrupts_idle, interrupts_lost;
    uint64_t bogus, recoveries, resets;

    struct dgm_device_env *env;
    struct dgm_device_times times; /* with the defaults filled in */
    struct dgm_irq irq;
    struct dgm_task task;   /* starts the next command */
    struct dgm_timer timer; /* live: the next poll; otherwise the next step */
    enum dgm_sdhci_state state;
    /* commands, oldest first; with `in_flight` the oldest is at the controller */
    struct dgm_blk_command *queue[DGM_SDHCI_QUEUE];
    uint32_t queue_first, queue_count;
    bool in_flight;
    uint64_t late_ns; /* when the oldest is overdue; 0: it was not started */
    /* of the oldest: the failures, the time of the first, and the time of the next start */
    uint8_t tries;
    uint64_t failed_ns, again_ns;
    int status; /* with which it ends when the lines are reset; DGM_EAGAIN: it is started again */
    bool reset_wanted; /* of the card, after that of the lines */
    bool closing;
    uint64_t poll_pause_ns;
    bool seen; /* a poll has found an end without an interrupt */
    struct dgm_device_line line;
    uint64_t *descriptors;
    dgm_bus_t descriptors_bus;
    /* initialisation */
    uint8_t attempts;       /* failed attempts since it was last live */
    bool known;             /* its capabilities were read */
    bool permanent_failure; /* no further attempt */
    bool left;              /* the bus, since it was last live: another one may have come */
    const char *cause;      /* of the last failed attempt */
    uint64_t entered_ns;    /* the state */
    uint64_t deadline_ns;   /* of the state */
    uint64_t give_up_ns;    /* of all attempts */
    uint64_t lost_till_ns;  /* LOST: the pause before the next attempt */
    uint64_t settled_ns;
    /* the controller */
    bool adma;
    uint8_t version; /* 0: 1.00, 1: 2.00, 2: 3.00, ... */
    uint32_t base_mhz;
    uint32_t transfer_khz; /* halved when data is damaged repeatedly */
    uint8_t power;         /* the value for the power register */
    bool divides;          /* its clock must be divided, by two at least */
    bool one_line;         /* only one of the data lines is connected */
    bool undetected;  /* PRESENT does not report whether a card is in the slot: the driver assumes
                         one */
    bool fixed;       /* the card cannot be taken out: one is in the slot */
    bool unprotected; /* PRESENT does not report the card's write-protect switch */
    /* the card */
    bool old_card;     /* before version 2.00: it has no CMD8 */
    bool in_blocks;    /* addressed in blocks (SDHC, SDXC), else in bytes (SDSC) */
    uint8_t step;      /* of identifying, or of stopping */
    bool command_sent; /* the command of this step is at the card */
    uint16_t rca;      /* the card's address */
    uint32_t cid[4];   /* as the response registers hold it */
    uint64_t log_next_ns, log_suppressed;
};

/* dgm_sdhci_driver.start, for one controller; the public header has its contract and errors. */
int dgm_sdhci_start(struct dgm_sdhci *sdhci, struct dgm_device_env *env);

/* Asserts every invariant of the queue; for tests and the simulator. */
void dgm_sdhci_check(const struct dgm_sdhci *sdhci);

#endif
