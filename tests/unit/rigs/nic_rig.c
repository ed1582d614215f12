/* SPDX-License-Identifier: MIT */
/* nic_rig: see nic_rig.h. */
#include "nic_rig.h"

#define COLOUR   0x1230ull
#define BUS_BASE 0x700000000ull

struct nic_rig nic_rig;

void *nic_rig_memory(void *context, uint64_t bus, uint32_t bytes, bool write)
{
    static uint8_t elsewhere[65536];
    const uint64_t frame = (bus - BUS_BASE) / 4096;

    if (nic_rig.lies &&
        (nic_rig.cut || frame >= NIC_FRAMES || (frame >= NIC_QUEUES && !nic_rig.lent[frame]) ||
         bus % 4096 + bytes > 4096))
        return elsewhere;
    assert_in_range(bus, BUS_BASE, BUS_BASE + NIC_FRAMES * 4096ull - bytes);
    assert_false(nic_rig.cut);
    assert_true(frame < NIC_QUEUES || nic_rig.lent[frame]);
    assert_true(bus % 4096 + bytes <= 4096);
    return (char *)dgm_env_va(dgm_gfn(NIC_RAM + frame)) + bus % 4096;
}

void nic_rig_on_wire(const void *packet, uint32_t bytes)
{
    nic_rig.on_wire++;
    memcpy(nic_rig.wire, packet, bytes);
    nic_rig.last_bytes = bytes;
}

/* --- the client --- */

static void count_returned(struct dgm_nic_frame *frame)
{
    const size_t number = (size_t)(frame - nic_rig.buffers);

    assert_true(number < NIC_FRAMES && nic_rig.lent[number]);
    nic_rig.lent[number] = false;
}

static void on_sent(struct dgm_nic_client *client, struct dgm_nic_frame *frame)
{
    count_returned(frame);
    nic_rig.sent++;
}

int nic_lend(struct dgm_nic_frame *frame, bool transmit)
{
    const size_t number = (size_t)(frame - nic_rig.buffers);
    struct dgm_nicdev *nic = nic_rig.nic;
    int status;

    nic_rig.lent[number] = true;
    status = transmit ? nic->ops->transmit(nic, frame) : nic->ops->supply(nic, frame);
    if (status != DGM_OK)
        nic_rig.lent[number] = false;
    return status;
}

static void on_received(struct dgm_nic_client *client, struct dgm_nic_frame *frame, int status)
{
    count_returned(frame);
    dgm_reactor_work(&nic_rig.reactor, nic_rig.received_work);
    nic_rig.received += status == DGM_OK;
    nic_rig.damaged += status != DGM_OK;
    nic_rig.last_bytes = frame->bytes;
    if (status == DGM_OK) {
        assert_in_range(frame->bytes, 14, DGM_NIC_FRAME_BYTES_MAX);
        nic_rig.last_byte = ((uint8_t *)dgm_env_va(frame->gfn))[frame->bytes - 1];
    }
    if (nic_rig.resupply) {
        status = nic_lend(frame, false);
        assert_true(status == DGM_OK || nic_rig.lies);
    }
}

static void on_changed(struct dgm_nic_client *client)
{
    nic_rig.changes++;
    nic_rig.check();
}

struct dgm_nic_frame *nic_to_send(unsigned index, uint16_t bytes)
{
    struct dgm_nic_frame *frame = &nic_rig.buffers[NIC_SEND + index];

    frame->bytes = bytes;
    memset(dgm_env_va(frame->gfn), (int)index, bytes);
    return frame;
}

/* --- the machine --- */

static int bind_interrupt(struct dgm_device_env *env, struct dgm_irq *irq)
{
    nic_rig.irq = irq;
    return DGM_OK;
}

static void stop_dma(struct dgm_device_env *env)
{
    nic_rig.cut = true;
}

static int restore_card(struct dgm_device_env *env)
{
    nic_rig.restores++;
    if (nic_rig.away)
        return DGM_EAGAIN;
    nic_rig.cleared = nic_rig.cut = false;
    return DGM_OK;
}

bool nic_reject(struct dgm_device_env *env)
{
    nic_rig.rejects++;
    nic_rig.away = true;
    return true;
}

bool nic_responds(void)
{
    return !nic_rig.away && !nic_rig.cleared;
}

void nic_rig_advance_ms(unsigned ms)
{
    nic_rig.now_ns += ms * NIC_MS;
    dgm_sim_set_now_ns(nic_rig.now_ns);
}

void nic_rig_check_run(const struct nic_ways *ways)
{
    enum { COUNT = 100, EACH = 5 };

    nic_rig.received_work = EACH;
    nic_rig.reactor.run_work_max = 0;
    for (unsigned i = 0; i < COUNT; i++)
        ways->receive_one();
    ways->turn();
    assert_int_equal(nic_rig.received, COUNT);
    assert_in_range(nic_rig.reactor.run_work_max, DGM_RUN_WORK, DGM_RUN_WORK + EACH - 1);
}

