/* SPDX-License-Identifier: MIT */
/* virtio_net: see virtio_net.h. Written from the standard, not from the driver. */
#include <sim/devices/virtio_net.h>

#include <string.h>

#define COMMON 0x0000u
#define ISR    0x1000u
#define DEVICE 0x2000u
#define NOTIFY 0x3000u

#define NEEDS_RESET 64u
#define FEATURES_OK 8u
#define DRIVER_OK   4u
#define NO_VECTOR   0xffffu

#define EVENT_INDEX (1ull << 29)

struct descriptor {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags, next;
};

/* A capability of 16 or 20 bytes at `at` (4.1.4). */
static uint8_t add_capability(struct dgm_simvirtio *card, uint8_t at, uint8_t kind, uint32_t offset,
                              uint32_t length)
{
    const uint8_t bytes = kind == 2 ? 20 : 16;
    uint8_t *to = &card->config[at];
    const uint32_t multiplier = 4;

    to[0] = 0x09;
    to[1] = (uint8_t)(at + bytes);
    to[2] = bytes;
    to[3] = kind;
    to[4] = DGM_SIMVIRTIO_BAR;
    memcpy(to + 8, &offset, 4);
    memcpy(to + 12, &length, 4);
    if (kind == 2)
        memcpy(to + 16, &multiplier, 4);
    return to[1];
}

static void reset_card(struct dgm_simvirtio *card)
{
    memset(card->queues, 0, sizeof card->queues);
    card->status = card->never_ends ? card->status : 0;
    card->isr = 0;
    card->accepted = 0;
    card->vector = NO_VECTOR;
    card->queues[0].size = card->queues[1].size = card->size_max;
    card->queues[0].vector = card->queues[1].vector = NO_VECTOR;
    card->needs_reset = false;
    card->resets++;
}

void dgm_simvirtio_init(struct dgm_simvirtio *card)
{
    uint8_t at = 0x40;

    memset(card->config, 0, sizeof card->config);
    card->config[6] = 0x10; /* status: it has capabilities */
    card->config[0x34] = at;
    at = add_capability(card, at, 5, 0, 0); /* access by configuration space: of no use here */
    at = add_capability(card, at, 1, COMMON, 0x38);
    at = add_capability(card, at, 3, ISR, 1);
    at = add_capability(card, at, 4, DEVICE, 12);
    at = add_capability(card, at, 2, NOTIFY, 0x1000);
    card->config[at - 20 + 1] = 0;
    reset_card(card);
    card->resets = 0;
}

uint32_t dgm_simvirtio_config(const struct dgm_simvirtio *card, uint32_t offset)
{
    uint32_t value = UINT32_MAX;

    if (offset % 4 == 0 && offset < sizeof card->config)
        memcpy(&value, &card->config[offset], 4);
    return value;
}

/* --- registers --- */

static uint64_t device_byte(const struct dgm_simvirtio *card, uint32_t offset)
{
    if (offset < 6)
        return card->mac >> 8 * (5 - offset) & 0xff;
    return offset == 6    ? card->link
           : offset == 10 ? card->mtu & 0xffu
           : offset == 11 ? card->mtu >> 8
                          : 0;
}

static uint64_t common_read(const struct dgm_simvirtio *card, uint32_t offset)
{
    const struct dgm_simvirtio_queue *queue = &card->queues[card->queue_select & 1];

    switch (offset) {
    case 0x04:
        return card->select_offered < 2 ? (uint32_t)(card->offered >> 32 * card->select_offered)
                                        : 0;
    case 0x10:
        return card->vector;
    case 0x12:
        return 2;
    case 0x14:
        return card->status | (card->needs_reset ? NEEDS_RESET : 0u);
    case 0x15:
        return card->generation;
    case 0x18:
        return card->queue_select < 2 ? queue->size : 0;
    case 0x1a:
        return queue->vector;
    case 0x1c:
        return queue->enabled;
    case 0x1e:
        return (uint16_t)(card->queue_select + card->notify_offset);
    default:
        return 0;
    }
}

