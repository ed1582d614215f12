/* SPDX-License-Identifier: MIT */
/*
 * sdhci/internal: the declarations that the files of the SD driver share, and the layouts of the
 * specifications
 *
 * Section numbers are those of the SD Host Controller Simplified Specification 3.00 (SDHC) and of
 * the SD Physical Layer Simplified Specification 3.01 (SD). Registers are little-endian.
 *
 *   start.c     memory, the node's properties, the start
 *   control.c   the states, at the start and after an error: one state machine
 *   line.c      registers, control commands, the clock
 *   identify.c  the commands that initialise a card, in order
 *   adopt.c     the controller's capabilities, the tag, the description of the disk
 *   state.c     the controller's state
 *   sdhci.c     the I/O path: queue, start, end
 *   watch.c     supervision; errors, and their effect on a command
 *   status.c    the meaning of each error bit: tables
 *   card.c      the registers that describe a card: pure parsing
 *   adma.c      bus segments -> descriptors: pure arithmetic
 */
#ifndef DRIVERS_SDHCI_INTERNAL_H
#define DRIVERS_SDHCI_INTERNAL_H

#include <drivers/sdhci/sdhci.h>

/* SDHC 2.1.1: registers, byte offsets */
#define SDHCI_SDMA_ADDRESS 0x00u
#define SDHCI_BLOCK        0x04u /* 16 bits size and SDMA boundary, 16 bits count */
#define SDHCI_ARGUMENT     0x08u
#define SDHCI_COMMAND      0x0cu /* 16 bits transfer mode, 16 bits command */
#define SDHCI_RESPONSE     0x10u /* 4 words */
#define SDHCI_PRESENT      0x24u
#define SDHCI_CONTROL      0x28u /* 8 bits */
#define SDHCI_POWER        0x29u /* 8 bits */
#define SDHCI_CLOCK        0x2cu /* 16 bits */
#define SDHCI_TIMEOUT      0x2eu /* 8 bits */
#define SDHCI_RESET        0x2fu /* 8 bits */
#define SDHCI_STATUS       0x30u /* 16 bits normal, 16 bits error, as in the next two */
#define SDHCI_ENABLE       0x34u
#define SDHCI_SIGNAL       0x38u
#define SDHCI_CAPABILITIES 0x40u
#define SDHCI_ADMA_ADDRESS 0x58u
#define SDHCI_VERSION      0xfeu /* 16 bits */
#define SDHCI_BYTES        0x100u

#define SDHCI_BLOCK_SDMA_512K (7u << 12)

/* transfer mode and command (2.2.5, 2.2.6) */
#define SDHCI_MODE_DMA        (1u << 0)
#define SDHCI_MODE_COUNT      (1u << 1)
#define SDHCI_MODE_AUTO_CMD12 (1u << 2)
#define SDHCI_MODE_READ       (1u << 4)
#define SDHCI_MODE_MULTI      (1u << 5)
#define SDHCI_RSP_NONE        (0u << 16)
#define SDHCI_RSP_136         (1u << 16 | 1u << 19)            /* R2: with a checksum */
#define SDHCI_RSP_48          (2u << 16)                       /* R3: neither */
#define SDHCI_RSP_48_CHECKED  (2u << 16 | 1u << 19 | 1u << 20) /* R1, R6, R7: with its index too */
#define SDHCI_COMMAND_DATA    (1u << 21)
#define SDHCI_COMMAND_ABORT   (3u << 22)
#define SDHCI_COMMAND_INDEX   24

#define SDHCI_PRESENT_CMD_INHIBIT (1u << 0)
#define SDHCI_PRESENT_DAT_INHIBIT (1u << 1)
#define SDHCI_PRESENT_CARD        (1u << 16)
#define SDHCI_PRESENT_STABLE      (1u << 17) /* what bit 16 says */
#define SDHCI_PRESENT_WRITABLE    (1u << 19)
#define SDHCI_PRESENT_GONE        UINT32_MAX /* the value read from a device that left the bus */

#define SDHCI_CONTROL_4_BITS (1u << 1)
#define SDHCI_CONTROL_ADMA2  (2u << 3)

#define SDHCI_CLOCK_ON     (1u << 0) /* the controller's own */
#define SDHCI_CLOCK_STABLE (1u << 1)
#define SDHCI_CLOCK_CARD   (1u << 2)

