/* SPDX-License-Identifier: MIT */
/*
 * persistent: if these fail, a device writes to a frame that was unmapped, a guest's
 * request reaches another guest's frame, a guest has more entries than its quota, or finding a
 * frame slows down as the cache fills.
 */
#include "unit.h"

#include <dragoman/reach/persistent.h>
#include <dragoman/base/status.h>
#include <reach/internal.h>

#define NONE DGM_PERSISTENT_NONE

static struct dgm_persistent cache;
static struct dgm_persistent_owner alice, bob;
static void *memory;

static void start_cache(uint16_t entries, uint16_t quota)
{
    free(memory);
    memory = malloc(dgm_persistent_bytes(entries));
    assert_non_null(memory);
    memset(memory, 0xa5, dgm_persistent_bytes(entries));
    dgm_persistent_init(&cache, entries, memory);
    dgm_persistent_owner_init(&cache, &alice, quota);
    dgm_persistent_owner_init(&cache, &bob, quota);
    dgm_persistent_check(&cache);
}

static int stop(void **state)
{
    free(memory);
    memory = NULL;
    return 0;
}

static struct dgm_foreign frame_number(uint64_t n)
{
    return (struct dgm_foreign){
        .gfn = {0x100000 + n}, .mfn = {0x900000 + n}, .handle = (uint32_t)n, .status = DGM_OK};
}

static uint16_t add_frame(struct dgm_persistent_owner *owner, grant_ref_t ref, uint64_t n)
{
    const struct dgm_foreign foreign = frame_number(n);

    return dgm_persistent_add(&cache, owner, ref, &foreign);
}

/* Checks that the frame is in the cache and idle. */
static void add_idle(struct dgm_persistent_owner *owner, grant_ref_t ref, uint64_t n)
{
    const uint16_t entry = add_frame(owner, ref, n);

    assert_int_not_equal(entry, NONE);
    dgm_persistent_unuse(&cache, entry);
}

static void use_once(struct dgm_persistent_owner *owner, grant_ref_t ref)
{
    const uint16_t entry = dgm_persistent_use(&cache, owner, ref);

    assert_int_not_equal(entry, NONE);
    dgm_persistent_unuse(&cache, entry);
}

/* The frame that is evicted next must be frame `n`. */
static void expect_evicted(struct dgm_persistent_owner *owner, uint64_t n)
{
    struct dgm_foreign foreign;

    assert_true(dgm_persistent_evict(&cache, owner, &foreign));
    assert_int_equal(dgm_gfn_number(foreign.gfn), dgm_gfn_number(frame_number(n).gfn));
    assert_int_equal(dgm_mfn_number(foreign.mfn), dgm_mfn_number(frame_number(n).mfn));
    assert_int_equal(foreign.handle, n);
    assert_int_equal(foreign.status, DGM_OK);
    dgm_persistent_check(&cache);
}

static void evicts_nothing(struct dgm_persistent_owner *owner)
{
    struct dgm_foreign foreign;

    assert_false(dgm_persistent_evict(&cache, owner, &foreign));
    dgm_persistent_check(&cache);
}

/* Fails: an I/O is served from the wrong frame, or one that is mapped already
 * is mapped once more. */
static void finds_persistent_frames(void **state)
{
    uint16_t entry;

    start_cache(8, 8);
    assert_int_equal(dgm_persistent_use(&cache, &alice, 8), NONE);
    entry = add_frame(&alice, 8, 1);
    assert_int_not_equal(entry, NONE);
    assert_int_equal(dgm_gfn_number(cache.entries[entry].foreign.gfn),
                     dgm_gfn_number(frame_number(1).gfn));
    assert_int_equal(dgm_persistent_use(&cache, &alice, 8), entry);
    assert_int_equal(cache.entries[entry].users, 2);
    assert_int_equal(dgm_persistent_use(&cache, &alice, 9), NONE);
    dgm_persistent_check(&cache);
    dgm_persistent_unuse(&cache, entry);
    evicts_nothing(&alice);
    dgm_persistent_unuse(&cache, entry);
    expect_evicted(&alice, 1);
    assert_int_equal(dgm_persistent_use(&cache, &alice, 8), NONE);
    evicts_nothing(&alice);
    assert_int_equal(alice.evictions, 1);
    assert_int_equal(alice.count, 0);
    assert_int_equal(alice.count_max, 1);
}

