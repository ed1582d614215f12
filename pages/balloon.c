/* SPDX-License-Identifier: MIT */
/*
 * balloon: XENMEM_decrease_reservation and XENMEM_populate_physmap over runs of frames, and a
 * target for them. See dragoman/pages/balloon.h.
 *
 * The list of frames for the hypercall is on the stack, so a run is processed in pieces of 128.
 *
 * A step moves one block. `moving_frames` records which of its frames Xen has:
 *   - Out: each frame that Xen takes is added to moving_frames. When the set is the whole block,
 *     the block becomes slots and the set becomes empty.
 *   - In: the slots of a block are withdrawn from the store and all its frames are in
 *     moving_frames. Each frame that Xen returns is removed from the set. When it is empty, the
 *     block is RAM.
 *
 * A step that moves a part of a block leaves the set as it is then. The next step continues from
 * that state in either direction, so one moving block is enough.
 */
#include <pages/internal.h>
#include <dragoman/pages/balloon.h>
#include <dragoman/base/pause.h>
#include <dragoman/base/check.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/hyper/xen_status.h>

#include <string.h>
#include <xen/memory.h>

#define EXTENTS_MAX 128u
static const struct dgm_pauses wait_pauses = {.first_ns = 1000000, .last_ns = 32000000000};

/* Returns how many of the frames Xen took or returned, from the first on. Negative: none. */
static long change_reservation(unsigned command, xen_pfn_t *extents, uint64_t count)
{
    struct xen_memory_reservation reservation = {
        .nr_extents = count, .extent_order = 0, .domid = DOMID_SELF};

    set_xen_guest_handle(reservation.extent_start, extents);
    return dgm_memory_op(command, &reservation);
}

static int64_t change_range(unsigned command, struct dgm_gfn_range range)
{
    xen_pfn_t extents[EXTENTS_MAX];
    uint64_t done = 0;

    while (done < range.count) {
        const uint64_t left = range.count - done;
        const uint64_t count = left < EXTENTS_MAX ? left : EXTENTS_MAX;
        long result;

        for (uint64_t i = 0; i < count; i++)
            extents[i] = (xen_pfn_t)dgm_gfn_number(dgm_gfn_add(range.first, done + i));
        result = change_reservation(command, extents, count);
        if (result < 0 && done == 0)
            return result;
        if (result > 0)
            done += (uint64_t)result;
        if (result < 0 || (uint64_t)result < count)
            break;
    }
    return (int64_t)done;
}

int64_t dgm_balloon_out(struct dgm_gfn_range range)
{
    return change_range(XENMEM_decrease_reservation, range);
}

int64_t dgm_balloon_in(struct dgm_gfn_range range)
{
    return change_range(XENMEM_populate_physmap, range);
}

/* --- the target --- */

static uint64_t blocks_for_frames(uint64_t frames)
{
    return frames / DGM_SLOT_BLOCK + (frames % DGM_SLOT_BLOCK != 0);
}

static uint64_t frame_count(const struct dgm_balloon *balloon, uint64_t block)
{
    const uint64_t left = balloon->run.count - block * DGM_SLOT_BLOCK;

    return left < DGM_SLOT_BLOCK ? left : DGM_SLOT_BLOCK;
}

/* A bit for each frame of the block. */
static uint64_t frames_of_block(const struct dgm_balloon *balloon, uint64_t block)
{
    return UINT64_MAX >> (DGM_SLOT_BLOCK - frame_count(balloon, block));
}

static dgm_gfn_t block_gfn(const struct dgm_balloon *balloon, uint64_t block)
{
    return dgm_gfn_add(balloon->run.first, block * DGM_SLOT_BLOCK);
}

static bool is_ballooned(const struct dgm_balloon *balloon, uint64_t block)
{
    return balloon->ballooned[block / 64] >> (block % 64) & 1;
}

static void set_ballooned(struct dgm_balloon *balloon, uint64_t block, bool out)
{
    balloon->ballooned[block / 64] ^= (uint64_t)1 << (block % 64);
    balloon->blocks_out += out ? 1 : UINT64_MAX;
    balloon->current += out ? frame_count(balloon, block) : -frame_count(balloon, block);
}

/* Asks Xen to take or return `frames` of the moving block. True: Xen did so with all of them. */
static bool move_frames(struct dgm_balloon *balloon, unsigned command, uint64_t frames)
{
    const dgm_gfn_t first = block_gfn(balloon, balloon->moving);
    xen_pfn_t extents[DGM_SLOT_BLOCK];
    uint64_t count = 0;
    long result;

    if (frames == 0)
        return true;
    for (uint64_t left = frames; left; left &= left - 1)
        extents[count++] =
            (xen_pfn_t)dgm_gfn_number(dgm_gfn_add(first, (uint64_t)__builtin_ctzll(left)));
    result = change_reservation(command, extents, count);
    if (dgm_xen_call_meaning(DGM_XEN_CALL_OWN, result) == DGM_XEN_UNKNOWN)
        dgm_xen_log_unknown(&balloon->logged, "moving frames by the balloon",
                            (struct dgm_xen_outcome){DGM_XEN_NOT_WRITTEN, result});
    if (result > 0)
        balloon->wait_ns = 0;
    else
        balloon->refused = result;
    for (; result > 0 && frames; result--, frames &= frames - 1)
        balloon->moving_frames ^= frames & -frames;
    return frames == 0;
}

