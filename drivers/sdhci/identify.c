/* SPDX-License-Identifier: MIT */
/*
 * sdhci/identify: the commands that initialise a card (SD 4.2 and 4.3)
 *
 *   CMD0            reset
 *   CMD8            a card of version 2.00 echoes the argument, an older one is silent
 *   CMD55 ACMD41    power up; repeated until the card is ready. HCS: blocks may be addresses
 *   CMD2 CMD3       its CID; its address
 *   CMD9            its CSD: size and protection
 *   clock           from 400 kHz to 25 MHz
 *   CMD7            select
 *   CMD55 ACMD6     four data lines, which every SD card has; where the board has one, one
 *   CMD16           blocks of 512 bytes
 *
 * A card that responds to none of CMD8, CMD55 and ACMD41 may be of another kind, or late. An SDIO
 * card responds to CMD5 and an MMC to CMD1: such a card is refused soon. If neither responds, and a
 * card is known to be in the slot, it is late, and the attempts continue; otherwise the slot counts
 * as empty.
 *
 * A card is described once, when it first becomes ready. After a later reset CID and size must be
 * the same, and a card that guests write to must not have become write-protected: another card is
 * another disk, which must not be written to. The right card may still return, or be in another
 * controller's slot after both were moved, so the attempts continue (control.c).
 */
#include <drivers/sdhci/internal.h>

#include <port/env.h>

#include <string.h>

#define IDENTIFY_KHZ    400u
#define SETTLE_NS       1000000ull /* power-on to the first command */
#define IF_COND_PATTERN 0x1aau     /* 2.7 to 3.6 V, and an echo */
#define OP_VOLTAGES     0x00ff8000u
#define OP_BLOCKS       (1u << 30) /* HCS in the argument, CCS in the response */
#define OP_READY        (1u << 31)

enum {
    STEP_GO_IDLE,
    STEP_IF_COND,
    STEP_APP_OP,
    STEP_OP,
    STEP_CID,
    STEP_RCA,
    STEP_CSD,
    STEP_CLOCK,
    STEP_SELECT,
    STEP_APP_WIDTH,
    STEP_WIDTH,
    STEP_LENGTH,
    STEP_END,
    /* For a card that does not respond. */
    STEP_PROBE_IO,
    STEP_PROBE_MMC,
};

static const struct {
    const char *name;
    uint32_t command, flags;
} steps[] = {
    [STEP_GO_IDLE] = {"reset", SD_GO_IDLE, SDHCI_RSP_NONE},
    [STEP_IF_COND] = {"interface condition", SD_SEND_IF_COND, SDHCI_RSP_48_CHECKED},
    [STEP_APP_OP] = {"application command", SD_APP, SDHCI_RSP_48_CHECKED},
    [STEP_OP] = {"power up", SD_A_SEND_OP, SDHCI_RSP_48},
    [STEP_CID] = {"send CID", SD_ALL_SEND_CID, SDHCI_RSP_136},
    [STEP_RCA] = {"send address", SD_SEND_RCA, SDHCI_RSP_48_CHECKED},
    [STEP_CSD] = {"send CSD", SD_SEND_CSD, SDHCI_RSP_136},
    [STEP_CLOCK] = {"clock", 0, 0},
    [STEP_SELECT] = {"select", SD_SELECT, SDHCI_RSP_48_CHECKED},
    [STEP_APP_WIDTH] = {"application command", SD_APP, SDHCI_RSP_48_CHECKED},
    [STEP_WIDTH] = {"bus width", SD_A_BUS_WIDTH, SDHCI_RSP_48_CHECKED},
    [STEP_LENGTH] = {"block length", SD_BLOCK_LENGTH, SDHCI_RSP_48_CHECKED},
    [STEP_PROBE_IO] = {"SDIO", SD_IO_SEND_OP, SDHCI_RSP_48},
    [STEP_PROBE_MMC] = {"MMC", SD_MMC_SEND_OP, SDHCI_RSP_48},
};

