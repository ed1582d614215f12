/* SPDX-License-Identifier: MIT */
/*
 * sdhci_rig: an SD host controller and a card for the driver's tests
 *
 * Written from the specifications, without code shared with the driver. Memory is dma_rig's: the
 * controller reaches it by bus address, below 4 GiB only, and only frames that are granted at that
 * moment. Control commands end immediately; a transfer is in flight until sd_transfer() does it, so
 * that a test can act meanwhile. Every register access takes 10 us, so time passes while code
 * polls.
 *
 * The oracle: a transfer that was not ended by "transfer complete" may continue to touch memory
 * until the lines, or the controller, are reset, or it is cut off. A command that ends before that
 * fails the test (sd_done).
 *
 * Faults are named (enum sd_fault) and affect one command, the `fault_at`-th from now on, or, with
 * `fault_index`, the next one of that index.
 */
#ifndef SDHCI_RIG_H
#define SDHCI_RIG_H

#include "dma_rig.h"

#include <drivers/sdhci/sdhci.h>

#define SD_BLOCKS 2048u /* that hold data; a card reports its own size */

#define ABOVE       0x200000ull /* machine frames from 8 GiB on */
#define SD_SEGMENTS 512u
#define MS          1000000ull
#define SECOND      1000000000ull

enum sd_fault {
    SD_NO_FAULT,
    SD_SILENT,       /* the card does not respond: command timeout */
    SD_CRC,          /* its response is damaged */
    SD_NOTHING,      /* neither response nor error */
    SD_DATA_SILENT,  /* data timeout */
    SD_DATA_CRC,     /* data damaged, half of it transferred */
    SD_ADMA,         /* ADMA error */
    SD_CARD_ERROR,   /* the response to the command has ERROR */
    SD_STOP_ERROR,   /* the response to CMD12 has ERROR */
    SD_STOP_BEYOND,  /* the response to CMD12 has OUT_OF_RANGE: not an error */
    SD_NO_INTERRUPT, /* success, but no interrupt is raised */
    SD_FAULTS,
};

extern struct sd {
    uint8_t registers[256]; /* their address stands for the controller's */
    uint32_t argument, mode_and_command, block, adma, sdma, present, response[4];
    uint32_t status, enable, signal, capabilities;
    uint16_t clock;
    uint8_t control, power, timeout, reset;
    uint8_t version;
    bool reset_sticks, all_sticks, clock_sticks, gone, cut_off, line_stuck;
    bool transfer;   /* in flight */
    bool dma_active; /* it may touch memory */
    bool no_interrupt;
    bool quick;      /* transfers end as soon as they begin, as QEMU's do */
    bool edge, high; /* a message for each rise of the line, instead of the line */
    unsigned rises;
    bool irq_stuck;         /* the line is asserted whatever STATUS and SIGNAL say */
    bool masked;            /* the line, by env->irq_mask */
    uint32_t at_clear;      /* raised in the moment in which something else is cleared */
    unsigned status_sticks; /* the number of writes to STATUS that do not clear it */
    uint32_t status_stays;  /* bits that cannot be cleared */
    unsigned busy_looks;    /* the number of reads of PRESENT that still find the lines busy */
    /* the card */
    bool inserted, old, responded_8, in_blocks, mmc, locked, sdio, app, wide, locked_switch,
        never_ready, stays_busy, mute;
    uint64_t silent_ns; /* until then the card responds to nothing */
    unsigned not_ready; /* the number of ACMD41 with the response "not ready" */
    uint32_t cid[4], csd[4];
    uint16_t rca;
    unsigned card_state;
    uint32_t block_length;
    uint8_t data[SD_BLOCKS * 512];
    /* faults and what was seen */
    enum sd_fault fault, struck; /* to come; of the command in flight */
    unsigned fault_at;           /* 0: with the next fault_index */
    unsigned fault_index;
    uint32_t fault_again; /* how often it occurs after that; UINT32_MAX: always */
    /* its node in the device tree */
    const char *compatible; /* NULL: none */
    struct {
        const char *name;
        uint32_t value;
    } properties[4];
    bool one_line; /* the board connects one data line */
    bool blind;    /* PRESENT shows no card */
    /* the bus */
    bool absent;      /* configuration space does not respond */
    unsigned rejects; /* calls of env.reject, which a test may set to sd_reject */
    bool cleared;     /* configuration was lost: the registers read as ones until it is restored */
    struct dgm_device_times times;
    unsigned commands, resets, line_resets;
    uint32_t last_argument, last_index;
    uint64_t now_ns;
    struct dgm_irq *irq;
    int irq_status;
} sd;

extern struct dgm_sdhci sd_disk;
extern struct dgm_device_env sd_env;
extern unsigned sd_ended; /* jobs */

struct sd_job {
    struct dgm_blk_command blk;
    struct dgm_dma_map map;
    struct dgm_dma_segment segments[SD_SEGMENTS];
    int status; /* 1: not ended */
    unsigned order;
};

void sd_put(uint32_t words[4], unsigned low, unsigned count, uint32_t value);

void sd_make_card(bool in_blocks, uint32_t c_size);

/* A command to the card, whose response is in sd.response. False: the card does not respond. */
bool sd_card(uint32_t index, uint32_t argument);

void sd_raise(uint32_t status);

void sd_transfer(void);

uint64_t sd_read(uintptr_t address, unsigned bytes);

void sd_write(uintptr_t address, uint64_t value, unsigned bytes);

/* A controller and no card; dma_rig is started with `buffers` bounce buffers. */
void sd_start(uint64_t colour, uint16_t buffers);

/* Lets time pass, delivers the interrupt and runs the reactor. */
void sd_run(uint64_t ns);

/* Starts the driver and waits until the disk is ready or has failed, which gives DGM_EIO. */
int sd_attach(void);

/* The link drops: configuration is cleared, and the transfer in flight stops. */
void sd_drop_link(void);
/* For env.reject: the controller is absent then, until it is in another slot. */
bool sd_reject(struct dgm_device_env *env);

/* A controller with a card of 1 MiB's worth of data, attached. */
void sd_start_card(bool in_blocks, bool adma);

void sd_stop(void);

void sd_done(struct dgm_blk_command *command, int status);

/* Maps a prefix of the pieces and submits it; bytes, or a negative status. */
int sd_submit(struct sd_job *job, enum dgm_blk_op op, uint64_t block,
              const struct dgm_dma_piece *pieces, size_t count, uint64_t skip);

/* One block to or from our own RAM. */
int sd_submit_block(struct sd_job *job, enum dgm_blk_op op, uint64_t block);

/* Lets the card execute the queued commands. */
void sd_let_work(void);

/* The same for some seconds. */
void sd_run_card(unsigned seconds);

/* Fails unless a block can be read. */
void sd_block_works(void);

#endif
