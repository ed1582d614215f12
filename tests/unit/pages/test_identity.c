/* SPDX-License-Identifier: MIT */
/*
 * identity: the table of frames that are mapped at gfn == mfn. If these fail, a device gets an
 * address with another frame behind it, or a gfn that Xen did not unmap is reused. The rule for
 * sharing an entry and the order of unmaps belong to reach (tests/unit/reach).
 */
#include "unit.h"

#include <pages/identity_table.h>
#include <dragoman/base/status.h>

static struct dgm_identity identity;
static void *memory;

static const struct dgm_gfn_range places[] = {{{0x100000}, 0x1000}, {{0x200000}, 1}};

static void start_table(uint16_t entries)
{
    free(memory);
    memory = malloc(dgm_identity_bytes(entries));
    assert_non_null(memory);
    memset(memory, 0xa5, dgm_identity_bytes(entries));
    dgm_identity_init(&identity, entries, memory, places, 2);
    dgm_identity_check(&identity);
}

static int stop(void **state)
{
    free(memory);
    memory = NULL;
    return 0;
}

static struct dgm_identity_entry *add_frame(uint64_t frame)
{
    struct dgm_identity_entry *entry =
        dgm_identity_add(&identity, dgm_gfn(frame),
                         (struct dgm_guest_grant){
                             .ref = (grant_ref_t)(frame & 0xfff), .domid = 3, .readonly = true});

    dgm_identity_check(&identity);
    return entry;
}

static void end_frame(uint64_t frame, bool done)
{
    struct dgm_identity_entry *entry = dgm_identity_find(&identity, dgm_gfn(frame));

    entry->users = 0;
    entry->state = DGM_IDENTITY_LEAVING;
    dgm_identity_check(&identity);
    dgm_identity_unmapped(&identity, dgm_gfn(frame), done);
    dgm_identity_check(&identity);
}

static void an_entry_is_what_was_added(void **state)
{
    start_table(4);
    assert_null(dgm_identity_find(&identity, dgm_gfn(0x100007)));
    struct dgm_identity_entry *entry = add_frame(0x100007);

    assert_non_null(entry);
    assert_ptr_equal(dgm_identity_find(&identity, dgm_gfn(0x100007)), entry);
    assert_int_equal(dgm_gfn_number(entry->gfn), 0x100007);
    assert_int_equal(entry->domid, 3);
    assert_int_equal(entry->ref, 7);
    assert_true(entry->readonly);
    assert_int_equal(entry->users, 1);
    assert_int_equal(entry->in_flight, 0);
    assert_int_equal(entry->state, DGM_IDENTITY_MAPPING);
    assert_int_equal(identity.used, 1);
    expect_panic(
        dgm_identity_add(&identity, dgm_gfn(0x100007),
                         (struct dgm_guest_grant){.ref = 8, .domid = 3, .readonly = true}));
    dgm_identity_remove(&identity, dgm_gfn(0x100007));
    assert_null(dgm_identity_find(&identity, dgm_gfn(0x100007)));
    assert_int_equal(identity.used, 0);
    dgm_identity_check(&identity);
}

/* Frames that share one bucket, whatever the size of the table: the hash folds bits above 16. */
static uint64_t colliding_frame(unsigned i)
{
    return (uint64_t)i << 16 ^ i;
}

static void a_full_table_is_reported(void **state)
{
    for (uint16_t entries = 1; entries <= 9; entries++) {
        start_table(entries);
        for (uint16_t i = 0; i < entries; i++)
            assert_non_null(add_frame(colliding_frame(i)));
        assert_null(add_frame(0x100000));
        assert_null(dgm_identity_find(&identity, dgm_gfn(0x100000)));
        for (uint16_t i = 0; i < entries; i++)
            assert_int_equal(
                dgm_gfn_number(dgm_identity_find(&identity, dgm_gfn(colliding_frame(i)))->gfn),
                colliding_frame(i));
        dgm_identity_remove(&identity, dgm_gfn(colliding_frame(entries / 2)));
        assert_non_null(add_frame(0x100000));
        assert_null(add_frame(0x100001));
    }
    start_table(DGM_IDENTITY_MAX);
    for (unsigned i = 0; i < DGM_IDENTITY_MAX; i++)
        assert_non_null(dgm_identity_add(&identity, dgm_gfn(0x100000 + i),
                                         (struct dgm_guest_grant){.ref = i, .domid = 1}));
    assert_null(add_frame(0x1fffff));
}

static void places_have_ends(void **state)
{
    start_table(1);
    assert_false(dgm_identity_possible(&identity, dgm_mfn(0xfffff)));
    assert_true(dgm_identity_possible(&identity, dgm_mfn(0x100000)));
    assert_true(dgm_identity_possible(&identity, dgm_mfn(0x100fff)));
    assert_false(dgm_identity_possible(&identity, dgm_mfn(0x101000)));
    assert_false(dgm_identity_possible(&identity, dgm_mfn(0x1fffff)));
    assert_true(dgm_identity_possible(&identity, dgm_mfn(0x200000)));
    assert_false(dgm_identity_possible(&identity, dgm_mfn(0x200001)));
    assert_false(dgm_identity_possible(&identity, DGM_MFN_NONE));
    dgm_identity_init(&identity, 1, memory, NULL, 0);
    assert_false(dgm_identity_possible(&identity, dgm_mfn(0x100000)));
    assert_false(dgm_identity_possible(&identity, dgm_mfn(0)));
}

