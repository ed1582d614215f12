/* SPDX-License-Identifier: MIT */
/* frames: if these fail, two owners share a frame, or start with another owner's bytes. */
#include "unit.h"

#include <dragoman/base/frames.h>
#include <dragoman/base/status.h>
#include <port/env.h>

static struct dgm_frames frames;

static int start(void **state)
{
    dgm_sim_memory(dgm_gfn(0x500), 64);
    memset(dgm_env_va(dgm_gfn(0x500)), 0xee, 64 * DGM_FRAME_BYTES);
    dgm_frames_init(&frames);
    return 0;
}

static int stop(void **state)
{
    for (uint64_t i = 0; i < 64; i++)
        dgm_sim_plain(dgm_gfn(0x500 + i));
    dgm_sim_memory(dgm_gfn(0), 0);
    return 0;
}

static bool is_zero(dgm_gfn_t gfn)
{
    const unsigned char *bytes = dgm_env_va(gfn);

    return bytes[0] == 0 && memcmp(bytes, bytes + 1, DGM_FRAME_BYTES - 1) == 0;
}

/* Fails: a frame is taken twice, or is not zero, or is lost. */
static void every_frame_once_and_zeroed(void **state)
{
    uint8_t seen[64] = {0};
    uint64_t taken = 0;
    dgm_gfn_t first;

    unit_seed();
    dgm_frames_add(&frames, (struct dgm_gfn_range){{0x500}, 10});
    dgm_frames_add(&frames, (struct dgm_gfn_range){{0x50a}, 0});
    dgm_frames_add(&frames, (struct dgm_gfn_range){{0x510}, 48});
    while (dgm_frames_available(&frames)) {
        const uint64_t count = 1 + unit_below(5);

        if (dgm_frames_take(&frames, count, &first) != DGM_OK)
            continue; /* no range has a run of this length */
        for (uint64_t i = 0; i < count; i++) {
            assert_int_equal(seen[dgm_gfn_number(first) - 0x500 + i]++, 0);
            assert_true(is_zero(dgm_gfn_add(first, i)));
        }
        taken += count;
    }
    assert_int_equal(taken, 58);
    assert_int_equal(frames.taken, 58);
    assert_int_equal(dgm_frames_take(&frames, 1, &first), DGM_ENOMEM);
    assert_null(dgm_frames_take_bytes(&frames, 1));
    for (int i = 10; i < 16; i++)
        assert_int_equal(seen[i], 0); /* never added to the pool */
}

/* Fails: where adjacent gfns have no adjacent addresses, an embedder gets an array that runs into
 * other memory. */
static void bytes_need_neighbouring_addresses(void **state)
{
    char *array;

    dgm_frames_add(&frames, (struct dgm_gfn_range){{0x500}, 4});
    dgm_frames_add(&frames, (struct dgm_gfn_range){{0x520}, 4});
    dgm_sim_alias(dgm_gfn(0x502), dgm_env_va(dgm_gfn(0x530))); /* a gap in the first range */
    array = dgm_frames_take_bytes(&frames, 3 * DGM_FRAME_BYTES + 1);
    assert_ptr_equal(array, dgm_env_va(dgm_gfn(0x520)));
    memset(array, 1, 4 * DGM_FRAME_BYTES);
    assert_null(dgm_frames_take_bytes(&frames, 3 * DGM_FRAME_BYTES));
    assert_int_equal(dgm_frames_available(&frames), 4); /* a refusal takes nothing */
    assert_non_null(dgm_frames_take_bytes(&frames, 2 * DGM_FRAME_BYTES));
}

/* Fails: a device tree with many reserved areas makes RAM disappear silently. */
static void too_many_ranges(void **state)
{
    for (uint64_t i = 0; i < DGM_FRAMES_RANGES_MAX; i++)
        assert_int_equal(dgm_frames_add(&frames, (struct dgm_gfn_range){{0x500 + 2 * i}, 1}),
                         DGM_OK);
    assert_int_equal(dgm_frames_add(&frames, (struct dgm_gfn_range){{0x53f}, 1}), DGM_ENOSPC);
    assert_int_equal(dgm_frames_available(&frames), DGM_FRAMES_RANGES_MAX);
}

/* Fails: frames are taken after initialisation. */
static void locked_is_locked(void **state)
{
    dgm_gfn_t first;

    dgm_frames_add(&frames, (struct dgm_gfn_range){{0x500}, 4});
    dgm_frames_lock(&frames);
    expect_panic(dgm_frames_take(&frames, 1, &first));
    expect_panic(dgm_frames_take_bytes(&frames, 1));
    expect_panic(dgm_frames_add(&frames, (struct dgm_gfn_range){{0x510}, 4}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_frame_once_and_zeroed, start, stop),
        cmocka_unit_test_setup_teardown(bytes_need_neighbouring_addresses, start, stop),
        cmocka_unit_test_setup_teardown(too_many_ranges, start, stop),
        cmocka_unit_test_setup_teardown(locked_is_locked, start, stop),
    };

    return cmocka_run_group_tests_name("frames", tests, NULL, NULL);
}
