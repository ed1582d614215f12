/* SPDX-License-Identifier: MIT */
/*
 * The simulated Xen's grant operations, as far as mode copy and selfgrant rely on them. If these
 * fail, the simulated Xen accepts what the real one refuses, and other tests prove nothing.
 */
#include "copy_rig.h"

#include <dragoman/base/status.h>
#include <dragoman/hyper/hypercall.h>
#include <port/env.h>
#include <sim/hypervisor/hypervisor.h>
#include <xen/grant_table.h>
#include <xen/memory.h>

/* Copies a whole frame. Returns Xen's status. */
static int16_t copy_frame(domid_t domid, grant_ref_t ref, uint64_t frame, bool to_guest)
{
    const struct gnttab_copy_ptr granted = {.u.ref = ref, .domid = domid};
    const struct gnttab_copy_ptr ours = {.u.gmfn = COPY_LOCAL + frame, .domid = DOMID_SELF};
    struct gnttab_copy op = {.source = to_guest ? ours : granted,
                             .dest = to_guest ? granted : ours,
                             .len = DGM_FRAME_BYTES,
                             .flags = to_guest ? GNTCOPY_dest_gref : GNTCOPY_source_gref};

    assert_int_equal(dgm_grant_table_op(GNTTABOP_copy, &op, 1), 0);
    return op.status;
}

/* Fails: the simulated Xen accepts what the real one refuses. */
static void xens_own_refusals(void **state)
{
    struct gnttab_copy op;
    const struct gnttab_copy good = {.source = {.u.ref = 8, .domid = COPY_GUEST},
                                     .dest = {.u.gmfn = COPY_LOCAL, .domid = DOMID_SELF},
                                     .len = 4096,
                                     .flags = GNTCOPY_source_gref};
    static const struct {
        uint16_t source_offset, dest_offset, len;
        int status;
    } range[] = {{0, 0, 4096, 0}, {1, 0, 4096, -10}, {0, 1, 4096, -10},     {4096, 4096, 0, 0},
                 {4095, 0, 1, 0}, {4096, 0, 1, -10}, {0, 65535, 65535, -10}};

    dgm_hv_grant(COPY_GUEST, 8, 1, false);
    for (size_t i = 0; i < sizeof range / sizeof range[0]; i++) {
        op = good;
        op.source.offset = range[i].source_offset;
        op.dest.offset = range[i].dest_offset;
        op.len = range[i].len;
        assert_int_equal(dgm_grant_table_op(GNTTABOP_copy, &op, 1), 0);
        assert_int_equal(op.status, range[i].status);
    }
    op = good;
    op.dest.domid = 0; /* our number is not DOMID_SELF */
    assert_int_equal(dgm_grant_table_op(GNTTABOP_copy, &op, 1), 0);
    assert_int_equal(op.status, GNTST_permission_denied);
    op = good;
    op.flags = 0;
    assert_int_equal(dgm_grant_table_op(GNTTABOP_copy, &op, 1), 0);
    assert_int_equal(op.status, GNTST_permission_denied);
    op = good;
    op.source = (struct gnttab_copy_ptr){.u.gmfn = COPY_LOCAL + 1, .domid = DOMID_SELF};
    op.flags = 0;
    assert_int_equal(dgm_grant_table_op(GNTTABOP_copy, &op, 1), 0);
    assert_int_equal(op.status, GNTST_okay);
}

/* Fails: a second mapping at one gfn survives the unmap of the first; on the real Xen one unmap
 * removes both. */
static void two_mappings_at_one_gfn(void **state)
{
    const dgm_gfn_t gfn = dgm_gfn(0x200000);
    struct xen_remove_from_physmap remove = {.domid = DOMID_SELF, .gpfn = dgm_gfn_number(gfn)};
    struct gnttab_unmap_grant_ref unmap[2];

    dgm_hv_grant(COPY_GUEST, 8, 1, false);
    for (unsigned i = 0; i < 2; i++) {
        struct gnttab_map_grant_ref map = {.host_addr = dgm_gfn_address(gfn),
                                           .flags = GNTMAP_host_map,
                                           .ref = 8,
                                           .dom = COPY_GUEST};

        assert_int_equal(dgm_grant_table_op(GNTTABOP_map_grant_ref, &map, 1), 0);
        assert_int_equal(map.status, GNTST_okay);
        unmap[i] =
            (struct gnttab_unmap_grant_ref){.host_addr = map.host_addr, .handle = map.handle};
    }
    assert_int_equal(dgm_hv_stats()->over, 1);
    assert_ptr_equal(dgm_env_va(gfn), dgm_hv_page(COPY_GUEST, 1));
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(dgm_grant_table_op(GNTTABOP_unmap_grant_ref, &unmap[i], 1), 0);
        assert_int_equal(unmap[i].status, GNTST_okay);
        assert_int_equal(dgm_memory_op(XENMEM_remove_from_physmap, &remove), DGM_ENOENT);
        assert_int_equal(dgm_hv_grant_pins(COPY_GUEST, 8), 1 - i);
    }
}

