/* SPDX-License-Identifier: MIT */
/*
 * p2m: if these fail, a device gets the wrong machine frame, or one whose grant is not held.
 */
#include "unit.h"

#include <dragoman/pages/p2m.h>
#include <dragoman/base/status.h>
#include <pages/internal.h>

#define SLOTS 300u

static uint64_t memory[4096];
static struct dgm_p2m p2m;

static const struct dgm_ram_bank banks_1to1[] = {
    {{0x40000}, {0x40000}, 0x1000, NULL},
    {{0x80000}, {0x80000}, 0x800, NULL},
};

static int init_p2m(const struct dgm_ram_bank *banks, size_t count, struct dgm_gfn_range gfns)
{
    const struct dgm_window window = dgm_window(gfns);

    assert_true(dgm_p2m_bytes(window.count) <= sizeof memory);
    return dgm_p2m_init(&p2m, banks, count, &window, memory);
}

static void start_p2m(struct dgm_gfn_range window)
{
    assert_int_equal(init_p2m(banks_1to1, 2, window), DGM_OK);
}

static uint64_t look_up(uint64_t gfn)
{
    return dgm_mfn_number(dgm_p2m_lookup(&p2m, dgm_gfn(gfn)));
}

/* Fails: a device gets wrong addresses of our own queues, at the edges of a bank. */
static void local_ram_by_banks(void **state)
{
    start_p2m((struct dgm_gfn_range){{0x100000}, SLOTS});
    assert_int_equal(look_up(0x40000), 0x40000);
    assert_int_equal(look_up(0x40fff), 0x40fff);
    assert_int_equal(look_up(0x80000), 0x80000);
    assert_int_equal(look_up(0x807ff), 0x807ff);
    assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&p2m, dgm_gfn(0x3ffff))));
    assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&p2m, dgm_gfn(0x41000))));
    assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&p2m, dgm_gfn(0x80800))));
    assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&p2m, dgm_gfn(UINT64_MAX))));
    assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&p2m, dgm_gfn(0))));
}

/* Fails: on a Dom0 whose RAM is not 1:1, a gfn is used as an mfn. */
static void displaced_ram(void **state)
{
    const struct dgm_ram_bank banks[] = {
        {{0x80010}, {0x1003}, 4, NULL}, /* out of order on purpose */
        {{0x80000}, {0x9000}, 16, NULL},
    };

    assert_int_equal(init_p2m(banks, 2, (struct dgm_gfn_range){{0x100}, SLOTS}), DGM_OK);
    assert_int_equal(look_up(0x80000), 0x9000);
    assert_int_equal(look_up(0x8000f), 0x900f);
    assert_int_equal(look_up(0x80010), 0x1003);
    assert_int_equal(look_up(0x80013), 0x1006);
    assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&p2m, dgm_gfn(0x80014))));
    dgm_p2m_check(&p2m);
}

/* Fails: on a cache-coloured Dom0 a device gets a frame of another colour, so of another domain. */
static void coloured_ram(void **state)
{
    static uint64_t mfns[16];
    const struct dgm_ram_bank banks[] = {
        {{0x80000}, {7}, 16, mfns}, /* the run's mfn is not used */
        {{0x80010}, {3}, 8, NULL},  /* also in the first bank: not compared */
    };
    const struct dgm_ram_bank same_gfns[] = {{{10}, {0}, 5, mfns}, {{14}, {200}, 5, NULL}};
    const struct dgm_ram_bank far[] = {{{0x100}, {UINT64_MAX}, 16, mfns}};

    for (uint64_t i = 0; i < 16; i++)
        mfns[i] = i * 8 + 3;
    assert_int_equal(init_p2m(banks, 2, (struct dgm_gfn_range){{0x8000c}, 2}), DGM_OK);
    for (uint64_t i = 0; i < 16; i++)
        assert_int_equal(look_up(0x80000 + i), i == 12 || i == 13 ? UINT64_MAX : i * 8 + 3);
    assert_int_equal(look_up(0x80010), 3);
    dgm_p2m_publish(&p2m, dgm_gfn(0x8000d), dgm_mfn(99));
    assert_int_equal(look_up(0x8000d), 99);
    dgm_p2m_check(&p2m);
    assert_int_equal(init_p2m(same_gfns, 2, (struct dgm_gfn_range){{0x100}, 2}), DGM_EINVAL);
    assert_int_equal(init_p2m(far, 1, (struct dgm_gfn_range){{0x200}, 2}), DGM_OK);
    assert_int_equal(look_up(0x10f), 15 * 8 + 3);
}