uint64_t dgm_simvirtio_read(struct dgm_simvirtio *card, uint32_t offset, unsigned bytes)
{
    uint64_t value = 0;

    if (offset == ISR) {
        value = card->line_stuck ? card->isr_stuck : card->isr;
        card->isr = 0;
    } else if (offset >= DEVICE && offset < NOTIFY) {
        for (unsigned i = 0; i < bytes; i++)
            value |= device_byte(card, offset - DEVICE + i) << 8 * i;
    } else if (offset < ISR) {
        value = common_read(card, offset);
    }
    return value;
}

static void write_half(uint64_t *to, uint32_t offset, uint64_t value)
{
    const unsigned shift = offset & 4 ? 32 : 0;

    *to = (*to & ~(0xffffffffull << shift)) | (value & 0xffffffff) << shift;
}

static void write_status(struct dgm_simvirtio *card, uint8_t value)
{
    if (value == 0) {
        reset_card(card);
        return;
    }
    if (value & FEATURES_OK && (card->refuses_features || card->accepted & ~card->offered))
        value &= (uint8_t)~FEATURES_OK;
    card->status = value & (uint8_t)~NEEDS_RESET;
    card->needs_reset = card->always_needs_reset && value & DRIVER_OK;
}

static void common_write(struct dgm_simvirtio *card, uint32_t offset, uint64_t value)
{
    struct dgm_simvirtio_queue *queue = &card->queues[card->queue_select & 1];

    switch (offset) {
    case 0x00:
        card->select_offered = (uint32_t)value;
        break;
    case 0x08:
        card->select_accepted = (uint32_t)value;
        break;
    case 0x0c:
        write_half(&card->accepted, card->select_accepted * 4, value);
        break;
    case 0x10:
        card->vector = card->refuses_vector ? NO_VECTOR : (uint16_t)value;
        break;
    case 0x14:
        write_status(card, (uint8_t)value);
        break;
    case 0x16:
        card->queue_select = (uint16_t)value;
        break;
    case 0x18:
        queue->size = (uint16_t)value;
        break;
    case 0x1a:
        queue->vector = card->refuses_vector ? NO_VECTOR : (uint16_t)value;
        break;
    case 0x1c:
        queue->enabled = (uint16_t)value;
        break;
    case 0x20:
    case 0x24:
        write_half(&queue->descriptors, offset, value);
        break;
    case 0x28:
    case 0x2c:
        write_half(&queue->available, offset, value);
        break;
    case 0x30:
    case 0x34:
        write_half(&queue->used, offset, value);
        break;
    default:
        break;
    }
}

void dgm_simvirtio_write(struct dgm_simvirtio *card, uint32_t offset, uint64_t value,
                         unsigned bytes)
{
    if (offset < ISR) {
        common_write(card, offset, value);
    } else if (offset >= NOTIFY && bytes == 2 && value < 2) {
        card->doorbells++;
        card->queues[value].awake = !card->deaf;
    }
}

/* --- queues --- */

static bool is_live(const struct dgm_simvirtio *card, const struct dgm_simvirtio_queue *queue)
{
    return card->status & DRIVER_OK && !card->needs_reset && queue->enabled && queue->size;
}

static uint16_t *word_at(struct dgm_simvirtio *card, uint64_t bus, bool write)
{
    return card->memory(card->context, bus, 2, write);
}

/* Takes the first descriptor of the next chain. False: there is none. */
static bool take_chain(struct dgm_simvirtio *card, struct dgm_simvirtio_queue *queue,
                       uint16_t *first)
{
    if (queue->taken == *word_at(card, queue->available + 2, false))
        return false;
    *first = *word_at(card, queue->available + 4 + 2ull * (queue->taken % queue->size), false);
    queue->taken++;
    return true;
}

static struct descriptor descriptor_at(struct dgm_simvirtio *card,
                                       const struct dgm_simvirtio_queue *queue, uint16_t index)
{
    struct descriptor value;

    memcpy(&value, card->memory(card->context, queue->descriptors + 16ull * index, 16, false), 16);
    return value;
}

/* 2.7.10: whether the driver wants an interrupt for the entry before `returned`. */
static bool wants_interrupt(struct dgm_simvirtio *card, const struct dgm_simvirtio_queue *queue)
{
    if (card->accepted & EVENT_INDEX)
        return *word_at(card, queue->available + 4 + 2ull * queue->size, false) ==
               (uint16_t)(queue->returned - 1);
    return !(*word_at(card, queue->available, false) & 1);
}

