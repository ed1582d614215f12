/* SPDX-License-Identifier: MIT */
/* sd_controller: see sd_controller.h. */
#include "sd_controller.h"

#include <drivers/sdhci/internal.h>

#define READ_NS 1000000ull /* each read of a register takes time, so that waits end */

struct sd_controller sd_controller;

static bool behaves_wildly(void)
{
    return feed_chance(sd_controller.feed, sd_controller.wild);
}

/* --- the card --- */

/* The response registers hold the card's 128 bits without the lowest 8. */
static void put_register_bits(uint32_t response[4], unsigned low, unsigned count, uint32_t value)
{
    for (unsigned i = 0; i < count; i++, low++)
        response[(low - 8) / 32] |= (value >> i & 1) << (low - 8) % 32;
}

void sd_controller_change(uint32_t words[4], uint32_t value)
{
    words[feed_below(sd_controller.feed, 4)] = value;
}

static void make_card(void)
{
    const bool large = feed_chance(sd_controller.feed, 128);

    put_register_bits(sd_controller.cid, 24, 32, 0x00c0ffee);
    put_register_bits(sd_controller.csd, 80, 4, 9);
    if (large) {
        put_register_bits(sd_controller.csd, 126, 2, 1);
        put_register_bits(sd_controller.csd, 48, 22, 7);
    } else {
        put_register_bits(sd_controller.csd, 62, 12, 7);
        put_register_bits(sd_controller.csd, 47, 3, 7);
    }
    if (feed_chance(sd_controller.feed, 32))
        sd_controller_change(sd_controller.csd, (uint32_t)feed_take(sd_controller.feed, 4));
    if (feed_chance(sd_controller.feed, 32))
        sd_controller_change(sd_controller.cid, (uint32_t)feed_take(sd_controller.feed, 4));
}

/* False: the card is silent. */
static bool card_command(uint32_t index)
{
    const bool app = sd_controller.app;

    sd_controller.app = index == SD_APP;
    sd_controller.response[0] = sd_controller.state << 9 | SD_STATUS_READY;
    switch (index) {
    case SD_GO_IDLE:
        sd_controller.state = 0;
        break;
    case SD_SEND_IF_COND:
        sd_controller.response[0] = sd_controller.argument;
        break;
    case SD_A_SEND_OP:
        sd_controller.response[0] = 0x80ff8000 | (sd_controller.csd[3] >> 22 & 1) << 30;
        sd_controller.state = 1;
        return app;
    case SD_ALL_SEND_CID:
        memcpy(sd_controller.response, sd_controller.cid, sizeof sd_controller.response);
        break;
    case SD_SEND_RCA:
        sd_controller.response[0] = 0x45670000;
        sd_controller.state = 3;
        break;
    case SD_SEND_CSD:
        memcpy(sd_controller.response, sd_controller.csd, sizeof sd_controller.response);
        break;
    case SD_SELECT:
    case SD_STOP:
        sd_controller.state = SD_STATE_TRANSFER;
        break;
    default:
        break;
    }
    return true;
}

static void take_command(uint32_t value)
{
    const bool responded = card_command(value >> SDHCI_COMMAND_INDEX & 0x3f) && !behaves_wildly();

    if (value & SDHCI_COMMAND_DATA) {
        fuzz_check(!sd_controller.unsafe);
        sd_controller.transfer = sd_controller.unsafe = true;
        sd_controller.shown_end = false;
    }
    sd_controller.status |= responded ? SDHCI_STATUS_COMMAND : SDHCI_STATUS_COMMAND_TIMEOUT;
}

/* --- registers --- */

