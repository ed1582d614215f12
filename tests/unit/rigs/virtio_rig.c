/* SPDX-License-Identifier: MIT */
/* virtio_rig: see virtio_rig.h. */
#include "virtio_rig.h"

#define COLOUR   0x1230ull
#define BUS_BASE 0x700000000ull

struct virtio_rig virtio_rig;

static uint64_t rig_read(uintptr_t address, unsigned bytes)
{
    assert_in_range(address, VIRTIO_MMIO, VIRTIO_MMIO + virtio_rig.bar_bytes - bytes);
    assert_int_equal(address % bytes, 0);
    return dgm_simvirtio_read(&virtio_rig.sim, (uint32_t)(address - VIRTIO_MMIO), bytes);
}

static void rig_write(uintptr_t address, uint64_t value, unsigned bytes)
{
    assert_in_range(address, VIRTIO_MMIO, VIRTIO_MMIO + virtio_rig.bar_bytes - bytes);
    assert_int_equal(address % bytes, 0);
    dgm_simvirtio_write(&virtio_rig.sim, (uint32_t)(address - VIRTIO_MMIO), value, bytes);
}

static uint32_t rig_config(const struct dgm_device_env *env, uint32_t offset)
{
    assert_true(offset % 4 == 0 && offset < 256);
    return dgm_simvirtio_config(&virtio_rig.sim, offset);
}

static volatile void *rig_bar(const struct dgm_device_env *env, unsigned number, uint64_t *bytes)
{
    *bytes = virtio_rig.bar_bytes;
    return number == DGM_SIMVIRTIO_BAR ? (volatile void *)(uintptr_t)VIRTIO_MMIO : NULL;
}

static void *rig_memory(void *context, uint64_t bus, uint32_t bytes, bool write)
{
    static uint8_t elsewhere[65536];
    const uint64_t frame = (bus - BUS_BASE) / 4096;

    if (virtio_rig.lies &&
        (virtio_rig.cut || frame >= VIRTIO_FRAMES ||
         (frame >= VIRTIO_QUEUES && !virtio_rig.lent[frame]) || bus % 4096 + bytes > 4096))
        return elsewhere;
    assert_in_range(bus, BUS_BASE, BUS_BASE + VIRTIO_FRAMES * 4096ull - bytes);
    assert_false(virtio_rig.cut);
    assert_true(frame < VIRTIO_QUEUES || virtio_rig.lent[frame]);
    assert_true(bus % 4096 + bytes <= 4096);
    return (char *)dgm_env_va(dgm_gfn(VIRTIO_RAM + frame)) + bus % 4096;
}

static void rig_sent(void *context, const void *header, const void *packet, uint32_t bytes)
{
    virtio_rig.on_wire++;
    memcpy(virtio_rig.wire, packet, bytes);
    memcpy(virtio_rig.wire_header, header, sizeof virtio_rig.wire_header);
    virtio_rig.last_bytes = bytes;
}

static void returned(struct dgm_nic_frame *frame)
{
    const size_t number = (size_t)(frame - virtio_rig.buffers);

    assert_true(number < VIRTIO_FRAMES && virtio_rig.lent[number]);
    virtio_rig.lent[number] = false;
}

static void on_sent(struct dgm_nic_client *client, struct dgm_nic_frame *frame)
{
    returned(frame);
    virtio_rig.sent++;
}

int virtio_lend(struct dgm_nic_frame *frame, bool transmit)
{
    const size_t number = (size_t)(frame - virtio_rig.buffers);
    struct dgm_nicdev *nic = virtio_nic();
    int status;

    virtio_rig.lent[number] = true;
    status = transmit ? nic->ops->transmit(nic, frame) : nic->ops->supply(nic, frame);
    if (status != DGM_OK)
        virtio_rig.lent[number] = false;
    return status;
}

static void on_received(struct dgm_nic_client *client, struct dgm_nic_frame *frame, int status)
{
    returned(frame);
    virtio_rig.received += status == DGM_OK;
    virtio_rig.damaged += status != DGM_OK;
    virtio_rig.last_bytes = frame->bytes;
    if (status == DGM_OK) {
        assert_in_range(frame->bytes, 14, DGM_NIC_FRAME_BYTES_MAX);
        virtio_rig.last_byte = ((uint8_t *)dgm_env_va(frame->gfn))[frame->bytes - 1];
    }
    if (virtio_rig.resupply)
        virtio_lend(frame, false);
}

static void on_changed(struct dgm_nic_client *client)
{
    virtio_rig.changes++;
    dgm_virtio_net_check(&virtio_rig.card);
}

static int bind(struct dgm_device_env *env, struct dgm_irq *irq)
{
    virtio_rig.irq = irq;
    return DGM_OK;
}

