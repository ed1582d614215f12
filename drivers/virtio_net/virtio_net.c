/* SPDX-License-Identifier: MIT */
/*
 * virtio_net: start, reset, interrupts, link. See dragoman/drivers/virtio_net.h.
 *
 * The card is reset at the start, when it demands it, after it returned what it does not have, and
 * after a time without progress, in steps of a timer, because a reset may take time. Interrupts
 * only post the task, which polls both queues. By message the cause is not known: a task that finds
 * both queues empty reads the card's status, because it was posted for a change of that. A line
 * that stays asserted without a cause is masked at the card, which is polled from then on.
 *
 * A card that leaves the bus, whose registers read as ones, is waited for and reset when it is
 * back, in its slot or in another one. It is recognised by its MAC address.
 */
#include <drivers/virtio_net/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/pause.h>
#include <dragoman/base/status.h>
#include <port/arch.h>

#define MS             1000000ull
#define RESET_POLL_NS  (10 * MS)
#define RESET_MAX_NS   (2000 * MS)
#define POLL_NS        (1000 * MS)
#define POLL_MASKED_NS (10 * MS) /* while its interrupt is masked */
#define STALL_NS       (5000 * MS)
#define RESETS_MAX     16u /* without a packet in between */

static const struct dgm_pauses reset_pauses = {.first_ns = RESET_POLL_NS, .last_ns = 5120 * MS};

static volatile char *status_register(const struct dgm_virtio_net *card)
{
    return (volatile char *)card->common.at + COMMON_STATUS;
}

/* --- reset --- */

static int fail_card(struct dgm_virtio_net *card, int status, const char *why)
{
    card->state = DGM_VIRTIO_NET_FAILED;
    return dgm_nicdev_fail(&card->nic, card->env, status, why);
}

/* The same after the start: buffers are returned. */
static void give_up(struct dgm_virtio_net *card, const char *why)
{
    fail_card(card, DGM_EIO, why);
    dgm_timer_disarm(card->env->reactor, &card->timer);
    if (card->nic.client)
        dgm_virtio_abandon(card, false);
    dgm_nicdev_tell_all(&card->nic, card->env);
}

static void lose_card(struct dgm_virtio_net *card, const char *why)
{
    card->state = DGM_VIRTIO_NET_LOST;
    card->resets_in_row = 0;
    dgm_nicdev_lose(&card->nic, card->env, &card->loss, why);
    if (card->nic.client)
        dgm_virtio_abandon(card, true);
    dgm_nicdev_tell_client(&card->nic);
    dgm_timer_arm(card->env->reactor, &card->timer, dgm_env_now_ns() + DGM_NICDEV_SEEK_NS);
}

/* 2.4: the reset ends when the status reads 0. */
static void begin_reset(struct dgm_virtio_net *card)
{
    uint64_t next_ns;

    if (card->resets_in_row == RESETS_MAX) {
        give_up(card, "it does not work after a reset");
        return;
    }
    next_ns = dgm_env_now_ns() + dgm_pause_after_ns(reset_pauses, ++card->resets_in_row);
    card->state = DGM_VIRTIO_NET_RESETTING;
    card->nic.link = false;
    card->broken = false;
    card->resets++;
    card->reset_end_ns = next_ns + RESET_MAX_NS;
    dgm_arch_mmio_write8(status_register(card), 0);
    dgm_timer_arm(card->env->reactor, &card->timer, next_ns);
}

static void reset_card(struct dgm_virtio_net *card, const char *why)
{
    dgm_env_log("%s: %s %s; it is reset", card->env->name, card->nic.name, why);
    begin_reset(card);
    dgm_nicdev_tell_client(&card->nic);
}

static bool read_link(struct dgm_virtio_net *card)
{
    const bool was = card->nic.link;

    card->nic.link = true;
    if (card->features & FEATURE_STATUS)
        card->nic.link = dgm_arch_mmio_read16((volatile char *)card->device.at + NET_STATUS) &
                         NET_STATUS_LINK_UP;
    return card->nic.link != was;
}

static uint64_t poll_pause_ns(const struct dgm_virtio_net *card)
{
    return card->line.masked ? POLL_MASKED_NS : POLL_NS;
}

/* Called when the card has ended its reset: starts its queues, with the buffers that it had
 * before. */
static void go_live(struct dgm_virtio_net *card)
{
    const char *why = dgm_virtio_negotiate(card);

    if (!why && card->nic.client)
        dgm_virtio_abandon(card, true);
    if (!why)
        why = dgm_virtio_start_queues(card);
    if (why) {
        dgm_arch_mmio_write8(status_register(card), 0);
        if (dgm_nicdev_reject(&card->nic, card->env))
            lose_card(card, "has another card in its place");
        else
            give_up(card, why);
        return;
    }
    card->nic.transmit_max = card->transmit.size / 2;
    card->nic.supply_max = card->receive.size / 2;
    card->state = DGM_VIRTIO_NET_LIVE;
    card->progress_ns = dgm_env_now_ns();
    dgm_virtio_publish(card, &card->receive);
    read_link(card);
    card->nic.ready = true;
    dgm_nicdev_works(&card->nic, card->env, &card->loss);
    dgm_timer_arm(card->env->reactor, &card->timer, card->progress_ns + poll_pause_ns(card));
    dgm_nicdev_tell_all(&card->nic, card->env);
}

