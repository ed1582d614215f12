/* SPDX-License-Identifier: MIT */
/*
 * oracle: what must hold after every turn of the library's loop, and at the end
 *
 * The device's accesses are judged as they happen (memory.c), answers as they come (ask.c), loads
 * from shared memory as they are made (watch.c). Here are the laws of conservation: every handle,
 * slot, buffer, record and command is with somebody who is known.
 */
#include <sim/machine/machine.h>

#include <string.h>

#define EQUAL(a, b, what)                                                                          \
    SIM_CHECK((uint64_t)(a) == (uint64_t)(b), what " (%llu, not %llu)", (unsigned long long)(a),   \
              (unsigned long long)(b))

static void conserve_grants(void)
{
    const struct dgm_hv_stats *stats = dgm_hv_stats();

    EQUAL(stats->stale, 0, "an unmap left a window onto a guest's frame");
    EQUAL(stats->over, 0, "a frame was mapped over another");
    EQUAL(stats->live, sim.grant.live, "Xen and we count mappings differently");
    EQUAL(sim.p2m.live + sim.grant.unmap_refused, sim.grant.live, "frames published and mapped");
    EQUAL(sim.grant.unmap_refused, sim.unmaps_refused, "unmaps refused");
    if (sim.options.nth_kind != NTH_HYPERCALL)
        EQUAL(sim.slots.taken, sim.p2m.live + stats->foreign, "slots taken");
    dgm_grant_check(&sim.grant);
}

static void conserve_records(void)
{
    uint64_t live = 0, held = 0, under_way = 0;

    for (size_t i = 0; i < sim.kernel.disk_count; i++)
        if (sim.kernel.disk[i].guest)
            live += sim.kernel.disk[i].back.live;
    for (unsigned i = 0; i < DGM_BLKBACK_CLASSES; i++)
        held += (uint64_t)(sim.pool.classes[i].total - sim.pool.classes[i].free);
    EQUAL(held, live, "request records held");
    for (unsigned i = 0; i < sim.guest_count; i++)
        under_way += disks_driver(i)->under_way;
    EQUAL(sim.pool.commands_total - sim.pool.commands_left, under_way, "command records held");
    if (under_way == 0)
        EQUAL(sim.bounce.free, sim.bounce.total, "bounce buffers held though no disk works");
}

void oracle_step(void)
{
    conserve_grants();
    conserve_records();
}

/* --- progress --- */

void oracle_guest(const struct sim_guest *guest)
{
    if (guest->hostile || guest->dead || sim.options.nth_kind == NTH_HYPERCALL)
        return;
    SIM_CHECK(!guest->xs.deadline_ns || sim_now() <= guest->xs.deadline_ns,
              "guest %u gets no reply from xenstore", guest->domid);
    if (!guest->front.connected)
        return;
    for (unsigned i = 0; i < RING_ENTRIES; i++) {
        const struct ask *ask = &guest->front.asks[i];

        SIM_CHECK(ask->state == ASK_FREE || sim_now() <= ask->deadline_ns,
                  "guest %u: request %llu is not answered", guest->domid,
                  (unsigned long long)ask->id);
    }
}

void oracle_walk(void)
{
    dgm_p2m_check(&sim.p2m);
    dgm_slots_check(&sim.slots);
    dgm_bounce_check(&sim.bounce);
    for (unsigned i = 0; i < sim.guest_count; i++) {
        dgm_nvme_check(disks_driver(i));
        oracle_guest(sim.guests[i]);
    }
}

/* --- the end --- */

void oracle_disks(void)
{
    for (unsigned i = 0; i < sim.guest_count; i++) {
        const struct sim_guest *guest = sim.guests[i];
        const struct model *model = &guest->front.model;
        const uint8_t *bytes = disks_bytes(i);

        for (uint64_t s = 0; !guest->hostile && s < model->sectors; s++) {
            const char *wrong = model_judge(model, s, bytes + s * SECTOR, model->moment + 1);

            SIM_CHECK(!wrong, "disk %u holds %s at sector %llu", i, wrong, (unsigned long long)s);
        }
    }
}

/* Most of a sector of that disk: a hostile guest changes its own data, and so the mark. */
static bool is_of(uint32_t disk, const uint8_t *bytes)
{
    uint64_t found[SECTOR / 8], meant[SECTOR / 8];
    unsigned equal = 0;

    if (disk >= sim.guest_count)
        return false;
    memcpy(found, bytes, SECTOR);
    model_fill(disk, found[1] >> 32, (uint32_t)found[1], meant);
    for (unsigned i = 0; i < SECTOR / 8; i++)
        equal += found[i] == meant[i];
    return equal > SECTOR / 16;
}

/* No sector of one guest's disk is in another guest's memory. */
void oracle_secrets(void)
{
    for (unsigned i = 0; i < sim.guest_count; i++) {
        const struct sim_guest *guest = sim.guests[i];

        for (uint64_t s = 0; s < GUEST_FRAMES * FRAME_SECTORS; s++) {
            const uint32_t whose = model_whose(guest->memory + s * SECTOR);

            SIM_CHECK(whose == UINT32_MAX || whose == guest->front.disk ||
                          !is_of(whose, guest->memory + s * SECTOR),
                      "guest %u finds data of disk %u in its frame %llu", guest->domid, whose,
                      (unsigned long long)(s / FRAME_SECTORS));
        }
    }
}

void oracle_end(void)
{
    const struct dgm_hv_stats *stats = dgm_hv_stats();

    oracle_walk();
    oracle_step();
    oracle_disks();
    oracle_secrets();
    EQUAL(sim.kernel.live, 0, "guests not released");
    EQUAL(stats->live, sim.unmaps_refused, "mappings held at the end");
    EQUAL(sim.bounce.free, sim.bounce.total, "bounce buffers held at the end");
    SIM_CHECK(dgm_blkback_pool_idle(&sim.pool), "records are held, or waited for, at the end");
    if (sim.options.nth_kind != NTH_HYPERCALL) {
        EQUAL(stats->foreign, 0, "foreign frames held at the end");
        EQUAL(sim.slots.taken, 0, "slots held at the end");
    }
    dgm_xs_check(sim.xs);
}
