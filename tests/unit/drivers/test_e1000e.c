/* SPDX-License-Identifier: MIT */
/*
 * e1000e: if these fail, packets are lost or mixed up, a buffer is returned twice or never, or the
 * card accesses memory that was not lent to it.
 *
 * Our RAM's machine frames differ from its gfns, and bus addresses from both. The device may access
 * a buffer only while it is lent.
 */
#include "unit.h"

#include <dragoman/base/status.h>
#include <drivers/e1000e/e1000e.h>
#include <port/env.h>
#include <sim/devices/e1000e.h>

#define RAM      0x40000ull
#define FRAMES   600u
#define QUEUES   8u /* frames for queues; the others are buffers */
#define COLOUR   0x1230ull
#define BUS_BASE 0x700000000ull
#define MMIO     0x80000000ull
#define MS       1000000ull

static struct {
    struct dgm_p2m p2m;
    uint64_t p2m_memory[64];
    struct dgm_frames frames;
    struct dgm_reactor reactor;
    struct dgm_device_env env;
    struct dgm_sime1000e sim;
    struct dgm_e1000e card;
    struct dgm_nic_client client;
    struct dgm_irq *irq;
    uint64_t now_ns;
    struct dgm_nic_frame buffers[FRAMES];
    bool lent[FRAMES];
    unsigned sent, received, damaged, changes, on_wire, last_bytes;
    uint8_t last_byte, wire[1518];
    bool cut, resupply, irq_masked;
} rig;

static struct dgm_nicdev *card_of_rig(void)
{
    return &rig.card.nic;
}

static void pass_time(uint64_t ns)
{
    rig.now_ns += ns;
    dgm_sim_set_now_ns(rig.now_ns);
}

static uint64_t rig_read(uintptr_t address, unsigned bytes)
{
    assert_int_equal(bytes, 4);
    assert_in_range(address, MMIO, MMIO + DGM_SIME1000E_BYTES - 4);
    return dgm_sime1000e_read(&rig.sim, (uint32_t)(address - MMIO));
}

static void rig_write(uintptr_t address, uint64_t value, unsigned bytes)
{
    assert_int_equal(bytes, 4);
    assert_in_range(address, MMIO, MMIO + DGM_SIME1000E_BYTES - 4);
    dgm_sime1000e_write(&rig.sim, (uint32_t)(address - MMIO), (uint32_t)value);
}

static void *rig_memory(void *context, uint64_t bus, uint32_t bytes, bool write)
{
    assert_in_range(bus, BUS_BASE, BUS_BASE + FRAMES * 4096ull - bytes);
    const uint64_t frame = (bus - BUS_BASE) / 4096;

    assert_false(rig.cut);
    assert_true(frame < QUEUES || rig.lent[frame]);
    return (char *)dgm_env_va(dgm_gfn(RAM + frame)) + bus % 4096;
}

static void rig_sent(void *context, const void *packet, uint32_t bytes)
{
    rig.on_wire++;
    memcpy(rig.wire, packet, bytes);
    rig.last_bytes = bytes;
}

static void count_returned(struct dgm_nic_frame *frame)
{
    const size_t number = (size_t)(frame - rig.buffers);

    assert_true(number < FRAMES && rig.lent[number]);
    rig.lent[number] = false;
}

static void on_sent(struct dgm_nic_client *client, struct dgm_nic_frame *frame)
{
    count_returned(frame);
    rig.sent++;
}

static void lend_buffer(struct dgm_nic_frame *frame, bool transmit, int expected)
{
    const size_t number = (size_t)(frame - rig.buffers);

    rig.lent[number] = true;
    const int status = transmit ? card_of_rig()->ops->transmit(card_of_rig(), frame)
                                : card_of_rig()->ops->supply(card_of_rig(), frame);
    assert_int_equal(status, expected);
    if (status != DGM_OK)
        rig.lent[number] = false;
}

