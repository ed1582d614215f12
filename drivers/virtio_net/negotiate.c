/* SPDX-License-Identifier: MIT */
/*
 * virtio_net/negotiate: what card and driver agree on (3.1.1), and where the queues are
 *
 * VERSION_1 is required: there is no legacy interface. ACCESS_PLATFORM and ORDER_PLATFORM are taken
 * if offered: the driver uses bus addresses and barriers for real devices in any case. Indirect
 * descriptors are not taken: an ordinary packet needs two descriptors, so a queue holds 128, which
 * is more than its users have; a large one needs 17 at most, and each indirect table would be one
 * more read by DMA. Mergeable buffers are not taken: no packet that the card may deliver is longer
 * than one buffer.
 *
 * What was agreed on at first is required after each reset. A card that offers less then has become
 * another one, and its buffers were made for the former.
 */
#include <drivers/virtio_net/internal.h>

#include <dragoman/base/check.h>
#include <port/arch.h>

#define WANTED                                                                                     \
    (FEATURE_CHECKSUM | FEATURE_CUTS_TCP4 | FEATURE_CUTS_TCP6 | FEATURE_MTU | FEATURE_MAC |        \
     FEATURE_STATUS | FEATURE_EVENT_INDEX | FEATURE_VERSION_1 | FEATURE_ACCESS_PLATFORM |          \
     FEATURE_ORDER_PLATFORM)

enum {
    QUEUE_SIZE_MIN = 16,
    GENERATION_TRIES = 8,
    MTU_MIN = 68,            /* 5.1.4.1 */
    MTU_MAX = 1500,          /* a larger one would need longer buffers: 5.1.4.2 */
    ETHERNET_BYTES = 14 + 4, /* header and one VLAN tag */
};

static volatile char *common_at(const struct dgm_virtio_net *card, uint32_t offset)
{
    return (volatile char *)card->common.at + offset;
}

static volatile char *device_at(const struct dgm_virtio_net *card, uint32_t offset)
{
    return (volatile char *)card->device.at + offset;
}

static void add_status(const struct dgm_virtio_net *card, uint8_t bits)
{
    volatile char *status = common_at(card, COMMON_STATUS);

    dgm_arch_mmio_write8(status, dgm_arch_mmio_read8(status) | bits);
}

static uint64_t read_offered(const struct dgm_virtio_net *card)
{
    uint64_t offered;

    dgm_arch_mmio_write32(common_at(card, COMMON_DEVICE_FEATURES_SELECT), 0);
    offered = dgm_arch_mmio_read32(common_at(card, COMMON_DEVICE_FEATURES));
    dgm_arch_mmio_write32(common_at(card, COMMON_DEVICE_FEATURES_SELECT), 1);
    return offered | (uint64_t)dgm_arch_mmio_read32(common_at(card, COMMON_DEVICE_FEATURES)) << 32;
}

static void write_accepted(const struct dgm_virtio_net *card)
{
    dgm_arch_mmio_write32(common_at(card, COMMON_DRIVER_FEATURES_SELECT), 0);
    dgm_arch_mmio_write32(common_at(card, COMMON_DRIVER_FEATURES), (uint32_t)card->features);
    dgm_arch_mmio_write32(common_at(card, COMMON_DRIVER_FEATURES_SELECT), 1);
    dgm_arch_mmio_write32(common_at(card, COMMON_DRIVER_FEATURES),
                          (uint32_t)(card->features >> 32));
}

/* The features to take of those offered: not those whose part of the card's configuration is
 * missing or of no use. */
static uint64_t choose_features(struct dgm_virtio_net *card, uint64_t offered)
{
    uint64_t features = offered & WANTED;
    uint16_t mtu = 0;

    if (!(features & FEATURE_CHECKSUM))
        features &= ~(FEATURE_CUTS_TCP4 | FEATURE_CUTS_TCP6); /* 5.1.3.1 */
    if (card->device.bytes < NET_STATUS + 2)
        features &= ~FEATURE_STATUS;
    if (features & FEATURE_MTU && card->device.bytes >= NET_MTU + 2)
        mtu = dgm_arch_mmio_read16(device_at(card, NET_MTU));
    if (mtu >= MTU_MIN && mtu <= MTU_MAX)
        card->nic.bytes_max = (uint16_t)(mtu + ETHERNET_BYTES);
    else
        features &= ~FEATURE_MTU;
    return features;
}

/* The address has more bytes than one access reads: the generation shows a change meanwhile
 * (4.1.4.3.1). */
