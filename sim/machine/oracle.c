/* SPDX-License-Identifier: MIT */
/*
 * oracle: the invariants after every turn of the library's loop, and at the end
 *
 * A device's accesses are checked as they are made (memory.c), responses as they arrive
 * (response.c), loads from shared memory as they are made (watch.c). This file checks conservation:
 * every handle, slot, buffer, record and command has a known holder.
 */
#include <reach/internal.h>
#include <sim/machine/machine.h>
#include <sim/machine/network.h>

#include <block/internal.h>
#include <dma/internal.h>
#include <pages/identity_table.h>
#include <sim/hypervisor/internal.h>

#include <string.h>

#define EQUAL(a, b, what)                                                                          \
    SIM_CHECK((uint64_t)(a) == (uint64_t)(b), what " (%llu, not %llu)", (unsigned long long)(a),   \
              (unsigned long long)(b))

/* --- grants --- */

/* Slots of maps that are parked for a retry; `domid` 0: of all guests. */
static uint64_t parked_slots(domid_t domid)
{
    uint64_t count = 0;

    for (const struct dgm_foreign *foreign = sim.core.grant->parked_first; foreign;
         foreign = foreign->next_parked)
        if (!domid || foreign->domid == domid)
            count += dgm_p2m_is_slot(&sim.core.p2m, foreign->gfn);
    return count;
}

/* Frames mapped at gfn == mfn: in use, or lost because Xen refused the unmap. */
static uint64_t identity_mapped(domid_t domid, enum dgm_identity_state state)
{
    const struct dgm_identity *identity = sim.core.identity;
    uint64_t count = 0;

    for (uint16_t i = 0; identity && identity->used && i < identity->total; i++)
        count +=
            identity->entries[i].state == state && (!domid || identity->entries[i].domid == domid);
    return count;
}

static void conserve_grants(void)
{
    const struct dgm_hv_stats *stats = dgm_hv_stats();
    const uint64_t lost = identity_mapped(0, DGM_IDENTITY_LOST);

    EQUAL(stats->stale, 0, "an unmap left a guest's frame visible");
    EQUAL(stats->over, 0, "a frame was mapped over another");
    EQUAL(stats->live, sim.core.grant->live, "Xen and the library count mappings differently");
    EQUAL(sim.core.p2m.live + identity_mapped(0, DGM_IDENTITY_LIVE) + sim.core.grant->unmap_refused,
          sim.core.grant->live, "frames published and mapped");
    EQUAL(sim.core.grant->unmap_refused, sim.unmaps_refused, "unmaps refused");
    if (sim.options.nth_kind != NTH_HYPERCALL) { /* otherwise xenstore's pages can be lost too */
        EQUAL(sim.core.cache.retired + lost, sim.core.grant->unmap_refused,
              "slots and identity mappings lost");
        EQUAL(sim.core.cache.taken, sim.core.p2m.live + stats->foreign + parked_slots(0),
              "slots taken");
    }
    dgm_grant_check(sim.core.grant);
}

/* --- quotas --- */

/* The frames reserved for requests whose list of segments is not read yet. */
static uint64_t frames_reserved(const struct dgm_blkback *back)
{
    uint64_t frames = 0;

    for (const struct dgm_blkback_request *r = back->parked.first; r; r = r->next)
        frames += r->segments_known ? 0 : r->parsed.segment_count;
    return frames;
}

static uint64_t maps_of(domid_t domid)
{
    for (const struct hv_domain *domain = hv.all; domain; domain = domain->next)
        if (domain->domid == domid)
            return domain->maps;
    return 0;
}

/* Adds the reservations of the guest's disks. Returns the number of their requests. */
static uint64_t reserved_for(const struct guest *guest, uint64_t *slots, uint64_t *buffers)
{
    uint64_t live = 0;

    for (size_t i = 0; i < sim.kernel.disk_count; i++) {
        const struct dgm_blkback *back = &sim.kernel.disk[i].back;

        if (sim.kernel.disk[i].guest != guest)
            continue;
        *(back->connection.mode == DGM_REACH_MODE_COPY ? buffers : slots) += frames_reserved(back);
        live += back->records_used;
    }
    return live;
}