/* Fails: a frame that a guest uses all the time is evicted before one that it used once. */
static void evicts_what_was_not_used_recently(void **state)
{
    uint16_t third;

    start_cache(8, 8);
    for (grant_ref_t ref = 0; ref < 6; ref++)
        add_idle(&alice, ref, ref);
    expect_evicted(&alice, 0); /* all were used: the second round takes the first of them */
    use_once(&alice, 1);
    third = dgm_persistent_use(&cache, &alice, 3);
    expect_evicted(&alice, 2);
    dgm_persistent_unuse(&cache, third); /* used until now, however long */
    expect_evicted(&alice, 4);
    add_idle(&alice, 0, 10); /* comes last */
    expect_evicted(&alice, 5);
    expect_evicted(&alice, 1);
    expect_evicted(&alice, 3);
    expect_evicted(&alice, 10);
    evicts_nothing(&alice);
    assert_int_equal(cache.free, 8);
}

/* Fails: a frame is unmapped under a request that still uses it. */
static void never_evicts_what_is_in_use(void **state)
{
    uint16_t entry[4];

    start_cache(4, 4);
    for (unsigned i = 0; i < 4; i++)
        entry[i] = add_frame(&alice, 100 + i, i);
    evicts_nothing(&alice);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(dgm_persistent_use(&cache, &alice, 100 + i), entry[i]);
    dgm_persistent_unuse(&cache, entry[2]);
    evicts_nothing(&alice);
    dgm_persistent_unuse(&cache, entry[2]);
    expect_evicted(&alice, 2);
    evicts_nothing(&alice);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(dgm_persistent_use(&cache, &alice, 100 + i), i == 2 ? NONE : entry[i]);
}

/* Fails: one guest takes the whole cache, or a full one breaks a request. */
static void quota_and_a_full_cache(void **state)
{
    start_cache(5, 3);
    for (unsigned i = 0; i < 3; i++)
        add_idle(&alice, i, i);
    assert_int_equal(add_frame(&alice, 3, 3), NONE);
    for (unsigned i = 0; i < 2; i++)
        add_idle(&bob, i, 10 + i);
    assert_int_equal(cache.free, 0);
    assert_int_equal(add_frame(&bob, 2, 12), NONE); /* within the quota: there is no entry */
    dgm_persistent_check(&cache);
    expect_evicted(&alice, 0);
    add_idle(&bob, 2, 12);
    assert_int_equal(add_frame(&bob, 3, 13), NONE);
    assert_int_equal(add_frame(&alice, 4, 4), NONE);
    expect_evicted(&bob, 10);
    add_idle(&alice, 4, 4);
    assert_int_equal(alice.count, 3);
    assert_int_equal(bob.count, 2);
    assert_int_equal(bob.count_max, 3);
    dgm_persistent_check(&cache);
    for (unsigned quota = 0; quota < 2; quota++) { /* no persistent grants; a cache of one */
        start_cache(1, (uint16_t)quota);
        assert_int_equal(add_frame(&alice, 8, 1) != NONE, quota == 1);
        assert_int_equal(add_frame(&bob, 8, 1), NONE);
        dgm_persistent_check(&cache);
    }
}

/* Fails: a reference mapped twice in one batch has two entries, of which one is never found again;
 * or a hit returns another guest's frame. */
