/* SPDX-License-Identifier: MIT */
/* e1000e_rig: see e1000e_rig.h. */
#include "e1000e_rig.h"

#define COLOUR   0x1230ull
#define BUS_BASE 0x700000000ull

struct e1000e_rig e1000e_rig;

struct dgm_nicdev *e1000e_nic(void)
{
    return &e1000e_rig.card.nic;
}

static uint64_t rig_read(uintptr_t address, unsigned bytes)
{
    const uint32_t offset = (uint32_t)(address - E1000E_MMIO);
    uint32_t value;

    assert_int_equal(bytes, 4);
    assert_in_range(address, E1000E_MMIO, E1000E_MMIO + DGM_SIME1000E_BYTES - 4);
    assert_int_equal(address % 4, 0);
    value = dgm_sime1000e_read(&e1000e_rig.sim, offset);
    return e1000e_rig.change_read ? e1000e_rig.change_read(offset, value) : value;
}

static void rig_write(uintptr_t address, uint64_t value, unsigned bytes)
{
    assert_int_equal(bytes, 4);
    assert_in_range(address, E1000E_MMIO, E1000E_MMIO + DGM_SIME1000E_BYTES - 4);
    assert_int_equal(address % 4, 0);
    dgm_sime1000e_write(&e1000e_rig.sim, (uint32_t)(address - E1000E_MMIO), (uint32_t)value);
}

static void *rig_memory(void *context, uint64_t bus, uint32_t bytes, bool write)
{
    static uint8_t elsewhere[65536];
    const uint64_t frame = (bus - BUS_BASE) / 4096;

    if (e1000e_rig.lies &&
        (e1000e_rig.cut || frame >= E1000E_FRAMES ||
         (frame >= E1000E_QUEUES && !e1000e_rig.lent[frame]) || bus % 4096 + bytes > 4096))
        return elsewhere;
    assert_in_range(bus, BUS_BASE, BUS_BASE + E1000E_FRAMES * 4096ull - bytes);
    assert_false(e1000e_rig.cut);
    assert_true(frame < E1000E_QUEUES || e1000e_rig.lent[frame]);
    return (char *)dgm_env_va(dgm_gfn(E1000E_RAM + frame)) + bus % 4096;
}

static void rig_sent(void *context, const void *packet, uint32_t bytes)
{
    e1000e_rig.on_wire++;
    memcpy(e1000e_rig.wire, packet, bytes);
    e1000e_rig.last_bytes = bytes;
}

static void count_returned(struct dgm_nic_frame *frame)
{
    const size_t number = (size_t)(frame - e1000e_rig.buffers);

    assert_true(number < E1000E_FRAMES && e1000e_rig.lent[number]);
    e1000e_rig.lent[number] = false;
}

static void on_sent(struct dgm_nic_client *client, struct dgm_nic_frame *frame)
{
    count_returned(frame);
    e1000e_rig.sent++;
}

int e1000e_lend(struct dgm_nic_frame *frame, bool transmit)
{
    const size_t number = (size_t)(frame - e1000e_rig.buffers);
    struct dgm_nicdev *nic = e1000e_nic();
    int status;

    e1000e_rig.lent[number] = true;
    status = transmit ? nic->ops->transmit(nic, frame) : nic->ops->supply(nic, frame);
    if (status != DGM_OK)
        e1000e_rig.lent[number] = false;
    return status;
}

static void on_received(struct dgm_nic_client *client, struct dgm_nic_frame *frame, int status)
{
    count_returned(frame);
    e1000e_rig.received += status == DGM_OK;
    e1000e_rig.damaged += status != DGM_OK;
    e1000e_rig.last_bytes = frame->bytes;
    if (status == DGM_OK) {
        assert_in_range(frame->bytes, 14, DGM_NIC_FRAME_BYTES_MAX);
        e1000e_rig.last_byte = ((uint8_t *)dgm_env_va(frame->gfn))[frame->bytes - 1];
    }
    if (e1000e_rig.resupply) {
        status = e1000e_lend(frame, false);
        assert_true(status == DGM_OK || e1000e_rig.lies);
    }
}

static void on_changed(struct dgm_nic_client *client)
{
    e1000e_rig.changes++;
    dgm_e1000e_check(&e1000e_rig.card);
}

static int bind_interrupt(struct dgm_device_env *env, struct dgm_irq *irq)
{
    e1000e_rig.irq = irq;
    return DGM_OK;
}

static void stop_dma(struct dgm_device_env *env)
{
    e1000e_rig.cut = true;
}