void nic_rig_check_loss(const struct nic_ways *ways)
{
    static const unsigned ms[] = {10, 1500, 30000, 600000};
    struct dgm_nicdev *nic = nic_rig.nic;
    unsigned writes;

    nic_rig.resupply = true;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(nic_lend(nic_to_send(i, 60), true), DGM_OK);
        nic->ops->kick(nic);
        ways->power_off(nic->mac);
        nic_rig.away = nic_rig.cleared = true;
        ways->wait_ms(ms[i]);
        assert_true(!nic->failed && nic->link == (i == 0) && nic_rig.cut == (i > 0));
        assert_int_equal(nic_rig.sent, 2 * i + (i > 0));
        writes = nic_rig.writes_lost;
        for (unsigned k = 0; k < 4 && i > 0; k++)
            (void)nic_lend(&nic_rig.buffers[NIC_SEND - 1 - k], false);
        nic->ops->kick(nic);
        assert_true(i == 0 || nic_rig.writes_lost == writes);
        nic_rig.away = false;
        ways->wait_ms(2100); /* a poll, and a search */
        assert_true(nic->link && nic_responds());
        assert_int_equal(nic_rig.sent, 2 * i + 1);
        ways->send_one(10 + i);
        ways->receive_one();
        ways->turn();
        assert_int_equal(nic_rig.received, i + 1);
    }
    assert_int_equal(dgm_sim_logged("has left the bus; it is waited for"), 4);
    assert_int_equal(dgm_sim_logged("works again"), 4);
    assert_int_equal(nic->missed, 0);
}

void nic_rig_check_jump(const struct nic_ways *ways)
{
    struct dgm_nicdev *nic = nic_rig.nic;

    assert_int_equal(nic_lend(nic_to_send(0, 60), true), DGM_OK);
    nic->ops->kick(nic);
    ways->wait_ms(1100);
    nic_rig_advance_ms(60000);
    ways->turn();
    assert_int_equal(nic->stalls, 0);
    ways->wait_ms(7000);
    assert_int_equal(nic->stalls, 1);
}

void nic_rig_check_another(const struct nic_ways *ways)
{
    struct dgm_nicdev *nic = nic_rig.nic;
    const uint64_t mac = nic->mac;

    nic_rig.env.reject = nic_reject;
    ways->power_off(mac + 1);
    nic_rig.cleared = true;
    ways->wait_ms(5000);
    assert_true(!nic->link && !nic->failed && nic->mac == mac);
    assert_int_equal(nic_rig.rejects, 1);
    assert_int_equal(dgm_sim_logged("has another card in its place; it is waited for"), 1);
    ways->power_off(mac);
    nic_rig.away = false; /* it is in another slot */
    ways->wait_ms(2100);
    assert_int_equal(nic_rig.rejects, 1);
    ways->send_one(0);

    nic_rig.env.reject = NULL;
    ways->power_off(mac + 1);
    nic_rig.cleared = true;
    ways->wait_ms(5000);
    assert_true(nic->failed && nic_rig.cut);
    assert_int_equal(nic_rig.damaged, nic->supply_max);
}

void nic_rig_start(struct dgm_nicdev *nic, const struct dgm_sim_machine *machine)
{
    const struct dgm_ram_bank bank = {{NIC_RAM}, {NIC_RAM + COLOUR}, NIC_FRAMES, NULL};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{0x800000}, 16});
    struct nic_rig *rig = &nic_rig;

    memset(rig, 0, sizeof *rig);
    dgm_sim_attach(machine);
    dgm_sim_log_clear();
    dgm_sim_memory(dgm_gfn(NIC_RAM), NIC_FRAMES);
    nic_rig_advance_ms(1);
    assert_int_equal(dgm_p2m_init(&rig->p2m, &bank, 1, &window, rig->p2m_memory), 0);
    dgm_frames_init(&rig->frames);
    dgm_frames_add(&rig->frames, (struct dgm_gfn_range){{NIC_RAM}, NIC_QUEUES});
    dgm_reactor_init(&rig->reactor);
    for (unsigned i = 0; i < NIC_FRAMES; i++)
        rig->buffers[i].gfn = dgm_gfn(NIC_RAM + i);
    rig->client =
        (struct dgm_nic_client){.sent = on_sent, .received = on_received, .changed = on_changed};
    rig->nic = nic;
    nic->client = &rig->client;
    rig->env = (struct dgm_device_env){
        .name = "pci 00:02.0",
        .tag = {.windows = {{(NIC_RAM + COLOUR) * 4096, BUS_BASE, NIC_FRAMES * 4096ull}},
                .window_count = 1,
                .mask = UINT64_MAX,
                .coherent = true},
        .reactor = &rig->reactor,
        .frames = &rig->frames,
        .p2m = &rig->p2m,
        .irq_bind = bind_interrupt,
        .dma_stop = stop_dma,
        .restore = restore_card,
    };
}

void nic_rig_stop(unsigned known)
{
    unsigned lent = 0;

    nic_rig.check();
    for (unsigned i = 0; i < NIC_FRAMES; i++)
        lent += nic_rig.lent[i];
    assert_int_equal(lent, known);
    dgm_sim_attach(NULL);
    dgm_sim_memory(dgm_gfn(0), 0);
}
