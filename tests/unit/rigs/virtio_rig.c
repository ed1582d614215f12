/* SPDX-License-Identifier: MIT */
/* virtio_rig: see virtio_rig.h. */
#include "virtio_rig.h"

struct virtio_rig virtio_rig;

static uint64_t rig_read(uintptr_t address, unsigned bytes)
{
    assert_in_range(address, NIC_MMIO, NIC_MMIO + virtio_rig.bar_bytes - bytes);
    assert_int_equal(address % bytes, 0);
    if (!nic_responds())
        return UINT64_MAX >> (64 - 8 * bytes);
    return dgm_simvirtio_read(&virtio_rig.sim, (uint32_t)(address - NIC_MMIO), bytes);
}

static void rig_write(uintptr_t address, uint64_t value, unsigned bytes)
{
    assert_in_range(address, NIC_MMIO, NIC_MMIO + virtio_rig.bar_bytes - bytes);
    assert_int_equal(address % bytes, 0);
    nic_rig.writes_lost += !nic_responds();
    if (nic_responds())
        dgm_simvirtio_write(&virtio_rig.sim, (uint32_t)(address - NIC_MMIO), value, bytes);
}

static uint32_t rig_config(const struct dgm_device_env *env, uint32_t offset)
{
    assert_true(offset % 4 == 0 && offset < 256);
    return dgm_simvirtio_config(&virtio_rig.sim, offset);
}

static volatile void *rig_bar(const struct dgm_device_env *env, unsigned number, uint64_t *bytes)
{
    *bytes = virtio_rig.bar_bytes;
    return number == DGM_SIMVIRTIO_BAR ? (volatile void *)(uintptr_t)NIC_MMIO : NULL;
}

static void rig_sent(void *context, const void *header, const void *packet, uint32_t bytes)
{
    nic_rig_on_wire(packet, bytes);
    memcpy(virtio_rig.wire_header, header, sizeof virtio_rig.wire_header);
}

static void check_driver(void)
{
    dgm_virtio_net_check(&virtio_rig.card);
}

static bool mask_interrupt(struct dgm_device_env *env, bool mask)
{
    if (mask && !dgm_simvirtio_interrupts(&virtio_rig.sim))
        return false;
    nic_rig.irq_masked = mask;
    return true;
}

void virtio_turn(void)
{
    for (unsigned turns = 0;; turns++) {
        const bool interrupts = nic_rig.irq && !virtio_rig.no_interrupts && !nic_rig.irq_masked &&
                                dgm_simvirtio_interrupts(&virtio_rig.sim);

        if (interrupts)
            nic_rig.irq->handle(nic_rig.irq);
        if (!dgm_reactor_turn(&nic_rig.reactor) && !interrupts)
            return;
        assert_true(turns < 1000);
    }
}

void virtio_wait_ms(unsigned ms)
{
    for (unsigned i = 0; i < ms; i += 10) {
        nic_rig_advance_ms(10);
        virtio_turn();
    }
}

void virtio_rig_start(void)
{
    static const struct dgm_sim_machine machine = {.mmio_read = rig_read, .mmio_write = rig_write};
    struct virtio_rig *rig = &virtio_rig;

    memset(rig, 0, sizeof *rig);
    nic_rig_start(&rig->card.nic, &machine);
    nic_rig.check = check_driver;
    nic_rig.env.config = rig_config;
    nic_rig.env.bar = rig_bar;
    nic_rig.env.irq_mask = mask_interrupt;
    rig->bar_bytes = DGM_SIMVIRTIO_BAR_BYTES;
    rig->sim.memory = nic_rig_memory;
    rig->sim.sent = rig_sent;
    rig->sim.mac = 0x525400123456ull;
    rig->sim.link = true;
    rig->sim.mtu = 1500;
    rig->sim.size_max = 256;
    rig->sim.offered = 0x130bf8028ull; /* what QEMU offers on its user network, and MTU */
    dgm_simvirtio_init(&rig->sim);
}

void virtio_rig_stop(void)
{
    unsigned known = 0;

    for (unsigned i = 0; i < DGM_VIRTIO_ENTRIES; i++)
        known +=
            (virtio_rig.card.transmit.lent[i] != NULL) + (virtio_rig.card.receive.lent[i] != NULL);
    nic_rig_stop(known);
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

/* --- what tests do --- */

void virtio_attach(void)
{
    assert_int_equal(dgm_virtio_net_start(&virtio_rig.card, &nic_rig.env), DGM_OK);
    virtio_wait_ms(50);
    assert_true(nic_rig.nic->ready && nic_rig.nic->link && !nic_rig.nic->failed);
}

void virtio_lend(struct dgm_nic_frame *frame, bool transmit, int expected)
{
    assert_int_equal(nic_lend(frame, transmit), expected);
}

void virtio_supply_all(void)
{
    for (unsigned i = 0; i < nic_rig.nic->supply_max; i++)
        virtio_lend(&nic_rig.buffers[NIC_QUEUES + i], false, DGM_OK);
    nic_rig.nic->ops->kick(nic_rig.nic);
}

void virtio_send_one(unsigned index)
{
    const unsigned sent = nic_rig.sent;

    virtio_lend(nic_to_send(index, 60), true, DGM_OK);
    nic_rig.nic->ops->kick(nic_rig.nic);
    assert_int_equal(dgm_simvirtio_send(&virtio_rig.sim, 9), 1);
    virtio_turn();
    assert_int_equal(nic_rig.sent, sent + 1);
}

void virtio_receive_one(void)
{
    static const uint8_t packet[100];

    assert_true(dgm_simvirtio_receive(&virtio_rig.sim, NULL, packet, 100));
}

static void power_off(uint64_t mac)
{
    virtio_rig.sim.mac = mac;
    dgm_simvirtio_init(&virtio_rig.sim);
}

const struct nic_ways virtio_ways = {.send_one = virtio_send_one,
                                     .receive_one = virtio_receive_one,
                                     .turn = virtio_turn,
                                     .wait_ms = virtio_wait_ms,
                                     .power_off = power_off};