static void same_reference(void **state)
{
    uint16_t entry;

    start_cache(8, 4);
    bob.salt = alice.salt; /* so that their references meet in one chain */
    entry = add_frame(&alice, 8, 1);
    assert_int_equal(add_frame(&alice, 8, 2), NONE);
    dgm_persistent_unuse(&cache, entry);
    assert_int_equal(add_frame(&alice, 8, 3), NONE);
    assert_int_equal(dgm_persistent_use(&cache, &bob, 8), NONE);
    add_idle(&bob, 8, 4);
    dgm_persistent_check(&cache);
    expect_evicted(&bob, 4);
    evicts_nothing(&bob);
    assert_int_equal(dgm_persistent_use(&cache, &alice, 8), entry);
    dgm_persistent_unuse(&cache, entry);
    expect_evicted(&alice, 1);
}

/* Fails: a guest that names one reference in 65,536 segments makes the count of users wrap, and its
 * frame is evicted while a device writes to it. */
static void many_users_are_counted(void **state)
{
    const unsigned users = UINT16_MAX + 1u; /* more than one ring can have */
    uint16_t entry;

    start_cache(2, 2);
    entry = add_frame(&alice, 8, 1);
    for (unsigned i = 1; i < users; i++)
        assert_int_equal(dgm_persistent_use(&cache, &alice, 8), entry);
    assert_int_equal(add_frame(&alice, 8, 2), NONE);
    evicts_nothing(&alice);
    for (unsigned i = 0; i < users; i++)
        dgm_persistent_unuse(&cache, entry);
    expect_evicted(&alice, 1);
}

/* Fails: an entry loses a user twice, and is evicted under its next user. */
static void misuse_panics(void **state)
{
    uint16_t entry;

    start_cache(4, 4);
    entry = add_frame(&alice, 8, 1);
    dgm_persistent_unuse(&cache, entry);
    expect_panic(dgm_persistent_unuse(&cache, entry));
    expect_panic(dgm_persistent_unuse(&cache, NONE));
    expect_panic(dgm_persistent_unuse(&cache, 3)); /* free */
    expect_panic(dgm_persistent_init(&cache, 0, memory));
    expect_panic(dgm_persistent_init(&cache, DGM_PERSISTENT_MAX + 1, memory));
}

static unsigned longest_chain(void)
{
    unsigned longest = 0;

    for (unsigned b = 0; b <= cache.bucket_mask; b++) {
        unsigned length = 0;

        for (uint16_t i = cache.buckets[b]; i != NONE; i = cache.entries[i].chain)
            length++;
        if (length > longest)
            longest = length;
    }
    return longest;
}

/* Fails: lookups in a full cache walk long chains, by accident (all frontends use the same
 * references) or because a guest causes it. No call walks more than a chain. */
static void chains_stay_short(void **state)
{
    static struct dgm_persistent_owner owners[16];

    start_cache(DGM_PERSISTENT_MAX, 0);
    for (unsigned o = 0; o < 16; o++) {
        dgm_persistent_owner_init(&cache, &owners[o], 1024);
        for (grant_ref_t ref = 8; ref < 8 + 1024; ref++)
            assert_int_not_equal(add_frame(&owners[o], ref, ref), NONE);
    }
    assert_int_equal(cache.free, 0);
    assert_true(longest_chain() <= 8);
    dgm_persistent_check(&cache);
    start_cache(1024, 1024); /* every reference that Xen takes and that falls into one bucket */
    for (grant_ref_t ref = 8; ref < 32768; ref += 1024)
        add_idle(&alice, ref, ref);
    assert_int_equal(longest_chain(), 32);
}

/* --- beside a naive twin --- */

#define OWNERS  3
#define REFS    24
#define ENTRIES 20

static struct {
    bool here, recent;
    unsigned users;
    uint64_t order, number; /* order: the lower, the sooner the hand comes to it */
} twin[OWNERS][REFS];
static uint64_t twin_order;

static unsigned twin_count(unsigned o)
{
    unsigned count = 0;

    for (unsigned ref = 0; ref < REFS; ref++)
        count += twin[o][ref].here;
    return count;
}