#define SDHCI_TIMEOUT_LONGEST 0xeu

#define SDHCI_RESET_ALL   (1u << 0)
#define SDHCI_RESET_LINES (3u << 1)    /* CMD and DAT */
#define SDHCI_CLEAR_NS    100000000ull /* for these */

#define SDHCI_TRANSFER_KHZ        25000u
#define SDHCI_TRANSFER_ZYNQMP_KHZ 19000u
#define SDHCI_SLOWEST_HZ          400000u /* a limit below that of identification is ignored */

#define SDHCI_STATUS_COMMAND         (1u << 0)
#define SDHCI_STATUS_TRANSFER        (1u << 1)
#define SDHCI_STATUS_REMOVED         (1u << 7)
#define SDHCI_STATUS_COMMAND_TIMEOUT (1u << 16)
#define SDHCI_STATUS_DATA_TIMEOUT    (1u << 20)
#define SDHCI_STATUS_DATA_DAMAGED    (3u << 21)  /* CRC, end bit */
#define SDHCI_STATUS_ERRORS          0x03ff0000u /* up to ADMA error; all that 2.00 knows */
#define SDHCI_STATUS_LIVE            (SDHCI_STATUS_TRANSFER | SDHCI_STATUS_REMOVED | SDHCI_STATUS_ERRORS)

/* SD 4.7.4: commands; with A: after CMD55 */
#define SD_GO_IDLE      0u
#define SD_MMC_SEND_OP  1u /* an MMC's */
#define SD_ALL_SEND_CID 2u
#define SD_SEND_RCA     3u
#define SD_IO_SEND_OP   5u /* an SDIO card's */
#define SD_A_BUS_WIDTH  6u
#define SD_SELECT       7u
#define SD_SEND_IF_COND 8u
#define SD_SEND_CSD     9u
#define SD_STOP         12u
#define SD_SEND_STATUS  13u
#define SD_BLOCK_LENGTH 16u
#define SD_READ         18u
#define SD_WRITE        25u
#define SD_A_SEND_OP    41u
#define SD_APP          55u

/* SD 4.10.1: the card status in R1. OUT_OF_RANGE is bit 31. */
#define SD_STATUS_ERRORS       0xe4380000u /* range, address, length; protection; ECC, CC, error */
#define SD_STATUS_OUT_OF_RANGE (1u << 31)
#define SD_STATUS_LOCKED       (1u << 25)
#define SD_STATUS_READY        (1u << 8)
#define SD_STATUS_STATE(r1)    ((r1) >> 9 & 0xfu)
#define SD_STATE_TRANSFER      4u

/* --- state.c --- */

void dgm_sdhci_enter(struct dgm_sdhci *sdhci, enum dgm_sdhci_state state, uint64_t limit_ns);
/* Logs why an attempt fails, unless the one before failed for the same cause. Returns `status`. */
int dgm_sdhci_refuse(struct dgm_sdhci *sdhci, int status, const char *cause);

/* --- adopt.c --- */

/* Reads the controller's capabilities. After an error it cannot be used; the cause is logged. */
int dgm_sdhci_capabilities(struct dgm_sdhci *sdhci);
/* Called when controller and card are initialised for the first time: describes the disk. */
void dgm_sdhci_adopt(struct dgm_sdhci *sdhci);

/* --- adma.c --- */

/* Describes `segments` as an ADMA2 table, the last entry marked as such. Returns their bytes.
 * Asserts that they obey the tag, and that the device reaches them. */
uint64_t dgm_sdhci_adma(const struct dgm_dma_segment *segments, uint32_t count,
                        uint64_t *descriptors);

/* --- card.c: `response` is the register's four words: the card's 128 bits from bit 8 on --- */

void dgm_sdhci_card_cid(struct dgm_blkdev *device, const uint32_t response[4]);
/* DGM_EOPNOTSUPP: not usable; the cause is logged. */
int dgm_sdhci_card_csd(struct dgm_blkdev *device, const uint32_t response[4]);

/* --- status.c --- */

enum sdhci_verdict {
    SDHCI_PASSING, /* an error on the lines: tried again for times.retry_ns */
    SDHCI_MEDIA,   /* the medium: a few tries */
    SDHCI_UNKNOWN, /* a few tries */
    SDHCI_REFUSED, /* the command itself is refused: no further try */
};

