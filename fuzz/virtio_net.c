/* SPDX-License-Identifier: MIT */
/*
 * fuzz virtio_net: the driver against a card that does not follow the standard
 *
 * The simulated card behaves correctly unless the input changes it: bytes of its configuration
 * space, what it offers, the sizes of its queues, what it writes into the used rings, its status,
 * its link, lost doorbells and interrupts, time.
 *
 * What must hold: registers are accessed within the BAR and aligned; each buffer that was lent is
 * returned at most once; a received packet has a possible length; the driver's counts agree
 * (dgm_virtio_net_check); a card that falls silent permanently keeps no packet to send.
 */
#include "lib/feed.h"
#include "virtio_rig.h"

static struct virtio_rig *const rig = &virtio_rig;

static void lend_some(struct feed *feed, bool transmit)
{
    struct dgm_nicdev *nic = nic_rig.nic;

    for (uint64_t left = 1 + feed_below(feed, 8); left > 0; left--) {
        const unsigned index = (unsigned)feed_below(feed, 150);
        struct dgm_nic_frame *frame = &nic_rig.buffers[NIC_QUEUES + index];

        if (transmit)
            frame = nic_to_send(index, (uint16_t)(14 + feed_below(feed, nic->bytes_max - 13u)));
        if (nic_rig.lent[frame - nic_rig.buffers])
            continue;
        const int status = nic_lend(frame, transmit);

        fuzz_check(status == DGM_OK || status == DGM_EAGAIN || status == DGM_EIO);
    }
    if (feed_chance(feed, 200))
        nic->ops->kick(nic);
}

/* Writes into a used ring: the only memory that the card writes and the driver reads. */
static void scribble_over_used(struct feed *feed)
{
    struct dgm_virtio_queue *queue =
        feed_chance(feed, 128) ? &rig->card.receive : &rig->card.transmit;
    volatile uint8_t *used = (volatile uint8_t *)queue->used;
    const uint64_t at = feed_below(feed, 6 + DGM_VIRTIO_ENTRIES * 8 - 8);

    for (unsigned i = 0; i < 8; i++)
        used[at + i] = (uint8_t)feed_take(feed, 1);
}

static void misbehave_as_card(struct feed *feed)
{
    switch (feed_below(feed, 8)) {
    case 0:
        scribble_over_used(feed);
        break;
    case 1:
        rig->sim.id_wrong = feed_chance(feed, 128) ? (uint32_t)feed_below(feed, 400) : 0;
        break;
    case 2:
        rig->sim.bytes_wrong = feed_chance(feed, 128) ? (uint32_t)feed_take(feed, 2) : 0;
        break;
    case 3:
        rig->sim.returns_too_many = (uint16_t)(feed_chance(feed, 128) ? feed_below(feed, 300) : 0);
        break;
    case 4:
        rig->sim.deaf = feed_chance(feed, 128);
        rig->no_interrupts = feed_chance(feed, 128);
        break;
    case 5:
        dgm_simvirtio_demand_reset(&rig->sim);
        break;
    case 6:
        dgm_simvirtio_set_link(&rig->sim, feed_chance(feed, 200));
        break;
    default:
        rig->sim.size_max = (uint16_t)(feed_chance(feed, 64) ? feed_take(feed, 2) : 256);
        rig->sim.never_ends = feed_chance(feed, 16);
        rig->sim.silent = feed_chance(feed, 64);
    }
}

static void do_step(struct feed *feed)
{
    static const uint8_t packet[1600];

    switch (feed_below(feed, 8)) {
    case 0:
    case 1:
        lend_some(feed, true);
        break;
    case 2:
        lend_some(feed, false);
        break;
    case 3:
        dgm_simvirtio_send(&rig->sim, (unsigned)feed_below(feed, 20));
        break;
    case 4:
        dgm_simvirtio_receive(&rig->sim, packet, packet, 1 + (uint32_t)feed_below(feed, 1600));
        break;
    case 5:
        misbehave_as_card(feed);
        break;
    case 6:
        virtio_wait_ms(10 * (unsigned)feed_below(feed, 200));
        break;
    default:
        virtio_turn();
    }
    dgm_virtio_net_check(&rig->card);
}

static void make_card(struct feed *feed)
{
    virtio_rig_start();
    nic_rig.lies = true;
    nic_rig.resupply = feed_chance(feed, 128);
    nic_rig.env.irq_message = rig->sim.message = feed_chance(feed, 128);
    if (feed_chance(feed, 16))
        rig->sim.offered = feed_take(feed, 8);
    if (feed_chance(feed, 16))
        rig->sim.size_max = (uint16_t)feed_take(feed, 2);
    if (feed_chance(feed, 64))
        rig->sim.mtu = (uint16_t)feed_take(feed, 2);
    if (feed_chance(feed, 16))
        rig->sim.notify_offset = (uint16_t)feed_take(feed, 2);
    for (uint64_t left = feed_chance(feed, 48) ? feed_below(feed, 12) : 0; left > 0; left--) {
        const uint8_t byte = (uint8_t)feed_take(feed, 1);

        rig->sim.config[0x34 + feed_below(feed, 0x70)] = byte;
    }
}

static void check_silence(void)
{
    rig->sim.silent = rig->sim.link = true;
    virtio_wait_ms(1100); /* it may see the link only now */
    virtio_wait_ms(60000);
    for (unsigned i = 0; i < DGM_VIRTIO_ENTRIES; i++)
        fuzz_check(!rig->card.transmit.lent[i]);
}

void run_input(struct feed *feed)
{
    make_card(feed);
    if (dgm_virtio_net_start(&rig->card, &nic_rig.env) == DGM_OK) {
        virtio_wait_ms(100);
        while (feed->left)
            do_step(feed);
        nic_rig.nic->ops->kick(nic_rig.nic);
        if (rig->card.state != DGM_VIRTIO_NET_FAILED)
            check_silence();
    } else {
        fuzz_check(nic_rig.nic->failed);
    }
    virtio_rig_stop();
}
