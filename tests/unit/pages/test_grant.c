/* SPDX-License-Identifier: MIT */
/*
 * grant: if these fail, a guest's frame stays mapped after its grant is thought released, a failed
 * map is used as if it had succeeded, or slots leak (XSA-361, XSA-365, XSA-371).
 */
#include "unit.h"

#include <dragoman/pages/grant.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/base/status.h>
#include <port/env.h>
#include <sim/hypervisor/hypervisor.h>

#define GUEST  3
#define SLOTS  1024u
#define WINDOW 0x200000u
#define UNSAID 99 /* no status of ours */

static struct dgm_p2m p2m;
static struct dgm_slots store;
static struct dgm_slot_cache slots;
static struct dgm_grant grant;
static uint64_t p2m_memory[SLOTS * 2], store_memory[SLOTS / 8], slot_memory[8];

static int start(void **state)
{
    const struct dgm_ram_bank bank = {{0x40000}, {0x40000}, 64, NULL};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{WINDOW}, SLOTS});

    dgm_hv_start(bank.gfn, bank.count, bank.mfn);
    dgm_hv_domain_add(GUEST, 64);
    assert_true(dgm_p2m_bytes(SLOTS) <= sizeof p2m_memory);
    assert_true(dgm_slots_bytes(SLOTS) <= sizeof store_memory);
    assert_true(dgm_slot_cache_bytes(SLOTS) <= sizeof slot_memory);
    assert_int_equal(dgm_p2m_init(&p2m, &bank, 1, &window, p2m_memory), DGM_OK);
    dgm_slots_init(&store, &window, true, store_memory);
    dgm_slot_cache_init(&slots, &store, slot_memory);
    dgm_grant_init(&grant, &p2m, &slots);
    return 0;
}

static void check(void)
{
    dgm_grant_check(&grant);
    dgm_p2m_check(&p2m);
    dgm_slot_cache_check(&slots);
    assert_int_equal(grant.live, dgm_hv_stats()->live);
    assert_int_equal(p2m.live, grant.live - grant.unmap_refused);
    assert_int_equal(slots.taken, p2m.live);
    assert_int_equal(dgm_hv_stats()->stale, 0);
    assert_int_equal(dgm_hv_stats()->over, 0);
}

static int stop(void **state)
{
    dgm_hv_stop();
    return 0;
}

/* At a slot that was reserved for nobody in particular. */
static void map_add(struct dgm_foreign *foreign, domid_t domid, grant_ref_t ref, bool readonly)
{
    assert_int_equal(dgm_slot_reserve(&slots, NULL, 1), DGM_OK);
    dgm_grant_map_add(&grant, foreign, NULL, domid, ref, readonly);
}

static void map_one(struct dgm_foreign *foreign, grant_ref_t ref, bool readonly)
{
    map_add(foreign, GUEST, ref, readonly);
    dgm_grant_map_commit(&grant);
}

static void unmap_one(struct dgm_foreign *foreign)
{
    dgm_grant_unmap_add(&grant, foreign);
    dgm_grant_unmap_commit(&grant);
}

/* Fails: we do not look at the guest's page, or the device is told another frame than Xen said. */
static void maps_the_frame_that_was_meant(void **state)
{
    struct dgm_foreign foreign;

    dgm_hv_grant(GUEST, 8, 5, false);
    strcpy(dgm_hv_page(GUEST, 5), "from the guest");
    map_add(&foreign, GUEST, 8, false);
    assert_int_equal(foreign.status, DGM_EAGAIN);
    dgm_grant_map_commit(&grant);
    assert_int_equal(foreign.status, DGM_OK);
    assert_string_equal(dgm_env_va(foreign.gfn), "from the guest");
    strcpy(dgm_env_va(foreign.gfn), "from us");
    assert_string_equal(dgm_hv_page(GUEST, 5), "from us");
    assert_int_equal(foreign.mfn.n, dgm_hv_mfn(GUEST, 5).n);
    assert_int_equal(dgm_p2m_lookup(&p2m, foreign.gfn).n, foreign.mfn.n);
    assert_int_not_equal(foreign.mfn.n, foreign.gfn.n);
    assert_true(dgm_hv_may_dma(foreign.mfn, true));
    check();
    unmap_one(&foreign);
    assert_int_equal(foreign.status, DGM_EAGAIN);
    assert_false(dgm_hv_may_dma(dgm_hv_mfn(GUEST, 5), false));
    assert_true(dgm_hv_grant_end(GUEST, 8));
    check();
    assert_int_equal(grant.live, 0);
    assert_int_equal(grant.live_max, 1);
}

