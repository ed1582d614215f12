/* SPDX-License-Identifier: MIT */
/*
 * faults: the operations that Xen refuses, and the requests that are affected
 *
 * Each fault is recorded with the requests that it affects, so that an error without a cause is
 * detected, and a cause without an error as well.
 */
#include <sim/machine/machine.h>

#include <sim/hypervisor/internal.h>

#include <errno.h>
#include <xen/memory.h>

struct sim_guest *sim_guest_of(domid_t domid)
{
    return domid >= 1 && domid <= sim.guest_count ? sim.guests[domid - 1] : NULL;
}

/* Records a fault that affects a guest's reference. `surely`: its request cannot succeed. */
static void fault_on_ref(domid_t domid, grant_ref_t ref, bool surely)
{
    struct sim_guest *guest = sim_guest_of(domid);
    struct request *request;

    if (!guest || ref >= DGM_HV_REFS)
        return;
    guest->faults++;
    if (guest->vif)
        netfront_fault(guest->vif, ref);
    request = guest_ref_request(guest, ref);
    if (!request)
        return;
    request->may_fail = true;
    request->must_fail |= surely;
}

/* Whether the guest is at fault; the library must retry an op with any other status. The library's
 * own table is not used, because it may be wrong. */
static bool is_guests_fault(int16_t status)
{
    return status == GNTST_general_error || status == GNTST_bad_domain ||
           status == GNTST_bad_gntref || status == GNTST_bad_page;
}

/* Any status but GNTST_eagain. */
static int16_t any_refusal(void)
{
    const int16_t status = (int16_t)-rng_range(&sim.fault_rng, 1, -GNTST_no_space);

    return status == GNTST_eagain ? GNTST_general_error : status;
}

/*
 * GNTST_eagain, as while the frame of the reference is paged in: for a few tries, or so many that
 * the library gives up. At most once for each request, or attempt to connect, that uses the
 * reference.
 */
static bool says_eagain(domid_t domid, grant_ref_t ref)
{
    struct sim_guest *guest = sim_guest_of(domid);
    struct retries *again;
    uint64_t use;

    if (!guest || ref >= DGM_HV_REFS)
        return false;
    again = &guest->retries[ref];
    use = guest->ref_user[ref] << 48 |
          (guest->ref_user[ref] ? guest_ref_request(guest, ref)->id
                                : guest->sessions << 16 | guest->failed_attempts);
    if (again->use == use) {
        if (again->left == 0)
            return false;
        if (again->left > UINT32_MAX / 2) /* another use of the reference may have begun */
            fault_on_ref(domid, ref, false);
        again->left--;
        return true;
    }
    if (!sim_fault_strikes(FAULT_EAGAIN))
        return false;
    again->use = use;
    again->left = (uint32_t)rng_range(&sim.fault_rng, 0, 4);
    if (rng_below(&sim.fault_rng, 10) == 0) {
        again->left = UINT32_MAX;
        fault_on_ref(domid, ref, false);
    }
    NOTE("Xen returns GNTST_eagain for reference %llu of guest %llu, %llu times more", ref, domid,
         again->left);
    return true;
}

/* A frame that can be mapped only at a slot stays at its slot: no request fails. */
static void fault_on_map(const struct gnttab_map_grant_ref *op, bool surely)
{
    if (dgm_p2m_is_slot(&sim.core.p2m, dgm_gfn(op->host_addr >> DGM_FRAME_SHIFT)))
        fault_on_ref(op->dom, op->ref, surely);
}

static int16_t fault_of_map(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    int16_t status;

    (void)context;
    (void)nth;
    if (says_eagain(op->dom, (grant_ref_t)op->ref))
        return GNTST_eagain;
    if (!sim_fault_strikes(FAULT_MAP))
        return 0;
    status = any_refusal();
    NOTE("Xen refuses to map reference %llu of guest %llu: %lld", op->ref, op->dom,
         (uint64_t)(int64_t)status);
    if (is_guests_fault(status))
        fault_on_map(op, true);
    return status;
}

static const struct gnttab_copy_ptr *guest_side(const struct gnttab_copy *op)
{
    return op->flags & GNTCOPY_dest_gref ? &op->dest : &op->source;
}

static int16_t on_copy(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    const struct gnttab_copy_ptr *guests = guest_side(op);
    int16_t status;

    (void)context;
    (void)nth;
    if (says_eagain(guests->domid, guests->u.ref))
        return GNTST_eagain;
    if (!sim_fault_strikes(FAULT_COPY))
        return 0;
    status = any_refusal();
    NOTE("Xen refuses to copy from or to reference %llu of guest %llu: %lld", guests->u.ref,
         guests->domid, (uint64_t)(int64_t)status);
    if (is_guests_fault(status))
        fault_on_ref(guests->domid, guests->u.ref, true);
    return status;
}