static void conserve_quotas(void)
{
    const struct dgm_copy_buffers *pool = sim.core.copy_buffers;
    uint64_t slots_all = 0, buffers_all = 0, used_all = 0;

    for (size_t i = 0; i < sim.kernel.count; i++) {
        const struct guest *guest = &sim.kernel.guest[i];
        const domid_t domid = guest->base.domid;
        uint64_t slots = 0, buffers = 0;
        const uint64_t live = reserved_for(guest, &slots, &buffers);

        EQUAL(guest->account.slots.used + identity_mapped(domid, DGM_IDENTITY_LIVE) +
                  identity_mapped(domid, DGM_IDENTITY_LOST),
              maps_of(domid) + parked_slots(domid) + slots, "slots charged to a guest");
        SIM_CHECK(guest->account.slots.used <= guest->account.slots.max &&
                      guest->account.copy_buffers.used <= guest->account.copy_buffers.max,
                  "guest %u has more than its quota", domid);
        SIM_CHECK(live || guest->account.copy_buffers.used == 0,
                  "guest %u has no request and %llu copy buffers", domid,
                  (unsigned long long)guest->account.copy_buffers.used);
        slots_all += slots;
        buffers_all += buffers;
        used_all += guest->account.copy_buffers.used;
    }
    EQUAL(sim.core.cache.reserved, slots_all, "slots reserved");
    EQUAL(pool ? pool->reserved : 0, buffers_all, "copy buffers reserved");
    if (pool)
        EQUAL((uint64_t)(pool->total - pool->free) + buffers_all, used_all, "copy buffers charged");
}

/* Checks that each persistent mapping belongs to a connection. */
static void conserve_persistent(void)
{
    const struct dgm_persistent *persistent = sim.core.persistent;
    uint64_t owned = 0;

    for (size_t i = 0; i < sim.kernel.disk_count; i++) {
        const struct dgm_blkback *back = &sim.kernel.disk[i].back;

        SIM_CHECK(back->connected || back->quarantined || back->connection.owner.count == 0,
                  "%u persistent mappings of a connection that is over",
                  back->connection.owner.count);
        owned += back->connection.owner.count;
    }
    if (persistent)
        EQUAL(persistent->total - persistent->free, owned, "persistent mappings");
}

static void conserve_records(void)
{
    uint64_t live = 0, held = 0, in_flight = 0, in_hand = 0;

    for (size_t i = 0; i < sim.kernel.disk_count; i++) {
        const struct dgm_blkback *back = &sim.kernel.disk[i].back;
        const uint64_t kept = back->shares[DGM_BLKBACK_COMMANDS].kept;

        if (!sim.kernel.disk[i].guest)
            continue;
        live += back->records_used;
        in_hand += (back->next_command != NULL) + kept;
        SIM_CHECK(kept == 0 || back->task.posted,
                  "%llu commands are kept for a run that is not due", (unsigned long long)kept);
    }
    for (unsigned i = 0; i < DGM_BLKBACK_CLASSES; i++)
        held += sim.pool.resources[i].used;
    EQUAL(held, live, "request records held");
    for (unsigned i = 0; i < sim.plan.disk_count; i++)
        in_flight += disks_driver(i)->in_flight;
    EQUAL(sim.pool.resources[DGM_BLKBACK_COMMANDS].used, in_flight + in_hand,
          "command records held");
    if (in_flight == 0)
        EQUAL(sim.core.bounce.free, sim.core.bounce.total,
              "bounce buffers held though no disk has a command");
}

/* Only Xen ends a guest, and the library notices no end that did not happen. */
static void check_ends(void)
{
    for (size_t i = 0; i < sim.kernel.count; i++) {
        const struct guest *guest = &sim.kernel.guest[i];
        const struct hv_domain *domain = hv_domain(guest->base.domid);

        SIM_CHECK(guest->state == GUEST_LIVE || !domain || domain->shut_down,
                  "guest %u lives, and the library has ended it", guest->base.domid);
    }
}

/* A run of a disk's task begins a bounded number of requests, and a turn has one run of it. The
 * bound: requests of one frame until the work of a run is spent. */
