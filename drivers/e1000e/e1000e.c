/* SPDX-License-Identifier: MIT */
/*
 * e1000e: start, reset, interrupts, link. See dragoman/drivers/e1000e.h.
 *
 * The card is reset at the start and after a time without progress, in steps of a timer, because a
 * reset may take time. Interrupts only post the task, which polls both queues: the cause does not
 * matter, and a lost interrupt costs a second. A line that stays asserted with nothing to do is
 * masked at the card, which is polled from then on.
 *
 * A card that leaves the bus, whose registers read as ones, is waited for and reset when it is
 * back, in its slot or in another one. It is recognised by its MAC address.
 */
#include <drivers/e1000e/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#define MS             1000000ull
#define RESET_POLL_NS  (10 * MS)
#define RESET_MAX_NS   (2000 * MS)
#define POLL_NS        (1000 * MS)
#define POLL_MASKED_NS (10 * MS) /* while its interrupt is masked */
#define STALL_NS       (5000 * MS)

/* --- reset --- */

static void begin_reset(struct dgm_e1000e *card)
{
    const uint64_t now_ns = dgm_env_now_ns();

    card->state = DGM_E1000E_RESETTING;
    card->nic.link = false;
    card->resets++;
    card->reset_end_ns = now_ns + RESET_MAX_NS;
    dgm_e1000e_write(card, REG_IMC, UINT32_MAX);
    dgm_e1000e_write(card, REG_RCTL, 0);
    dgm_e1000e_write(card, REG_TCTL, 0);
    dgm_e1000e_write(card, REG_CTRL, dgm_e1000e_read(card, REG_CTRL) | CTRL_RST);
    dgm_timer_arm(card->env->reactor, &card->timer, now_ns + RESET_POLL_NS);
}

static int fail_card(struct dgm_e1000e *card, int status, const char *why)
{
    card->state = DGM_E1000E_FAILED;
    return dgm_nicdev_fail(&card->nic, card->env, status, why);
}

/* The same after the start: buffers are returned. */
static void give_up(struct dgm_e1000e *card, const char *why)
{
    fail_card(card, DGM_EIO, why);
    dgm_timer_disarm(card->env->reactor, &card->timer);
    if (card->nic.client)
        dgm_e1000e_abandon(card, false);
    dgm_nicdev_tell_all(&card->nic, card->env);
}

static void lose_card(struct dgm_e1000e *card, const char *why)
{
    card->state = DGM_E1000E_LOST;
    dgm_nicdev_lose(&card->nic, card->env, &card->loss, why);
    if (card->nic.client)
        dgm_e1000e_abandon(card, true);
    dgm_nicdev_tell_client(&card->nic);
    dgm_timer_arm(card->env->reactor, &card->timer, dgm_env_now_ns() + DGM_NICDEV_SEEK_NS);
}

/* Whether the card has left the bus, or has lost its configuration there. */
static bool is_gone(const struct dgm_e1000e *card)
{
    return dgm_e1000e_read(card, REG_STATUS) == UINT32_MAX;
}

static void start_queue(struct dgm_e1000e *card, const struct dgm_e1000e_queue *queue,
                        uint32_t base)
{
    dgm_e1000e_write(card, base, (uint32_t)dgm_bus_address(queue->bus));
    dgm_e1000e_write(card, base + QUEUE_BASE_HIGH, (uint32_t)(dgm_bus_address(queue->bus) >> 32));
    dgm_e1000e_write(card, base + QUEUE_BYTES, DGM_E1000E_ENTRIES * 16);
    dgm_e1000e_write(card, base + QUEUE_HEAD, 0);
    dgm_e1000e_write(card, base + QUEUE_TAIL, 0);
}

static uint64_t read_mac(const struct dgm_e1000e *card)
{
    const uint32_t low = dgm_e1000e_read(card, REG_RAL), high = dgm_e1000e_read(card, REG_RAH);
    uint64_t mac = 0;

    for (unsigned i = 0; i < 6; i++)
        mac = mac << 8 | ((i < 4 ? low >> 8 * i : high >> 8 * (i - 4)) & 0xff);
    return mac;
}

static bool read_link(struct dgm_e1000e *card)
{
    const bool was = card->nic.link;

    card->nic.link = dgm_e1000e_read(card, REG_STATUS) & STATUS_LU;
    return card->nic.link != was;
}

static uint64_t poll_pause_ns(const struct dgm_e1000e *card)
{
    return card->line.masked ? POLL_MASKED_NS : POLL_NS;
}

/* Called when the card has ended its reset: starts its queues, with the buffers that it had
 * before. */