static void a_lost_entry_stays_lost(void **state)
{
    start_table(2);
    assert_non_null(add_frame(0x100001));
    assert_non_null(add_frame(0x100002));
    end_frame(0x100001, false);
    end_frame(0x100002, true);
    assert_int_equal(dgm_identity_find(&identity, dgm_gfn(0x100001))->state, DGM_IDENTITY_LOST);
    assert_null(dgm_identity_find(&identity, dgm_gfn(0x100002)));
    assert_int_equal(identity.used, 1);
    assert_non_null(add_frame(0x100003));
    assert_null(add_frame(0x100004)); /* the entry of the lost mapping stays used */
    expect_panic(
        dgm_identity_add(&identity, dgm_gfn(0x100001),
                         (struct dgm_guest_grant){.ref = 1, .domid = 3, .readonly = true}));
}

static void misuse_is_seen(void **state)
{
    start_table(2);
    expect_panic(dgm_identity_remove(&identity, dgm_gfn(0x100001)));
    expect_panic(dgm_identity_unmapped(&identity, dgm_gfn(0x100001), true));
    struct dgm_identity_entry *entry = add_frame(0x100001);

    expect_panic(dgm_identity_unmapped(&identity, dgm_gfn(0x100001), true)); /* not leaving */
    entry->state = DGM_IDENTITY_LIVE;
    entry->in_flight = 1;
    expect_panic(dgm_identity_remove(&identity, dgm_gfn(0x100001)));
    expect_panic(dgm_identity_init(&identity, 2, memory, places, DGM_IDENTITY_PLACES_MAX + 1));
    expect_panic(dgm_identity_init(&identity, DGM_IDENTITY_MAX + 1, memory, places, 2));
    expect_panic(dgm_identity_init(&identity, 1, (char *)memory + 4, places, 2));
}

/* --- random operations, compared with a twin that is a plain array --- */

#define FRAMES  48
#define ENTRIES 13

static uint64_t frame_of(unsigned i)
{
    return i % 2 ? colliding_frame(i) : 0x100000 + i; /* half of them collide */
}

static void any_order(void **state)
{
    uint8_t twin[FRAMES] = {0};
    unsigned used = 0, lost = 0;

    print_message("# seed %llu\n", (unsigned long long)unit_seed());
    start_table(ENTRIES);
    for (unsigned step = 0; step < 20000; step++) {
        const unsigned i = (unsigned)unit_below(FRAMES);
        const dgm_gfn_t gfn = dgm_gfn(frame_of(i));
        struct dgm_identity_entry *entry = dgm_identity_find(&identity, gfn);

        assert_int_equal(entry != NULL, twin[i] != DGM_IDENTITY_FREE);
        if (!entry) {
            entry =
                dgm_identity_add(&identity, gfn, (struct dgm_guest_grant){.ref = i, .domid = 1});
            assert_int_equal(entry != NULL, used < ENTRIES);
            twin[i] = entry ? DGM_IDENTITY_MAPPING : DGM_IDENTITY_FREE;
            used += entry != NULL;
            dgm_identity_check(&identity);
            continue;
        }
        assert_true(dgm_gfn_equal(entry->gfn, gfn));
        assert_int_equal(entry->ref, i);
        assert_int_equal(entry->state, twin[i]);
        if (entry->state == DGM_IDENTITY_MAPPING && unit_chance(50)) {
            dgm_identity_remove(&identity, gfn);
            twin[i] = DGM_IDENTITY_FREE;
            used--;
        } else if (entry->state == DGM_IDENTITY_MAPPING) {
            twin[i] = entry->state = DGM_IDENTITY_LIVE;
        } else if (entry->state == DGM_IDENTITY_LIVE) {
            entry->users = 0;
            twin[i] = entry->state = DGM_IDENTITY_LEAVING;
        } else if (entry->state == DGM_IDENTITY_LEAVING) {
            const bool done = lost >= 4 || unit_chance(95);

            dgm_identity_unmapped(&identity, gfn, done);
            twin[i] = done ? DGM_IDENTITY_FREE : DGM_IDENTITY_LOST;
            used -= done;
            lost += !done;
        }
        dgm_identity_check(&identity);
        assert_int_equal(identity.used, used);
    }
    assert_int_equal(lost, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(an_entry_is_what_was_added, stop),
        cmocka_unit_test_teardown(a_full_table_is_reported, stop),
        cmocka_unit_test_teardown(places_have_ends, stop),
        cmocka_unit_test_teardown(a_lost_entry_stays_lost, stop),
        cmocka_unit_test_teardown(misuse_is_seen, stop),
        cmocka_unit_test_teardown(any_order, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
