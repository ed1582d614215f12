/* SPDX-License-Identifier: MIT */
/* builder_tree: see builder_tree.h. Written in one go by libfdt's sequential functions; the first
 * error is kept. */
#include "builder_tree.h"

#include <libfdt.h>
#include <stdio.h>
#include <string.h>

#define GIC_PHANDLE 65000u
#define LEVEL_LOW   0xf08u /* for all CPUs */
#define LEVEL_HIGH  0xf04u
#define PPI         1u
#define SPI         0u

struct writer {
    void *fdt;
    int error;
};

static void keep(struct writer *writer, int error)
{
    if (!writer->error)
        writer->error = error;
}

static void begin(struct writer *writer, const char *name)
{
    keep(writer, fdt_begin_node(writer->fdt, name));
}

static void end(struct writer *writer)
{
    keep(writer, fdt_end_node(writer->fdt));
}

static void put_cell(struct writer *writer, const char *name, uint32_t value)
{
    keep(writer, fdt_property_u32(writer->fdt, name, value));
}

static void put_cells(struct writer *writer, const char *name, const uint32_t *values,
                      unsigned count)
{
    fdt32_t cells[12];

    for (unsigned i = 0; i < count; i++)
        cells[i] = cpu_to_fdt32(values[i]);
    keep(writer, fdt_property(writer->fdt, name, cells, (int)(count * sizeof cells[0])));
}

static void put_string(struct writer *writer, const char *name, const char *value)
{
    keep(writer, fdt_property_string(writer->fdt, name, value));
}

/* `strings` are separated, and ended, by zero bytes. */
static void put_strings(struct writer *writer, const char *name, const char *strings, size_t bytes)
{
    keep(writer, fdt_property(writer->fdt, name, strings, (int)bytes));
}

static void put_ranges(struct writer *writer, const char *name, const struct range *ranges,
                       unsigned count)
{
    uint32_t cells[4 * GUEST_BANKS];

    for (unsigned i = 0; i < count; i++) {
        cells[4 * i] = (uint32_t)(ranges[i].base >> 32);
        cells[4 * i + 1] = (uint32_t)ranges[i].base;
        cells[4 * i + 2] = (uint32_t)(ranges[i].bytes >> 32);
        cells[4 * i + 3] = (uint32_t)ranges[i].bytes;
    }
    put_cells(writer, name, cells, 4 * count);
}

static void write_chosen(struct writer *writer, const struct builder_tree *of)
{
    begin(writer, "chosen");
    put_string(writer, "bootargs", of->build->arguments);
    if (of->ramdisk.bytes) {
        keep(writer, fdt_property_u64(writer->fdt, "linux,initrd-start", of->ramdisk.base));
        keep(writer, fdt_property_u64(writer->fdt, "linux,initrd-end",
                                      of->ramdisk.base + of->ramdisk.bytes));
    }
    end(writer);
}

/* A vCPU's affinity: 16 in a cluster (Xen's vcpuid_to_vaffinity()). */
static void write_cpus(struct writer *writer, uint32_t vcpus)
{
    char name[16];

    begin(writer, "cpus");
    put_cell(writer, "#address-cells", 1);
    put_cell(writer, "#size-cells", 0);
    for (uint32_t cpu = 0; cpu < vcpus; cpu++) {
        const uint32_t affinity = (cpu & 15) | cpu >> 4 << 8;

        snprintf(name, sizeof name, "cpu@%x", affinity);
        begin(writer, name);
        put_string(writer, "device_type", "cpu");
        put_string(writer, "compatible", "arm,armv8");
        put_string(writer, "enable-method", "psci");
        put_cell(writer, "reg", affinity);
        end(writer);
    }
    end(writer);
}

static void write_psci(struct writer *writer)
{
    static const char versions[] = "arm,psci-1.0\0arm,psci-0.2\0arm,psci";

    begin(writer, "psci");
    put_strings(writer, "compatible", versions, sizeof versions);
    put_string(writer, "method", "hvc");
    put_cell(writer, "cpu_off", 1);
    put_cell(writer, "cpu_on", 2);
    end(writer);
}

