/* SPDX-License-Identifier: MIT */
/* e1000e: see e1000e.h. Written from the datasheet, not from the driver. */
#include <sim/devices/e1000e.h>

#include <string.h>

#define CTRL   0x0000u
#define STATUS 0x0008u
#define ICR    0x00c0u
#define ICS    0x00c8u
#define IMS    0x00d0u
#define IMC    0x00d8u
#define RCTL   0x0100u
#define TCTL   0x0400u
#define RDBAL  0x2800u
#define RDBAH  0x2804u
#define RDLEN  0x2808u
#define RDH    0x2810u
#define RDT    0x2818u
#define TDBAL  0x3800u
#define TDBAH  0x3804u
#define TDLEN  0x3808u
#define TDH    0x3810u
#define TDT    0x3818u
#define MPC    0x4010u
#define RAL0   0x5400u
#define RAH0   0x5404u

#define TXDW (1u << 0)
#define LSC  (1u << 2)
#define RXT0 (1u << 7)

struct descriptor {
    uint64_t address;
    uint16_t length;
    uint8_t cso, cmd; /* receive: a checksum */
    uint8_t status, errors;
    uint16_t special;
};

static uint32_t *card_register(struct dgm_sime1000e *card, uint32_t offset)
{
    return &card->registers[offset / 4];
}

static void reset_card(struct dgm_sime1000e *card)
{
    memset(card->registers, 0, sizeof card->registers);
    for (unsigned i = 0; i < 4; i++)
        *card_register(card, RAL0) |= (uint32_t)(card->mac >> 8 * (5 - i) & 0xff) << 8 * i;
    *card_register(card, RAH0) =
        1u << 31 | (uint32_t)(card->mac & 0xff) << 8 | (card->mac >> 8 & 0xff);
    *card_register(card, STATUS) = card->link ? 2 : 0;
    card->resets++;
}

void dgm_sime1000e_init(struct dgm_sime1000e *card)
{
    reset_card(card);
    card->resets = 0;
}

uint32_t dgm_sime1000e_read(struct dgm_sime1000e *card, uint32_t offset)
{
    const uint32_t value = *card_register(card, offset);

    if ((offset == ICR && !card->message) || offset == MPC)
        *card_register(card, offset) = 0;
    return offset == ICR ? value | card->causes_kept : value;
}

void dgm_sime1000e_write(struct dgm_sime1000e *card, uint32_t offset, uint32_t value)
{
    switch (offset) {
    case CTRL:
        if (value & 1u << 26) {
            reset_card(card);
            value = card->never_ends ? value : value & ~(1u << 26);
        }
        *card_register(card, CTRL) = value;
        break;
    case ICR:
        *card_register(card, ICR) &= ~value;
        break;
    case IMS:
        *card_register(card, IMS) |= value;
        break;
    case IMC:
        *card_register(card, IMS) &= ~value;
        break;
    case STATUS:
    case ICS:
        break;
    default:
        *card_register(card, offset) = value;
    }
}

static struct descriptor *descriptor_at(struct dgm_sime1000e *card, uint32_t base_low,
                                        uint32_t index)
{
    const uint64_t base =
        (uint64_t)*card_register(card, base_low + 4) << 32 | *card_register(card, base_low);

    return card->memory(card->context, base + index * 16ull, 16, true);
}

static uint32_t next_index(struct dgm_sime1000e *card, uint32_t index, uint32_t length_register)
{
    return (index + 1) % (*card_register(card, length_register) / 16);
}

unsigned dgm_sime1000e_send(struct dgm_sime1000e *card, unsigned most)
{
    unsigned count = 0;

    if (!(*card_register(card, TCTL) & 2) || card->silent || !card->link)
        return 0;
    for (; count < most && *card_register(card, TDH) != *card_register(card, TDT); count++) {
        struct descriptor *entry = descriptor_at(card, TDBAL, *card_register(card, TDH));
        const void *bytes = card->memory(card->context, entry->address, entry->length, false);

        card->sent(card->context, bytes, entry->length);
        if (entry->cmd & 8)
            entry->status |= 1;
        *card_register(card, TDH) = next_index(card, *card_register(card, TDH), TDLEN);
        *card_register(card, ICR) |= TXDW;
    }
    return count;
}

bool dgm_sime1000e_receive(struct dgm_sime1000e *card, const void *packet, uint32_t bytes)
{
    const char *at = packet;

    if (!(*card_register(card, RCTL) & 2) || !card->link)
        return false;
    *card_register(card, ICR) |= RXT0;
    do {
        const uint32_t part = bytes < 2048 ? bytes : 2048;

        if (*card_register(card, RDH) == *card_register(card, RDT)) {
            ++*card_register(card, MPC);
            return false;
        }
        struct descriptor *entry = descriptor_at(card, RDBAL, *card_register(card, RDH));
        memcpy(card->memory(card->context, entry->address, part, true), at, part);
        at += part;
        bytes -= part;
        entry->length = card->bytes_wrong ? card->bytes_wrong : (uint16_t)part;
        entry->errors = card->errors;
        entry->status = bytes ? 1 : 3;
        *card_register(card, RDH) = next_index(card, *card_register(card, RDH), RDLEN);
    } while (bytes);
    return true;
}

void dgm_sime1000e_set_link(struct dgm_sime1000e *card, bool link)
{
    card->link = link;
    *card_register(card, STATUS) = link ? 2 : 0;
    *card_register(card, ICR) |= LSC;
}

bool dgm_sime1000e_line(const struct dgm_sime1000e *card)
{
    return card->line_stuck || (card->registers[ICR / 4] & card->registers[IMS / 4]);
}
