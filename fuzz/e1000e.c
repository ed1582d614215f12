/* SPDX-License-Identifier: MIT */
/*
 * fuzz e1000e: the driver against a card that does not follow its datasheet
 *
 * The simulated card behaves correctly unless the input changes it: what its registers read as,
 * what it writes into the descriptors, the lengths and errors of packets, causes that cannot be
 * cleared, its line, its link, resets that do not end, lost interrupts, time.
 *
 * What must hold: registers are accessed whole and within the BAR; each buffer that was lent is
 * returned at most once; a received packet has a possible length; the driver's counts agree
 * (dgm_e1000e_check); a card that falls silent permanently keeps no packet to send.
 */
#include "lib/feed.h"
#include "e1000e_rig.h"

static struct e1000e_rig *const rig = &e1000e_rig;
static struct feed *reads;   /* where wrong values of registers come from */
static unsigned wrong_reads; /* of 256 reads, this many give a wrong value */

static uint32_t change_read(uint32_t offset, uint32_t value)
{
    (void)offset;
    if (wrong_reads == 0 || !feed_chance(reads, wrong_reads))
        return value;
    return feed_chance(reads, 128) ? UINT32_MAX : (uint32_t)feed_take(reads, 4);
}

static void lend_some(struct feed *feed, bool transmit)
{
    struct dgm_nicdev *nic = nic_rig.nic;

    for (uint64_t left = 1 + feed_below(feed, 40); left > 0; left--) {
        const unsigned index = (unsigned)feed_below(feed, 190);
        struct dgm_nic_frame *frame = &nic_rig.buffers[NIC_QUEUES + index];

        if (nic_rig.lent[(transmit ? NIC_SEND : NIC_QUEUES) + index])
            continue;
        if (transmit)
            frame = nic_to_send(index, (uint16_t)(14 + feed_below(feed, nic->bytes_max - 13u)));
        const int status = nic_lend(frame, transmit);

        fuzz_check(status == DGM_OK || status == DGM_EAGAIN || status == DGM_EIO);
    }
    if (feed_chance(feed, 200))
        nic->ops->kick(nic);
}

/* Writes into a queue of descriptors, which the card may do at any time. */
static void scribble_over_queue(struct feed *feed)
{
    struct dgm_e1000e_queue *queue =
        feed_chance(feed, 128) ? &rig->card.receive : &rig->card.transmit;
    volatile uint8_t *entry = (volatile uint8_t *)queue->entries +
                              16 * ((queue->first + feed_below(feed, 4)) % DGM_E1000E_ENTRIES);
    const uint64_t at = feed_below(feed, 16);

    for (uint64_t i = at; i < 16; i++)
        entry[i] = (uint8_t)feed_take(feed, 1);
}

static void misbehave_as_card(struct feed *feed)
{
    uint32_t index;

    switch (feed_below(feed, 8)) {
    case 0:
        scribble_over_queue(feed);
        break;
    case 1:
        rig->sim.bytes_wrong = feed_chance(feed, 128) ? (uint16_t)feed_take(feed, 2) : 0;
        rig->sim.errors = feed_chance(feed, 64) ? (uint8_t)feed_take(feed, 1) : 0;
        break;
    case 2:
        rig->sim.causes_kept = feed_chance(feed, 128) ? (uint32_t)feed_take(feed, 4) : 0;
        rig->sim.line_stuck = feed_chance(feed, 64);
        break;
    case 3:
        wrong_reads = feed_chance(feed, 128) ? (unsigned)feed_take(feed, 1) : 0;
        break;
    case 4:
        dgm_sime1000e_set_link(&rig->sim, feed_chance(feed, 200));
        break;
    case 5:
        nic_rig.irq = feed_chance(feed, 200) ? &rig->card.irq : NULL;
        break;
    case 6: /* the card changes its own index */
        index = (uint32_t)feed_below(feed, DGM_E1000E_ENTRIES);
        rig->sim.registers[(feed_chance(feed, 128) ? 0x2810 : 0x3810) / 4] = index;
        break;
    default:
        rig->sim.never_ends = feed_chance(feed, 32);
        rig->sim.silent = feed_chance(feed, 64);
    }
}

static void do_step(struct feed *feed)
{
    static const uint8_t packet[5000];

    switch (feed_below(feed, 8)) {
    case 0:
    case 1:
        lend_some(feed, true);
        break;
    case 2:
        lend_some(feed, false);
        break;
    case 3:
        dgm_sime1000e_send(&rig->sim, (unsigned)feed_below(feed, 40));
        break;
    case 4:
        dgm_sime1000e_receive(&rig->sim, packet, 1 + (uint32_t)feed_below(feed, 5000));
        break;
    case 5:
        misbehave_as_card(feed);
        break;
    case 6:
        e1000e_pass_ms(10 * (unsigned)feed_below(feed, 200));
        break;
    default:
        e1000e_turn();
    }
    dgm_e1000e_check(&rig->card);
}

static void check_silence(void)
{
    wrong_reads = 0;
    rig->sim.silent = true;
    dgm_sime1000e_set_link(&rig->sim, true);
    /* It may see the link only after a second; then it waits 5 s for progress, and 2 s for the end
     * of a reset. */
    for (unsigned i = 0; i < 50; i++)
        e1000e_pass_ms(250);
    for (unsigned i = 0; i < DGM_E1000E_ENTRIES; i++)
        fuzz_check(!rig->card.transmit.frames[i]);
}

void run_input(struct feed *feed)
{
    e1000e_rig_start();
    nic_rig.lies = true;
    nic_rig.resupply = feed_chance(feed, 128);
    nic_rig.env.irq_message = rig->sim.message = feed_chance(feed, 128);
    reads = feed;
    wrong_reads = feed_chance(feed, 32) ? (unsigned)feed_take(feed, 1) : 0;
    rig->change_read = change_read;
    fuzz_check(dgm_e1000e_start(&rig->card, &nic_rig.env) == DGM_OK);
    e1000e_wait_ms(100);
    while (feed->left)
        do_step(feed);
    nic_rig.nic->ops->kick(nic_rig.nic);
    check_silence();
    e1000e_rig_stop();
}