static bool mask_interrupt(struct dgm_device_env *env, bool mask)
{
    if (mask && !dgm_sime1000e_line(&e1000e_rig.sim))
        return false;
    e1000e_rig.irq_masked = mask;
    return true;
}

void e1000e_turn(void)
{
    const struct dgm_sime1000e *sim = &e1000e_rig.sim;

    if (e1000e_rig.irq && !e1000e_rig.irq_masked && dgm_sime1000e_line(sim)) {
        e1000e_rig.irq->handle(e1000e_rig.irq);
        /* the cause is gone */
        assert_true(sim->line_stuck || e1000e_rig.lies || !dgm_sime1000e_line(sim));
    }
    for (unsigned turns = 0; dgm_reactor_turn(&e1000e_rig.reactor); turns++)
        assert_true(turns < 1000);
}

void e1000e_pass_ms(unsigned ms)
{
    e1000e_rig.now_ns += ms * E1000E_MS;
    dgm_sim_set_now_ns(e1000e_rig.now_ns);
    e1000e_turn();
}

void e1000e_wait_ms(unsigned ms)
{
    for (unsigned i = 0; i < ms; i += 10)
        e1000e_pass_ms(10);
}

void e1000e_rig_start(void)
{
    const struct dgm_ram_bank bank = {{E1000E_RAM}, {E1000E_RAM + COLOUR}, E1000E_FRAMES, NULL};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{0x800000}, 16});
    static const struct dgm_sim_machine machine = {.mmio_read = rig_read, .mmio_write = rig_write};
    struct e1000e_rig *rig = &e1000e_rig;

    memset(rig, 0, sizeof *rig);
    dgm_sim_attach(&machine);
    dgm_sim_log_clear();
    dgm_sim_memory(dgm_gfn(E1000E_RAM), E1000E_FRAMES);
    rig->now_ns = E1000E_MS;
    dgm_sim_set_now_ns(rig->now_ns);
    assert_int_equal(dgm_p2m_init(&rig->p2m, &bank, 1, &window, rig->p2m_memory), 0);
    dgm_frames_init(&rig->frames);
    dgm_frames_add(&rig->frames, (struct dgm_gfn_range){{E1000E_RAM}, E1000E_QUEUES});
    dgm_reactor_init(&rig->reactor);
    for (unsigned i = 0; i < E1000E_FRAMES; i++)
        rig->buffers[i].gfn = dgm_gfn(E1000E_RAM + i);
    rig->sim.memory = rig_memory;
    rig->sim.sent = rig_sent;
    rig->sim.mac = 0x525400123456ull;
    rig->sim.link = true;
    dgm_sime1000e_init(&rig->sim);
    rig->client =
        (struct dgm_nic_client){.sent = on_sent, .received = on_received, .changed = on_changed};
    e1000e_nic()->client = &rig->client;
    rig->env = (struct dgm_device_env){
        .name = "pci 00:02.0",
        .mmio = (volatile void *)(uintptr_t)E1000E_MMIO,
        .mmio_bytes = DGM_SIME1000E_BYTES,
        .tag = {.windows = {{(E1000E_RAM + COLOUR) * 4096, BUS_BASE, E1000E_FRAMES * 4096ull}},
                .window_count = 1,
                .mask = UINT64_MAX,
                .coherent = true},
        .reactor = &rig->reactor,
        .frames = &rig->frames,
        .p2m = &rig->p2m,
        .irq_bind = bind_interrupt,
        .irq_mask = mask_interrupt,
        .dma_stop = stop_dma,
    };
}

void e1000e_rig_stop(void)
{
    unsigned lent = 0;

    dgm_e1000e_check(&e1000e_rig.card);
    for (unsigned i = 0; i < E1000E_FRAMES; i++)
        lent += e1000e_rig.lent[i];
    for (unsigned i = 0; i < DGM_E1000E_ENTRIES; i++)
        lent -= (e1000e_rig.card.transmit.frames[i] != NULL) +
                (e1000e_rig.card.receive.frames[i] != NULL);
    assert_int_equal(lent, 0); /* the driver has a record of each buffer */
    dgm_sim_attach(NULL);
    dgm_sim_memory(dgm_gfn(0), 0);
}

struct dgm_nic_frame *e1000e_to_send(unsigned index, uint16_t bytes)
{
    struct dgm_nic_frame *frame = &e1000e_rig.buffers[E1000E_SEND + index];

    frame->bytes = bytes;
    memset(dgm_env_va(frame->gfn), (int)index, bytes);
    return frame;
}

int e1000e_rig_setup(void **state)
{
    e1000e_rig_start();
    return 0;
}

int e1000e_rig_teardown(void **state)
{
    e1000e_rig_stop();
    return 0;
}