static void on_received(struct dgm_nic_client *client, struct dgm_nic_frame *frame, int status)
{
    count_returned(frame);
    rig.received += status == DGM_OK;
    rig.damaged += status != DGM_OK;
    rig.last_bytes = frame->bytes;
    if (status == DGM_OK)
        rig.last_byte = ((uint8_t *)dgm_env_va(frame->gfn))[frame->bytes - 1];
    if (rig.resupply)
        lend_buffer(frame, false, DGM_OK);
}

static void on_changed(struct dgm_nic_client *client)
{
    rig.changes++;
    dgm_e1000e_check(&rig.card);
}

static int bind_interrupt(struct dgm_device_env *env, struct dgm_irq *irq)
{
    rig.irq = irq;
    return DGM_OK;
}

static void stop_dma(struct dgm_device_env *env)
{
    rig.cut = true;
}

static bool mask_interrupt(struct dgm_device_env *env, bool mask)
{
    if (mask && !dgm_sime1000e_line(&rig.sim))
        return false;
    rig.irq_masked = mask;
    return true;
}

static void run_turn(void)
{
    if (rig.irq && !rig.irq_masked && dgm_sime1000e_line(&rig.sim)) {
        rig.irq->handle(rig.irq);
        assert_true(rig.sim.line_stuck || !dgm_sime1000e_line(&rig.sim)); /* the cause is gone */
    }
    while (dgm_reactor_turn(&rig.reactor)) {
    }
}

/* Lets time pass, from one timer to the next. */
static void wait_ms(unsigned ms)
{
    for (unsigned i = 0; i < ms; i += 10) {
        pass_time(10 * MS);
        run_turn();
    }
}

static int start(void **state)
{
    const struct dgm_ram_bank bank = {{RAM}, {RAM + COLOUR}, FRAMES, NULL};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{0x800000}, 16});
    static const struct dgm_sim_machine machine = {.mmio_read = rig_read, .mmio_write = rig_write};

    memset(&rig, 0, sizeof rig);
    dgm_sim_attach(&machine);
    dgm_sim_log_clear();
    dgm_sim_memory(dgm_gfn(RAM), FRAMES);
    pass_time(MS);
    assert_int_equal(dgm_p2m_init(&rig.p2m, &bank, 1, &window, rig.p2m_memory), 0);
    dgm_frames_init(&rig.frames);
    dgm_frames_add(&rig.frames, (struct dgm_gfn_range){{RAM}, QUEUES});
    dgm_reactor_init(&rig.reactor);
    for (unsigned i = 0; i < FRAMES; i++)
        rig.buffers[i].gfn = dgm_gfn(RAM + i);
    rig.sim.memory = rig_memory;
    rig.sim.sent = rig_sent;
    rig.sim.mac = 0x525400123456ull;
    rig.sim.link = true;
    dgm_sime1000e_init(&rig.sim);
    rig.client =
        (struct dgm_nic_client){.sent = on_sent, .received = on_received, .changed = on_changed};
    card_of_rig()->client = &rig.client;
    rig.env = (struct dgm_device_env){
        .name = "pci 00:02.0",
        .mmio = (volatile void *)(uintptr_t)MMIO,
        .mmio_bytes = DGM_SIME1000E_BYTES,
        .tag = {.windows = {{(RAM + COLOUR) * 4096, BUS_BASE, FRAMES * 4096ull}},
                .window_count = 1,
                .mask = UINT64_MAX,
                .coherent = true},
        .reactor = &rig.reactor,
        .frames = &rig.frames,
        .p2m = &rig.p2m,
        .irq_bind = bind_interrupt,
        .irq_mask = mask_interrupt,
        .dma_stop = stop_dma,
    };
    return 0;
}

