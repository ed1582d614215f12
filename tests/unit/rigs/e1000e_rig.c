/* SPDX-License-Identifier: MIT */
/* e1000e_rig: see e1000e_rig.h. */
#include "e1000e_rig.h"

struct e1000e_rig e1000e_rig;

static uint64_t rig_read(uintptr_t address, unsigned bytes)
{
    const uint32_t offset = (uint32_t)(address - NIC_MMIO);
    uint32_t value;

    assert_int_equal(bytes, 4);
    assert_in_range(address, NIC_MMIO, NIC_MMIO + DGM_SIME1000E_BYTES - 4);
    assert_int_equal(address % 4, 0);
    if (!nic_responds())
        return UINT32_MAX;
    value = dgm_sime1000e_read(&e1000e_rig.sim, offset);
    return e1000e_rig.change_read ? e1000e_rig.change_read(offset, value) : value;
}

static void rig_write(uintptr_t address, uint64_t value, unsigned bytes)
{
    assert_int_equal(bytes, 4);
    assert_in_range(address, NIC_MMIO, NIC_MMIO + DGM_SIME1000E_BYTES - 4);
    assert_int_equal(address % 4, 0);
    nic_rig.writes_lost += !nic_responds();
    if (nic_responds())
        dgm_sime1000e_write(&e1000e_rig.sim, (uint32_t)(address - NIC_MMIO), (uint32_t)value);
}

static void rig_sent(void *context, const void *packet, uint32_t bytes)
{
    nic_rig_on_wire(packet, bytes);
}

static void check_driver(void)
{
    dgm_e1000e_check(&e1000e_rig.card);
}

static bool mask_interrupt(struct dgm_device_env *env, bool mask)
{
    if (mask && !dgm_sime1000e_line(&e1000e_rig.sim))
        return false;
    nic_rig.irq_masked = mask;
    return true;
}

void e1000e_turn(void)
{
    const struct dgm_sime1000e *sim = &e1000e_rig.sim;

    if (nic_rig.irq && !nic_rig.irq_masked && dgm_sime1000e_line(sim)) {
        nic_rig.irq->handle(nic_rig.irq);
        /* the cause is gone */
        assert_true(sim->line_stuck || nic_rig.lies || !dgm_sime1000e_line(sim));
    }
    for (unsigned turns = 0; dgm_reactor_turn(&nic_rig.reactor); turns++)
        assert_true(turns < 1000);
}

void e1000e_pass_ms(unsigned ms)
{
    nic_rig_advance_ms(ms);
    e1000e_turn();
}

void e1000e_wait_ms(unsigned ms)
{
    for (unsigned i = 0; i < ms; i += 10)
        e1000e_pass_ms(10);
}

void e1000e_rig_start(void)
{
    static const struct dgm_sim_machine machine = {.mmio_read = rig_read, .mmio_write = rig_write};
    struct e1000e_rig *rig = &e1000e_rig;

    memset(rig, 0, sizeof *rig);
    nic_rig_start(&rig->card.nic, &machine);
    nic_rig.check = check_driver;
    nic_rig.env.mmio = (volatile void *)(uintptr_t)NIC_MMIO;
    nic_rig.env.mmio_bytes = DGM_SIME1000E_BYTES;
    nic_rig.env.irq_mask = mask_interrupt;
    rig->sim.memory = nic_rig_memory;
    rig->sim.sent = rig_sent;
    rig->sim.mac = 0x525400123456ull;
    rig->sim.link = true;
    dgm_sime1000e_init(&rig->sim);
}

void e1000e_rig_stop(void)
{
    unsigned known = 0;

    for (unsigned i = 0; i < DGM_E1000E_ENTRIES; i++)
        known += (e1000e_rig.card.transmit.frames[i] != NULL) +
                 (e1000e_rig.card.receive.frames[i] != NULL);
    nic_rig_stop(known);
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
