/* SPDX-License-Identifier: MIT */
/* sdhci_rig: see sdhci_rig.h. */
#include "sdhci_rig.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

struct sd sd;

/* --- the controller's memory accesses --- */

static const struct dgm_dma_tag sd_reach = {.mask = UINT32_MAX};

static uint8_t *sd_byte(uint64_t bus, bool write)
{
    assert_true(sd.dma_active && !sd.cut_off);
    return dma_rig_byte(&sd_reach, bus, write);
}

static uint32_t sd_word(uint64_t bus)
{
    uint32_t word = 0;

    for (unsigned i = 0; i < 4; i++)
        word |= (uint32_t)*sd_byte(bus + i, false) << 8 * i;
    return word;
}

static void sd_move(bool read, uint64_t card, uint64_t bus)
{
    assert_true(card < sizeof sd.data);
    if (read)
        *sd_byte(bus, true) = sd.data[card];
    else
        sd.data[card] = *sd_byte(bus, false);
}

/* The line may have changed. */
static void sd_line(void)
{
    const bool high = sd.status & sd.signal;

    sd.rises += high && !sd.high;
    sd.high = high;
}

void sd_raise(uint32_t status)
{
    sd.status |= status & sd.enable;
    sd_line();
}

/* Transfers at most `limit` bytes, one by one; returns how many. */
static uint32_t sd_move_all(uint64_t card, bool read, uint32_t limit)
{
    const bool adma = (sd.control >> 3 & 3) == 2;
    uint64_t at = adma ? sd.adma : sd.sdma;
    uint32_t moved = 0;

    if (!adma) {
        const uint64_t boundary = 4096ull << (sd.block >> 12 & 7);

        for (; moved < limit; moved++, at++) {
            if (moved && at % boundary == 0)
                fail_msg("SDMA stops at a boundary, and is not continued");
            sd_move(read, card + moved, at);
        }
        return moved;
    }
    for (;; at += 8) {
        const uint32_t low = sd_word(at), address = sd_word(at + 4);
        const uint32_t bytes = low >> 16 ? low >> 16 : 65536;

        assert_int_equal(low & 0x31, 0x21); /* valid, transfer */
        assert_int_equal(address % 4, 0);
        for (uint32_t i = 0; i < bytes && moved < limit; i++)
            sd_move(read, card + moved++, (uint64_t)address + i);
        if (low & 2 || moved == limit) {
            assert_true(low & 2 || moved < (sd.block >> 16) * 512);
            return moved;
        }
    }
}

/* --- the transfer that is in flight --- */

void sd_transfer(void)
{
    const uint32_t index = sd.mode_and_command >> 24 & 0x3f;
    const bool read = index == 18;
    const uint32_t bytes = (sd.block >> 16) * (sd.block & 0xfff);
    const uint64_t card = sd.in_blocks ? (uint64_t)sd.argument * 512 : sd.argument;
    const enum sd_fault fault = sd.struck;

    if (!sd.transfer)
        return;
    assert_int_equal(sd.block & 0xfff, 512);
    assert_true(sd.wide == !sd.one_line && !(sd.control & 2) == sd.one_line); /* both agree */
    switch (fault) {
    case SD_NOTHING:
        return;
    case SD_DATA_SILENT:
        sd_raise(1u << 20);
        return;
    case SD_DATA_CRC:
        sd_move_all(card, read, bytes / 2);
        sd_raise(1u << 21);
        return;
    case SD_ADMA:
        sd_raise(1u << 25);
        return;
    default:
        break;
    }
    assert_int_equal(sd_move_all(card, read, bytes), bytes);
    sd.transfer = sd.dma_active = false;
    sd.card_state = 4;
    sd.response[3] = 0x900;
    if (fault == SD_STOP_ERROR)
        sd.response[3] |= 1u << 19;
    if (fault == SD_STOP_BEYOND)
        sd.response[3] |= 1u << 31;
    sd.no_interrupt = fault == SD_NO_INTERRUPT;
    sd_raise(1u << 1);
}

/* --- commands --- */

