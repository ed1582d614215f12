/* SPDX-License-Identifier: MIT */
/*
 * copy_buffers: the pool beside a naive twin. If these fail, two requests copy through one buffer,
 * a guest takes more than its quota, or a buffer is lost.
 */
#include "unit.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <dragoman/reach/copy_buffers.h>
#include <reach/internal.h>

#define RAM_FIRST 0x40000u
#define TOTAL     70 /* more than a word of the bitmap */
#define GUESTS    3
#define QUOTA     30

static struct dgm_frames frames;
static struct dgm_copy_buffers buffers;
static struct dgm_quota quotas[GUESTS];

static void start_buffers(uint16_t count)
{
    dgm_sim_memory(dgm_gfn(RAM_FIRST), 256);
    dgm_frames_init(&frames);
    assert_int_equal(dgm_frames_add(&frames, (struct dgm_gfn_range){dgm_gfn(RAM_FIRST), 256}),
                     DGM_OK);
    assert_int_equal(dgm_copy_buffers_init(&buffers, &frames, count), DGM_OK);
    for (unsigned g = 0; g < GUESTS; g++)
        quotas[g] = (struct dgm_quota){.max = QUOTA};
}

static void stop_buffers(void)
{
    dgm_copy_buffers_check(&buffers);
    dgm_sim_memory(dgm_gfn(0), 0);
}

static void every_buffer_is_a_frame_of_its_own(void **state)
{
    start_buffers(TOTAL);
    for (unsigned i = 0; i < TOTAL; i++) {
        assert_true(dgm_gfn_in((struct dgm_gfn_range){dgm_gfn(RAM_FIRST), 256}, buffers.gfn[i]));
        for (unsigned j = 0; j < i; j++)
            assert_false(dgm_gfn_equal(buffers.gfn[i], buffers.gfn[j]));
        assert_false(dgm_copy_buffers_is_taken(&buffers, buffers.gfn[i]));
    }
    assert_false(dgm_copy_buffers_is_taken(&buffers, dgm_gfn(1)));
    stop_buffers();
}

static void too_few_frames_are_an_error(void **state)
{
    start_buffers(1);
    assert_int_equal(dgm_copy_buffers_init(&buffers, &frames, 256), DGM_ENOMEM);
    dgm_sim_memory(dgm_gfn(0), 0);
}

/* The quota is checked first, and nothing is reserved in part. */
static void all_or_nothing(void **state)
{
    start_buffers(40);
    assert_int_equal(dgm_copy_buffers_reserve(&buffers, &quotas[0], QUOTA + 1), DGM_EDQUOT);
    assert_int_equal(quotas[0].refusals, 1);
    assert_int_equal(dgm_copy_buffers_reserve(&buffers, &quotas[0], QUOTA), DGM_OK);
    assert_int_equal(dgm_copy_buffers_reserve(&buffers, &quotas[1], 11), DGM_EAGAIN);
    assert_int_equal(quotas[1].used, 0);
    assert_int_equal(quotas[1].refusals, 0);
    assert_int_equal(dgm_copy_buffers_reserve(&buffers, &quotas[1], 10), DGM_OK);
    assert_int_equal(dgm_copy_buffers_reserve(&buffers, &quotas[2], 1), DGM_EAGAIN);
    assert_int_equal(buffers.reserved, 40);
    assert_int_equal(buffers.free, 40);
    dgm_copy_buffers_unreserve(&buffers, &quotas[1], 10);
    dgm_copy_buffers_unreserve(&buffers, &quotas[0], QUOTA);
    assert_int_equal(quotas[0].used_max, QUOTA);
    stop_buffers();
}

static void misuse_is_an_assertion(void **state)
{
    start_buffers(4);
    expect_panic((void)dgm_copy_buffers_take(&buffers));
    expect_panic(dgm_copy_buffers_give(&buffers, &quotas[0], 0));
    assert_int_equal(dgm_copy_buffers_reserve(&buffers, &quotas[0], 1), DGM_OK);
    expect_panic(dgm_copy_buffers_unreserve(&buffers, &quotas[0], 2));
    expect_panic(dgm_copy_buffers_give(&buffers, &quotas[0], 0));
    stop_buffers();
}

/* --- beside a naive twin --- */