static void poll_reset(struct dgm_virtio_net *card)
{
    const uint8_t status = dgm_arch_mmio_read8(status_register(card));

    if (status == STATUS_GONE)
        lose_card(card, "has left the bus");
    else if (status == 0)
        go_live(card);
    else if (dgm_env_now_ns() < card->reset_end_ns)
        dgm_timer_arm(card->env->reactor, &card->timer, dgm_env_now_ns() + RESET_POLL_NS);
    else if (dgm_nicdev_may_retry(card->env, &card->loss))
        lose_card(card, "does not end its reset");
    else
        give_up(card, "it does not end its reset");
}

static void seek_card(struct dgm_virtio_net *card)
{
    if (dgm_nicdev_find(card->env, &card->loss) &&
        dgm_arch_mmio_read8(status_register(card)) != STATUS_GONE)
        begin_reset(card);
    else
        dgm_timer_arm(card->env->reactor, &card->timer, dgm_env_now_ns() + DGM_NICDEV_SEEK_NS);
}

/* --- the task --- */

/* Reads status and link. False: the card is being reset. */
static bool poll_status(struct dgm_virtio_net *card)
{
    const uint8_t status = dgm_arch_mmio_read8(status_register(card));

    card->status_due = false;
    if (status == STATUS_GONE) {
        lose_card(card, "has left the bus");
        return false;
    }
    if (status & STATUS_NEEDS_RESET || !(status & STATUS_DRIVER_OK)) {
        reset_card(card,
                   status & STATUS_NEEDS_RESET ? "needs a reset" : "has forgotten its driver");
        return false;
    }
    if (read_link(card))
        dgm_nicdev_tell_client(&card->nic);
    return true;
}

static void run_card(struct dgm_task *task)
{
    struct dgm_virtio_net *card = dgm_container(task, struct dgm_virtio_net, task);
    bool any = false, more;

    if (card->state != DGM_VIRTIO_NET_LIVE)
        return;
    if (card->nic.client) {
        any = dgm_virtio_collect_sent(card);
        any = dgm_virtio_collect_received(card) || any;
        dgm_virtio_publish(card, &card->receive);
        dgm_virtio_publish(card, &card->transmit);
    }
    if (any) {
        card->resets_in_row = 0;
        dgm_device_line_served(&card->line);
        dgm_nicdev_tell_client(&card->nic);
    }
    if (card->broken) {
        reset_card(card, "returned a buffer that it did not have");
        return;
    }
    if ((card->status_due || !any) && !poll_status(card))
        return;
    more = dgm_virtio_arm(card, &card->receive);
    more = dgm_virtio_arm(card, &card->transmit) || more;
    if (more && card->nic.client)
        dgm_reactor_post(card->env->reactor, &card->task);
}

/* Every interrupt counts as idle until run_card() finds something to do. */
static void count_interrupt(struct dgm_virtio_net *card)
{
    if (dgm_nicdev_line_unserved(&card->nic, &card->line, card->env) &&
        card->state == DGM_VIRTIO_NET_LIVE)
        dgm_timer_arm(card->env->reactor, &card->timer, dgm_env_now_ns() + POLL_MASKED_NS);
}

static void on_interrupt(struct dgm_irq *irq)
{
    struct dgm_virtio_net *card = dgm_container(irq, struct dgm_virtio_net, irq);

    if (!card->env->irq_message) {
        const uint8_t causes = dgm_arch_mmio_read8(card->isr.at);

        count_interrupt(card);
        if (causes == 0 || causes == UINT8_MAX)
            return; /* another device raised the line, or the card is gone */
        card->status_due = card->status_due || (causes & ISR_CONFIGURATION);
    }
    card->nic.interrupts++;
    dgm_reactor_post(card->env->reactor, &card->task);
}

/* A doorbell or an interrupt may have been lost, so both are made up for. */
static void poll_card(struct dgm_virtio_net *card)
{
    card->status_due = true;
    run_card(&card->task);
    if (card->state != DGM_VIRTIO_NET_LIVE)
        return;
    if (card->nic.link && dgm_env_now_ns() - card->progress_ns >= STALL_NS) {
        card->nic.stalls++;
        card->resets_in_row = 0; /* its wire may be blocked, as long as it takes */
        reset_card(card, "sends nothing");
        return;
    }
    if (dgm_virtio_in_flight(&card->transmit))
        dgm_virtio_ring_doorbell(&card->transmit);
    if (dgm_virtio_in_flight(&card->receive))
        dgm_virtio_ring_doorbell(&card->receive);
    dgm_timer_arm(card->env->reactor, &card->timer, dgm_env_now_ns() + poll_pause_ns(card));
}