static int stop(void **state)
{
    unsigned lent = 0;

    dgm_e1000e_check(&rig.card);
    for (unsigned i = 0; i < FRAMES; i++)
        lent += rig.lent[i];
    for (unsigned i = 0; i < DGM_E1000E_ENTRIES; i++)
        lent -= (rig.card.transmit.frames[i] != NULL) + (rig.card.receive.frames[i] != NULL);
    assert_int_equal(lent, 0); /* the driver has a record of each buffer */
    dgm_sim_attach(NULL);
    dgm_sim_memory(dgm_gfn(0), 0);
    return 0;
}

static void attach_card(void)
{
    assert_int_equal(dgm_e1000e_start(&rig.card, &rig.env), DGM_OK);
    wait_ms(50);
    assert_true(card_of_rig()->ready && card_of_rig()->link && !card_of_rig()->failed);
}

static void supply_all(void)
{
    for (unsigned i = 0; i < DGM_E1000E_SUPPLY; i++)
        lend_buffer(&rig.buffers[QUEUES + i], false, DGM_OK);
    card_of_rig()->ops->kick(card_of_rig());
}

static struct dgm_nic_frame *to_send(unsigned index, uint16_t bytes)
{
    struct dgm_nic_frame *frame = &rig.buffers[200 + index];

    frame->bytes = bytes;
    memset(dgm_env_va(frame->gfn), (int)index, bytes);
    return frame;
}

/* Fails: the card is not reset, or its address is read wrong. */
static void a_card_starts_without_bus_mastering(void **state)
{
    attach_card();
    assert_true(card_of_rig()->mac == rig.sim.mac);
    assert_int_equal(rig.sim.resets, 1);
    assert_true(rig.changes > 0);
}

/* Fails: packets are lost, sent twice, out of order, or not returned. Over many laps. */
static void packets_are_sent_in_order(void **state)
{
    unsigned count = 0;

    attach_card();
    for (unsigned lap = 0; lap < 10; lap++) {
        for (unsigned i = 0; i < 100; i++)
            lend_buffer(to_send(i, (uint16_t)(14 + 15 * i)), true, DGM_OK);
        card_of_rig()->ops->kick(card_of_rig());
        for (unsigned i = 0; i < 100; i++) {
            assert_int_equal(dgm_sime1000e_send(&rig.sim, 1), 1);
            assert_int_equal(rig.last_bytes, 14 + 15 * i);
            assert_int_equal(rig.wire[rig.last_bytes - 1], i);
            run_turn();
            assert_int_equal(rig.sent, ++count);
        }
    }
    assert_int_equal(rig.on_wire, 1000);
    assert_int_equal(card_of_rig()->sent, 1000);
}

/* Fails: a full queue overruns. */
static void a_full_queue_returns_eagain(void **state)
{
    attach_card();
    for (unsigned i = 0; i < card_of_rig()->transmit_max; i++)
        lend_buffer(to_send(i, 60), true, DGM_OK);
    lend_buffer(to_send(300, 60), true, DGM_EAGAIN);
    supply_all();
    lend_buffer(&rig.buffers[199], false, DGM_EAGAIN);
    card_of_rig()->ops->kick(card_of_rig());
    assert_int_equal(dgm_sime1000e_send(&rig.sim, 1000), card_of_rig()->transmit_max);
    run_turn();
    assert_int_equal(rig.sent, card_of_rig()->transmit_max);
}

/* Fails: the card gets a wrong address for a buffer that it cannot reach. */
static void unreachable_buffers_are_refused(void **state)
{
    const uint64_t mask = rig.env.tag.mask;

    attach_card();
    rig.env.tag.mask = UINT32_MAX; /* the window lies above 4 GiB */
    lend_buffer(to_send(0, 60), true, DGM_ERANGE);
    lend_buffer(&rig.buffers[199], false, DGM_ERANGE);
    rig.env.tag.mask = mask;
    card_of_rig()->ops->kick(card_of_rig());
    assert_int_equal(dgm_sime1000e_send(&rig.sim, 1), 0);
}

