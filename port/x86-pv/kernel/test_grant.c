/* SPDX-License-Identifier: MIT */
/*
 * test_grant: a grant to this guest itself, mapped for the CPU, for a device, and for both
 *
 * GNTMAP_device_map is how a PV backend learns the address that a device may use. Here the device
 * uses it: QEMU's edu reads the granted page by dev_bus_addr. Source: xen/grant_table.h.
 */
#include "console.h"
#include "edu.h"
#include "machine.h"
#include "tests.h"

#include <dragoman/pages/contig.h>
#include <dragoman/hyper/hypercall.h>

#include <xen/grant_table.h>

#define REFERENCE 8u

static struct grant_entry_v1 table[DGM_FRAME_BYTES / sizeof(struct grant_entry_v1)]
    __attribute__((aligned(4096)));
static uint8_t alias[DGM_FRAME_BYTES] __attribute__((aligned(4096)));
static struct dgm_contig contig;

/* The grant table's first frame, shown at `table`. */
static bool table_start(void)
{
    static xen_pfn_t frame;
    struct gnttab_setup_table setup = {.dom = DOMID_SELF, .nr_frames = 1};

    set_xen_guest_handle(setup.frame_list, &frame);
    return dgm_grant_table_op(GNTTABOP_setup_table, &setup, 1) == 0 && setup.status == GNTST_okay &&
           machine_show(table, frame << 12, 0) == 0;
}

static struct gnttab_map_grant_ref map_own_grant(uint32_t flags)
{
    /* DOMID_SELF is not accepted here. */
    struct gnttab_map_grant_ref op = {
        .host_addr = (uintptr_t)alias, .flags = flags, .ref = REFERENCE, .dom = 0};

    if (dgm_grant_table_op(GNTTABOP_map_grant_ref, &op, 1))
        op.status = GNTST_general_error;
    return op;
}

static int unmap_own_grant(const struct gnttab_map_grant_ref *mapped)
{
    struct gnttab_unmap_grant_ref op = {
        .host_addr = mapped->flags & GNTMAP_host_map ? mapped->host_addr : 0,
        .dev_bus_addr = mapped->flags & GNTMAP_device_map ? mapped->dev_bus_addr : 0,
        .handle = mapped->handle,
    };

    return dgm_grant_table_op(GNTTABOP_unmap_grant_ref, &op, 1) ? GNTST_general_error : op.status;
}

static void test_device_map(uint64_t machine)
{
    struct gnttab_map_grant_ref op = map_own_grant(GNTMAP_device_map);
    bool right;

    fact("grant_device_map", op.status);
    check("grant_bus_address", op.dev_bus_addr == machine);
    check("grant_in_use", (table[REFERENCE].flags & (GTF_reading | GTF_writing)) != 0);
    pattern_fill(1);
    right = edu_read(op.dev_bus_addr, DGM_FRAME_BYTES / 2) &&
            edu_write(machine + DGM_FRAME_BYTES / 2, DGM_FRAME_BYTES / 2);
    for (unsigned i = 0; i < DGM_FRAME_BYTES / 2; i++)
        right = right && region[1][DGM_FRAME_BYTES / 2 + i] == pattern_byte(1, i);
    check("grant_dma_by_bus_address", right);
    fact("grant_device_unmap", unmap_own_grant(&op));
    check("grant_unused", (table[REFERENCE].flags & (GTF_reading | GTF_writing)) == 0);
}

static void test_host_and_device_map(uint64_t machine)
{
    const uint64_t own = machine_mfn(alias);
    struct gnttab_map_grant_ref op;

    /* Xen would remove an ordinary mapping there, and not restore it. */
    check("grant_alias_hidden", machine_hide(alias) == 0);
    op = map_own_grant(GNTMAP_host_map | GNTMAP_device_map);
    fact("grant_both_map", op.status);
    check("grant_both_bus_address", op.dev_bus_addr == machine);
    region[1][77] = 123;
    check("grant_alias_shows_page", op.status == 0 && ((volatile uint8_t *)alias)[77] == 123);

    /* Xen must refuse a frame that a grant uses. */
    check("grant_contig_init",
          dgm_contig_init(&contig, &machine_contig_port, region_part(0, 2), 1) == 0);
    fact("grant_contig_refused", dgm_contig_make(&contig, EDU_BITS));
    check("grant_page_still_there", contig.mapped && machine_mfn(region[1]) << 12 == machine &&
                                        ((volatile uint8_t *)alias)[77] == 0 &&
                                        ((volatile uint8_t *)region[1])[77] == 0);

    fact("grant_both_unmap", unmap_own_grant(&op));
    check("grant_both_unused", (table[REFERENCE].flags & (GTF_reading | GTF_writing)) == 0);
    check("grant_alias_shown_again", machine_show(alias, own << 12, 0) == 0);
    fact("grant_contig_made", dgm_contig_make(&contig, EDU_BITS));
    fact("grant_contig_undo", dgm_contig_undo(&contig));
}

void test_grant(void)
{
    static struct dgm_contig low;
    uint64_t machine;

    /* Two frames that the device can address. */
    check("grant_low_init", dgm_contig_init(&low, &machine_contig_port, region_part(0, 2), 0) == 0);
    fact("grant_low_made", dgm_contig_make(&low, EDU_BITS));
    machine = machine_mfn(region[1]) << 12;
    if (!check("grant_table", table_start()))
        return;
    table[REFERENCE].domid = 0;
    table[REFERENCE].frame = (uint32_t)machine_mfn(region[1]);
    __atomic_store_n(&table[REFERENCE].flags, GTF_permit_access, __ATOMIC_RELEASE);
    test_device_map(machine);
    test_host_and_device_map(machine);
}