static void excuse_absence(struct dgm_timer *timer, uint64_t absence_ns)
{
    struct dgm_virtio_net *card = dgm_container(timer, struct dgm_virtio_net, timer);

    dgm_device_excuse(&card->progress_ns, absence_ns);
    dgm_device_extend(&card->reset_end_ns, absence_ns);
}

static void on_timer(struct dgm_timer *timer)
{
    struct dgm_virtio_net *card = dgm_container(timer, struct dgm_virtio_net, timer);

    dgm_device_notice_absence(timer, true, card->env->reactor, excuse_absence);
    if (card->state == DGM_VIRTIO_NET_LIVE)
        poll_card(card);
    else if (card->state == DGM_VIRTIO_NET_LOST)
        seek_card(card);
    else
        poll_reset(card);
}

/* --- the operations of nicdev.h --- */

static struct dgm_virtio_net *card_of(struct dgm_nicdev *nic)
{
    return dgm_container(nic, struct dgm_virtio_net, nic);
}

static int virtio_net_transmit(struct dgm_nicdev *nic, struct dgm_nic_frame *frame)
{
    struct dgm_virtio_net *card = card_of(nic);

    dgm_assert(frame->mss ? (frame->ip == 4 ? nic->cuts_ip4 : nic->cuts_ip6)
                          : frame->bytes >= 14 && frame->bytes <= nic->bytes_max);
    if (card->state != DGM_VIRTIO_NET_LIVE || !nic->link)
        return DGM_EIO;
    if (dgm_virtio_in_flight(&card->transmit) == 0)
        card->progress_ns = dgm_env_now_ns();
    return dgm_virtio_lend(card, &card->transmit, frame);
}

static int virtio_net_supply(struct dgm_nicdev *nic, struct dgm_nic_frame *frame)
{
    struct dgm_virtio_net *card = card_of(nic);

    return card->state == DGM_VIRTIO_NET_FAILED ? DGM_EIO
                                                : dgm_virtio_lend(card, &card->receive, frame);
}

static void virtio_net_kick(struct dgm_nicdev *nic)
{
    struct dgm_virtio_net *card = card_of(nic);

    dgm_virtio_publish(card, &card->transmit);
    dgm_virtio_publish(card, &card->receive);
}

static const struct dgm_nicdev_ops virtio_net_ops = {
    .transmit = virtio_net_transmit, .supply = virtio_net_supply, .kick = virtio_net_kick};

/* --- start --- */

static int take_queue(struct dgm_virtio_net *card, struct dgm_virtio_queue *queue, uint16_t number)
{
    enum { DESCRIPTORS, RINGS, HEADERS, FRAMES };
    struct dgm_device_frame frames[FRAMES];

    for (unsigned i = 0; i < FRAMES; i++) {
        const char *why;
        const int status = dgm_device_queue_frame(card->env, &card->env->tag, &frames[i], &why);

        if (status != DGM_OK)
            return fail_card(card, status, why);
    }
    queue->number = number;
    queue->descriptors = frames[DESCRIPTORS].va;
    queue->descriptors_bus = frames[DESCRIPTORS].bus;
    queue->available = frames[RINGS].va;
    queue->used = (volatile void *)((char *)frames[RINGS].va + USED_OFFSET);
    queue->rings_bus = frames[RINGS].bus;
    queue->headers = frames[HEADERS].va;
    queue->headers_bus = frames[HEADERS].bus;
    return DGM_OK;
}

int dgm_virtio_net_start(struct dgm_virtio_net *card, struct dgm_device_env *env)
{
    int status;

    card->env = env;
    card->nic.ops = &virtio_net_ops;
    card->nic.model = "virtio";
    card->nic.bytes_max = DGM_NIC_FRAME_BYTES_MAX;
    card->irq.handle = on_interrupt;
    card->task.run = run_card;
    card->timer.fire = on_timer;
    if (dgm_virtio_find_regions(card) != DGM_OK)
        return fail_card(card, DGM_ENODEV, "a structure of virtio 1 is missing or invalid");
    if (!env->tag.coherent)
        return fail_card(card, DGM_EOPNOTSUPP, "it does not see the CPU's caches");
    status = take_queue(card, &card->receive, 0);
    if (status == DGM_OK)
        status = take_queue(card, &card->transmit, 1);
    if (status != DGM_OK)
        return status;
    status = env->irq_bind(env, &card->irq);
    if (status != DGM_OK)
        return fail_card(card, status, "its interrupt cannot be bound");
    begin_reset(card);
    return DGM_OK;
}

static int start_state(void *state, struct dgm_device_env *env)
{
    return dgm_virtio_net_start(state, env);
}

const struct dgm_nic_driver dgm_virtio_net_driver = {
    .name = "virtio_net",
    .vendor = 0x1af4,
    .ids = {0x1041, 0x1000}, /* the second one has the legacy interface beside that of version 1 */
    .state_bytes = sizeof(struct dgm_virtio_net),
    .start = start_state,
};
DGM_NIC_DRIVER(dgm_virtio_net_driver);
