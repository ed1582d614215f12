/* SPDX-License-Identifier: MIT */
/*
 * virtio_net/regions: where the card's structures are (4.1.4)
 *
 * The card describes them by vendor capabilities in configuration space, so nothing there is
 * trusted: the walk ends after as many steps as fit, each structure must lie within a BAR that is
 * there, be long enough for what the driver reads of it, and be aligned. One that is not is
 * skipped, as is one of an unknown kind; of several valid ones of a kind the first counts.
 */
#include <drivers/virtio_net/internal.h>

#include <dragoman/base/status.h>

enum {
    PCI_STATUS = 0x04, /* upper 16 bits */
    PCI_STATUS_CAPABILITIES = 1 << 20,
    PCI_CAPABILITIES = 0x34,
    CAPABILITIES_FIRST = 0x40,
    CAPABILITIES_MAX = (256 - CAPABILITIES_FIRST) / 4,

    /* a capability: kind, next, its bytes, what it describes; BAR; offset; bytes; multiplier */
    CAPABILITY_VENDOR = 0x09,
    CAPABILITY_BAR = 4,
    CAPABILITY_OFFSET = 8,
    CAPABILITY_LENGTH = 12,
    CAPABILITY_MULTIPLIER = 16,
    CAPABILITY_BYTES = 16,
    CAPABILITY_NOTIFY_BYTES = 20,

    KIND_COMMON = 1,
    KIND_NOTIFY = 2,
    KIND_ISR = 3,
    KIND_DEVICE = 4,
};

/* Maps what the capability at `at` describes. False: it is not valid. */
static bool map_region(const struct dgm_virtio_net *card, uint32_t at, uint32_t bytes_min,
                       uint32_t alignment, struct dgm_virtio_region *region)
{
    const struct dgm_device_env *env = card->env;
    const uint32_t number = env->config(env, at + CAPABILITY_BAR) & 0xff;
    const uint32_t offset = env->config(env, at + CAPABILITY_OFFSET);
    const uint32_t bytes = env->config(env, at + CAPABILITY_LENGTH);
    uint64_t bar_bytes = 0;
    volatile void *bar;

    if (number > 5 || bytes < bytes_min || offset % alignment)
        return false;
    bar = env->bar(env, number, &bar_bytes);
    if (!bar || offset > bar_bytes || bytes > bar_bytes - offset)
        return false;
    *region = (struct dgm_virtio_region){(volatile char *)bar + offset, bytes};
    return true;
}

static void read_capability(struct dgm_virtio_net *card, uint32_t at, uint32_t header)
{
    const uint32_t bytes = header >> 16 & 0xff, kind = header >> 24;

    if (bytes < (kind == KIND_NOTIFY ? CAPABILITY_NOTIFY_BYTES : CAPABILITY_BYTES) ||
        bytes > 256 - at)
        return;
    if (kind == KIND_COMMON && !card->common.at) {
        map_region(card, at, COMMON_BYTES, 4, &card->common);
    } else if (kind == KIND_NOTIFY && !card->notify.at) {
        if (map_region(card, at, 2, 2, &card->notify))
            card->notify_multiplier = card->env->config(card->env, at + CAPABILITY_MULTIPLIER);
    } else if (kind == KIND_ISR && !card->isr.at) {
        map_region(card, at, 1, 1, &card->isr);
    } else if (kind == KIND_DEVICE && !card->device.at) {
        map_region(card, at, NET_STATUS, 4, &card->device);
    }
}

int dgm_virtio_find_regions(struct dgm_virtio_net *card)
{
    const struct dgm_device_env *env = card->env;
    uint32_t at;

    if (!env->config || !env->bar || !(env->config(env, PCI_STATUS) & PCI_STATUS_CAPABILITIES))
        return DGM_ENODEV;
    at = env->config(env, PCI_CAPABILITIES) & 0xfc;
    for (unsigned step = 0; at >= CAPABILITIES_FIRST && step < CAPABILITIES_MAX; step++) {
        const uint32_t header = env->config(env, at);

        if ((header & 0xff) == CAPABILITY_VENDOR)
            read_capability(card, at, header);
        at = header >> 8 & 0xfc;
    }
    return card->common.at && card->notify.at && card->isr.at && card->device.at ? DGM_OK
                                                                                 : DGM_ENODEV;
}