/* Fails: grants to ourselves cannot be tested. An entry is marked as in use while it is mapped. */
static void our_own_table(void **state)
{
    struct xen_add_to_physmap grow = {
        .domid = DOMID_SELF, .space = XENMAPSPACE_grant_table, .idx = 0, .gpfn = 0x300000};
    struct gnttab_map_grant_ref map = {
        .host_addr = 0x200000ull << 12, .flags = GNTMAP_host_map, .ref = 9, .dom = 0};
    struct gnttab_unmap_grant_ref unmap = {.host_addr = map.host_addr};
    struct xen_remove_from_physmap remove = {.domid = DOMID_SELF, .gpfn = 0x300000};
    struct grant_entry_v1 *table;

    dgm_hv_scatter_ram(1);
    assert_int_equal(dgm_grant_table_op(GNTTABOP_map_grant_ref, &map, 1), 0);
    assert_int_equal(map.status, GNTST_bad_gntref); /* there is no table */
    assert_int_equal(dgm_memory_op(XENMEM_add_to_physmap, &grow), 0);
    assert_int_equal(dgm_memory_op(XENMEM_add_to_physmap, &grow), DGM_EBUSY);
    assert_int_equal(dgm_grant_table_op(GNTTABOP_map_grant_ref, &map, 1), 0);
    assert_int_equal(map.status, GNTST_general_error);
    table = dgm_env_va(dgm_gfn(0x300000));
    table[9] =
        (struct grant_entry_v1){.flags = GTF_permit_access, .domid = 0, .frame = COPY_LOCAL + 7};
    strcpy(copy_rig_page(7), "ours");
    map.dom = DOMID_SELF;
    assert_int_equal(dgm_grant_table_op(GNTTABOP_map_grant_ref, &map, 1), 0);
    assert_int_equal(map.status, GNTST_bad_domain);
    map.dom = 0;
    assert_int_equal(dgm_grant_table_op(GNTTABOP_map_grant_ref, &map, 1), 0);
    assert_int_equal(map.status, GNTST_okay);
    assert_int_equal(table[9].flags, GTF_permit_access | GTF_reading | GTF_writing);
    assert_string_equal(dgm_env_va(dgm_gfn(0x200000)), "ours");
    assert_int_equal(map.dev_bus_addr >> 12, dgm_mfn_number(dgm_hv_mfn(0, COPY_LOCAL + 7)));
    assert_ptr_equal(dgm_hv_machine(dgm_hv_mfn(0, COPY_LOCAL + 7)), copy_rig_page(7));
    assert_int_equal(copy_frame(0, 9, 3, false), GNTST_okay);
    assert_string_equal(copy_rig_page(3), "ours");
    assert_int_equal(table[9].flags, GTF_permit_access | GTF_reading | GTF_writing);
    unmap.handle = map.handle;
    assert_int_equal(dgm_grant_table_op(GNTTABOP_unmap_grant_ref, &unmap, 1), 0);
    assert_int_equal(unmap.status, GNTST_okay);
    assert_int_equal(table[9].flags, GTF_permit_access);
    table[9].flags |= GTF_readonly;
    assert_int_not_equal(copy_frame(0, 9, 3, true), GNTST_okay);
    table[9].flags = 0;
    assert_int_not_equal(copy_frame(0, 9, 3, false), GNTST_okay);
    assert_int_equal(dgm_memory_op(XENMEM_remove_from_physmap, &remove), 0);
    assert_int_equal(dgm_memory_op(XENMEM_add_to_physmap, &grow), 0);
}

/* Fails: scattered RAM is not scattered, or two frames have one machine frame. */
static void scattered_ram(void **state)
{
    unsigned moved = 0;
    static bool seen[COPY_FRAMES];

    memset(seen, 0, sizeof seen);
    dgm_hv_scatter_ram(7);
    for (unsigned i = 0; i < COPY_FRAMES; i++) {
        const uint64_t at = dgm_mfn_number(dgm_hv_mfn(0, COPY_LOCAL + i)) - COPY_LOCAL;

        assert_true(at < COPY_FRAMES && !seen[at]);
        seen[at] = true;
        moved += at != i;
        assert_ptr_equal(dgm_hv_machine(dgm_mfn(COPY_LOCAL + at)), copy_rig_page(i));
    }
    assert_true(moved > COPY_FRAMES / 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, copy_rig_start, copy_rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(xens_own_refusals),
        TEST(two_mappings_at_one_gfn),
        TEST(our_own_table),
        TEST(scattered_ram),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