/* Fails: only the first part of a window has entries, or two slots share one. */
static void window_in_parts(void **state)
{
    const struct dgm_gfn_range parts[] = {{{0x100000}, 70}, {{0x40100}, 5}, {{0xf0000}, 1}};
    struct dgm_window window = {.count = 0};

    for (size_t i = 0; i < 3; i++)
        assert_int_equal(dgm_window_add(&window, parts[i]), DGM_OK);
    assert_true(dgm_p2m_bytes(window.count) <= sizeof memory);
    assert_int_equal(dgm_p2m_init(&p2m, banks_1to1, 2, &window, memory), DGM_OK);
    for (size_t i = 0; i < 3; i++) {
        for (uint64_t s = 0; s < parts[i].count; s++) {
            const dgm_gfn_t gfn = dgm_gfn_add(parts[i].first, s);

            assert_true(dgm_p2m_is_slot(&p2m, gfn));
            assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&p2m, gfn)));
            dgm_p2m_publish(&p2m, gfn, dgm_mfn(1000 * i + s));
            dgm_p2m_hold(&p2m, gfn);
        }
    }
    for (size_t i = 0; i < 3; i++) {
        const uint64_t first = dgm_gfn_number(parts[i].first), end = first + parts[i].count;

        for (uint64_t s = 0; s < parts[i].count; s++)
            assert_int_equal(look_up(first + s), 1000 * i + s);
        assert_false(dgm_p2m_is_slot(&p2m, dgm_gfn(first - 1)));
        assert_false(dgm_p2m_is_slot(&p2m, dgm_gfn(end)));
    }
    assert_int_equal(look_up(0x40105), 0x40105);
    expect_panic(dgm_p2m_unpublish(&p2m, dgm_gfn(0xf0000)));
    dgm_p2m_release(&p2m, dgm_gfn(0xf0000));
    dgm_p2m_unpublish(&p2m, dgm_gfn(0xf0000));
    assert_int_equal(p2m.live, 75);
    dgm_p2m_check(&p2m);
}

/*
 * Fails: provenance is guessed from the machine address, as Linux does with pfn_valid(mfn): a
 * guest's frame whose mfn looks like our RAM, or like a slot, counts as local.
 */
static void foreign_is_decided_by_gfn(void **state)
{
    start_p2m((struct dgm_gfn_range){{0x100000}, SLOTS});
    dgm_p2m_publish(&p2m, dgm_gfn(0x100000), dgm_mfn(0x40005));  /* numerically our RAM */
    dgm_p2m_publish(&p2m, dgm_gfn(0x100001), dgm_mfn(0x100007)); /* numerically a slot */
    assert_true(dgm_p2m_is_slot(&p2m, dgm_gfn(0x100000)));
    assert_false(dgm_p2m_is_slot(&p2m, dgm_gfn(0x40005)));
    assert_int_equal(look_up(0x100000), 0x40005);
    assert_int_equal(look_up(0x100001), 0x100007);
    assert_int_equal(look_up(0x40005), 0x40005);
    assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&p2m, dgm_gfn(0x100007))));
}

/* Fails: with ext_regions=0 the lookup of a ballooned-out slot returns the former RAM. */
static void window_inside_a_bank(void **state)
{
    start_p2m((struct dgm_gfn_range){{0x40100}, 16});
    assert_int_equal(look_up(0x400ff), 0x400ff);
    assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&p2m, dgm_gfn(0x40100))));
    assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&p2m, dgm_gfn(0x4010f))));
    assert_int_equal(look_up(0x40110), 0x40110);
    dgm_p2m_publish(&p2m, dgm_gfn(0x4010f), dgm_mfn(0x777));
    assert_int_equal(look_up(0x4010f), 0x777);
}