/* Fails: each segment costs a hypercall, or an empty drain does. */
static void one_hypercall_for_a_batch(void **state)
{
    struct dgm_foreign foreign[40];
    const uint64_t before = dgm_hypercall_count[__HYPERVISOR_grant_table_op];

    dgm_grant_map_commit(&grant);
    dgm_grant_unmap_commit(&grant);
    assert_int_equal(dgm_hypercall_count[__HYPERVISOR_grant_table_op], before);
    for (unsigned i = 0; i < 40; i++) {
        dgm_hv_grant(GUEST, 8 + i, i, false);
        map_add(&foreign[i], GUEST, 8 + i, false);
    }
    dgm_grant_map_commit(&grant);
    assert_int_equal(dgm_hypercall_count[__HYPERVISOR_grant_table_op], before + 1);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(foreign[i].gfn.n, WINDOW + i); /* ascending: neighbours can merge */
    for (unsigned i = 0; i < 40; i++)
        dgm_grant_unmap_add(&grant, &foreign[i]);
    dgm_grant_unmap_commit(&grant);
    assert_int_equal(dgm_hypercall_count[__HYPERVISOR_grant_table_op], before + 2);
    check();
}

/* Fails: a disk write served from a read-only grant is refused, or a read writes through one. */
static void readonly_grants(void **state)
{
    struct dgm_foreign foreign;

    dgm_hv_grant(GUEST, 8, 5, true);
    map_one(&foreign, 8, false);
    assert_int_equal(foreign.status, DGM_EPERM);
    map_one(&foreign, 8, true);
    assert_int_equal(foreign.status, DGM_OK);
    assert_true(dgm_hv_may_dma(foreign.mfn, false));
    assert_false(dgm_hv_may_dma(foreign.mfn, true));
    unmap_one(&foreign);
    check();
}

/* Fails: what a hostile frontend names is believed. */
static void bad_references(void **state)
{
    static const grant_ref_t bad[] = {0, 9, DGM_HV_REFS - 1, DGM_HV_REFS, UINT32_MAX};
    struct dgm_foreign foreign;

    dgm_hv_grant(GUEST, 8, 1000, false); /* no such frame */
    map_one(&foreign, 8, false);
    assert_int_equal(foreign.status, DGM_EPERM);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        map_one(&foreign, bad[i], false);
        assert_int_equal(foreign.status, DGM_EPERM);
        assert_true(dgm_gfn_is_none(foreign.gfn));
        check();
    }
    map_add(&foreign, 17, 8, false); /* no such guest */
    dgm_grant_map_commit(&grant);
    assert_int_equal(foreign.status, DGM_EPERM);
    assert_int_equal(slots.taken, 0);
    assert_int_equal(grant.map_refused, 7);
}

/* --- every subset of a batch fails --- */

#define BATCH 8u

static int16_t refuse_map(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    const unsigned *subset = context;

    return *subset >> (op->ref - 8) & 1 ? GNTST_general_error : 0;
}

static void fill(struct dgm_foreign *foreign)
{
    for (unsigned i = 0; i < BATCH; i++) {
        foreign[i].status = UNSAID;
        map_add(&foreign[i], GUEST, 8 + i, false);
    }
}

static void drain(struct dgm_foreign *foreign, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (foreign[i].status == DGM_OK)
            dgm_grant_unmap_add(&grant, &foreign[i]);
    dgm_grant_unmap_commit(&grant);
}

/* Fails: XSA-361: errors in a map batch are ignored; or successes beside them leak. */
static void fail_every_subset_of_a_map_batch(void **state)
{
    for (unsigned i = 0; i < BATCH; i++)
        dgm_hv_grant(GUEST, 8 + i, i, false);
    for (unsigned subset = 0; subset < 1u << BATCH; subset++) {
        struct dgm_foreign foreign[BATCH];

        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &subset, .map = refuse_map});
        fill(foreign);
        dgm_grant_map_commit(&grant);
        assert_int_equal(grant.live, BATCH - (unsigned)__builtin_popcount(subset));
        for (unsigned i = 0; i < BATCH; i++) {
            const bool failed = subset >> i & 1;

            assert_int_equal(foreign[i].status, failed ? DGM_EPERM : DGM_OK);
            assert_int_equal(dgm_hv_grant_pins(GUEST, 8 + i), !failed);
            if (!failed)
                assert_ptr_equal(dgm_hv_machine(dgm_p2m_lookup(&p2m, foreign[i].gfn)),
                                 dgm_hv_page(GUEST, i));
        }
        check();
        drain(foreign, BATCH);
        assert_int_equal(grant.live, 0);
        check();
    }
}