static void write_memory(struct writer *writer, const struct builder_tree *of)
{
    begin(writer, "memory@40000000");
    put_string(writer, "device_type", "memory");
    put_ranges(writer, "reg", of->banks, of->banks[1].bytes ? 2 : 1);
    end(writer);
}

static void write_gic(struct writer *writer, unsigned version)
{
    static const struct range registers[2][2] = {{{0x3001000, 0x1000}, {0x3002000, 0x2000}},
                                                 {{0x3001000, 0x10000}, {0x3020000, 0x1000000}}};
    static const char v2[] = "arm,cortex-a15-gic\0arm,cortex-a9-gic";

    begin(writer, "interrupt-controller@3001000");
    if (version == 3)
        put_string(writer, "compatible", "arm,gic-v3");
    else
        put_strings(writer, "compatible", v2, sizeof v2);
    put_cell(writer, "#address-cells", 0);
    put_cell(writer, "#interrupt-cells", 3);
    put_strings(writer, "interrupt-controller", "", 0);
    put_ranges(writer, "reg", registers[version == 3], 2);
    put_cell(writer, "phandle", GIC_PHANDLE);
    end(writer);
}

static void write_timer(struct writer *writer)
{
    /* Secure, non-secure, virtual. */
    static const uint32_t lines[] = {PPI, 13, LEVEL_LOW, PPI, 14, LEVEL_LOW, PPI, 11, LEVEL_LOW};

    begin(writer, "timer");
    put_string(writer, "compatible", "arm,armv8-timer");
    put_cells(writer, "interrupts", lines, 9);
    end(writer);
}

/* Its first range is where the guest maps its grant table. */
static void write_hypervisor(struct writer *writer)
{
    static const struct range grant_window = {0x38000000, 0x1000000};
    static const char names[] = "xen,xen-4.17\0xen,xen";
    static const uint32_t events[] = {PPI, 15, LEVEL_LOW};

    begin(writer, "hypervisor");
    put_strings(writer, "compatible", names, sizeof names);
    put_ranges(writer, "reg", &grant_window, 1);
    put_cells(writer, "interrupts", events, 3);
    end(writer);
}

static void write_console(struct writer *writer)
{
    static const struct range registers = {0x22000000, 0x1000};
    static const uint32_t line[] = {SPI, 0, LEVEL_HIGH};

    begin(writer, "sbsa-uart@22000000");
    put_string(writer, "compatible", "arm,sbsa-uart");
    put_ranges(writer, "reg", &registers, 1);
    put_cells(writer, "interrupts", line, 3);
    put_cell(writer, "current-speed", 115200);
    end(writer);
}

uint32_t builder_tree_write(void *buffer, const struct builder_tree *of)
{
    static const char machine[] = "xen,xenvm-4.17\0xen,xenvm";
    struct writer writer = {.fdt = buffer};

    keep(&writer, fdt_create(buffer, BUILDER_TREE_BYTES));
    keep(&writer, fdt_finish_reservemap(buffer));
    begin(&writer, "");
    put_string(&writer, "model", "XENVM");
    put_strings(&writer, "compatible", machine, sizeof machine);
    put_cell(&writer, "#address-cells", 2);
    put_cell(&writer, "#size-cells", 2);
    put_cell(&writer, "interrupt-parent", GIC_PHANDLE);
    write_chosen(&writer, of);
    write_cpus(&writer, of->build->vcpus);
    write_psci(&writer);
    write_memory(&writer, of);
    write_gic(&writer, of->gic_version);
    write_timer(&writer);
    write_hypervisor(&writer);
    write_console(&writer);
    end(&writer);
    keep(&writer, fdt_finish(buffer));
    return writer.error ? 0 : fdt_totalsize(buffer);
}