/* Fails: banks of a broken device tree are accepted. */
static void nonsense_refused(void **state)
{
    static struct dgm_ram_bank many[DGM_P2M_BANKS_MAX + 1];
    const struct dgm_gfn_range window = {{0x100000}, 16};
    const struct dgm_ram_bank gfn_overlap[] = {{{10}, {100}, 5, NULL}, {{14}, {200}, 5, NULL}};
    const struct dgm_ram_bank mfn_overlap[] = {{{10}, {100}, 5, NULL}, {{20}, {96}, 5, NULL}};
    const struct dgm_ram_bank wraps[] = {{{UINT64_MAX - 1}, {0}, 5, NULL}};

    for (size_t i = 0; i <= DGM_P2M_BANKS_MAX; i++)
        many[i] = (struct dgm_ram_bank){{i * 2}, {i * 2}, 1, NULL};
    assert_int_equal(init_p2m(gfn_overlap, 2, window), DGM_EINVAL);
    assert_int_equal(init_p2m(mfn_overlap, 2, window), DGM_EINVAL);
    assert_int_equal(init_p2m(wraps, 1, window), DGM_EINVAL);
    assert_int_equal(init_p2m(many, DGM_P2M_BANKS_MAX + 1, window), DGM_EINVAL);
    assert_int_equal(init_p2m(many, DGM_P2M_BANKS_MAX, window), DGM_OK);
}

/* Fails: a frame is unmapped during DMA, or a slot used twice, without a panic. */
static void misuse_panics(void **state)
{
    const dgm_gfn_t slot = dgm_gfn(0x100003);

    start_p2m((struct dgm_gfn_range){{0x100000}, SLOTS});
    expect_panic(dgm_p2m_publish(&p2m, dgm_gfn(0x40000), dgm_mfn(1)));
    expect_panic(dgm_p2m_publish(&p2m, dgm_gfn(0x100000 + SLOTS), dgm_mfn(1)));
    expect_panic(dgm_p2m_publish(&p2m, slot, DGM_MFN_NONE));
    expect_panic(dgm_p2m_unpublish(&p2m, slot));
    expect_panic(dgm_p2m_hold(&p2m, slot));
    dgm_p2m_publish(&p2m, slot, dgm_mfn(9));
    expect_panic(dgm_p2m_publish(&p2m, slot, dgm_mfn(9)));
    expect_panic(dgm_p2m_release(&p2m, slot));
    dgm_p2m_hold(&p2m, slot);
    dgm_p2m_hold(&p2m, slot);
    dgm_p2m_release(&p2m, slot);
    expect_panic(dgm_p2m_unpublish(&p2m, slot));
    dgm_p2m_release(&p2m, slot);
    dgm_p2m_unpublish(&p2m, slot);
    dgm_p2m_hold(&p2m, dgm_gfn(0x40000)); /* local frames: nothing to hold */
    dgm_p2m_release(&p2m, dgm_gfn(0x40000));
    dgm_p2m_check(&p2m);
}

/* --- compared with a naive twin: lists that are searched from end to end --- */

struct twin {
    struct dgm_ram_bank banks[8];
    uint64_t mfns[8][200];
    size_t bank_count;
    struct dgm_gfn_range parts[4];
    uint64_t first[4]; /* entry of each part */
    size_t part_count;
    uint64_t count;
    uint64_t mfn[SLOTS];
    unsigned held[SLOTS];
};

static uint64_t twin_lookup(const struct twin *twin, uint64_t gfn)
{
    for (size_t i = 0; i < twin->part_count; i++)
        for (uint64_t s = 0; s < twin->parts[i].count; s++)
            if (dgm_gfn_number(twin->parts[i].first) + s == gfn)
                return twin->mfn[twin->first[i] + s];
    for (size_t i = 0; i < twin->bank_count; i++)
        for (uint64_t f = 0; f < twin->banks[i].count; f++)
            if (dgm_gfn_number(twin->banks[i].gfn) + f == gfn)
                return twin->banks[i].mfns ? twin->banks[i].mfns[f]
                                           : dgm_mfn_number(twin->banks[i].mfn) + f;
    return UINT64_MAX;
}

/* Anywhere: before, across, within, between or after the banks. */
static void twin_window(struct twin *twin, uint64_t end)
{
    struct dgm_window window = {.count = 0};

    while (twin->part_count == 0 || (twin->part_count < 4 && unit_chance(50))) {
        const dgm_gfn_t first = dgm_gfn(700 + unit_below(end - 600));
        const struct dgm_gfn_range part = {first, 1 + unit_below(SLOTS / 4)};

        if (dgm_window_add(&window, part) != DGM_OK)
            continue;
        twin->first[twin->part_count] = twin->count;
        twin->parts[twin->part_count++] = part;
        twin->count += part.count;
    }
    assert_true(dgm_p2m_bytes(window.count) <= sizeof memory);
    assert_int_equal(dgm_p2m_init(&p2m, twin->banks, twin->bank_count, &window, memory), DGM_OK);
}