void dgm_sdhci_identify_start(struct dgm_sdhci *sdhci)
{
    sdhci->step = STEP_GO_IDLE;
    sdhci->command_sent = false;
    sdhci->old_card = false;
    sdhci->rca = 0;
    dgm_sdhci_clock(sdhci, IDENTIFY_KHZ);
}

uint64_t dgm_sdhci_settle_ns(const struct dgm_sdhci *sdhci)
{
    return sdhci->step == STEP_GO_IDLE ? SETTLE_NS : 0;
}

static uint32_t step_argument(const struct dgm_sdhci *sdhci)
{
    switch (sdhci->step) {
    case STEP_IF_COND:
        return IF_COND_PATTERN;
    case STEP_OP:
        return OP_VOLTAGES | (sdhci->old_card ? 0 : OP_BLOCKS);
    case STEP_CSD:
    case STEP_SELECT:
    case STEP_APP_WIDTH:
        return (uint32_t)sdhci->rca << 16;
    case STEP_WIDTH:
        return sdhci->one_line ? 0 : 2;
    case STEP_LENGTH:
        return 512;
    default:
        return 0;
    }
}

/* A controller that did not leave the bus is the right one: its card was exchanged, and may be
 * again. Otherwise the right one may be in another place. */
static int refuse_card(struct dgm_sdhci *sdhci, const char *cause)
{
    if (sdhci->left && sdhci->env->reject)
        sdhci->env->reject(sdhci->env);
    return dgm_sdhci_refuse(sdhci, DGM_EIO, cause);
}

static int accept_cid(struct dgm_sdhci *sdhci, const uint32_t response[4])
{
    if (!sdhci->device.ready) {
        memcpy(sdhci->cid, response, sizeof sdhci->cid);
        dgm_sdhci_card_cid(&sdhci->device, response);
    } else if (memcmp(sdhci->cid, response, sizeof sdhci->cid) != 0) {
        return refuse_card(sdhci, "another card is in the slot");
    }
    return DGM_OK;
}

static int power_up(struct dgm_sdhci *sdhci, uint32_t r3)
{
    if (!(r3 & OP_READY)) {
        sdhci->step = STEP_APP_OP; /* again, after a pause */
        return DGM_EAGAIN;
    }
    if (!(r3 & OP_VOLTAGES))
        return dgm_sdhci_refuse(sdhci, DGM_EOPNOTSUPP, "the card wants another voltage");
    sdhci->in_blocks = !sdhci->old_card && (r3 & OP_BLOCKS);
    return DGM_OK;
}

/* Cheap cards of different sizes may have one CID. */
static int accept_csd(struct dgm_sdhci *sdhci, const uint32_t response[4])
{
    struct dgm_blkdev now = sdhci->device;
    int status;

    if (!sdhci->device.ready)
        return dgm_sdhci_card_csd(&sdhci->device, response);
    status = dgm_sdhci_card_csd(&now, response);
    if (status != DGM_OK || now.blocks != sdhci->device.blocks)
        return refuse_card(sdhci, "a card of another size is in the slot");
    if (now.read_only && !sdhci->device.read_only)
        return dgm_sdhci_refuse(sdhci, DGM_EIO, "the card is write-protected now");
    return DGM_OK;
}

/* A locked card responds to no command that transfers data (SD 4.3.7). */
static int accept_status(struct dgm_sdhci *sdhci, uint32_t r1)
{
    if (r1 & SD_STATUS_LOCKED)
        return dgm_sdhci_refuse(sdhci, DGM_EOPNOTSUPP, "the card is locked by a password");
    if (r1 & SD_STATUS_ERRORS)
        return dgm_sdhci_refuse(sdhci, DGM_EIO, "the card refuses a command of its set-up");
    return DGM_OK;
}