/* Fails: received packets are lost or cut. */
static void packets_are_received_in_order(void **state)
{
    uint8_t packet[1518];

    attach_card();
    supply_all();
    rig.resupply = true;
    for (unsigned i = 0; i < 1000; i++) {
        const uint32_t bytes = 60 + i % 1459;

        memset(packet, (int)i & 0xff, sizeof packet);
        assert_true(dgm_sime1000e_receive(&rig.sim, packet, bytes));
        run_turn();
        assert_int_equal(rig.received, i + 1);
        assert_int_equal(rig.last_bytes, bytes);
        assert_int_equal(rig.last_byte, i & 0xff);
    }
}

/* Fails: a damaged packet, a part of one, or an impossible length is taken for a packet. */
static void refuses_damaged(void **state)
{
    static const uint8_t packet[5000];

    attach_card();
    supply_all();
    rig.sim.errors = 1;
    assert_true(dgm_sime1000e_receive(&rig.sim, packet, 100));
    rig.sim.errors = 0;
    assert_true(dgm_sime1000e_receive(&rig.sim, packet, 5000)); /* in three buffers */
    assert_true(dgm_sime1000e_receive(&rig.sim, packet, 1519));
    rig.sim.bytes_wrong = 5;
    assert_true(dgm_sime1000e_receive(&rig.sim, packet, 100));
    rig.sim.bytes_wrong = 65535;
    assert_true(dgm_sime1000e_receive(&rig.sim, packet, 100));
    rig.sim.bytes_wrong = 0;
    run_turn();
    assert_int_equal(rig.received, 0);
    assert_int_equal(rig.damaged, 7);
    assert_int_equal(card_of_rig()->bogus, 3);
    assert_true(dgm_sime1000e_receive(&rig.sim, packet, 100));
    run_turn();
    assert_int_equal(rig.received, 1);
}

/* Fails: a lost interrupt stops the card, or missed packets are not counted. */
static void needs_no_interrupt(void **state)
{
    static const uint8_t packet[100];
    struct dgm_irq *irq;

    attach_card();
    supply_all();
    for (unsigned i = 0; i < 200; i++)
        dgm_sime1000e_receive(&rig.sim, packet, 100);
    irq = rig.irq;
    rig.irq = NULL;
    wait_ms(1100);
    assert_int_equal(rig.received, DGM_E1000E_SUPPLY);
    assert_int_equal(card_of_rig()->missed, 200 - DGM_E1000E_SUPPLY);
    rig.irq = irq;
}

/* Fails: the line is masked because another device asserts it, or because there is much to do; or
 * it stays asserted, with a cause that cannot be cleared or with none, and no other device is
 * served; or packets wait for seconds while it is masked. */
static void masks_only_a_stuck_line(void **state)
{
    static const uint8_t packet[100];
    unsigned turns = 0;

    attach_card();
    supply_all();
    rig.resupply = true;
    for (unsigned i = 0; i < 1000; i++)
        rig.irq->handle(rig.irq);
    rig.sim.line_stuck = true; /* or the next packet is there already */
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(dgm_sime1000e_receive(&rig.sim, packet, 100));
        run_turn();
    }
    assert_false(rig.irq_masked);
    for (; !rig.irq_masked && turns < 1000; turns++) {
        rig.sim.causes_kept = turns % 2;
        run_turn();
    }
    assert_in_range(turns, 50, 150);
    assert_int_equal(dgm_sim_logged("masked, and polled"), 1);
    assert_true(dgm_sime1000e_receive(&rig.sim, packet, 100));
    wait_ms(20);
    assert_int_equal(rig.received, 1001);
}

/* Fails: without link packets accumulate, or the return of the link is not detected. */
static void follows_the_link(void **state)
{
    attach_card();
    dgm_sime1000e_set_link(&rig.sim, false);
    run_turn();
    assert_false(card_of_rig()->link);
    lend_buffer(to_send(0, 60), true, DGM_EIO);
    dgm_sime1000e_set_link(&rig.sim, true);
    run_turn();
    assert_true(card_of_rig()->link);
    lend_buffer(to_send(0, 60), true, DGM_OK);
    card_of_rig()->ops->kick(card_of_rig());
    assert_int_equal(dgm_sime1000e_send(&rig.sim, 9), 1);
}