static bool mask_interrupt(struct dgm_device_env *env, bool mask)
{
    if (mask && !dgm_simvirtio_interrupts(&virtio_rig.sim))
        return false;
    virtio_rig.irq_masked = mask;
    return true;
}

static void stop_dma(struct dgm_device_env *env)
{
    virtio_rig.cut = true;
}

void virtio_turn(void)
{
    for (unsigned turns = 0;; turns++) {
        const bool interrupts = virtio_rig.irq && !virtio_rig.no_interrupts &&
                                !virtio_rig.irq_masked && dgm_simvirtio_interrupts(&virtio_rig.sim);

        if (interrupts)
            virtio_rig.irq->handle(virtio_rig.irq);
        if (!dgm_reactor_turn(&virtio_rig.reactor) && !interrupts)
            return;
        assert_true(turns < 1000);
    }
}

void virtio_wait_ms(unsigned ms)
{
    for (unsigned i = 0; i < ms; i += 10) {
        virtio_rig.now_ns += 10 * VIRTIO_MS;
        dgm_sim_set_now_ns(virtio_rig.now_ns);
        virtio_turn();
    }
}

struct dgm_nicdev *virtio_nic(void)
{
    return &virtio_rig.card.nic;
}

void virtio_rig_start(void)
{
    const struct dgm_ram_bank bank = {{VIRTIO_RAM}, {VIRTIO_RAM + COLOUR}, VIRTIO_FRAMES, NULL};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{0x800000}, 16});
    static const struct dgm_sim_machine machine = {.mmio_read = rig_read, .mmio_write = rig_write};
    struct virtio_rig *rig = &virtio_rig;

    memset(rig, 0, sizeof *rig);
    dgm_sim_attach(&machine);
    dgm_sim_log_clear();
    dgm_sim_memory(dgm_gfn(VIRTIO_RAM), VIRTIO_FRAMES);
    rig->now_ns = VIRTIO_MS;
    dgm_sim_set_now_ns(rig->now_ns);
    assert_int_equal(dgm_p2m_init(&rig->p2m, &bank, 1, &window, rig->p2m_memory), 0);
    dgm_frames_init(&rig->frames);
    dgm_frames_add(&rig->frames, (struct dgm_gfn_range){{VIRTIO_RAM}, VIRTIO_QUEUES});
    dgm_reactor_init(&rig->reactor);
    for (unsigned i = 0; i < VIRTIO_FRAMES; i++)
        rig->buffers[i].gfn = dgm_gfn(VIRTIO_RAM + i);
    rig->bar_bytes = DGM_SIMVIRTIO_BAR_BYTES;
    rig->sim.memory = rig_memory;
    rig->sim.sent = rig_sent;
    rig->sim.mac = 0x525400123456ull;
    rig->sim.link = true;
    rig->sim.mtu = 1500;
    rig->sim.size_max = 256;
    rig->sim.offered = 0x130bf8028ull; /* what QEMU offers on its user network, and MTU */
    dgm_simvirtio_init(&rig->sim);
    rig->client =
        (struct dgm_nic_client){.sent = on_sent, .received = on_received, .changed = on_changed};
    virtio_nic()->client = &rig->client;
    rig->env = (struct dgm_device_env){
        .name = "pci 00:02.0",
        .tag = {.windows = {{(VIRTIO_RAM + COLOUR) * 4096, BUS_BASE, VIRTIO_FRAMES * 4096ull}},
                .window_count = 1,
                .mask = UINT64_MAX,
                .coherent = true},
        .reactor = &rig->reactor,
        .frames = &rig->frames,
        .p2m = &rig->p2m,
        .config = rig_config,
        .bar = rig_bar,
        .irq_bind = bind,
        .irq_mask = mask_interrupt,
        .dma_stop = stop_dma,
    };
}

void virtio_rig_stop(void)
{
    unsigned lent = 0;

    dgm_virtio_net_check(&virtio_rig.card);
    for (unsigned i = 0; i < VIRTIO_FRAMES; i++)
        lent += virtio_rig.lent[i];
    for (unsigned i = 0; i < DGM_VIRTIO_ENTRIES; i++)
        lent -=
            (virtio_rig.card.transmit.lent[i] != NULL) + (virtio_rig.card.receive.lent[i] != NULL);
    assert_int_equal(lent, 0);
    dgm_sim_attach(NULL);
    dgm_sim_memory(dgm_gfn(0), 0);
}

struct dgm_nic_frame *virtio_to_send(unsigned index, uint16_t bytes)
{
    struct dgm_nic_frame *frame = &virtio_rig.buffers[VIRTIO_SEND + index];

    frame->bytes = bytes;
    memset(dgm_env_va(frame->gfn), (int)index, bytes);
    return frame;
}

int virtio_rig_setup(void **state)
{
    virtio_rig_start();
    return 0;
}

int virtio_rig_teardown(void **state)
{
    virtio_rig_stop();
    return 0;
}