static uint64_t read_mac(const struct dgm_virtio_net *card)
{
    uint8_t before, after;
    unsigned tries = 0;
    uint64_t mac = 0;

    if (!(card->features & FEATURE_MAC))
        return 0;
    do {
        before = dgm_arch_mmio_read8(common_at(card, COMMON_GENERATION));
        mac = 0;
        for (unsigned i = 0; i < 6; i++)
            mac = mac << 8 | dgm_arch_mmio_read8(device_at(card, NET_MAC + i));
        after = dgm_arch_mmio_read8(common_at(card, COMMON_GENERATION));
    } while (before != after && ++tries < GENERATION_TRIES);
    return mac;
}

const char *dgm_virtio_negotiate(struct dgm_virtio_net *card)
{
    uint64_t offered, mac;

    add_status(card, STATUS_ACKNOWLEDGE);
    add_status(card, STATUS_DRIVER);
    offered = read_offered(card);
    if (!(offered & FEATURE_VERSION_1))
        return "it has only the legacy interface";
    if (!card->features)
        card->features = choose_features(card, offered);
    if (card->features & ~offered)
        return "it offers less than before its reset";
    write_accepted(card);
    add_status(card, STATUS_FEATURES_OK);
    if (!(dgm_arch_mmio_read8(common_at(card, COMMON_STATUS)) & STATUS_FEATURES_OK))
        return "it refuses features that it offers";
    mac = read_mac(card);
    if (card->nic.ready && mac != card->nic.mac)
        return "it is another card than before";
    card->nic.mac = mac;
    card->nic.fills_checksums = card->features & FEATURE_CHECKSUM;
    return NULL;
}

/* --- queues --- */

static void write_address(const struct dgm_virtio_net *card, uint32_t offset, uint64_t bus)
{
    dgm_arch_mmio_write32(common_at(card, offset), (uint32_t)bus);
    dgm_arch_mmio_write32(common_at(card, offset + 4), (uint32_t)(bus >> 32));
}

/* Interrupts are vector 0. False: the card refuses it (4.1.5.1.2). */
static bool write_vector(const struct dgm_virtio_net *card, uint32_t offset)
{
    if (!card->env->irq_message)
        return true;
    dgm_arch_mmio_write16(common_at(card, offset), 0);
    return dgm_arch_mmio_read16(common_at(card, offset)) == 0;
}

/* The doorbell of the selected queue (4.1.4.4), or NULL. */
static volatile void *find_doorbell(const struct dgm_virtio_net *card)
{
    const uint64_t offset = (uint64_t)dgm_arch_mmio_read16(common_at(card, COMMON_QUEUE_NOTIFY)) *
                            card->notify_multiplier;

    if (offset > card->notify.bytes - 2 || offset % 2)
        return NULL;
    return (volatile char *)card->notify.at + offset;
}

static uint16_t usable_size(uint16_t offered)
{
    uint16_t size = DGM_VIRTIO_ENTRIES;

    while (size > offered)
        size /= 2;
    return size;
}

static const char *start_queue(struct dgm_virtio_net *card, struct dgm_virtio_queue *queue)
{
    const uint64_t rings = dgm_bus_address(queue->rings_bus);
    uint16_t size;

    dgm_arch_mmio_write16(common_at(card, COMMON_QUEUE_SELECT), queue->number);
    size = usable_size(dgm_arch_mmio_read16(common_at(card, COMMON_QUEUE_SIZE)));
    if (size < QUEUE_SIZE_MIN || size < queue->size)
        return "its queues are too short";
    if (queue->size == 0)
        dgm_virtio_queue_clear(queue, size);
    dgm_arch_mmio_write16(common_at(card, COMMON_QUEUE_SIZE), queue->size);
    if (!write_vector(card, COMMON_QUEUE_VECTOR))
        return "it refuses its interrupt";
    queue->doorbell = find_doorbell(card);
    if (!queue->doorbell)
        return "a doorbell is beyond its registers";
    write_address(card, COMMON_QUEUE_DESCRIPTORS, dgm_bus_address(queue->descriptors_bus));
    write_address(card, COMMON_QUEUE_AVAILABLE, rings);
    write_address(card, COMMON_QUEUE_USED, rings + USED_OFFSET);
    dgm_arch_mmio_write16(common_at(card, COMMON_QUEUE_ENABLE), 1);
    return NULL;
}

const char *dgm_virtio_start_queues(struct dgm_virtio_net *card)
{
    const char *why = NULL;

    if (!write_vector(card, COMMON_CONFIG_VECTOR))
        return "it refuses its interrupt";
    why = start_queue(card, &card->receive);
    if (!why)
        why = start_queue(card, &card->transmit);
    if (why)
        return why;
    /* A queue that is too short for a large packet would never have room for one. */
    if (card->transmit.size > DGM_NIC_FRAMES_MAX) {
        card->nic.cuts_ip4 = card->features & FEATURE_CUTS_TCP4;
        card->nic.cuts_ip6 = card->features & FEATURE_CUTS_TCP6;
    }
    add_status(card, STATUS_DRIVER_OK);
    return NULL;
}
