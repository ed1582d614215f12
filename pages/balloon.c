/* SPDX-License-Identifier: MIT */
/*
 * balloon: XENMEM_decrease_reservation and populate_physmap over runs of frames, and a target for
 * them. See dragoman/pages/balloon.h.
 *
 * The list of frames is on the stack, so a run goes in pieces of 128.
 *
 * A step moves one block, which is in limbo meanwhile: out, a frame is added to the limbo as Xen
 * takes it, and the full block becomes slots; in, the slots become limbo, and each frame leaves it
 * as Xen gives it back. A step that got half-way just leaves the limbo as it is, and the next one
 * goes on from there, in whatever direction the target then wants. So one such block is enough.
 */
#include <dragoman/pages/balloon.h>
#include <dragoman/base/check.h>
#include <dragoman/hyper/hypercall.h>

#include <string.h>
#include <xen/memory.h>

#define EXTENTS_MAX 128u
#define WAIT_MIN_NS 1000000ull
#define WAIT_MAX_NS 32000000000ull

/* How many of the frames Xen took or gave, the first ones; negative: none. */
static long change(unsigned command, xen_pfn_t *extents, uint64_t count)
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
            extents[i] = (xen_pfn_t)(range.first.n + done + i);
        result = change(command, extents, count);
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

static uint64_t blocks_for(uint64_t frames)
{
    return frames / DGM_SLOT_BLOCK + (frames % DGM_SLOT_BLOCK != 0);
}

static uint64_t frames_in(const struct dgm_balloon *balloon, uint64_t block)
{
    const uint64_t left = balloon->run.count - block * DGM_SLOT_BLOCK;

    return left < DGM_SLOT_BLOCK ? left : DGM_SLOT_BLOCK;
}

/* All frames of a block, as bits. */
static uint64_t whole(const struct dgm_balloon *balloon, uint64_t block)
{
    return UINT64_MAX >> (DGM_SLOT_BLOCK - frames_in(balloon, block));
}

static dgm_gfn_t first_of(const struct dgm_balloon *balloon, uint64_t block)
{
    return dgm_gfn(balloon->run.first.n + block * DGM_SLOT_BLOCK);
}

static bool is_out(const struct dgm_balloon *balloon, uint64_t block)
{
    return balloon->out[block / 64] >> (block % 64) & 1;
}

static void set_out(struct dgm_balloon *balloon, uint64_t block, bool out)
{
    balloon->out[block / 64] ^= (uint64_t)1 << (block % 64);
    balloon->blocks_out += out ? 1 : UINT64_MAX;
    balloon->current += out ? frames_in(balloon, block) : -frames_in(balloon, block);
}

/* Asks Xen to take, or give, those frames of the block half-way. False: not all. */
static bool move(struct dgm_balloon *balloon, unsigned command, uint64_t frames)
{
    xen_pfn_t extents[DGM_SLOT_BLOCK];
    uint64_t count = 0;
    long result;

    if (frames == 0)
        return true;
    for (uint64_t left = frames; left; left &= left - 1)
        extents[count++] =
            (xen_pfn_t)(first_of(balloon, balloon->half).n + (uint64_t)__builtin_ctzll(left));
    result = change(command, extents, count);
    if (result > 0)
        balloon->wait_ns = 0;
    for (; result > 0 && frames; result--, frames &= frames - 1)
        balloon->limbo ^= frames & -frames;
    return frames == 0;
}

static bool step_out(struct dgm_balloon *balloon)
{
    if (balloon->limbo == 0) {
        balloon->half = 0;
        while (is_out(balloon, balloon->half))
            balloon->half++;
    }
    if (!move(balloon, XENMEM_decrease_reservation,
              whole(balloon, balloon->half) & ~balloon->limbo))
        return false;
    balloon->limbo = 0;
    set_out(balloon, balloon->half, true);
    dgm_slots_add(balloon->slots, first_of(balloon, balloon->half),
                  frames_in(balloon, balloon->half));
    return true;
}

/* Takes the highest block away that is not in use: it is in limbo. */
static bool withdraw(struct dgm_balloon *balloon)
{
    for (uint64_t block = blocks_for(balloon->run.count); block-- > 0;) {
        if (!is_out(balloon, block) ||
            dgm_slots_withdraw(balloon->slots, first_of(balloon, block)) < 0)
            continue;
        set_out(balloon, block, false);
        balloon->half = block;
        balloon->limbo = whole(balloon, block);
        return true;
    }
    return false;
}

