/* SPDX-License-Identifier: MIT */
/* capacity.c: see capacity.h. */
#include "capacity.h"

#include <ctype.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

enum {
    MIB = 1024 * 1024,
    DOM0_MEM_DEFAULT_MIB = 512, /* Xen's, without dom0_mem= */
    GICV2_CPUS = 8,             /* its CPU interfaces */
    XEN_MIB = 4,                /* its image and its first tables */
    BYTES_PER_PAGE_INFO = 56,   /* of Xen's frame table, for each page of RAM */
};

static uint64_t round_up_2mib(uint64_t bytes)
{
    return (bytes + 2 * MIB - 1) & ~(uint64_t)(2 * MIB - 1);
}

/* Xen's place_dtb_initrd(): kernel, ramdisk and device tree, each in units of 2 MiB. */
static uint64_t least_guest_bytes(const struct guest_config *guest)
{
    return round_up_2mib(guest->image.memory_bytes) + round_up_2mib(guest->ramdisk_bytes) + 2 * MIB;
}

static bool has_gicv2(const void *board)
{
    static const char *const names[] = {"arm,gic-400", "arm,cortex-a15-gic", "arm,cortex-a7-gic",
                                        "arm,cortex-a9-gic", "qcom,msm-qgic2"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (fdt_node_offset_by_compatible(board, -1, names[i]) >= 0)
            return true;
    return false;
}

void capacity_check_guests(const void *board, const struct guest_config *guests, size_t guest_count)
{
    for (size_t i = 0; i < guest_count; i++) {
        if (guests[i].vcpus > GICV2_CPUS && has_gicv2(board))
            die("%s:%d: vcpus = %ld is too much: the board's interrupt controller, a GICv2, has %d "
                "CPUs at most",
                guests[i].file, guests[i].vcpus_line, guests[i].vcpus, GICV2_CPUS);
        const uint64_t least = least_guest_bytes(&guests[i]);
        if ((uint64_t)guests[i].memory_mib * MIB < least)
            die("%s:%d: memory = %ld is too little: the kernel, the ramdisk and the device tree "
                "alone take %llu MiB; give the guest more",
                guests[i].file, guests[i].memory_line, guests[i].memory_mib,
                (unsigned long long)(least / MIB));
    }
}

/* Xen's domain_p2m_pages(): for the guest's page tables and its extended regions. */
static uint64_t guest_overhead_mib(const struct guest_config *guest)
{
    return (4 * (256 * (uint64_t)guest->vcpus + (uint64_t)guest->memory_mib + 128) + 1023) / 1024;
}

/* One size as Xen reads it, in bytes: KiB unless it has a unit. */
static uint64_t dom0_bytes_of(const char *text)
{
    static const char units[] = "BKMGT";
    const size_t length = strcspn(text, " ");
    char *end = (char *)text;
    unsigned long long size = isdigit((unsigned char)*text) ? strtoull(text, &end, 0) : 0;
    const char *unit = *end != '\0' ? strchr(units, toupper((unsigned char)*end)) : NULL;
    const unsigned shift = 10 * (unsigned)((unit != NULL ? unit : &units[1]) - units);

    end += unit != NULL;
    if (end == text || end != text + length)
        die_usage("--xen-args: dom0_mem=%.*s is no size that Xen reads (write one such as 16M)",
                  (int)length, text);
    return size <= UINT64_MAX >> shift ? size << shift : UINT64_MAX;
}

/* The size in the last dom0_mem=. */
static uint64_t dom0_mib(const char *xen_args)
{
    uint64_t mib = DOM0_MEM_DEFAULT_MIB;

    for (const char *at = xen_args; (at = strstr(at, "dom0_mem=")) != NULL; at += 9)
        if (at == xen_args || at[-1] == ' ')
            mib = dom0_bytes_of(at + 9) / MIB;
    return mib;
}

/* Xen allocates Dom0's memory in powers of two, the largest first, and puts the image and the
 * device tree into the first one. */
static uint64_t first_piece_mib(uint64_t mib)
{
    uint64_t piece = 1;

    while (piece <= mib / 2)
        piece *= 2;
    return mib ? piece : 0;
}

void capacity_check_machine(const struct machine_config *machine, const struct guest_config *guests,
                            size_t guest_count, const struct load_plan *plan)
{
    const uint64_t ram_mib = memory_map_ram_bytes(&plan->map) / MIB;
    const uint64_t xen_mib = XEN_MIB + ram_mib * BYTES_PER_PAGE_INFO / 4096;
    const uint64_t dom0 = dom0_mib(machine->xen_args);
    const uint64_t dom0_least = (round_up_2mib(plan->modules[0].size) + 2 * MIB) / MIB;
    uint64_t files = 0, sum_mib = 0;
    const struct guest_config *largest = NULL;

    if (dom0 < dom0_least || first_piece_mib(dom0) <= dom0_least)
        die_usage("--xen-args: dom0_mem= gives Dragoman %llu MiB, the first piece of it %llu, and "
                  "Xen wants more than %llu there for the image and the device tree; give it 16M",
                  (unsigned long long)dom0, (unsigned long long)first_piece_mib(dom0),
                  (unsigned long long)dom0_least);
    for (size_t i = 0; i < plan->module_count; i++)
        files += plan->modules[i].size;
    sum_mib = xen_mib + dom0 + files / MIB;
    for (size_t i = 0; i < guest_count; i++) {
        sum_mib += (uint64_t)guests[i].memory_mib + guest_overhead_mib(&guests[i]);
        if (largest == NULL || guests[i].memory_mib > largest->memory_mib)
            largest = &guests[i];
    }
    if (sum_mib <= ram_mib)
        return;
    if (largest == NULL)
        die("%s: Dom0's %llu MiB and Xen do not fit into the board's %llu MiB; give a smaller "
            "dom0_mem= in --xen-args",
            machine->board_path, (unsigned long long)dom0, (unsigned long long)ram_mib);
    die("%s:%d: memory = %ld is too much: all guests together need %llu MiB with Dom0's %llu MiB, "
        "Xen and the files, and the board has %llu MiB; give the guests less",
        largest->file, largest->memory_line, largest->memory_mib, (unsigned long long)sum_mib,
        (unsigned long long)dom0, (unsigned long long)ram_mib);
}
