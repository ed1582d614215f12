/* SPDX-License-Identifier: MIT */
/* slot: if these fail, two guests' frames share a slot, or slots get lost until I/O stops. */
#include "unit.h"

#include <dragoman/slot.h>
#include <dragoman/status.h>

static uint64_t memory[8192];
static struct dgm_slots slots;

static void start(uint64_t count)
{
    assert_true(dgm_slots_bytes(count) <= sizeof memory);
    memset(memory, 0xa5, sizeof memory); /* init may not rely on zeroes */
    assert_int_equal(dgm_slots_init(&slots, (struct dgm_gfn_range){{0x1000}, count}, memory),
                     DGM_OK);
    dgm_slots_check(&slots);
}

/* Fails: batches do not get ascending runs, so that neighbours never merge; or an edge is off. */
static void lowest_first_to_the_last(void **state)
{
    static const uint64_t sizes[] = {1, 2, 63, 64, 65, 4095, 4096, 4097, 20000, 32768};

    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        dgm_gfn_t gfn;

        start(sizes[s]);
        for (uint64_t i = 0; i < sizes[s]; i++) {
            assert_int_equal(dgm_slot_take(&slots, &gfn), DGM_OK);
            assert_int_equal(gfn.n, 0x1000 + i);
        }
        assert_int_equal(dgm_slot_take(&slots, &gfn), DGM_EAGAIN);
        dgm_slots_check(&slots);
        dgm_slot_give(&slots, dgm_gfn(0x1000 + sizes[s] / 2));
        assert_int_equal(dgm_slot_take(&slots, &gfn), DGM_OK);
        assert_int_equal(gfn.n, 0x1000 + sizes[s] / 2);
        assert_int_equal(slots.taken_max, sizes[s]);
    }
}

/* Fails: a domain without slots crashes instead of waiting. */
static void no_slots_at_all(void **state)
{
    dgm_gfn_t gfn;

    start(0);
    assert_int_equal(dgm_slot_take(&slots, &gfn), DGM_EAGAIN);
    assert_int_equal(dgm_slots_init(&slots, (struct dgm_gfn_range){{UINT64_MAX - 3}, 10}, memory),
                     DGM_EINVAL);
}

/* Fails: a slot that may still show a guest's page is handed to another guest. */
static void retired_never_returns(void **state)
{
    dgm_gfn_t gfn;

    start(3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(dgm_slot_take(&slots, &gfn), DGM_OK);
    dgm_slot_retire(&slots, dgm_gfn(0x1001));
    expect_panic(dgm_slot_give(&slots, dgm_gfn(0x1001)));
    expect_panic(dgm_slot_retire(&slots, dgm_gfn(0x1001)));
    dgm_slot_give(&slots, dgm_gfn(0x1000));
    dgm_slot_give(&slots, dgm_gfn(0x1002));
    assert_int_equal(dgm_slot_take(&slots, &gfn), DGM_OK);
    assert_int_equal(dgm_slot_take(&slots, &gfn), DGM_OK);
    assert_int_equal(gfn.n, 0x1002);
    assert_int_equal(dgm_slot_take(&slots, &gfn), DGM_EAGAIN);
    assert_int_equal(slots.retired, 1);
    dgm_slots_check(&slots);
}

/* Fails: a slot given twice is handed out twice. */
static void misuse_panics(void **state)
{
    dgm_gfn_t gfn;

    start(100);
    assert_int_equal(dgm_slot_take(&slots, &gfn), DGM_OK);
    expect_panic(dgm_slot_give(&slots, dgm_gfn(0x1001)));
    expect_panic(dgm_slot_give(&slots, dgm_gfn(0xfff)));
    expect_panic(dgm_slot_give(&slots, dgm_gfn(0x1000 + 100)));
    dgm_slot_give(&slots, gfn);
    expect_panic(dgm_slot_give(&slots, gfn));
    dgm_slots_check(&slots);
}

enum { FREE, TAKEN, RETIRED };

/* Fails: some history leads to another slot than the obvious code would give. */
static void same_as_naive_twin(void **state)
{
    const uint64_t seed = unit_seed();
    static uint8_t twin[9000];

    for (unsigned run = 0; run < 20; run++) {
        const uint64_t count = 1 + unit_below(sizeof twin);
        const unsigned taking = 40 + (unsigned)unit_below(30); /* percent: nearly empty to full */

        start(count);
        memset(twin, FREE, sizeof twin);
        for (unsigned step = 0; step < 20000; step++) {
            const uint64_t i = unit_below(count);

            if (unit_chance(taking)) {
                const uint8_t *lowest = memchr(twin, FREE, count);
                dgm_gfn_t gfn = DGM_GFN_NONE;
                const int status = dgm_slot_take(&slots, &gfn);

                if (status != (lowest ? DGM_OK : DGM_EAGAIN) ||
                    (lowest && gfn.n != 0x1000 + (uint64_t)(lowest - twin)))
                    fail_msg("seed %llu run %u step %u", (unsigned long long)seed, run, step);
                if (lowest)
                    twin[lowest - twin] = TAKEN;
            } else if (twin[i] == TAKEN) {
                const bool retire = unit_below(500) == 0;

                twin[i] = retire ? RETIRED : FREE;
                (retire ? dgm_slot_retire : dgm_slot_give)(&slots, dgm_gfn(0x1000 + i));
            }
        }
        dgm_slots_check(&slots);
    }
}

/* Fails: dgm_slots_check() would let a lost slot pass. */
static void check_sees_a_planted_error(void **state)
{
    dgm_gfn_t gfn;

    start(5000);
    assert_int_equal(dgm_slot_take(&slots, &gfn), DGM_OK);
    slots.free_map[0] |= 1;
    expect_panic(dgm_slots_check(&slots));
    slots.free_map[0] &= ~(uint64_t)1;
    slots.free_some[0] &= ~(uint64_t)2;
    expect_panic(dgm_slots_check(&slots));
    slots.free_some[0] |= 2;
    slots.taken--;
    expect_panic(dgm_slots_check(&slots));
    slots.taken++;
    dgm_slots_check(&slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lowest_first_to_the_last), cmocka_unit_test(no_slots_at_all),
        cmocka_unit_test(retired_never_returns),    cmocka_unit_test(misuse_panics),
        cmocka_unit_test(same_as_naive_twin),       cmocka_unit_test(check_sees_a_planted_error),
    };

    return cmocka_run_group_tests_name("slot", tests, NULL, NULL);
}