static void bounded_runs(void)
{
    static const struct dgm_blkif_request small = {.segment_count = 0};
    const uint32_t most = DGM_RUN_WORK / dgm_blkback_work_of(&small) + 1;

    for (size_t i = 0; i < sim.kernel.disk_count; i++) {
        const struct dgm_blkback *back = &sim.kernel.disk[i].back;
        const uint32_t taken = back->ring.consumed - sim.taken[i].requests;
        uint64_t connects = 0;

        for (unsigned held = 0; held <= DGM_REACH_HELD_IDENTITY; held++)
            connects += back->counters.connects[held];
        SIM_CHECK(connects != sim.taken[i].connects || taken <= most,
                  "a turn took %u requests of guest %u's ring", taken, back->xenbus.domid);
        sim.taken[i].requests = back->ring.consumed;
        sim.taken[i].connects = connects;
    }
}

void oracle_step(void)
{
    check_ends();
    bounded_runs();
    conserve_grants();
    conserve_quotas();
    conserve_persistent();
    conserve_records();
    fairness_step();
    if (sim.plan.network)
        rates_check();
}

/* --- the rules of shares --- */

static bool is_below_share(const struct dgm_bounce_area *area, const struct dgm_bounce_share *share,
                           unsigned a)
{
    const unsigned users = area->users + !(share->held[a] || (share->areas_wanted >> a & 1));

    return share->held[a] * users < area->total;
}

uint16_t __real_dgm_bounce_take(struct dgm_bounce *bounce, struct dgm_bounce_device *device,
                                unsigned areas);
uint16_t __wrap_dgm_bounce_take(struct dgm_bounce *bounce, struct dgm_bounce_device *device,
                                unsigned areas);

/*
 * A device that takes more than its minimum leaves a buffer for each minimum that is not met, and,
 * if its guest holds its share, for each waiter below its share. A device without its minimum is
 * never refused while a buffer is free.
 */
uint16_t __wrap_dgm_bounce_take(struct dgm_bounce *bounce, struct dgm_bounce_device *device,
                                unsigned areas)
{
    const struct dgm_bounce_share *share = device ? device->share : NULL;
    unsigned owed[DGM_BOUNCE_AREAS_MAX] = {0};
    bool minimum[DGM_BOUNCE_AREAS_MAX] = {false}, must_succeed = false;
    uint16_t buffer;

    for (unsigned a = 0; share && a < bounce->area_count; a++) {
        minimum[a] = device->minimum_area == a && device->held[a] == 0;
        must_succeed |= minimum[a] && bounce->areas[a].free && (areas >> a & 1);
        owed[a] = bounce->areas[a].unmet;
        for (const struct dgm_bounce_share *s = bounce->queue; s; s = s->next_waiter)
            owed[a] += s != share && (s->areas_wanted >> a & 1) &&
                       is_below_share(&bounce->areas[a], s, a) &&
                       !is_below_share(&bounce->areas[a], share, a);
    }
    buffer = __real_dgm_bounce_take(bounce, device, areas);
    SIM_CHECK(buffer != DGM_BOUNCE_NONE || !must_succeed,
              "a device did not get its minimum of the bounce buffers");
    for (unsigned a = 0; buffer != DGM_BOUNCE_NONE && a < bounce->area_count; a++)
        SIM_CHECK(buffer < bounce->areas[a].first ||
                      buffer - bounce->areas[a].first >= bounce->areas[a].total || minimum[a] ||
                      bounce->areas[a].free >= owed[a],
                  "a device took a bounce buffer that is left for others");
    return buffer;
}

/* --- progress --- */

void oracle_guest(const struct sim_guest *guest)
{
    if (guest->hostile || guest->dead || sim.options.nth_kind == NTH_HYPERCALL)
        return;
    SIM_CHECK(!guest->xs.deadline_ns || sim_now() <= guest->xs.deadline_ns,
              "guest %u gets no reply from xenstore", guest->domid);
    if (guest->vif)
        netfront_check_progress(guest->vif);
    for (unsigned i = 0; i < guest->front_count * FRONT_REQUESTS; i++) {
        const struct front *front = &guest->fronts[i / FRONT_REQUESTS];
        const struct request *request = &front->requests[i % FRONT_REQUESTS];

        if (!front->connected)
            continue;
        SIM_CHECK(request->state == REQUEST_FREE || sim_now() <= request->deadline_ns,
                  "guest %u: request %llu to disk %u gets no response", guest->domid,
                  (unsigned long long)request->id, front->disk);
    }
}