static int16_t refuse_unmap(void *context, uint64_t nth, const struct gnttab_unmap_grant_ref *op)
{
    const unsigned *subset = context;

    return *subset >> (nth % 4) & 1 ? GNTST_bad_handle : 0;
}

/* Fails: a slot whose unmap was refused is reused while it still shows a guest's page. */
static void fail_every_subset_of_an_unmap_batch(void **state)
{
    for (unsigned subset = 0; subset < 16; subset++) {
        struct dgm_foreign foreign[4];
        dgm_gfn_t gfn[4];

        start(NULL);
        for (unsigned i = 0; i < 4; i++) {
            dgm_hv_grant(GUEST, 8 + i, i, false);
            map_one(&foreign[i], 8 + i, false);
            gfn[i] = foreign[i].gfn;
        }
        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &subset, .unmap = refuse_unmap});
        drain(foreign, 4);
        assert_int_equal(slots.retired, __builtin_popcount(subset));
        assert_int_equal(grant.unmap_refused, __builtin_popcount(subset));
        assert_int_equal(grant.live, __builtin_popcount(subset)); /* honest: they are mapped */
        for (unsigned i = 0; i < 4; i++)
            assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&p2m, gfn[i]))); /* no device gets there */
        check();
        for (unsigned i = 0; i < SLOTS - slots.retired; i++) { /* none comes back */
            dgm_gfn_t slot;

            assert_int_equal(dgm_slot_reserve(&slots, NULL, 1), DGM_OK);
            slot = dgm_slot_take(&slots);
            for (unsigned j = 0; j < 4; j++)
                assert_false((subset >> j & 1) && slot.n == gfn[j].n);
        }
    }
}

/* --- a hypercall fails as a whole, or half-way --- */

static long refuse_call(void *context, uint64_t nth, unsigned op, unsigned command)
{
    return op == __HYPERVISOR_grant_table_op ? DGM_ENOSYS : 0;
}

static bool cut_at(void *context, uint64_t nth)
{
    const uint64_t *at = context;

    return nth == *at;
}

/* Fails: what Xen never came to write is taken for success (a status of 0 is "okay"). */
static void a_batch_that_stops_half_way(void **state)
{
    for (uint64_t done = 0; done <= BATCH; done++) {
        struct dgm_foreign foreign[BATCH];

        start(NULL);
        for (unsigned i = 0; i < BATCH; i++)
            dgm_hv_grant(GUEST, 8 + i, i, false);
        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &done, .cut = cut_at});
        fill(foreign);
        dgm_grant_map_commit(&grant);
        for (unsigned i = 0; i < BATCH; i++)
            assert_int_equal(foreign[i].status, i < done ? DGM_OK : DGM_EPERM);
        check();
        dgm_hv_set_faults(NULL);
        drain(foreign, BATCH);
        assert_int_equal(grant.live, 0);
        check();
    }
}

static void a_hypercall_that_fails(void **state)
{
    const struct dgm_hv_faults faults = {.call = refuse_call};
    struct dgm_foreign foreign[BATCH];

    for (unsigned i = 0; i < BATCH; i++)
        dgm_hv_grant(GUEST, 8 + i, i, false);
    dgm_hv_set_faults(&faults);
    fill(foreign);
    dgm_grant_map_commit(&grant);
    for (unsigned i = 0; i < BATCH; i++)
        assert_int_equal(foreign[i].status, DGM_EPERM);
    check();
    dgm_hv_set_faults(NULL);
    fill(foreign);
    dgm_grant_map_commit(&grant);
    assert_int_equal(grant.live, BATCH);
    dgm_hv_set_faults(&faults);
    drain(foreign, BATCH);
    assert_int_equal(slots.retired, BATCH);
    check();
}

/* --- "again" --- */

static unsigned eagain_times;

static int16_t eagain_for_odd(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    unsigned *times = context; /* per reference */

    return (op->ref & 1) && times[op->ref - 8]++ < eagain_times ? GNTST_eagain : 0;
}