struct twin {
    int owner[TOTAL]; /* the guest that holds buffer i, or -1 */
    unsigned reserved[GUESTS];
    unsigned free_min;
};

static unsigned held_by(const struct twin *twin, int guest)
{
    unsigned held = 0;

    for (unsigned i = 0; i < TOTAL; i++)
        held += twin->owner[i] == guest;
    return held;
}

static void compare_with_twin(const struct twin *twin)
{
    unsigned reserved = 0;

    dgm_copy_buffers_check(&buffers);
    for (unsigned g = 0; g < GUESTS; g++) {
        reserved += twin->reserved[g];
        assert_int_equal(quotas[g].used, held_by(twin, (int)g) + twin->reserved[g]);
    }
    assert_int_equal(buffers.reserved, reserved);
    assert_int_equal(buffers.free, held_by(twin, -1));
    assert_int_equal(buffers.free_min, twin->free_min);
    for (unsigned i = 0; i < TOTAL; i++)
        assert_int_equal(dgm_copy_buffers_is_taken(&buffers, buffers.gfn[i]), twin->owner[i] >= 0);
}

static void reserve_beside(struct twin *twin, unsigned g, unsigned count)
{
    unsigned reserved = 0;
    int expected = DGM_OK;

    for (unsigned i = 0; i < GUESTS; i++)
        reserved += twin->reserved[i];
    if (held_by(twin, (int)g) + twin->reserved[g] + count > QUOTA)
        expected = DGM_EDQUOT;
    else if (reserved + count > held_by(twin, -1))
        expected = DGM_EAGAIN;
    assert_int_equal(dgm_copy_buffers_reserve(&buffers, &quotas[g], count), expected);
    if (expected == DGM_OK)
        twin->reserved[g] += count;
}

static void do_random_step(struct twin *twin)
{
    const unsigned g = (unsigned)unit_below(GUESTS), i = (unsigned)unit_below(TOTAL);

    switch (unit_below(4)) {
    case 0:
        reserve_beside(twin, g, 1 + (unsigned)unit_below(12));
        break;
    case 1:
        if (twin->reserved[g]) {
            const unsigned count = 1 + (unsigned)unit_below(twin->reserved[g]);

            dgm_copy_buffers_unreserve(&buffers, &quotas[g], count);
            twin->reserved[g] -= count;
        }
        break;
    case 2:
        if (twin->reserved[g]) {
            const uint16_t taken = dgm_copy_buffers_take(&buffers);

            assert_true(taken < TOTAL);
            assert_int_equal(twin->owner[taken], -1);
            twin->owner[taken] = (int)g;
            twin->reserved[g]--;
            if (held_by(twin, -1) < twin->free_min)
                twin->free_min = held_by(twin, -1);
        }
        break;
    default:
        if (twin->owner[i] >= 0) {
            dgm_copy_buffers_give(&buffers, &quotas[twin->owner[i]], (uint16_t)i);
            twin->owner[i] = -1;
        }
        break;
    }
}

static void as_a_naive_pool_would(void **state)
{
    struct twin twin = {.free_min = TOTAL};

    print_message("# seed %llu\n", (unsigned long long)unit_seed());
    start_buffers(TOTAL);
    for (unsigned i = 0; i < TOTAL; i++)
        twin.owner[i] = -1;
    for (unsigned n = 0; n < 20000; n++) {
        do_random_step(&twin);
        compare_with_twin(&twin);
    }
    stop_buffers();
}

/* One operation that only the pool sees: the comparison must fail, otherwise it proves nothing. */
static void the_comparison_can_fail(void **state)
{
    start_buffers(TOTAL);
    assert_int_equal(dgm_copy_buffers_reserve(&buffers, &quotas[0], 1), DGM_OK);
    const uint16_t taken = dgm_copy_buffers_take(&buffers);

    buffers.taken[taken / 64] &= ~(1ull << (taken % 64));
    expect_panic(dgm_copy_buffers_check(&buffers));
    buffers.taken[taken / 64] |= 1ull << (taken % 64);
    stop_buffers();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_buffer_is_a_frame_of_its_own),
        cmocka_unit_test(too_few_frames_are_an_error),
        cmocka_unit_test(all_or_nothing),
        cmocka_unit_test(misuse_is_an_assertion),
        cmocka_unit_test(as_a_naive_pool_would),
        cmocka_unit_test(the_comparison_can_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
