/* SPDX-License-Identifier: MIT */
/*
 * ranges: if these fail, memory that firmware reserved becomes ours, or memory of ours is lost.
 */
#include "unit.h"

#include <kernel/ranges.h>

#define SPACE 200u /* addresses, so that a naive twin can check each */

static unsigned count_holding(const struct range *ranges, size_t count, uint64_t at)
{
    unsigned times = 0;

    for (size_t i = 0; i < count; i++)
        times += at >= ranges[i].base && at - ranges[i].base < ranges[i].bytes;
    return times;
}

/* Fails: an address of a hole remains, or one outside of all holes is lost or occurs twice. */
static void removing_beside_a_twin(void **state)
{
    unit_seed();
    for (unsigned round = 0; round < 20000; round++) {
        struct range ranges[64] = {{0, 0}};
        bool twin[SPACE] = {false};
        size_t count = 0;

        for (uint64_t at = unit_below(20); at < SPACE; at += unit_below(30)) {
            const uint64_t bytes = unit_below(SPACE - at < 40 ? SPACE - at : 40) + 1;

            ranges[count++] = (struct range){at, bytes};
            for (uint64_t i = 0; i < bytes; i++)
                twin[at + i] = true;
            at += bytes;
        }
        for (unsigned holes = 0; holes < 8; holes++) {
            const uint64_t base = unit_below(SPACE);
            const struct range hole = {base, unit_below(SPACE - base)};

            count = ranges_remove(ranges, count, hole, 64);
            for (uint64_t i = 0; i < hole.bytes; i++)
                twin[base + i] = false;
            for (uint64_t at = 0; at < SPACE; at++)
                assert_int_equal(count_holding(ranges, count, at), twin[at]);
            for (size_t i = 0; i < count; i++)
                assert_true(ranges[i].bytes > 0);
        }
    }
}

/* Fails: where no entry is left for the upper part of a split range, the hole itself stays. */
static void full_list_loses_memory_and_no_hole(void **state)
{
    struct range ranges[2] = {{0, 100}, {200, 100}};

    assert_int_equal(ranges_remove(ranges, 2, (struct range){40, 20}, 2), 2);
    assert_int_equal(count_holding(ranges, 2, 39), 1);
    for (uint64_t at = 40; at < 100; at++)
        assert_int_equal(count_holding(ranges, 2, at), 0);
    assert_int_equal(count_holding(ranges, 2, 299), 1);
}

static void rounding_to_frames(void **state)
{
    static const struct {
        struct range range, inwards, outwards;
    } rows[] = {
        {{0, 0}, {0, 0}, {0, 0}},
        {{0x1000, 0x2000}, {0x1000, 0x2000}, {0x1000, 0x2000}},
        {{0x1001, 0x2000}, {0x2000, 0x1000}, {0x1000, 0x3000}},
        {{0x1fff, 1}, {0x1fff, 0}, {0x1000, 0x1000}},
        {{0x1fff, 2}, {0x2000, 0}, {0x1000, 0x2000}},
        {{UINT64_MAX - 0xfff, 0xfff}, {UINT64_MAX - 0xfff, 0}, {UINT64_MAX - 0xfff, 0xfff}},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(range_inwards(rows[i].range).bytes, rows[i].inwards.bytes);
        if (rows[i].inwards.bytes)
            assert_int_equal(range_inwards(rows[i].range).base, rows[i].inwards.base);
        assert_int_equal(range_outwards(rows[i].range).base, rows[i].outwards.base);
        assert_int_equal(range_outwards(rows[i].range).bytes, rows[i].outwards.bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removing_beside_a_twin),
        cmocka_unit_test(full_list_loses_memory_and_no_hole),
        cmocka_unit_test(rounding_to_frames),
    };

    return cmocka_run_group_tests_name("ranges", tests, NULL, NULL);
}