static void check_again(struct dgm_foreign *foreign, unsigned tries)
{
    for (unsigned i = 0; i < BATCH; i++) {
        const bool again = (i & 1) && tries <= eagain_times;
        const bool refused = (i & 1) && eagain_times >= DGM_GRANT_TRIES && tries == DGM_GRANT_TRIES;

        assert_int_equal(foreign[i].status, refused ? DGM_EPERM : again ? DGM_EAGAIN : DGM_OK);
        if (foreign[i].status == DGM_OK)
            assert_ptr_equal(dgm_hv_machine(dgm_p2m_lookup(&p2m, foreign[i].gfn)),
                             dgm_hv_page(GUEST, i));
    }
}

/* Fails: a paged-out frame is an I/O error at once, or a loop for ever, or holds up the others. */
static void eagain_is_asked_again(void **state)
{
    for (eagain_times = 0; eagain_times <= DGM_GRANT_TRIES; eagain_times++) {
        struct dgm_foreign foreign[BATCH], other;
        unsigned times[BATCH] = {0};

        start(NULL);
        for (unsigned i = 0; i < BATCH; i++)
            dgm_hv_grant(GUEST, 8 + i, i, false);
        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = times, .map = eagain_for_odd});
        fill(foreign);
        dgm_grant_map_commit(&grant);
        check_again(foreign, 1);
        map_one(&other, 8, false); /* a commit of others asks nobody again */
        assert_int_equal(other.status, DGM_OK);
        check_again(foreign, 1);
        unmap_one(&other);
        for (unsigned tries = 2; tries <= DGM_GRANT_TRIES; tries++) {
            dgm_grant_map_retry(&grant);
            check_again(foreign, tries);
        }
        assert_int_equal(grant.map_parked, 0);
        check();
        drain(foreign, BATCH);
        check();
        stop(NULL);
    }
    start(NULL);
}

static int16_t eagain_always(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    return GNTST_eagain;
}

/* Fails: a batch full of what Xen puts off can never take another op. */
static void a_batch_full_of_eagain(void **state)
{
    static struct dgm_foreign foreign[DGM_GRANT_BATCH + 1];

    dgm_hv_grant(GUEST, 8, 1, false);
    dgm_hv_set_faults(&(struct dgm_hv_faults){.map = eagain_always});
    for (unsigned i = 0; i <= DGM_GRANT_BATCH; i++)
        map_add(&foreign[i], GUEST, 8, false);
    assert_int_equal(foreign[0].status, DGM_EPERM);
    assert_int_equal(foreign[DGM_GRANT_BATCH].status, DGM_EAGAIN);
    dgm_hv_set_faults(NULL);
    dgm_grant_map_retry(&grant);
    assert_int_equal(foreign[DGM_GRANT_BATCH].status, DGM_OK);
    unmap_one(&foreign[DGM_GRANT_BATCH]);
    check();
}

/* --- order --- */

static int16_t not_yet_published(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&p2m, dgm_gfn(op->host_addr >> 12))));
    return 0;
}

static int16_t published_no_more(void *context, uint64_t nth,
                                 const struct gnttab_unmap_grant_ref *op)
{
    assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&p2m, dgm_gfn(op->host_addr >> 12))));
    assert_int_not_equal(op->host_addr, 0);
    assert_int_equal(op->dev_bus_addr, 0);
    return 0;
}

/* Fails: there is a moment at which a lookup gives a frame whose grant is not held. */
static void published_only_while_mapped(void **state)
{
    struct dgm_foreign foreign;

    dgm_hv_grant(GUEST, 8, 1, false);
    dgm_hv_set_faults(
        &(struct dgm_hv_faults){.map = not_yet_published, .unmap = published_no_more});
    map_one(&foreign, 8, false);
    unmap_one(&foreign);
    check();
}

/* Fails: a frame is unmapped while a device writes to it, or twice. */
static void misuse_panics(void **state)
{
    struct dgm_foreign foreign;

    dgm_hv_grant(GUEST, 8, 1, false);
    map_one(&foreign, 8, false);
    dgm_p2m_hold(&p2m, foreign.gfn);
    expect_panic(dgm_grant_unmap_add(&grant, &foreign));
    dgm_p2m_release(&p2m, foreign.gfn);
    unmap_one(&foreign);
    expect_panic(dgm_grant_unmap_add(&grant, &foreign));
}