/* Fails: a card that makes no progress keeps its buffers, or does not work again. */
static void resets_a_silent_card(void **state)
{
    static const uint8_t packet[100];

    attach_card();
    supply_all();
    rig.resupply = true;
    wait_ms(20000); /* nothing to send is no silence */
    assert_int_equal(card_of_rig()->stalls, 0);
    rig.sim.silent = true;
    lend_buffer(to_send(0, 60), true, DGM_OK);
    card_of_rig()->ops->kick(card_of_rig());
    wait_ms(7000);
    assert_int_equal(card_of_rig()->stalls, 1);
    assert_int_equal(rig.sent, 1);
    rig.sim.silent = false;
    assert_true(card_of_rig()->link);
    lend_buffer(to_send(1, 60), true, DGM_OK);
    card_of_rig()->ops->kick(card_of_rig());
    assert_int_equal(dgm_sime1000e_send(&rig.sim, 9), 1);
    for (unsigned i = 0; i < 300; i++) {
        assert_true(dgm_sime1000e_receive(&rig.sim, packet, 100));
        run_turn();
    }
    assert_int_equal(rig.received, 300);
    assert_int_equal(rig.sent, 2);
}

/* Fails: a card that cannot be reset keeps its buffers, or still reaches memory. */
static void fails_permanently(void **state)
{
    attach_card();
    supply_all();
    rig.sim.silent = rig.sim.never_ends = true;
    lend_buffer(to_send(0, 60), true, DGM_OK);
    card_of_rig()->ops->kick(card_of_rig());
    wait_ms(10000);
    assert_true(card_of_rig()->failed && rig.cut);
    assert_int_equal(rig.sent, 1);
    assert_int_equal(rig.damaged, DGM_E1000E_SUPPLY);
    lend_buffer(to_send(1, 60), true, DGM_EIO);
    lend_buffer(&rig.buffers[QUEUES], false, DGM_EIO);
}

/* Fails: an unusable card is used. */
static void refuses_unusable(void **state)
{
    struct dgm_device_env env = rig.env;

    rig.env.tag.coherent = false;
    assert_int_equal(dgm_e1000e_start(&rig.card, &rig.env), DGM_EOPNOTSUPP);
    rig.env = env;
    rig.env.mmio_bytes = 0x1000;
    assert_int_equal(dgm_e1000e_start(&rig.card, &rig.env), DGM_ENODEV);
    rig.env = env;
    rig.env.tag.mask = UINT32_MAX; /* the window lies above 4 GiB */
    assert_int_equal(dgm_e1000e_start(&rig.card, &rig.env), DGM_ERANGE);
    assert_true(card_of_rig()->failed && !card_of_rig()->ready && rig.cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_card_starts_without_bus_mastering, start, stop),
        cmocka_unit_test_setup_teardown(packets_are_sent_in_order, start, stop),
        cmocka_unit_test_setup_teardown(a_full_queue_returns_eagain, start, stop),
        cmocka_unit_test_setup_teardown(unreachable_buffers_are_refused, start, stop),
        cmocka_unit_test_setup_teardown(packets_are_received_in_order, start, stop),
        cmocka_unit_test_setup_teardown(refuses_damaged, start, stop),
        cmocka_unit_test_setup_teardown(needs_no_interrupt, start, stop),
        cmocka_unit_test_setup_teardown(masks_only_a_stuck_line, start, stop),
        cmocka_unit_test_setup_teardown(follows_the_link, start, stop),
        cmocka_unit_test_setup_teardown(resets_a_silent_card, start, stop),
        cmocka_unit_test_setup_teardown(fails_permanently, start, stop),
        cmocka_unit_test_setup_teardown(refuses_unusable, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
