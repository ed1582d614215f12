/* SPDX-License-Identifier: MIT */
/*
 * slot, with threads: if these fail, two reactors get one slot, or a block is lost between them.
 * Runs under ThreadSanitizer: the next holder of a slot must see what the holder before wrote.
 */
#include "unit.h"

#include <dragoman/pages/slot.h>
#include <dragoman/base/status.h>
#include <pages/internal.h>

#include <pthread.h>
#include <sched.h>

#define FIRST 0x1000u
#define SLOTS 320u      /* five blocks: the threads always compete for the last one */
#define TIMES 2000u     /* that a thread gets slots */
#define TRIES 50000000u /* attempts before the thread fails */

static uint64_t memory[64], cache_memory[3][4];
static struct dgm_slots slots;
static struct dgm_slot_cache caches[3];
static int holder[SLOTS]; /* the thread that has it; plain, because only the holder touches it */

static int start(void **state)
{
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{FIRST}, SLOTS});

    assert_true(dgm_slots_bytes(SLOTS) <= sizeof memory);
    assert_true(dgm_slot_cache_bytes(SLOTS) <= sizeof cache_memory[0]);
    dgm_slots_init(&slots, &window, true, memory);
    for (unsigned i = 0; i < 3; i++)
        dgm_slot_cache_init(&caches[i], &slots, cache_memory[i]);
    memset(holder, 0, sizeof holder);
    return 0;
}

/* Takes a slot for `me`. False: the other thread has it too. */
static bool note_holder(dgm_gfn_t gfn, int me)
{
    if (holder[dgm_gfn_number(gfn) - FIRST] != 0)
        return false;
    holder[dgm_gfn_number(gfn) - FIRST] = me;
    return true;
}

static bool clear_holder(dgm_gfn_t gfn, int me)
{
    if (holder[dgm_gfn_number(gfn) - FIRST] != me)
        return false;
    holder[dgm_gfn_number(gfn) - FIRST] = 0;
    return true;
}

/* Takes and returns the reserved slots. False: the other thread had one of them. */
static bool take_and_give(struct dgm_slot_cache *mine, int me, uint64_t count)
{
    dgm_gfn_t gfn[200];

    for (uint64_t i = 0; i < count; i++) {
        gfn[i] = dgm_slot_take(mine);
        if (!note_holder(gfn[i], me))
            return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (!clear_holder(gfn[i], me))
            return false;
        dgm_slot_give(mine, NULL, gfn[i]);
    }
    return true;
}

/* The body of both threads. NULL: a slot had two holders, or the thread never got its slots. */
static void *run_reactor(void *argument)
{
    struct dgm_slot_cache *mine = argument;
    const int me = 1 + (int)(mine - caches);
    uint64_t random = (uint64_t)me;
    unsigned times = 0;

    for (unsigned try = 0; try < TRIES && times < TIMES; try++) {
        const uint64_t count = 1 + (random >> 33) % 200;

        random = random * 6364136223846793005u + 1442695040888963407u;
        if (dgm_slot_reserve(mine, NULL, count) != DGM_OK) {
            dgm_slot_cache_shrink(mine);
            sched_yield();
            continue;
        }
        if (!take_and_give(mine, me, count))
            return NULL;
        if (times++ % 3 == 0)
            dgm_slot_cache_shrink(mine);
    }
    dgm_slot_cache_shrink(mine);
    return times == TIMES ? mine : NULL;
}

/* Withdraws blocks and adds them again, as the balloon does. */
static void *run_balloon(void *argument)
{
    const int me = 3;
    unsigned times = 0;

    for (unsigned try = 0; try < TRIES && times < TIMES; try++) {
        const dgm_gfn_t first = dgm_gfn(FIRST + try % 5 * DGM_SLOT_BLOCK);

        if (dgm_slots_withdraw(&slots, first) != (int)DGM_SLOT_BLOCK) {
            sched_yield();
            continue;
        }
        for (uint64_t i = 0; i < DGM_SLOT_BLOCK; i++)
            if (!note_holder(dgm_gfn_add(first, i), me))
                return NULL;
        for (uint64_t i = 0; i < DGM_SLOT_BLOCK; i++)
            if (!clear_holder(dgm_gfn_add(first, i), me))
                return NULL;
        dgm_slots_add(&slots, first, DGM_SLOT_BLOCK);
        times++;
    }
    return times == TIMES ? argument : NULL;
}

static void run_threads(unsigned reactors, bool with_balloon)
{
    pthread_t threads[3];
    const unsigned count = reactors + with_balloon;

    for (unsigned i = 0; i < count; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, i < reactors ? run_reactor : run_balloon, &caches[i]),
            0);
    for (unsigned i = 0; i < count; i++) {
        void *result;

        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_non_null(result);
    }
    for (unsigned i = 0; i < 3; i++)
        dgm_slot_cache_check(&caches[i]);
    assert_int_equal(slots.blocks_free, SLOTS / DGM_SLOT_BLOCK);
    assert_int_equal(dgm_slot_reserve(&caches[2], NULL, SLOTS), DGM_OK);
}

static void two_reactors(void **state)
{
    run_threads(2, false);
}

static void two_reactors_and_the_balloon(void **state)
{
    run_threads(2, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(two_reactors, start),
        cmocka_unit_test_setup(two_reactors_and_the_balloon, start),
    };

    return cmocka_run_group_tests_name("slot, threads", tests, NULL, NULL);
}