/* Fails: the same frame granted and mapped twice is lost for both at the first unmap. */
static void same_reference_twice(void **state)
{
    for (int order = 0; order < 2; order++) {
        struct dgm_foreign foreign[2];

        dgm_hv_grant(GUEST, 8, 1, false);
        map_one(&foreign[0], 8, false);
        map_one(&foreign[1], 8, false);
        assert_int_not_equal(foreign[0].gfn.n, foreign[1].gfn.n);
        unmap_one(&foreign[order]);
        assert_true(dgm_hv_may_dma(dgm_hv_mfn(GUEST, 1), true));
        strcpy(dgm_hv_page(GUEST, 1), "still there");
        assert_string_equal(dgm_env_va(foreign[!order].gfn), "still there");
        assert_false(dgm_hv_grant_end(GUEST, 8));
        unmap_one(&foreign[!order]);
        assert_true(dgm_hv_grant_end(GUEST, 8));
        check();
    }
}

/* Fails: a full batch breaks a request instead of going out before it. */
static void limits(void **state)
{
    static struct dgm_foreign foreign[SLOTS];
    unsigned count = 0;

    for (unsigned i = 0; i < 40; i++)
        dgm_hv_grant(GUEST, 8 + i, i, false);
    for (; count < SLOTS; count++)
        map_add(&foreign[count], GUEST, 8 + count % 40, false);
    assert_int_equal(grant.batches, 1); /* the first is out */
    assert_int_equal(foreign[DGM_GRANT_BATCH - 1].status, DGM_OK);
    assert_int_equal(foreign[DGM_GRANT_BATCH].status, DGM_EAGAIN);
    dgm_grant_map_commit(&grant);
    assert_int_equal(grant.batches, 2);
    assert_int_equal(dgm_slot_reserve(&slots, NULL, 1), DGM_EAGAIN);
    check();
    drain(foreign, count); /* two batches: the first commits itself */
    assert_int_equal(grant.batches, 4);
    assert_int_equal(grant.unmapped, SLOTS);
    check();
}

/* Fails: a guest that dies with mappings of ours leaves them for ever. */
static void guest_dies(void **state)
{
    struct dgm_foreign foreign, late;

    dgm_hv_grant(GUEST, 8, 1, false);
    map_one(&foreign, 8, false);
    dgm_hv_domain_destroy(GUEST);
    map_one(&late, 8, false);
    assert_int_equal(late.status, DGM_EPERM);
    unmap_one(&foreign);
    assert_int_equal(grant.live, 0);
    check();
}

/* --- any history with any failures --- */

static int16_t sometimes_map(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    return unit_chance(10) ? (int16_t)(-1 - (int)unit_below(13)) : 0;
}

static int16_t sometimes_unmap(void *context, uint64_t nth, const struct gnttab_unmap_grant_ref *op)
{
    return unit_below(2000) == 0 ? GNTST_general_error : 0;
}

/* Fails: under failures of all kinds a frame, a slot or a published entry is lost. */
static void conservation(void **state)
{
    static struct dgm_foreign foreign[300];

    unit_seed();
    for (unsigned i = 0; i < 64; i++)
        dgm_hv_grant(GUEST, 8 + i, i, unit_chance(30));
    dgm_hv_set_faults(&(struct dgm_hv_faults){.map = sometimes_map, .unmap = sometimes_unmap});
    for (unsigned i = 0; i < 300; i++)
        foreign[i].status = DGM_EPERM;
    for (unsigned step = 0; step < 2000; step++) {
        for (unsigned i = 0; i < 300; i++) {
            if (foreign[i].status == DGM_OK && unit_chance(50))
                dgm_grant_unmap_add(&grant, &foreign[i]);
        }
        dgm_grant_unmap_commit(&grant);
        check();
        for (unsigned i = 0; i < 300; i++)
            if (foreign[i].status != DGM_OK && unit_chance(20))
                map_add(&foreign[i], GUEST, (grant_ref_t)(8 + unit_below(70)), unit_chance(50));
        dgm_grant_map_commit(&grant);
        while (grant.map_parked)
            dgm_grant_map_retry(&grant);
        check();
    }
    assert_true(grant.mapped > 10000 && grant.map_refused > 1000 && grant.unmap_refused > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(maps_the_frame_that_was_meant),
        TEST(one_hypercall_for_a_batch),
        TEST(readonly_grants),
        TEST(bad_references),
        TEST(fail_every_subset_of_a_map_batch),
        TEST(fail_every_subset_of_an_unmap_batch),
        TEST(a_batch_that_stops_half_way),
        TEST(a_hypercall_that_fails),
        TEST(eagain_is_asked_again),
        TEST(a_batch_full_of_eagain),
        TEST(published_only_while_mapped),
        TEST(misuse_panics),
        TEST(same_reference_twice),
        TEST(limits),
        TEST(guest_dies),
        TEST(conservation),
    };

    return cmocka_run_group_tests_name("grant", tests, NULL, NULL);
}
