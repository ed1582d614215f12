/* SPDX-License-Identifier: MIT */
/*
 * grant: if these fail, a guest's frame stays mapped after its grant was released, or a device gets
 * another frame than the guest granted. For failures of Xen see test_grant_faults.c.
 */
#include "grant_rig.h"

#include <dragoman/hyper/hypercall.h>
#include <dragoman/base/status.h>
#include <port/env.h>

static struct dgm_grant *const grant = &grant_rig.grant;
static struct dgm_slot_cache *const slots = &grant_rig.slots;
static struct dgm_p2m *const p2m = &grant_rig.p2m;

/* Fails: the slot does not show the guest's page,
 * or the device gets another frame than Xen named. */
static void maps_the_frame_that_was_meant(void **state)
{
    struct dgm_foreign foreign;

    dgm_hv_grant(GRANT_RIG_GUEST, 8, 5, false);
    strcpy(dgm_hv_page(GRANT_RIG_GUEST, 5), "from the guest");
    grant_rig_add(&foreign, GRANT_RIG_GUEST, 8, false);
    assert_int_equal(foreign.status, DGM_EAGAIN);
    dgm_grant_map_commit(grant);
    assert_int_equal(foreign.status, DGM_OK);
    assert_string_equal(dgm_env_va(foreign.gfn), "from the guest");
    strcpy(dgm_env_va(foreign.gfn), "from us");
    assert_string_equal(dgm_hv_page(GRANT_RIG_GUEST, 5), "from us");
    assert_true(dgm_mfn_equal(foreign.mfn, dgm_hv_mfn(GRANT_RIG_GUEST, 5)));
    assert_int_equal(dgm_mfn_number(dgm_p2m_lookup(p2m, foreign.gfn)), dgm_mfn_number(foreign.mfn));
    assert_int_not_equal(dgm_mfn_number(foreign.mfn), dgm_gfn_number(foreign.gfn));
    assert_true(dgm_hv_may_dma(foreign.mfn, true));
    grant_rig_check();
    grant_rig_unmap(&foreign);
    assert_int_equal(foreign.status, DGM_EAGAIN);
    assert_false(dgm_hv_may_dma(dgm_hv_mfn(GRANT_RIG_GUEST, 5), false));
    assert_true(dgm_hv_grant_end(GRANT_RIG_GUEST, 8));
    grant_rig_check();
    assert_int_equal(grant->live, 0);
    assert_int_equal(grant->live_max, 1);
}

/* Fails: each segment costs a hypercall, or an empty drain does. */
static void one_hypercall_for_a_batch(void **state)
{
    struct dgm_foreign foreign[40];
    const uint64_t before = dgm_hypercall_count[__HYPERVISOR_grant_table_op];

    dgm_grant_map_commit(grant);
    dgm_grant_unmap_commit(grant);
    assert_int_equal(dgm_hypercall_count[__HYPERVISOR_grant_table_op], before);
    for (unsigned i = 0; i < 40; i++) {
        dgm_hv_grant(GRANT_RIG_GUEST, 8 + i, i, false);
        grant_rig_add(&foreign[i], GRANT_RIG_GUEST, 8 + i, false);
    }
    dgm_grant_map_commit(grant);
    assert_int_equal(dgm_hypercall_count[__HYPERVISOR_grant_table_op], before + 1);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(dgm_gfn_number(foreign[i].gfn),
                         GRANT_RIG_WINDOW + i); /* ascending, so that segments can merge */
    for (unsigned i = 0; i < 40; i++)
        dgm_grant_unmap_add(grant, &foreign[i]);
    dgm_grant_unmap_commit(grant);
    assert_int_equal(dgm_hypercall_count[__HYPERVISOR_grant_table_op], before + 2);
    grant_rig_check();
}

/* Fails: a disk write served from a read-only grant is refused, or a read writes through one. */
static void readonly_grants(void **state)
{
    struct dgm_foreign foreign;

    dgm_hv_grant(GRANT_RIG_GUEST, 8, 5, true);
    grant_rig_map(&foreign, 8, false);
    assert_int_equal(foreign.status, DGM_EPERM);
    grant_rig_map(&foreign, 8, true);
    assert_int_equal(foreign.status, DGM_OK);
    assert_true(dgm_hv_may_dma(foreign.mfn, false));
    assert_false(dgm_hv_may_dma(foreign.mfn, true));
    grant_rig_unmap(&foreign);
    grant_rig_check();
}

/* Fails: a reference that a hostile frontend made up is mapped. */
static void bad_references(void **state)
{
    static const grant_ref_t bad[] = {0, 9, DGM_HV_REFS - 1, DGM_HV_REFS, UINT32_MAX};
    struct dgm_foreign foreign;

    dgm_hv_grant(GRANT_RIG_GUEST, 8, 1000, false); /* no such frame */
    grant_rig_map(&foreign, 8, false);
    assert_int_equal(foreign.status, DGM_EPERM);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grant_rig_map(&foreign, bad[i], false);
        assert_int_equal(foreign.status, DGM_EPERM);
        assert_true(dgm_gfn_is_none(foreign.gfn));
        grant_rig_check();
    }
    grant_rig_add(&foreign, 17, 8, false); /* no such guest */
    dgm_grant_map_commit(grant);
    assert_int_equal(foreign.status, DGM_EPERM);
    assert_int_equal(slots->taken, 0);
    assert_int_equal(grant->map_refused, 7);
}

