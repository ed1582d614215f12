/* SPDX-License-Identifier: MIT */
/*
 * core: if these fail, a machine with a little less memory than needed does not report that at its
 * start, but fails later.
 */
#include "unit.h"

#include <dragoman/core/core.h>
#include <dragoman/base/status.h>
#include <sim/hypervisor/hypervisor.h>

#define RAM_FIRST   0x40000u
#define RAM_FRAMES  1024u
#define SLOTS_FIRST 0x80000u

static struct dgm_reactor reactor;
static struct dgm_frames frames;
static struct dgm_core core;
static const struct dgm_gfn_range places[] = {{{0x100000}, 0x100000}};
static struct dgm_window window;
static struct dgm_ram_bank banks[2];

/* A core with all parts, in a pool of `count` frames. */
static struct dgm_core_config all_parts(uint64_t count)
{
    const struct dgm_gfn_range ram = {dgm_gfn(RAM_FIRST), count};

    dgm_reactor_init(&reactor);
    dgm_frames_init(&frames);
    if (count)
        assert_int_equal(dgm_frames_add(&frames, ram), DGM_OK);
    window = dgm_window((struct dgm_gfn_range){dgm_gfn(SLOTS_FIRST), 2048});
    banks[0] = (struct dgm_ram_bank){dgm_gfn(RAM_FIRST), dgm_mfn(RAM_FIRST), RAM_FRAMES, NULL};
    memset(&core, 0xa5, sizeof core);
    return (struct dgm_core_config){.reactor = &reactor,
                                    .frames = &frames,
                                    .banks = banks,
                                    .bank_count = 1,
                                    .window = &window,
                                    .bounce_frames = 16,
                                    .copy_frames = 32,
                                    .persistent_frames = 256,
                                    .identity_frames = 128,
                                    .places = places,
                                    .place_count = 1};
}

static int start(void **state)
{
    dgm_hv_start(dgm_gfn(RAM_FIRST), RAM_FRAMES, dgm_mfn(RAM_FIRST));
    return 0;
}

static int stop(void **state)
{
    dgm_hv_stop();
    return 0;
}

static void all_parts_are_there(void **state)
{
    const struct dgm_core_config config = all_parts(RAM_FRAMES);

    assert_int_equal(dgm_core_init(&core, &config), DGM_OK);
    dgm_core_check(&core);
    assert_int_equal(core.slots.window.count, 2048);
    assert_int_equal(core.bounce.total, 16);
    assert_int_equal(core.copy_buffers->total, 32);
    assert_int_equal(core.persistent->total, 256);
    assert_int_equal(core.identity->total, 128);
    assert_ptr_equal(core.p2m.identity, core.identity);
    assert_ptr_equal(core.reach.identity, core.identity);
    assert_ptr_equal(core.reach.persistent, core.persistent);
    assert_ptr_equal(core.reach.copy_buffers, core.copy_buffers);
    assert_ptr_equal(core.dma.bounce, &core.bounce); /* never the buffers of mode copy */
    for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_AUTO; mode++)
        assert_true(dgm_reach_offers(&core.reach, mode));
    assert_int_equal(dgm_slot_reserve(&core.cache, NULL, 2048), DGM_OK);
    dgm_slot_unreserve(&core.cache, NULL, 2048);
}