void oracle_walk(void)
{
    dgm_p2m_check(&sim.core.p2m);
    dgm_slot_cache_check(&sim.core.cache);
    dgm_bounce_check(&sim.core.bounce);
    if (sim.core.copy_buffers)
        dgm_copy_buffers_check(sim.core.copy_buffers);
    if (sim.core.identity)
        dgm_identity_check(sim.core.identity);
    if (sim.core.persistent)
        dgm_persistent_check(sim.core.persistent);
    oracle_secrets();
    if (sim.plan.network)
        network_check();
    for (unsigned i = 0; i < sim.plan.disk_count; i++)
        dgm_nvme_check(disks_driver(i));
    for (unsigned i = 0; i < sim.guest_count; i++)
        oracle_guest(sim.guests[i]);
}

/* --- the end --- */

static void check_disk(const struct front *front)
{
    const struct model *model = &front->model;
    const uint8_t *bytes = disks_bytes(front->disk);

    for (uint64_t s = 0; s < model->sectors; s++) {
        const char *wrong = model_judge(model, s, bytes + s * SECTOR, model->moment + 1);

        SIM_CHECK(!wrong, "disk %u holds %s at sector %llu", front->disk, wrong,
                  (unsigned long long)s);
    }
}

void oracle_disks(void)
{
    for (unsigned i = 0; i < sim.guest_count; i++)
        for (unsigned f = 0; f < sim.guests[i]->front_count && !sim.guests[i]->hostile; f++)
            check_disk(&sim.guests[i]->fronts[f]);
}

static bool has_disk(const struct sim_guest *guest, uint32_t disk)
{
    for (unsigned i = 0; i < guest->front_count; i++)
        if (guest->fronts[i].disk == disk)
            return true;
    return false;
}

/* Whether the bytes are mostly those of a sector of that disk: a hostile guest changes its own
 * data, and the mark with it. */
static bool is_mostly_of(uint32_t disk, const uint8_t *bytes)
{
    uint64_t found[SECTOR / 8], written[SECTOR / 8];
    unsigned equal = 0;

    if (disk >= sim.plan.disk_count)
        return false;
    memcpy(found, bytes, SECTOR);
    model_fill(disk, found[1] >> 32, (uint32_t)found[1], written);
    for (unsigned i = 0; i < SECTOR / 8; i++)
        equal += found[i] == written[i];
    return equal > SECTOR / 16;
}

/* Checks that no sector of one guest's disk is in another guest's memory. */
void oracle_secrets(void)
{
    for (unsigned i = 0; i < sim.guest_count; i++) {
        const struct sim_guest *guest = sim.guests[i];

        for (uint64_t s = 0; s < guest_frame_count() * FRAME_SECTORS; s++) {
            const uint32_t whose = model_disk_of(guest->memory + s * SECTOR);

            SIM_CHECK(whose == UINT32_MAX || has_disk(guest, whose) ||
                          !is_mostly_of(whose, guest->memory + s * SECTOR),
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
    dgm_core_check(&sim.core);
    EQUAL(sim.kernel.live, 0, "guests not released");
    EQUAL(stats->live, sim.unmaps_refused, "mappings held at the end");
    EQUAL(sim.core.bounce.free, sim.core.bounce.total, "bounce buffers held at the end");
    SIM_CHECK(dgm_blkback_pool_idle(&sim.pool), "records are held, or queued for, at the end");
    if (sim.options.nth_kind != NTH_HYPERCALL) {
        EQUAL(stats->foreign, 0, "foreign frames held at the end");
        EQUAL(sim.core.cache.taken, 0, "slots held at the end");
    }
    dgm_xs_check(sim.xs);
    if (sim.plan.network)
        network_end();
}