static bool step_out(struct dgm_balloon *balloon)
{
    if (balloon->moving_frames == 0) {
        balloon->moving = 0;
        while (is_ballooned(balloon, balloon->moving))
            balloon->moving++;
    }
    if (!move_frames(balloon, XENMEM_decrease_reservation,
                     frames_of_block(balloon, balloon->moving) & ~balloon->moving_frames))
        return false;
    balloon->moving_frames = 0;
    set_ballooned(balloon, balloon->moving, true);
    dgm_slots_add(balloon->slots, block_gfn(balloon, balloon->moving),
                  frame_count(balloon, balloon->moving));
    return true;
}

/* Withdraws the slots of the highest block that no cache owns: it becomes the moving block. False:
 * there is none. */
static bool withdraw_block(struct dgm_balloon *balloon)
{
    for (uint64_t block = blocks_for_frames(balloon->run.count); block-- > 0;) {
        if (!is_ballooned(balloon, block) ||
            dgm_slots_withdraw(balloon->slots, block_gfn(balloon, block)) < 0)
            continue;
        set_ballooned(balloon, block, false);
        balloon->moving = block;
        balloon->moving_frames = frames_of_block(balloon, block);
        return true;
    }
    return false;
}

static bool step_in(struct dgm_balloon *balloon)
{
    if (balloon->moving_frames == 0) {
        if (balloon->cache)
            dgm_slot_cache_shrink(balloon->cache);
        if (!withdraw_block(balloon))
            return false;
    }
    return move_frames(balloon, XENMEM_populate_physmap, balloon->moving_frames);
}

static bool target_reached(const struct dgm_balloon *balloon)
{
    return balloon->moving_frames == 0 && balloon->blocks_out == balloon->blocks_wanted;
}

bool dgm_balloon_step(struct dgm_balloon *balloon)
{
    bool succeeded;

    dgm_timer_disarm(balloon->reactor, &balloon->timer);
    if (target_reached(balloon))
        return false;
    succeeded = balloon->blocks_out < balloon->blocks_wanted ? step_out(balloon) : step_in(balloon);
    if (succeeded) {
        balloon->steps++;
        balloon->wait_ns = 0;
    } else {
        balloon->refusals++;
        balloon->wait_ns = dgm_pause_next_ns(wait_pauses, balloon->wait_ns);
    }
    if (target_reached(balloon))
        return false;
    dgm_timer_arm(balloon->reactor, &balloon->timer, dgm_env_now_ns() + balloon->wait_ns);
    return succeeded;
}

void dgm_balloon_fill(struct dgm_balloon *balloon)
{
    while (dgm_balloon_step(balloon) ||
           (!target_reached(balloon) && balloon->refusals < DGM_XEN_TRIES))
        ;
}

static void on_timer(struct dgm_timer *timer)
{
    (void)dgm_balloon_step(dgm_container(timer, struct dgm_balloon, timer));
}

size_t dgm_balloon_bytes(uint64_t frames)
{
    return (size_t)((blocks_for_frames(blocks_for_frames(frames))) * sizeof(uint64_t));
}

void dgm_balloon_init(struct dgm_balloon *balloon, struct dgm_reactor *reactor,
                      struct dgm_slots *slots, struct dgm_slot_cache *cache,
                      struct dgm_gfn_range run, void *memory)
{
    const uint64_t first = dgm_window_index(&slots->window, run.first);

    dgm_assert(((uintptr_t)memory & 7) == 0);
    dgm_assert(run.count > 0 && first != DGM_WINDOW_NONE && first % DGM_SLOT_BLOCK == 0);
    dgm_assert(dgm_window_index(&slots->window, dgm_gfn_add(run.first, run.count - 1)) ==
               first + run.count - 1);
    *balloon = (struct dgm_balloon){.reactor = reactor,
                                    .slots = slots,
                                    .cache = cache,
                                    .run = run,
                                    .ballooned = memory,
                                    .timer = {.fire = on_timer}};
    memset(memory, 0, dgm_balloon_bytes(run.count));
}

void dgm_balloon_set_target(struct dgm_balloon *balloon, uint64_t frames)
{
    if (frames > balloon->run.count)
        frames = balloon->run.count;
    if (blocks_for_frames(frames) == balloon->blocks_wanted)
        return;
    balloon->blocks_wanted = blocks_for_frames(frames);
    balloon->target = balloon->blocks_wanted * DGM_SLOT_BLOCK;
    if (balloon->target > balloon->run.count)
        balloon->target = balloon->run.count;
    balloon->wait_ns = 0;
    if (target_reached(balloon))
        dgm_timer_disarm(balloon->reactor, &balloon->timer);
    else
        dgm_timer_arm(balloon->reactor, &balloon->timer, dgm_env_now_ns());
}

void dgm_balloon_check(const struct dgm_balloon *balloon)
{
    uint64_t blocks = 0, frames = 0;

    for (uint64_t block = 0; block < blocks_for_frames(balloon->run.count); block++) {
        if (is_ballooned(balloon, block)) {
            blocks++;
            frames += frame_count(balloon, block);
        }
    }
    dgm_assert(blocks == balloon->blocks_out && frames == balloon->current);
    if (balloon->moving_frames) {
        dgm_assert(!is_ballooned(balloon, balloon->moving));
        dgm_assert((balloon->moving_frames & ~frames_of_block(balloon, balloon->moving)) == 0);
    }
    dgm_assert(balloon->timer.armed == !target_reached(balloon));
}
