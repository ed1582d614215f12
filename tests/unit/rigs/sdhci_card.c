/* SPDX-License-Identifier: MIT */
/* sdhci_card: the card in the slot: its commands and its two registers. See sdhci_rig.h. */
#include "sdhci_rig.h"

/* --- registers of 128 bits --- */

void sd_put(uint32_t words[4], unsigned low, unsigned count, uint32_t value)
{
    for (unsigned i = 0; i < count; i++) {
        const unsigned bit = low + i;

        words[bit / 32] &= ~(1u << bit % 32);
        words[bit / 32] |= (value >> i & 1) << bit % 32;
    }
}

void sd_make_card(bool in_blocks, uint32_t c_size)
{
    memset(sd.cid, 0, sizeof sd.cid);
    memset(sd.csd, 0, sizeof sd.csd);
    for (unsigned i = 0; i < 5; i++)
        sd_put(sd.cid, 96 - 8 * i, 8, (uint8_t) "CARD7"[i]);
    sd_put(sd.cid, 56, 8, 0x42);
    sd_put(sd.cid, 24, 32, 0x00c0ffee);
    sd.in_blocks = in_blocks;
    sd_put(sd.csd, 80, 4, 9);
    if (in_blocks) {
        sd_put(sd.csd, 126, 2, 1);
        sd_put(sd.csd, 48, 22, c_size);
    } else {
        sd_put(sd.csd, 62, 12, c_size);
        sd_put(sd.csd, 47, 3, 7);
    }
    sd.inserted = true;
}
/* --- commands --- */

static void sd_respond_long(const uint32_t words[4])
{
    for (unsigned i = 0; i < 4; i++)
        sd.response[i] = words[i] >> 8 | (i < 3 ? words[i + 1] << 24 : 0);
}

bool sd_card(uint32_t index, uint32_t argument)
{
    const bool app = sd.app;

    sd.app = false;
    sd.response[0] = sd.card_state << 9 | 1u << 8;
    if (!sd.inserted || sd.silent_ns > sd.now_ns)
        return index == 0; /* which has no response */
    if ((sd.mmc || sd.sdio) && (index == 8 || index == 55))
        return false;
    if (sd.locked && sd.card_state == 4 && index != 0)
        return false;
    switch (index) {
    case 1:
        return sd.mmc;
    case 5:
        return sd.sdio;
    case 0:
        sd.card_state = 0;
        sd.rca = 0;
        sd.wide = sd.responded_8 = false;
        return true;
    case 8:
        assert_int_equal(argument, 0x1aa);
        sd.response[0] = argument;
        return !sd.old;
    case 55:
        assert_int_equal(argument >> 16, sd.rca);
        sd.app = true;
        return true;
    case 41:
        assert_true(app && sd.card_state == 0);
        assert_int_equal(argument >> 30 & 1, sd.responded_8);
        sd.response[0] = 0x00ff8000;
        if (sd.not_ready || sd.never_ready || (sd.in_blocks && !sd.responded_8)) {
            sd.not_ready -= sd.not_ready > 0;
            return true;
        }
        sd.response[0] |= 1u << 31 | (uint32_t)sd.in_blocks << 30;
        sd.card_state = 1;
        return true;
    case 2:
        assert_int_equal(sd.card_state, 1);
        sd.card_state = 2;
        sd_respond_long(sd.cid);
        return true;
    case 3:
        assert_int_equal(sd.card_state, 2);
        sd.card_state = 3;
        sd.rca = 0x4567;
        sd.response[0] = (uint32_t)sd.rca << 16;
        return true;
    case 9:
        assert_true(sd.card_state == 3 && argument >> 16 == sd.rca);
        sd_respond_long(sd.csd);
        return true;
    case 7:
        assert_true(sd.card_state == 3 && argument >> 16 == sd.rca);
        sd.card_state = 4;
        sd.response[0] |= (uint32_t)sd.locked << 25;
        return true;
    case 6:
        assert_true(app && sd.card_state == 4 && (argument == 2 || argument == 0));
        sd.wide = argument == 2;
        return true;
    case 16:
        assert_true(sd.card_state == 4);
        sd.block_length = argument;
        return true;
    case 12:
        if (sd.card_state != 5 && sd.card_state != 6)
            return false;
        sd.card_state = sd.stays_busy ? 7 : 4;
        return true;
    case 13:
        return argument >> 16 == sd.rca && sd.card_state >= 3 && !sd.mute;
    case 18:
    case 25:
        assert_int_equal(sd.card_state, 4);
        assert_int_equal(sd.block_length, 512);
        sd.card_state = index == 18 ? 5 : 6;
        return true;
    default:
        fail_msg("CMD%u is not expected", index);
        return false;
    }
}
