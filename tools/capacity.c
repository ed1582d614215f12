/* SPDX-License-Identifier: MIT */
/* capacity.c: see capacity.h. */
#include "capacity.h"

#include <libfdt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

static uint64_t file_bytes(const char *path)
{
    struct stat status;
    return path != NULL && stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

/* Xen's place_dtb_initrd(): kernel, ramdisk and device tree, each in units of 2 MiB. */
static uint64_t least_guest_bytes(const struct guest_config *guest)
{
    return round_up_2mib(guest->image.memory_bytes) + round_up_2mib(file_bytes(guest->ramdisk)) +
           2 * MIB;
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

/* The size in dom0_mem=, in KiB unless it has a unit. */
static uint64_t dom0_mib(const char *xen_args)
{
    uint64_t mib = DOM0_MEM_DEFAULT_MIB;

    for (const char *at = xen_args; (at = strstr(at, "dom0_mem=")) != NULL; at += 9) {
        char *unit;
        if (at != xen_args && at[-1] != ' ')
            continue;
        unsigned long long size = strtoull(at + 9, &unit, 0);
        if (unit == at + 9)
            continue;
        switch (*unit) {
        case 'G':
        case 'g':
            mib = size * 1024;
            break;
        case 'M':
        case 'm':
            mib = size;
            break;
        case 'B':
        case 'b':
            mib = size / MIB;
            break;
        default:
            mib = size / 1024;
            break;
        }
    }
    return mib;
}

void capacity_check_machine(const struct machine_config *machine, const struct guest_config *guests,
                            size_t guest_count, const struct load_plan *plan)
{
    const uint64_t ram_mib = memory_map_ram_bytes(&plan->map) / MIB;
    const uint64_t xen_mib = XEN_MIB + ram_mib * BYTES_PER_PAGE_INFO / 4096;
    const uint64_t dom0 = dom0_mib(machine->xen_args);
    uint64_t files = 0, sum_mib = 0;
    const struct guest_config *largest = NULL;

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