/* The mapping stays permanently, and with it the guest's reference. The library may retry the unmap
 * several times. */
static void lose_mapping(uint32_t number)
{
    static bool lost[HV_HANDLES];
    const struct hv_handle *handle = &hv.handles[number % HV_HANDLES];
    struct sim_guest *guest = sim_guest_of(handle->domain->domid);

    if (lost[number % HV_HANDLES])
        return;
    lost[number % HV_HANDLES] = true;
    sim.unmaps_refused++;
    if (guest)
        guest->ref_lost[handle->ref]++;
}

/* Whether so few slots are lost that guests can still be served. */
static bool may_lose_slot(void)
{
    const uint64_t room = sim.plan.slots / (4 * sim.guest_count);

    return sim.unmaps_refused < room &&
           (sim.plan.maptrack == 0 || sim.unmaps_refused < SIM_LOST_MAX);
}

static int16_t on_unmap(void *context, uint64_t nth, const struct gnttab_unmap_grant_ref *op)
{
    (void)context;
    (void)nth;
    if (!may_lose_slot() || !sim_fault_strikes(FAULT_UNMAP))
        return 0;
    NOTE("Xen refuses to unmap handle %llu", op->handle);
    lose_mapping(op->handle);
    return (int16_t)-rng_range(&sim.fault_rng, 1, -GNTST_no_space);
}

static uint64_t ops_count(unsigned op, uint64_t command, uint64_t count)
{
    return op == __HYPERVISOR_grant_table_op &&
                   (command == GNTTABOP_map_grant_ref || command == GNTTABOP_unmap_grant_ref ||
                    command == GNTTABOP_copy)
               ? count
               : 0;
}

/*
 * Only the first `done` ops of a batch are done. The library retries the others, so no guest is
 * affected, unless Xen does no further op.
 */
static long cut_batch(unsigned op, uint64_t command, uint64_t ops, uint64_t count, uint64_t done)
{
    NOTE("Xen does %llu of %llu ops of a grant batch (command %llu)", done, count, command);
    for (uint64_t i = done; i < count && sim.options.permanently; i++) {
        if (command == GNTTABOP_unmap_grant_ref) {
            lose_mapping(((const struct gnttab_unmap_grant_ref *)(uintptr_t)ops)[i].handle);
        } else if (command == GNTTABOP_map_grant_ref) {
            fault_on_map((const struct gnttab_map_grant_ref *)(uintptr_t)ops + i, false);
        } else {
            const struct gnttab_copy_ptr *guests =
                guest_side((const struct gnttab_copy *)(uintptr_t)ops + i);

            fault_on_ref(guests->domid, guests->u.ref, false);
        }
    }
    if (done)
        (void)dgm_hv_hypercall(op, command, ops, done, 0, 0);
    return -EFAULT;
}

/* Whether the error says of a guest that it does not exist, or that it named something wrongly. */
static bool is_about_guest(unsigned op, uint64_t command, long error)
{
    const bool names_port =
        op == __HYPERVISOR_event_channel_op && command == EVTCHNOP_bind_interdomain;
    const bool names_frame = op == __HYPERVISOR_memory_op && command == XENMEM_add_to_physmap_batch;
    const bool names_domain = op == __HYPERVISOR_domctl || op == __HYPERVISOR_hvm_op ||
                              (op == __HYPERVISOR_memory_op && command == XENMEM_populate_physmap);

    return (error == -ESRCH && (names_port || names_frame || names_domain)) ||
           (error == -EINVAL && (names_port || names_frame));
}

#define ERRNO_MAX 200u

/* For notes: a domctl has its command in memory, and an address differs from run to run. */
static uint64_t noted_command(unsigned op, uint64_t command)
{
    return op == __HYPERVISOR_domctl ? 0 : command;
}

/*
 * The error by which Xen refuses a hypercall that is no batch of grants, or 0. Any number but one
 * that is about a guest: so no guest may notice it but by its time. From the first turn on: the
 * domain does not start without its memory.
 */
static long refusal_of_call(unsigned op, uint64_t command)
{
    long error;

    if (sim.settling || sim.options.nth_kind != NTH_NONE || !sim.kernel.env ||
        !rng_chance(&sim.call_rng, sim.plan.rate[FAULT_CALL]))
        return 0;
    error = -(long)rng_range(&sim.call_rng, 1, ERRNO_MAX);
    if (is_about_guest(op, command, error))
        return 0;
    NOTE("Xen refuses hypercall %llu, command %llu, with error %lld", op,
         noted_command(op, command), error);
    return error;
}