static bool step_in(struct dgm_balloon *balloon)
{
    if (balloon->limbo == 0) {
        if (balloon->cache)
            dgm_slot_cache_shrink(balloon->cache);
        if (!withdraw(balloon))
            return false;
    }
    return move(balloon, XENMEM_populate_physmap, balloon->limbo);
}

static bool met(const struct dgm_balloon *balloon)
{
    return balloon->limbo == 0 && balloon->blocks_out == balloon->blocks_wanted;
}

bool dgm_balloon_step(struct dgm_balloon *balloon)
{
    bool good;

    dgm_timer_disarm(balloon->reactor, &balloon->timer);
    if (met(balloon))
        return false;
    good = balloon->blocks_out < balloon->blocks_wanted ? step_out(balloon) : step_in(balloon);
    if (good) {
        balloon->steps++;
        balloon->wait_ns = 0;
    } else {
        balloon->refusals++;
        balloon->wait_ns = balloon->wait_ns ? 2 * balloon->wait_ns : WAIT_MIN_NS;
        if (balloon->wait_ns > WAIT_MAX_NS)
            balloon->wait_ns = WAIT_MAX_NS;
    }
    if (met(balloon))
        return false;
    dgm_timer_arm(balloon->reactor, &balloon->timer, dgm_env_now_ns() + balloon->wait_ns);
    return good;
}

static void on_timer(struct dgm_timer *timer)
{
    (void)dgm_balloon_step(dgm_container(timer, struct dgm_balloon, timer));
}

size_t dgm_balloon_bytes(uint64_t frames)
{
    return (size_t)((blocks_for(blocks_for(frames))) * sizeof(uint64_t));
}

void dgm_balloon_init(struct dgm_balloon *balloon, struct dgm_reactor *reactor,
                      struct dgm_slots *slots, struct dgm_slot_cache *cache,
                      struct dgm_gfn_range run, void *memory)
{
    const uint64_t first = dgm_window_index(&slots->window, run.first);

    dgm_assert(((uintptr_t)memory & 7) == 0);
    dgm_assert(run.count > 0 && first != DGM_WINDOW_NONE && first % DGM_SLOT_BLOCK == 0);
    dgm_assert(dgm_window_index(&slots->window, dgm_gfn(run.first.n + run.count - 1)) ==
               first + run.count - 1);
    *balloon = (struct dgm_balloon){.reactor = reactor,
                                    .slots = slots,
                                    .cache = cache,
                                    .run = run,
                                    .out = memory,
                                    .timer = {.fire = on_timer}};
    memset(memory, 0, dgm_balloon_bytes(run.count));
}

void dgm_balloon_set_target(struct dgm_balloon *balloon, uint64_t frames)
{
    if (frames > balloon->run.count)
        frames = balloon->run.count;
    if (blocks_for(frames) == balloon->blocks_wanted)
        return;
    balloon->blocks_wanted = blocks_for(frames);
    balloon->target = balloon->blocks_wanted * DGM_SLOT_BLOCK;
    if (balloon->target > balloon->run.count)
        balloon->target = balloon->run.count;
    balloon->wait_ns = 0;
    if (met(balloon))
        dgm_timer_disarm(balloon->reactor, &balloon->timer);
    else
        dgm_timer_arm(balloon->reactor, &balloon->timer, dgm_env_now_ns());
}

void dgm_balloon_check(const struct dgm_balloon *balloon)
{
    uint64_t blocks = 0, frames = 0;

    for (uint64_t block = 0; block < blocks_for(balloon->run.count); block++) {
        if (is_out(balloon, block)) {
            blocks++;
            frames += frames_in(balloon, block);
        }
    }
    dgm_assert(blocks == balloon->blocks_out && frames == balloon->current);
    if (balloon->limbo) {
        dgm_assert(!is_out(balloon, balloon->half));
        dgm_assert((balloon->limbo & ~whole(balloon, balloon->half)) == 0);
    }
    dgm_assert(balloon->timer.armed == !met(balloon));
}