static void twin_evict(struct dgm_persistent_owner *owner, unsigned o)
{
    bool idle = false;

    for (unsigned ref = 0; ref < REFS; ref++)
        idle |= twin[o][ref].here && twin[o][ref].users == 0;
    if (!idle) {
        evicts_nothing(owner);
        return;
    }
    for (;;) {
        unsigned first = REFS;

        for (unsigned ref = 0; ref < REFS; ref++)
            if (twin[o][ref].here && (first == REFS || twin[o][ref].order < twin[o][first].order))
                first = ref;
        if (twin[o][first].users == 0 && !twin[o][first].recent) {
            expect_evicted(owner, twin[o][first].number);
            twin[o][first].here = false;
            return;
        }
        if (twin[o][first].users == 0)
            twin[o][first].recent = false;
        twin[o][first].order = ++twin_order;
    }
}

/* Fails: some order of calls violates a property of the other tests. */
static void random_calls_beside_a_twin(void **state)
{
    static const uint16_t quotas[OWNERS] = {4, 9, 12};
    struct dgm_persistent_owner owners[OWNERS];
    unsigned evictions = 0, refused = 0;
    const uint64_t seed = unit_seed();

    print_message("# seed %llu\n", (unsigned long long)seed);
    memset(twin, 0, sizeof twin);
    start_cache(ENTRIES, 0);
    for (unsigned o = 0; o < OWNERS; o++)
        dgm_persistent_owner_init(&cache, &owners[o], quotas[o]);
    owners[2].salt = owners[0].salt;
    for (uint64_t now = 1; now < 60000; now++) {
        const unsigned o = (unsigned)unit_below(OWNERS), ref = (unsigned)unit_below(REFS);
        const unsigned what = (unsigned)unit_below(100);
        uint16_t entry;

        if (what < 40) {
            entry = dgm_persistent_use(&cache, &owners[o], ref);
            assert_int_equal(entry != NONE, twin[o][ref].here);
            if (entry != NONE) {
                assert_int_equal(cache.entries[entry].foreign.handle, twin[o][ref].number);
                if (++twin[o][ref].users == 4) { /* all requests end at once */
                    while (twin[o][ref].users--)
                        dgm_persistent_unuse(&cache, entry);
                    twin[o][ref].users = 0;
                    twin[o][ref].recent = true;
                }
            }
        } else if (what < 65) {
            const unsigned used = twin_count(0) + twin_count(1) + twin_count(2);
            const bool takes = !twin[o][ref].here && twin_count(o) < quotas[o] && used < ENTRIES;

            entry = add_frame(&owners[o], ref, now);
            assert_int_equal(entry != NONE, takes);
            if (takes) {
                twin[o][ref].here = true;
                twin[o][ref].recent = false;
                twin[o][ref].order = ++twin_order;
                twin[o][ref].users = 1;
                twin[o][ref].number = now;
            } else {
                refused++;
            }
        } else if (what < 90) {
            if (twin[o][ref].here && twin[o][ref].users) {
                entry = dgm_persistent_use(&cache, &owners[o], ref);
                dgm_persistent_unuse(&cache, entry);
                dgm_persistent_unuse(&cache, entry);
                if (--twin[o][ref].users == 0)
                    twin[o][ref].recent = true;
            }
        } else {
            twin_evict(&owners[o], o);
            evictions++;
        }
        dgm_persistent_check(&cache);
        assert_int_equal(owners[o].count, twin_count(o));
    }
    assert_true(evictions > 1000 && refused > 1000);
}

#define TEST(name) cmocka_unit_test_teardown(name, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(finds_persistent_frames),
        TEST(evicts_what_was_not_used_recently),
        TEST(never_evicts_what_is_in_use),
        TEST(quota_and_a_full_cache),
        TEST(same_reference),
        TEST(many_users_are_counted),
        TEST(misuse_panics),
        TEST(chains_stay_short),
        TEST(random_calls_beside_a_twin),
    };

    return cmocka_run_group_tests_name("persistent", tests, NULL, NULL);
}
