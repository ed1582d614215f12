/* SPDX-License-Identifier: MIT */
/*
 * sd_controller: an SD host controller and its card, whose behaviour comes from a fuzzer's input
 *
 * Unless the input changes it, both behave correctly: the card initialises, describes itself, takes
 * commands. `wild` is how often the input changes the value of a register or leaves a command
 * without a response. Transfers do not end by themselves: the target ends them.
 */
#ifndef FUZZ_LIB_SD_CONTROLLER_H
#define FUZZ_LIB_SD_CONTROLLER_H

#include "feed.h"

#define SD_CONTROLLER_BASE 0x10000000u /* its registers */

extern struct sd_controller {
    struct feed *feed;
    uint8_t wild; /* in 256, of reads and commands */
    bool gone;    /* registers read as ones, writes are lost */
    uint32_t argument, status, enable, capabilities;
    uint16_t clock;
    uint8_t reset, version;
    bool transfer;  /* in flight */
    bool unsafe;    /* by what the driver has read, the controller may still access memory */
    bool shown_end; /* the driver has read the end of the last transfer */
    uint32_t response[4];
    /* the card */
    bool app; /* the next command is of the application's set */
    unsigned state;
    uint32_t cid[4], csd[4];
} sd_controller;

/* Draws the capabilities and the card. */
void sd_controller_init(struct feed *feed);

/* Changes one word of the card's CID or CSD. */
void sd_controller_change(uint32_t words[4], uint32_t value);

/* Ends the transfer in flight, if any: with a good status of the card, or one from the input. */
void sd_controller_end_transfer(void);

/* The registers, for struct dgm_sim_machine. */
uint64_t sd_controller_read(uintptr_t address, unsigned bytes);
void sd_controller_write(uintptr_t address, uint64_t value, unsigned bytes);

#endif