static uint32_t register_value(uint64_t offset)
{
    switch (offset) {
    case SDHCI_RESPONSE:
    case SDHCI_RESPONSE + 4:
    case SDHCI_RESPONSE + 8:
    case SDHCI_RESPONSE + 12:
        return sd_controller.response[(offset - SDHCI_RESPONSE) / 4];
    case SDHCI_PRESENT:
        return SDHCI_PRESENT_CARD | SDHCI_PRESENT_STABLE | SDHCI_PRESENT_WRITABLE |
               (sd_controller.transfer ? SDHCI_PRESENT_DAT_INHIBIT : 0);
    case SDHCI_CLOCK:
        return sd_controller.clock |
               (sd_controller.clock & SDHCI_CLOCK_ON ? SDHCI_CLOCK_STABLE : 0);
    case SDHCI_STATUS:
        return sd_controller.status & sd_controller.enable;
    case SDHCI_CAPABILITIES:
        return sd_controller.capabilities;
    case SDHCI_VERSION:
        return sd_controller.version;
    default:
        return 0;
    }
}

uint64_t sd_controller_read(uintptr_t address, unsigned bytes)
{
    const uint64_t offset = address - SD_CONTROLLER_BASE;
    uint32_t value = 0;

    fuzz_check(offset % bytes == 0 && offset + bytes <= SDHCI_BYTES);
    dgm_sim_set_now_ns(dgm_env_now_ns() + READ_NS);
    if (sd_controller.gone)
        value = UINT32_MAX;
    else if (behaves_wildly())
        value = (uint32_t)feed_take(sd_controller.feed, 4);
    else
        value = register_value(offset);
    if (bytes < 4)
        value &= (1u << 8 * bytes) - 1;
    if (offset == SDHCI_STATUS && value & SDHCI_STATUS_TRANSFER && value != UINT32_MAX) {
        sd_controller.shown_end |= sd_controller.unsafe;
        sd_controller.unsafe = false;
    }
    if (offset == SDHCI_RESET && value == 0 && sd_controller.reset) {
        sd_controller.unsafe = false;
        sd_controller.reset = 0;
    }
    return value;
}

void sd_controller_write(uintptr_t address, uint64_t value, unsigned bytes)
{
    const uint64_t offset = address - SD_CONTROLLER_BASE;

    fuzz_check(offset % bytes == 0 && offset + bytes <= SDHCI_BYTES);
    if (sd_controller.gone)
        return;
    if (offset == SDHCI_ARGUMENT)
        sd_controller.argument = (uint32_t)value;
    else if (offset == SDHCI_COMMAND)
        take_command((uint32_t)value);
    else if (offset == SDHCI_CLOCK)
        sd_controller.clock = (uint16_t)value;
    else if (offset == SDHCI_STATUS)
        sd_controller.status &= ~(uint32_t)value;
    else if (offset == SDHCI_ENABLE)
        sd_controller.enable = (uint32_t)value;
    else if (offset == SDHCI_RESET) {
        sd_controller.reset = (uint8_t)value;
        sd_controller.transfer = false;
        if (value & SDHCI_RESET_ALL)
            sd_controller.status = sd_controller.enable = sd_controller.clock = 0;
    }
}

void sd_controller_end_transfer(void)
{
    if (!sd_controller.transfer)
        return;
    sd_controller.transfer = false;
    sd_controller.state = SD_STATE_TRANSFER;
    sd_controller.response[3] = SD_STATUS_READY | SD_STATE_TRANSFER << 9;
    if (feed_chance(sd_controller.feed, 32))
        sd_controller.response[3] |= (uint32_t)feed_take(sd_controller.feed, 4);
    sd_controller.status |= SDHCI_STATUS_TRANSFER;
}

void sd_controller_init(struct feed *feed)
{
    memset(&sd_controller, 0, sizeof sd_controller);
    sd_controller.feed = feed;
    sd_controller.wild = (uint8_t)feed_below(feed, 16);
    sd_controller.capabilities = feed_chance(feed, 48) ? (uint32_t)feed_take(feed, 4)
                                                       : 1u << 24 | 1u << 22 | 1u << 19 | 50u << 8;
    sd_controller.version = (uint8_t)feed_below(feed, 4);
    make_card();
}