static void absent_features_have_no_keys(void **state)
{
    struct dgm_core_config config = all_parts(RAM_FRAMES);
    const uint64_t left = dgm_frames_available(&frames);
    uint64_t all;

    assert_int_equal(dgm_core_init(&core, &config), DGM_OK);
    all = left - dgm_frames_available(&frames);
    config = all_parts(RAM_FRAMES);
    config.copy_frames = config.persistent_frames = config.identity_frames = 0;
    config.slots_later = true;
    assert_int_equal(dgm_core_init(&core, &config), DGM_OK);
    dgm_core_check(&core);
    assert_true(left - dgm_frames_available(&frames) < all - 32);
    assert_null(core.copy_buffers);
    assert_null(core.persistent);
    assert_null(core.identity);
    assert_null(core.p2m.identity);
    assert_true(dgm_reach_offers(&core.reach, DGM_REACH_MODE_MAP));
    assert_true(dgm_reach_offers(&core.reach, DGM_REACH_MODE_AUTO));
    assert_false(dgm_reach_offers(&core.reach, DGM_REACH_MODE_COPY));
    assert_false(dgm_reach_offers(&core.reach, DGM_REACH_MODE_IDENTITY));
    assert_int_equal(dgm_slot_reserve(&core.cache, NULL, 1), DGM_EAGAIN);
    dgm_slots_add(&core.slots, dgm_gfn(SLOTS_FIRST), DGM_SLOT_BLOCK);
    assert_int_equal(dgm_slot_reserve(&core.cache, NULL, DGM_SLOT_BLOCK), DGM_OK);
    dgm_slot_unreserve(&core.cache, NULL, DGM_SLOT_BLOCK);
}

static void at_most_half_of_the_slots_are_persistent(void **state)
{
    struct dgm_core_config config = all_parts(RAM_FRAMES);

    config.persistent_frames = 5000;
    assert_int_equal(dgm_core_init(&core, &config), DGM_OK);
    assert_int_equal(core.persistent->total, 1024);

    config = all_parts(RAM_FRAMES);
    window = dgm_window((struct dgm_gfn_range){dgm_gfn(SLOTS_FIRST), 1});
    assert_int_equal(dgm_core_init(&core, &config), DGM_OK);
    assert_null(core.persistent); /* half of one is none */
    dgm_core_check(&core);
}

/* One frame more each time: an error while there are too few, success from then on. */
static void too_little_memory_at_every_step(void **state)
{
    uint64_t enough = 0;

    for (uint64_t count = 0; count < RAM_FRAMES && !enough; count++) {
        const struct dgm_core_config config = all_parts(count);
        const int status = dgm_core_init(&core, &config);

        if (status == DGM_OK)
            enough = count;
        else
            assert_int_equal(status, DGM_ENOMEM);
    }
    assert_true(enough > 48); /* the buffers alone */
    assert_int_equal(dgm_frames_available(&frames), 0);
    dgm_core_check(&core);
}

/* Fails: a part for which there is too little memory is left out, though the others fit. */
static void one_part_is_too_large(void **state)
{
    const struct {
        uint16_t copy, identity;
    } cases[] = {{512, 0}, {0, 32000}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgm_core_config config = all_parts(60);

        config.bounce_frames = 1;
        config.copy_frames = config.persistent_frames = config.identity_frames = 0;
        assert_int_equal(dgm_core_init(&core, &config), DGM_OK);

        config = all_parts(60);
        config.bounce_frames = 1;
        config.copy_frames = cases[i].copy;
        config.persistent_frames = 0;
        config.identity_frames = cases[i].identity;
        assert_int_equal(dgm_core_init(&core, &config), DGM_ENOMEM);
    }
}

static void banks_that_cannot_be(void **state)
{
    struct dgm_core_config config = all_parts(RAM_FRAMES);

    banks[1] = (struct dgm_ram_bank){dgm_gfn(RAM_FIRST + 1), dgm_mfn(0x300000), 1, NULL};
    config.bank_count = 2;
    assert_int_equal(dgm_core_init(&core, &config), DGM_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_parts_are_there, start, stop),
        cmocka_unit_test_setup_teardown(absent_features_have_no_keys, start, stop),
        cmocka_unit_test_setup_teardown(at_most_half_of_the_slots_are_persistent, start, stop),
        cmocka_unit_test_setup_teardown(too_little_memory_at_every_step, start, stop),
        cmocka_unit_test_setup_teardown(one_part_is_too_large, start, stop),
        cmocka_unit_test_setup_teardown(banks_that_cannot_be, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