static void go_live(struct dgm_e1000e *card)
{
    dgm_e1000e_write(card, REG_IMC, UINT32_MAX);
    dgm_e1000e_read(card, REG_ICR);
    if (card->nic.client)
        dgm_e1000e_abandon(card, true);
    dgm_e1000e_write(card, REG_CTRL, dgm_e1000e_read(card, REG_CTRL) | CTRL_SLU);
    dgm_e1000e_write(card, REG_RXCSUM, 0);
    dgm_e1000e_write(card, REG_RFCTL, 0); /* legacy descriptors */
    dgm_e1000e_write(card, REG_ITR, 0);
    if (card->env->irq_message)
        dgm_e1000e_write(card, REG_IVAR, IVAR_VECTOR_0);
    start_queue(card, &card->receive, REG_RDBAL);
    start_queue(card, &card->transmit, REG_TDBAL);
    dgm_e1000e_write(card, REG_TXDCTL, TXDCTL_FULL_WRITE_BACK);
    dgm_e1000e_write(card, REG_TIPG, TIPG_DEFAULT);
    dgm_e1000e_write(card, REG_TCTL, TCTL_EN | TCTL_PSP | TCTL_CT | TCTL_COLD);
    dgm_e1000e_write(card, REG_RCTL, RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM | RCTL_SECRC);
    card->state = DGM_E1000E_LIVE;
    card->progress_ns = dgm_env_now_ns();
    dgm_e1000e_ring_doorbell(card, &card->receive);
    read_link(card);
    dgm_e1000e_write(card, REG_IMS, ICR_ALL);
    card->nic.ready = true;
    dgm_nicdev_works(&card->nic, card->env, &card->loss);
    dgm_timer_arm(card->env->reactor, &card->timer, card->progress_ns + poll_pause_ns(card));
    dgm_nicdev_tell_all(&card->nic, card->env);
}

/* Called when the card has ended its reset. Another card would be in another network. */
static void recognise(struct dgm_e1000e *card)
{
    const uint64_t mac = read_mac(card);

    if (!card->nic.ready || mac == card->nic.mac) {
        card->nic.mac = mac;
        go_live(card);
    } else if (dgm_nicdev_reject(&card->nic, card->env)) {
        lose_card(card, "has another card in its place");
    } else {
        give_up(card, "another card is in its place");
    }
}

static void poll_reset(struct dgm_e1000e *card)
{
    const uint32_t control = dgm_e1000e_read(card, REG_CTRL);

    if (is_gone(card))
        lose_card(card, "has left the bus");
    else if (!(control & CTRL_RST))
        recognise(card);
    else if (dgm_env_now_ns() < card->reset_end_ns)
        dgm_timer_arm(card->env->reactor, &card->timer, dgm_env_now_ns() + RESET_POLL_NS);
    else if (dgm_nicdev_may_retry(card->env, &card->loss))
        lose_card(card, "does not end its reset");
    else
        give_up(card, "it does not end its reset");
}

static void seek_card(struct dgm_e1000e *card)
{
    if (dgm_nicdev_find(card->env, &card->loss) && !is_gone(card))
        begin_reset(card);
    else
        dgm_timer_arm(card->env->reactor, &card->timer, dgm_env_now_ns() + DGM_NICDEV_SEEK_NS);
}

/* --- the task --- */

static void run_card(struct dgm_task *task)
{
    struct dgm_e1000e *card = dgm_container(task, struct dgm_e1000e, task);
    bool any;

    if (card->state != DGM_E1000E_LIVE || !card->nic.client)
        return;
    any = dgm_e1000e_collect_sent(card);
    any = dgm_e1000e_collect_received(card) || any;
    dgm_e1000e_ring_doorbell(card, &card->receive);
    dgm_e1000e_ring_doorbell(card, &card->transmit);
    if (any) {
        dgm_device_line_served(&card->line);
        dgm_nicdev_tell_client(&card->nic);
    }
}

/* Every interrupt counts as idle until run_card() finds something to do. */
static void count_interrupt(struct dgm_e1000e *card)
{
    if (dgm_nicdev_line_unserved(&card->nic, &card->line, card->env) &&
        card->state == DGM_E1000E_LIVE)
        dgm_timer_arm(card->env->reactor, &card->timer, dgm_env_now_ns() + POLL_MASKED_NS);
}

static void on_interrupt(struct dgm_irq *irq)
{
    struct dgm_e1000e *card = dgm_container(irq, struct dgm_e1000e, irq);
    const uint32_t causes = dgm_e1000e_read(card, REG_ICR);

    if (causes != 0 && causes != UINT32_MAX)
        dgm_e1000e_write(card, REG_ICR, causes);
    count_interrupt(card);
    if (causes == 0 || causes == UINT32_MAX)
        return; /* another device raised the line, or the card is gone */
    card->nic.interrupts++;
    if (card->state != DGM_E1000E_LIVE)
        return;
    if (causes & ICR_LSC && read_link(card))
        dgm_nicdev_tell_client(&card->nic);
    dgm_reactor_post(card->env->reactor, &card->task);
}