static bool nth_fails(void)
{
    const uint64_t nth = ++sim.nth_seen;

    return sim.options.nth &&
           (nth == sim.options.nth || (sim.options.permanently && nth > sim.options.nth));
}

long faults_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
    const uint64_t count = ops_count(op, a1, a3);
    long refusal;

    if (sim.options.nth_kind == NTH_HYPERCALL && nth_fails()) {
        NOTE("hypercall %llu, command %llu, fails (the %llu-th)", op, noted_command(op, a1),
             sim.nth_seen);
        for (unsigned i = 0; i < sim.guest_count; i++)
            sim.guests[i]->faults++;
        sim.flush_refused |= op == __HYPERVISOR_grant_table_op && a1 == GNTTABOP_cache_flush &&
                             sim.options.permanently;
        if (count)
            return cut_batch(op, a1, a2, count, 0);
        return -EFAULT;
    }
    if (count > 1 && sim_fault_strikes(FAULT_BATCH))
        return cut_batch(op, a1, a2, count, rng_below(&sim.fault_rng, count));
    if (op == __HYPERVISOR_event_channel_op && a1 == EVTCHNOP_bind_interdomain &&
        sim_fault_strikes(FAULT_CHANNEL)) { /* no guest's fault: each guest connects in the end */
        static const long errors[] = {-ENOSPC, -ENOMEM, -EAGAIN, -EPERM};
        const struct evtchn_bind_interdomain *bind = (const void *)(uintptr_t)a2;
        const long error = errors[rng_below(&sim.fault_rng, 4)];

        NOTE("Xen binds no event channel for guest %llu (error %lld)", bind->remote_dom, error);
        return error;
    }
    refusal = count ? 0 : refusal_of_call(op, a1);
    if (refusal)
        return refusal;
    return dgm_hv_hypercall(op, a1, a2, a3, a4, a5);
}

void faults_start(void)
{
    dgm_hv_set_faults(
        &(struct dgm_hv_faults){.map = fault_of_map, .unmap = on_unmap, .copy = on_copy});
}

/* --- faults of disks --- */

/* Whether the request is in flight and covers all of the disk's blocks. */
static bool request_covers(const struct front *front, const struct request *request, uint64_t block,
                           uint64_t blocks)
{
    const uint64_t per_block = front->block_sectors;

    return request->state != REQUEST_FREE && block * per_block >= request->sector &&
           (block + blocks) * per_block <= request->sector + request->sectors;
}

/* Calls `act` for each request of an honest guest to which the disk's command can belong. Returns
 * their number. */
static unsigned for_each_request(uint32_t disk, uint64_t block, uint64_t blocks, uint8_t operation,
                                 void (*act)(struct request *request))
{
    unsigned found = 0;

    for (unsigned g = 0; g < sim.guest_count; g++) {
        for (unsigned f = 0; f < sim.guests[g]->front_count && !sim.guests[g]->hostile; f++) {
            struct front *front = &sim.guests[g]->fronts[f];

            for (unsigned i = 0; i < FRONT_REQUESTS && front->disk == disk; i++) {
                struct request *request = &front->requests[i];

                if (request->state == REQUEST_FREE || request->operation != operation)
                    continue;
                if (operation != BLKIF_OP_FLUSH_DISKCACHE &&
                    !request_covers(front, request, block, blocks))
                    continue;
                act(request);
                found++;
            }
        }
    }
    return found;
}

static void allow_failure(struct request *request)
{
    request->may_fail = true;
}

static void make_fail(struct request *request)
{
    request->must_fail = true;
}

static void set_unwritten(struct request *request)
{
    request->unwritten = true;
}

void faults_on_disk(uint32_t disk, uint64_t block, uint64_t blocks, uint8_t operation)
{
    if (for_each_request(disk, block, blocks, operation, allow_failure) == 1)
        (void)for_each_request(disk, block, blocks, operation, make_fail);
}

void faults_unwritten(uint32_t disk, uint64_t block, uint64_t blocks)
{
    (void)for_each_request(disk, block, blocks, BLKIF_OP_READ, set_unwritten);
}

void faults_on_whole_disk(uint32_t disk)
{
    for (unsigned g = 0; g < sim.guest_count; g++)
        for (unsigned f = 0; f < sim.guests[g]->front_count; f++)
            for (unsigned i = 0; i < FRONT_REQUESTS && sim.guests[g]->fronts[f].disk == disk; i++)
                sim.guests[g]->fronts[f].requests[i].may_fail = true;
}