/* The verdicts on error bits of SDHCI_STATUS, and on the card's status in R1. `text` is their
 * meaning. */
enum sdhci_verdict dgm_sdhci_controller_verdict(uint32_t status, const char **text);
enum sdhci_verdict dgm_sdhci_card_verdict(uint32_t r1, const char **text);

/* --- line.c --- */

/* Access to registers. */
uint32_t dgm_sdhci_read(const struct dgm_sdhci *sdhci, uint32_t offset);
void dgm_sdhci_write(struct dgm_sdhci *sdhci, uint32_t offset, uint32_t value);
uint16_t dgm_sdhci_read16(const struct dgm_sdhci *sdhci, uint32_t offset);
void dgm_sdhci_write16(struct dgm_sdhci *sdhci, uint32_t offset, uint16_t value);
uint8_t dgm_sdhci_read8(const struct dgm_sdhci *sdhci, uint32_t offset);
void dgm_sdhci_write8(struct dgm_sdhci *sdhci, uint32_t offset, uint8_t value);

/*
 * A control command: send it, then poll for the response. DGM_EAGAIN: none yet. DGM_ETIMEDOUT: the
 * card does not respond. DGM_EIO: an error on the line. After an error the lines are being reset.
 */
struct sdhci_command {
    uint32_t index, flags, argument; /* flags: SDHCI_RSP_*, SDHCI_COMMAND_* */
};
void dgm_sdhci_ask(struct dgm_sdhci *sdhci, struct sdhci_command command);
int dgm_sdhci_poll_response(struct dgm_sdhci *sdhci);
/* Whether neither a command nor a reset of the lines is in progress. */
bool dgm_sdhci_idle(const struct dgm_sdhci *sdhci);

/* Requests the card's clock, at most `khz`; the state is then CLOCKING. */
void dgm_sdhci_clock(struct dgm_sdhci *sdhci, uint32_t khz);

/* --- control.c --- */

/* Continues as far as is possible without waiting. */
void dgm_sdhci_advance(struct dgm_sdhci *sdhci);
/* Called when controller or card is gone, or must be reset, because of `cause`. */
void dgm_sdhci_lose(struct dgm_sdhci *sdhci, const char *cause);
/* Fails the device permanently: it is cut off *before* its commands end and their memory is
 * reused. */
void dgm_sdhci_fail(struct dgm_sdhci *sdhci);
void dgm_sdhci_timer(struct dgm_timer *timer);
void dgm_sdhci_irq(struct dgm_irq *irq);

/* --- identify.c --- */

/* Starts at the card's reset; continues when a clock is stable. */
void dgm_sdhci_identify_start(struct dgm_sdhci *sdhci);
int dgm_sdhci_identify(struct dgm_sdhci *sdhci);
/* The time that the card needs after the clock is on. */
uint64_t dgm_sdhci_settle_ns(const struct dgm_sdhci *sdhci);

/* --- sdhci.c --- */

extern const struct dgm_blkdev_ops dgm_sdhci_ops;
/* Starts the oldest command, if none is in flight. */
void dgm_sdhci_start_next(struct dgm_sdhci *sdhci);
void dgm_sdhci_run(struct dgm_task *task);
/* Ends the oldest command. */
void dgm_sdhci_end_oldest(struct dgm_sdhci *sdhci, int status);

/* --- watch.c --- */

#define SDHCI_POLL_MIN_NS 1000000ull
#define SDHCI_POLL_MAX_NS 1000000000ull

void dgm_sdhci_interrupt(struct dgm_sdhci *sdhci);
/* Polls a live controller. */
void dgm_sdhci_watch(struct dgm_sdhci *sdhci);
/* Called when the command in flight has failed: resets the lines; control.c continues from
 * there. */
void dgm_sdhci_recover(struct dgm_sdhci *sdhci, enum sdhci_verdict verdict, int status,
                       const char *cause);
/* Called when the controller can no longer access memory: the command that was in flight is queued
 * again, or ends. */
void dgm_sdhci_stopped(struct dgm_sdhci *sdhci);
/* Called when a reset has failed while the oldest command was in flight. */
void dgm_sdhci_interrupted(struct dgm_sdhci *sdhci);
/* Takes and handles the controller's status. False: it reports nothing. */
bool dgm_sdhci_take_status(struct dgm_sdhci *sdhci);

#endif