static void twin_start(struct twin *twin)
{
    const bool displaced = unit_chance(50);
    uint64_t gfn = 1000;

    *twin = (struct twin){.bank_count = 1 + unit_below(8)};
    for (size_t i = 0; i < twin->bank_count; i++) {
        const uint64_t count = 1 + unit_below(200);

        gfn += unit_below(2) * unit_below(100); /* often adjacent */
        twin->banks[i] =
            (struct dgm_ram_bank){{gfn}, {displaced ? 100000 - 1000 * i : gfn}, count, NULL};
        if (unit_chance(30)) {
            twin->banks[i].mfns = twin->mfns[i];
            for (uint64_t f = 0; f < count; f++)
                twin->mfns[i][f] = unit_below(200000);
        }
        gfn += count;
    }
    for (size_t i = 0; i < SLOTS; i++)
        twin->mfn[i] = UINT64_MAX;
    for (size_t i = twin->bank_count; i > 1; i--) { /* init may get them in any order */
        const size_t j = unit_below(i);
        const struct dgm_ram_bank other = twin->banks[j];

        twin->banks[j] = twin->banks[i - 1];
        twin->banks[i - 1] = other;
    }
    twin_window(twin, gfn);
}

static void twin_step(struct twin *twin)
{
    const size_t part = unit_below(twin->part_count);
    const uint64_t s = unit_below(twin->parts[part].count), i = twin->first[part] + s;
    const dgm_gfn_t gfn = dgm_gfn_add(twin->parts[part].first, s);

    switch (unit_below(4)) {
    case 0:
        if (twin->mfn[i] == UINT64_MAX) {
            twin->mfn[i] = unit_below(100000);
            dgm_p2m_publish(&p2m, gfn, dgm_mfn(twin->mfn[i]));
        }
        break;
    case 1:
        if (twin->mfn[i] != UINT64_MAX && twin->held[i] == 0) {
            twin->mfn[i] = UINT64_MAX;
            dgm_p2m_unpublish(&p2m, gfn);
        }
        break;
    case 2:
        if (twin->mfn[i] != UINT64_MAX) {
            twin->held[i]++;
            dgm_p2m_hold(&p2m, gfn);
        }
        break;
    default:
        if (twin->held[i]) {
            twin->held[i]--;
            dgm_p2m_release(&p2m, gfn);
        }
        break;
    }
}

/* Fails: for some banks, window and history the result differs from that of the twin. */
static void same_as_naive_twin(void **state)
{
    const uint64_t seed = unit_seed();

    for (unsigned run = 0; run < 100; run++) {
        static struct twin twin;

        twin_start(&twin);
        for (unsigned step = 0; step < 500; step++) {
            const uint64_t gfn = 690 + unit_below(3000);

            twin_step(&twin);
            if (look_up(gfn) != twin_lookup(&twin, gfn))
                fail_msg("seed %llu run %u step %u gfn %llu", (unsigned long long)seed, run, step,
                         (unsigned long long)gfn);
        }
        dgm_p2m_check(&p2m);
    }
}

/* Fails: dgm_p2m_check() misses a lost or an invented frame. */
static void check_sees_a_planted_error(void **state)
{
    start_p2m((struct dgm_gfn_range){{0x100000}, SLOTS});
    dgm_p2m_publish(&p2m, dgm_gfn(0x100005), dgm_mfn(7));
    dgm_p2m_check(&p2m);
    p2m.mfn[6] = 8;
    expect_panic(dgm_p2m_check(&p2m));
    p2m.mfn[6] = UINT64_MAX;
    p2m.in_flight[6] = 1;
    expect_panic(dgm_p2m_check(&p2m));
    p2m.in_flight[6] = 0;
    dgm_p2m_check(&p2m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(local_ram_by_banks),
        cmocka_unit_test(displaced_ram),
        cmocka_unit_test(coloured_ram),
        cmocka_unit_test(window_in_parts),
        cmocka_unit_test(foreign_is_decided_by_gfn),
        cmocka_unit_test(window_inside_a_bank),
        cmocka_unit_test(nonsense_refused),
        cmocka_unit_test(misuse_panics),
        cmocka_unit_test(same_as_naive_twin),
        cmocka_unit_test(check_sees_a_planted_error),
    };

    return cmocka_run_group_tests_name("p2m", tests, NULL, NULL);
}