/* --- order --- */

static int16_t not_yet_published(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    assert_true(dgm_mfn_is_none(dgm_p2m_lookup(p2m, dgm_gfn(op->host_addr >> 12))));
    return 0;
}

static int16_t not_published_any_more(void *context, uint64_t nth,
                                      const struct gnttab_unmap_grant_ref *op)
{
    assert_true(dgm_mfn_is_none(dgm_p2m_lookup(p2m, dgm_gfn(op->host_addr >> 12))));
    assert_int_not_equal(op->host_addr, 0);
    assert_int_equal(op->dev_bus_addr, 0);
    return 0;
}

/* Fails: at some moment a lookup returns a frame whose grant is not held. */
static void published_only_while_mapped(void **state)
{
    struct dgm_foreign foreign;

    dgm_hv_grant(GRANT_RIG_GUEST, 8, 1, false);
    dgm_hv_set_faults(
        &(struct dgm_hv_faults){.map = not_yet_published, .unmap = not_published_any_more});
    grant_rig_map(&foreign, 8, false);
    grant_rig_unmap(&foreign);
    grant_rig_check();
}

/* Fails: a frame is unmapped while a device writes to it, or twice. */
static void misuse_panics(void **state)
{
    struct dgm_foreign foreign;

    dgm_hv_grant(GRANT_RIG_GUEST, 8, 1, false);
    grant_rig_map(&foreign, 8, false);
    dgm_p2m_hold(p2m, foreign.gfn);
    expect_panic(dgm_grant_unmap_add(grant, &foreign));
    dgm_p2m_release(p2m, foreign.gfn);
    grant_rig_unmap(&foreign);
    expect_panic(dgm_grant_unmap_add(grant, &foreign));
}

/* Fails: the first unmap of a frame that is mapped twice removes both mappings. */
static void same_reference_twice(void **state)
{
    for (int order = 0; order < 2; order++) {
        struct dgm_foreign foreign[2];

        dgm_hv_grant(GRANT_RIG_GUEST, 8, 1, false);
        grant_rig_map(&foreign[0], 8, false);
        grant_rig_map(&foreign[1], 8, false);
        assert_int_not_equal(dgm_gfn_number(foreign[0].gfn), dgm_gfn_number(foreign[1].gfn));
        grant_rig_unmap(&foreign[order]);
        assert_true(dgm_hv_may_dma(dgm_hv_mfn(GRANT_RIG_GUEST, 1), true));
        strcpy(dgm_hv_page(GRANT_RIG_GUEST, 1), "still there");
        assert_string_equal(dgm_env_va(foreign[!order].gfn), "still there");
        assert_false(dgm_hv_grant_end(GRANT_RIG_GUEST, 8));
        grant_rig_unmap(&foreign[!order]);
        assert_true(dgm_hv_grant_end(GRANT_RIG_GUEST, 8));
        grant_rig_check();
    }
}

/* Fails: an op that is added to a full batch is lost, instead of the batch being committed. */
static void a_full_batch_is_committed(void **state)
{
    static struct dgm_foreign foreign[GRANT_RIG_SLOTS];
    unsigned count = 0;

    for (unsigned i = 0; i < 40; i++)
        dgm_hv_grant(GRANT_RIG_GUEST, 8 + i, i, false);
    for (; count < GRANT_RIG_SLOTS; count++)
        grant_rig_add(&foreign[count], GRANT_RIG_GUEST, 8 + count % 40, false);
    assert_int_equal(grant->batches, 1); /* the first batch is committed */
    assert_int_equal(foreign[DGM_GRANT_BATCH - 1].status, DGM_OK);
    assert_int_equal(foreign[DGM_GRANT_BATCH].status, DGM_EAGAIN);
    dgm_grant_map_commit(grant);
    assert_int_equal(grant->batches, 2);
    assert_int_equal(dgm_slot_reserve(slots, NULL, 1), DGM_EAGAIN);
    grant_rig_check();
    grant_rig_unmap_all(foreign, count); /* two batches: the first commits itself */
    assert_int_equal(grant->batches, 4);
    assert_int_equal(grant->unmapped, GRANT_RIG_SLOTS);
    grant_rig_check();
}

/* Fails: mappings of a guest's frames stay permanently after the guest died. */
static void guest_dies(void **state)
{
    struct dgm_foreign foreign, late;

    dgm_hv_grant(GRANT_RIG_GUEST, 8, 1, false);
    grant_rig_map(&foreign, 8, false);
    dgm_hv_domain_destroy(GRANT_RIG_GUEST);
    grant_rig_map(&late, 8, false);
    assert_int_equal(late.status, DGM_EPERM);
    grant_rig_unmap(&foreign);
    assert_int_equal(grant->live, 0);
    grant_rig_check();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, grant_rig_start, grant_rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(maps_the_frame_that_was_meant),
        TEST(one_hypercall_for_a_batch),
        TEST(readonly_grants),
        TEST(bad_references),
        TEST(published_only_while_mapped),
        TEST(misuse_panics),
        TEST(same_reference_twice),
        TEST(a_full_batch_is_committed),
        TEST(guest_dies),
    };

    return cmocka_run_group_tests_name("grant", tests, NULL, NULL);
}