static void sd_command(uint32_t value)
{
    const uint32_t index = value >> 24 & 0x3f;
    enum sd_fault fault = SD_NO_FAULT;
    bool responded;

    assert_true(sd.power & 1 && sd.clock & 4 && sd.clock & 2);
    assert_false(sd.transfer && index != 12);
    assert_int_equal(sd.reset, 0);
    assert_false(sd.line_stuck);
    sd.mode_and_command = value;
    sd.commands++;
    sd.last_argument = sd.argument;
    sd.last_index = index;
    if (sd.fault && (sd.fault_at ? --sd.fault_at == 0 : sd.fault_index == index)) {
        fault = sd.fault;
        if (sd.fault_again == 0)
            sd.fault = SD_NO_FAULT;
        else if (sd.fault_again != UINT32_MAX)
            sd.fault_again--;
    }
    sd.struck = fault;
    sd.no_interrupt = false;
    responded = sd_card(index, sd.argument);
    if (value >> 21 & 1) { /* data */
        assert_int_equal(value & 0x27, 0x27);
        assert_int_equal(value >> 4 & 1, index == 18);
        sd.transfer = sd.dma_active = responded;
    }
    sd.responded_8 |= index == 8 && responded && fault == SD_NO_FAULT;
    if (fault == SD_NOTHING) {
        sd.line_stuck = !sd.transfer;
        return;
    }
    if (fault == SD_SILENT || fault == SD_CRC || !responded) {
        sd.transfer = false;
        sd.line_stuck = true;
        sd_raise(1u | 1u << (fault == SD_CRC ? 17 : 16));
        return;
    }
    if (fault == SD_CARD_ERROR)
        sd.response[0] |= 1u << 19;
    sd_raise(1u);
    if (sd.quick)
        sd_transfer();
}

/* --- registers --- */

static void sd_reset(uint8_t value)
{
    sd.reset = value;
    if (value & 1 ? sd.all_sticks : sd.reset_sticks)
        return;
    sd.reset = 0;
    sd.transfer = sd.dma_active = sd.line_stuck = false;
    if (!(value & 1)) {
        sd.line_resets++;
        return;
    }
    sd.resets++;
    sd.status &= sd.status_stays;
    sd.enable = sd.signal = sd.block = 0;
    sd_line();
    sd.clock = 0;
    sd.control = sd.power = 0;
}

uint64_t sd_read(uintptr_t address, unsigned bytes)
{
    const uintptr_t offset = address - (uintptr_t)sd.registers;

    dgm_sim_set_now_ns(sd.now_ns += 10000);
    if (sd.gone)
        return UINT64_MAX;
    switch (offset) {
    case 0x10:
    case 0x14:
    case 0x18:
    case 0x1c:
        assert_int_equal(bytes, 4);
        return sd.response[(offset - 0x10) / 4];
    case 0x24:
        assert_int_equal(bytes, 4);
        sd.busy_looks -= sd.busy_looks > 0;
        return (sd.inserted && !sd.blind ? 0x70000u : 0x20000u) |
               (sd.locked_switch ? 0 : 0x80000u) | sd.line_stuck |
               (sd.transfer || sd.busy_looks ? 2u : 0);
    case 0x2c:
        return (uint64_t)(sd.clock & ~2u) | (sd.clock & 1 && !sd.clock_sticks ? 2u : 0);
    case 0x2f:
        assert_int_equal(bytes, 1);
        return sd.reset;
    case 0x30:
        assert_int_equal(bytes, 4);
        return sd.status | (sd.status >> 16 ? 0x8000u : 0);
    case 0x40:
        return sd.capabilities;
    case 0xfe:
        return sd.version;
    default:
        fail_msg("register 0x%x is not for reading", (unsigned)offset);
        return 0;
    }
}

void sd_write(uintptr_t address, uint64_t value, unsigned bytes)
{
    const uintptr_t offset = address - (uintptr_t)sd.registers;
    const uint32_t word = (uint32_t)value;

    if (sd.gone)
        return;
    switch (offset) {
    case 0x00:
        assert_int_equal(sd.block, 0); /* else SDMA would continue */
        sd.sdma = word;
        break;
    case 0x04:
        sd.block = word;
        break;
    case 0x08:
        sd.argument = word;
        break;
    case 0x0c:
        assert_int_equal(bytes, 4);
        sd_command(word);
        break;
    case 0x28:
        assert_int_equal(
            word & 0xc1,
            0); /* activity light and simulated card detection: never set by the driver */
        sd.control = (uint8_t)word;
        break;
    case 0x29:
        sd.power = (uint8_t)word;
        break;
    case 0x2c:
        assert_int_equal(bytes, 2);
        if (word & 4)
            assert_int_equal(sd.clock & 1, 1);
        sd.clock = (uint16_t)(word | (word & 1 ? 2 : 0));
        break;
    case 0x2e:
        sd.timeout = (uint8_t)word;
        break;
    case 0x2f:
        assert_int_equal(bytes, 1);
        sd_reset((uint8_t)word);
        break;
    case 0x30:
        if (sd.status_sticks) {
            sd.status_sticks--;
            break;
        }
        sd.status &= ~word | sd.status_stays;
        sd_raise(sd.at_clear);
        sd.at_clear = 0;
        break;
    case 0x34:
        sd.enable = word;
        break;
    case 0x38:
        sd.signal = word;
        sd_line();
        break;
    case 0x58:
        sd.adma = word;
        break;
    default:
        fail_msg("register 0x%x is not for writing", (unsigned)offset);
    }
}