static void poll_card(struct dgm_e1000e *card)
{
    if (is_gone(card)) {
        lose_card(card, "has left the bus");
        return;
    }
    card->nic.missed += dgm_e1000e_read(card, REG_MPC);
    if (read_link(card))
        dgm_nicdev_tell_client(&card->nic);
    run_card(&card->task);
    if (card->nic.link && dgm_env_now_ns() - card->progress_ns >= STALL_NS) {
        card->nic.stalls++;
        dgm_env_log("%s: %s sends nothing; it is reset", card->env->name, card->nic.name);
        begin_reset(card);
        dgm_nicdev_tell_client(&card->nic);
        return;
    }
    dgm_timer_arm(card->env->reactor, &card->timer, dgm_env_now_ns() + poll_pause_ns(card));
}

static void excuse_absence(struct dgm_timer *timer, uint64_t absence_ns)
{
    struct dgm_e1000e *card = dgm_container(timer, struct dgm_e1000e, timer);

    dgm_device_excuse(&card->progress_ns, absence_ns);
    dgm_device_extend(&card->reset_end_ns, absence_ns);
}

static void on_timer(struct dgm_timer *timer)
{
    struct dgm_e1000e *card = dgm_container(timer, struct dgm_e1000e, timer);

    dgm_device_notice_absence(timer, true, card->env->reactor, excuse_absence);
    if (card->state == DGM_E1000E_LIVE)
        poll_card(card);
    else if (card->state == DGM_E1000E_LOST)
        seek_card(card);
    else
        poll_reset(card);
}

/* --- the operations of nicdev.h --- */

static struct dgm_e1000e *card_of(struct dgm_nicdev *nic)
{
    return dgm_container(nic, struct dgm_e1000e, nic);
}

static int e1000e_transmit(struct dgm_nicdev *nic, struct dgm_nic_frame *frame)
{
    struct dgm_e1000e *card = card_of(nic);

    dgm_assert(frame->bytes >= 14 && frame->bytes <= DGM_NIC_FRAME_BYTES_MAX);
    if (card->state != DGM_E1000E_LIVE || !nic->link)
        return DGM_EIO;
    if (card->transmit.first == card->transmit.next)
        card->progress_ns = dgm_env_now_ns();
    return dgm_e1000e_lend(card, &card->transmit, frame);
}

static int e1000e_supply(struct dgm_nicdev *nic, struct dgm_nic_frame *frame)
{
    struct dgm_e1000e *card = card_of(nic);

    return card->state == DGM_E1000E_FAILED ? DGM_EIO
                                            : dgm_e1000e_lend(card, &card->receive, frame);
}

static void e1000e_kick(struct dgm_nicdev *nic)
{
    struct dgm_e1000e *card = card_of(nic);

    dgm_e1000e_ring_doorbell(card, &card->transmit);
    dgm_e1000e_ring_doorbell(card, &card->receive);
}

static const struct dgm_nicdev_ops e1000e_ops = {
    .transmit = e1000e_transmit, .supply = e1000e_supply, .kick = e1000e_kick};

/* --- start --- */

static int take_queue(struct dgm_e1000e *card, struct dgm_e1000e_queue *queue)
{
    struct dgm_device_frame frame;
    const char *why;
    const int status = dgm_device_queue_frame(card->env, &card->env->tag, &frame, &why);

    if (status != DGM_OK)
        return fail_card(card, status, why);
    queue->entries = frame.va;
    queue->bus = frame.bus;
    return DGM_OK;
}

int dgm_e1000e_start(struct dgm_e1000e *card, struct dgm_device_env *env)
{
    int status;

    card->env = env;
    card->nic.ops = &e1000e_ops;
    card->nic.model = "Intel 82574L";
    card->nic.bytes_max = DGM_NIC_FRAME_BYTES_MAX;
    card->nic.transmit_max = DGM_E1000E_ENTRIES - 1;
    card->nic.supply_max = DGM_E1000E_SUPPLY;
    card->irq.handle = on_interrupt;
    card->task.run = run_card;
    card->timer.fire = on_timer;
    if (env->mmio_bytes < REGISTERS_BYTES)
        return fail_card(card, DGM_ENODEV, "it has too few registers");
    if (!env->tag.coherent)
        return fail_card(card, DGM_EOPNOTSUPP, "it does not see the CPU's caches");
    status = take_queue(card, &card->transmit);
    if (status == DGM_OK)
        status = take_queue(card, &card->receive);
    if (status != DGM_OK)
        return status;
    dgm_e1000e_write(card, REG_IMC, UINT32_MAX);
    status = env->irq_bind(env, &card->irq);
    if (status != DGM_OK)
        return fail_card(card, status, "its interrupt cannot be bound");
    begin_reset(card);
    return DGM_OK;
}

static int start_state(void *state, struct dgm_device_env *env)
{
    return dgm_e1000e_start(state, env);
}

const struct dgm_nic_driver dgm_e1000e_driver = {
    .name = "e1000e",
    .vendor = 0x8086,
    .ids = {0x10d3},
    .state_bytes = sizeof(struct dgm_e1000e),
    .start = start_state,
};
DGM_NIC_DRIVER(dgm_e1000e_driver);