/* Evaluates the response to this step's command. */
static int use_response(struct dgm_sdhci *sdhci)
{
    uint32_t response[4];

    for (unsigned i = 0; i < 4; i++)
        response[i] = dgm_sdhci_read(sdhci, SDHCI_RESPONSE + 4 * i);
    switch (sdhci->step) {
    case STEP_IF_COND:
        return (response[0] & 0xfff) == IF_COND_PATTERN
                   ? DGM_OK
                   : dgm_sdhci_refuse(sdhci, DGM_EOPNOTSUPP, "the card wants another voltage");
    case STEP_OP:
        return power_up(sdhci, response[0]);
    case STEP_CID:
        return accept_cid(sdhci, response);
    case STEP_RCA:
        sdhci->rca = (uint16_t)(response[0] >> 16);
        return DGM_OK;
    case STEP_CSD:
        return accept_csd(sdhci, response);
    case STEP_SELECT:
    case STEP_WIDTH:
    case STEP_LENGTH:
        return accept_status(sdhci, response[0]);
    case STEP_PROBE_IO:
    case STEP_PROBE_MMC:
        return dgm_sdhci_refuse(sdhci, DGM_ENODEV, "this is no SD memory card");
    default:
        return DGM_OK;
    }
}

/* Handles a command of this step without a response. DGM_OK: another command follows. */
static int step_silent(struct dgm_sdhci *sdhci)
{
    switch (sdhci->step) {
    case STEP_IF_COND:
        sdhci->old_card = true;
        return DGM_OK;
    case STEP_APP_OP:
    case STEP_OP:
        sdhci->step = STEP_PROBE_IO - 1;
        return DGM_OK;
    case STEP_PROBE_IO:
        return DGM_OK;
    case STEP_PROBE_MMC:
        return sdhci->undetected && !sdhci->fixed
                   ? dgm_sdhci_refuse(sdhci, DGM_ENODEV, "there seems to be no card in the slot")
                   : dgm_sdhci_refuse(sdhci, DGM_ETIMEDOUT, "the card does not respond yet");
    default:
        return DGM_ETIMEDOUT;
    }
}

/* Handles a failed command of this step. */
static int step_failed(struct dgm_sdhci *sdhci, int status)
{
    if (status == DGM_ETIMEDOUT && (sdhci->step <= STEP_OP || sdhci->step > STEP_END))
        return step_silent(sdhci);
    if (sdhci->cause != steps[sdhci->step].name)
        dgm_env_log("%s: SD: %s:", sdhci->device.name,
                    status == DGM_ETIMEDOUT ? "the card does not respond" : "an error on the line");
    return dgm_sdhci_refuse(sdhci, status, steps[sdhci->step].name);
}

int dgm_sdhci_identify(struct dgm_sdhci *sdhci)
{
    int status;

    if (!sdhci->command_sent) {
        if (!dgm_sdhci_idle(sdhci))
            return DGM_EAGAIN;
        dgm_sdhci_ask(sdhci, (struct sdhci_command){.index = steps[sdhci->step].command,
                                                    .flags = steps[sdhci->step].flags,
                                                    .argument = step_argument(sdhci)});
    }
    status = dgm_sdhci_poll_response(sdhci);
    if (status == DGM_EAGAIN)
        return DGM_EAGAIN;
    status = status == DGM_OK ? use_response(sdhci) : step_failed(sdhci, status);
    if (status != DGM_OK)
        return status;

    if (++sdhci->step == STEP_CLOCK) {
        sdhci->step++;
        dgm_sdhci_clock(sdhci, sdhci->transfer_khz);
    } else if (sdhci->step == STEP_END) {
        dgm_sdhci_write8(sdhci, SDHCI_CONTROL,
                         (uint8_t)((sdhci->one_line ? 0 : SDHCI_CONTROL_4_BITS) |
                                   (sdhci->adma ? SDHCI_CONTROL_ADMA2 : 0)));
        sdhci->state = DGM_SDHCI_LIVE;
    }
    return DGM_OK;
}
