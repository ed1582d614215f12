/* SPDX-License-Identifier: MIT */
/* window: if these fail, two slots share their state, or a slot counts as something else. */
#include "unit.h"

#include <dragoman/base/status.h>
#include <dragoman/pages/window.h>
#include <pages/internal.h>

static int add_range(struct dgm_window *window, uint64_t first, uint64_t count)
{
    return dgm_window_add(window, (struct dgm_gfn_range){{first}, count});
}

/* Fails: a block of slots belongs to two parts, or does not begin where slot.h says. */
static void parts_start_at_blocks(void **state)
{
    struct dgm_window window = {.count = 0};

    assert_int_equal(dgm_window_index(&window, dgm_gfn(0)), DGM_WINDOW_NONE);
    assert_int_equal(add_range(&window, 0x1000, 65), DGM_OK);
    assert_int_equal(add_range(&window, 0x500, 0), DGM_OK); /* an empty part */
    assert_int_equal(add_range(&window, 0x2000, 128), DGM_OK);
    assert_int_equal(add_range(&window, 0x10, 1), DGM_OK);
    assert_int_equal(window.part_count, 3);
    assert_int_equal(window.count, 128 + 128 + 1);
    assert_int_equal(dgm_window_index(&window, dgm_gfn(0x1040)), 64);
    assert_int_equal(dgm_window_index(&window, dgm_gfn(0x1041)), DGM_WINDOW_NONE);
    assert_int_equal(dgm_window_index(&window, dgm_gfn(0x2000)), 128);
    assert_int_equal(dgm_window_index(&window, dgm_gfn(0x207f)), 255);
    assert_int_equal(dgm_window_index(&window, dgm_gfn(0x2080)), DGM_WINDOW_NONE);
    assert_int_equal(dgm_window_index(&window, dgm_gfn(0x10)), 256);
    assert_int_equal(dgm_window_index(&window, dgm_gfn(0xf)), DGM_WINDOW_NONE);
    assert_int_equal(dgm_window_index(&window, dgm_gfn(0)), DGM_WINDOW_NONE);
    assert_int_equal(dgm_window_index(&window, DGM_GFN_NONE), DGM_WINDOW_NONE);
    assert_int_equal(dgm_gfn_number(dgm_window_gfn(&window, 64)), 0x1040);
    assert_int_equal(dgm_gfn_number(dgm_window_gfn(&window, 255)), 0x207f);
    assert_int_equal(dgm_gfn_number(dgm_window_gfn(&window, 256)), 0x10);
}

/* Fails: a broken device tree makes two slots of one gfn. */
static void nonsense_refused(void **state)
{
    struct dgm_window window = {.count = 0};

    assert_int_equal(add_range(&window, 100, 50), DGM_OK);
    assert_int_equal(add_range(&window, 149, 1), DGM_EINVAL);
    assert_int_equal(add_range(&window, 99, 2), DGM_EINVAL);
    assert_int_equal(add_range(&window, 0, 1000), DGM_EINVAL);
    assert_int_equal(add_range(&window, 120, 5), DGM_EINVAL);
    assert_int_equal(add_range(&window, UINT64_MAX - 3, 5), DGM_EINVAL);
    assert_int_equal(add_range(&window, UINT64_MAX, 1), DGM_EINVAL); /* DGM_GFN_NONE */
    assert_int_equal(window.part_count, 1);
    for (uint64_t i = 1; i < DGM_WINDOW_PARTS_MAX; i++)
        assert_int_equal(add_range(&window, 100 + i * 50, 50), DGM_OK);
    assert_int_equal(add_range(&window, 5000, 1), DGM_ENOSPC);
    assert_int_equal(window.count, (DGM_WINDOW_PARTS_MAX - 1) * 64 + 50);

    window = (struct dgm_window){.count = 0};
    assert_int_equal(add_range(&window, UINT64_MAX - 101, 100), DGM_OK);
    assert_int_equal(add_range(&window, 0, UINT64_MAX - 101), DGM_EINVAL); /* too many indexes */
}

/* Fails: for some window a slot's index leads to another gfn, or two slots have one index. */
static void index_and_gfn_are_inverse(void **state)
{
    const uint64_t seed = unit_seed();

    for (unsigned run = 0; run < 200; run++) {
        struct dgm_window window = {.count = 0};
        static uint8_t seen[4096];
        uint64_t slots = 0;

        for (unsigned i = 0; i < 8; i++) {
            const uint64_t first = unit_below(3000);

            (void)add_range(&window, first, 1 + unit_below(300));
        }
        memset(seen, 0, sizeof seen);
        assert_true(window.count <= sizeof seen);
        for (uint64_t gfn = 0; gfn < 3400; gfn++) {
            const uint64_t index = dgm_window_index(&window, dgm_gfn(gfn));

            if (index == DGM_WINDOW_NONE)
                continue;
            slots++;
            if (index >= window.count || seen[index]++ ||
                dgm_gfn_number(dgm_window_gfn(&window, index)) != gfn)
                fail_msg("seed %llu run %u gfn %llu", (unsigned long long)seed, run,
                         (unsigned long long)gfn);
        }
        for (size_t i = 0; i < window.part_count; i++) {
            assert_int_equal(window.parts[i].index % DGM_SLOT_BLOCK, 0);
            slots -= window.parts[i].gfns.count;
        }
        assert_int_equal(slots, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_start_at_blocks),
        cmocka_unit_test(nonsense_refused),
        cmocka_unit_test(index_and_gfn_are_inverse),
    };

    return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