static void raise_interrupt(struct dgm_simvirtio *card, uint16_t vector, uint8_t cause)
{
    if (card->message)
        card->interrupt = card->interrupt || vector == 0;
    else
        card->isr |= cause;
}

static void return_chain(struct dgm_simvirtio *card, struct dgm_simvirtio_queue *queue,
                         uint16_t first, uint32_t bytes)
{
    const uint64_t at = queue->used + 4 + 8ull * (queue->returned % queue->size);
    uint32_t *entry = card->memory(card->context, at, 8, true);

    entry[0] = first + card->id_wrong;
    entry[1] = bytes;
    queue->returned++;
    *word_at(card, queue->used + 2, true) = (uint16_t)(queue->returned + card->returns_too_many);
    if (wants_interrupt(card, queue))
        raise_interrupt(card, queue->vector, 1);
}

/* The bytes of a chain after its first descriptor, gathered or scattered; at most `bytes`. */
static uint32_t copy_chain(struct dgm_simvirtio *card, const struct dgm_simvirtio_queue *queue,
                           struct descriptor descriptor, uint8_t *bytes, uint32_t most, bool write)
{
    uint32_t done = 0;

    while (descriptor.flags & 1 && done < most) {
        descriptor = descriptor_at(card, queue, descriptor.next);
        const uint32_t left = most - done;
        const uint32_t part = descriptor.bytes < left ? descriptor.bytes : left;
        uint8_t *memory = card->memory(card->context, descriptor.address, part, write);

        if (write)
            memcpy(memory, bytes + done, part);
        else
            memcpy(bytes + done, memory, part);
        done += part;
    }
    return done;
}

unsigned dgm_simvirtio_send(struct dgm_simvirtio *card, unsigned most)
{
    struct dgm_simvirtio_queue *queue = &card->queues[1];
    static uint8_t packet[65536];
    unsigned count = 0;
    uint16_t first;

    if (!is_live(card, queue) || !queue->awake || card->silent || !card->link)
        return 0;
    while (count < most) {
        if (!take_chain(card, queue, &first)) {
            if (card->accepted & EVENT_INDEX)
                *word_at(card, queue->used + 4 + 8ull * queue->size, true) = queue->taken;
            queue->awake = false;
            break;
        }
        const struct descriptor header = descriptor_at(card, queue, first);
        const uint32_t bytes = copy_chain(card, queue, header, packet, sizeof packet, false);

        card->sent(card->context, card->memory(card->context, header.address, 12, false), packet,
                   bytes);
        return_chain(card, queue, first, 0);
        count++;
    }
    return count;
}

bool dgm_simvirtio_receive(struct dgm_simvirtio *card, const void *header, const void *packet,
                           uint32_t bytes)
{
    struct dgm_simvirtio_queue *queue = &card->queues[0];
    struct descriptor descriptor;
    uint16_t first;

    if (!is_live(card, queue) || !card->link || !take_chain(card, queue, &first))
        return false;
    descriptor = descriptor_at(card, queue, first);
    uint8_t *to = card->memory(card->context, descriptor.address, 12, true);

    memset(to, 0, 12);
    if (header)
        memcpy(to, header, 10);
    to[10] = 1;
    const uint32_t done =
        copy_chain(card, queue, descriptor, (uint8_t *)(uintptr_t)packet, bytes, true);

    return_chain(card, queue, first, card->bytes_wrong ? card->bytes_wrong : 12 + done);
    return true;
}

void dgm_simvirtio_set_link(struct dgm_simvirtio *card, bool link)
{
    card->link = link;
    card->generation++;
    raise_interrupt(card, card->vector, 2);
}

void dgm_simvirtio_demand_reset(struct dgm_simvirtio *card)
{
    card->needs_reset = true;
    raise_interrupt(card, card->vector, 2);
}

bool dgm_simvirtio_interrupts(struct dgm_simvirtio *card)
{
    const bool now = card->interrupt || card->isr || card->line_stuck;

    card->interrupt = false;
    return now;
}
