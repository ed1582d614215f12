/* SPDX-License-Identifier: MIT */
/* dragoman_nodes.c: see dragoman_nodes.h. */
#include "dragoman_nodes.h"

#include <libfdt.h>
#include <string.h>

#include "message.h"
#include "must.h"
#include "must_tree.h"

/* --- images that Dragoman builds guests from again --- */

static struct memory_range pages_of(const struct load_module *module)
{
    return (struct memory_range){module->address,
                                 (module->size + MEMORY_PAGE - 1) / MEMORY_PAGE * MEMORY_PAGE};
}

static void append_number(void *tree, int node, uint64_t value, int cells, const char *board)
{
    if (cells < 1 || cells > 2 || (cells == 1 && value > UINT32_MAX))
        die("%s: its root has #address-cells or #size-cells of %d, which do not hold 0x%llx", board,
            cells, (unsigned long long)value);
    must_fdt(cells == 2 ? fdt_appendprop_u64(tree, node, "reg", value)
                        : fdt_appendprop_u32(tree, node, "reg", (uint32_t)value),
             "reg");
}

/*
 * Keeps the modules of guests that start again: a reservation, so that Xen does not free them when
 * it has built the guests, and a node that looks like a device, so that Xen maps them for Dom0
 * (kernel/images.h).
 */
static void keep_images(void *tree, const struct machine_config *machine,
                        const struct guest_config *guests, size_t guest_count,
                        const struct load_plan *plan)
{
    const int address_cells = fdt_address_cells(tree, 0), size_cells = fdt_size_cells(tree, 0);
    bool keep[MODULE_COUNT_MAX] = {false};
    int node = -1;

    for (size_t i = 0; i < guest_count; i++) {
        if (!guest_config_restarts(&guests[i]))
            continue;
        keep[load_plan_kernel(plan, &guests[i]) - plan->modules] = true;
        if (load_plan_ramdisk(plan, &guests[i]) != NULL)
            keep[load_plan_ramdisk(plan, &guests[i]) - plan->modules] = true;
    }
    for (size_t i = 0; i < plan->module_count; i++) {
        if (!keep[i])
            continue;
        const struct memory_range pages = pages_of(&plan->modules[i]);
        must_fdt(fdt_add_mem_rsv(tree, pages.start, pages.size), "/memreserve/");
        if (node < 0)
            node = add_node(tree, 0, "dragoman-images");
        append_number(tree, node, pages.start, address_cells, machine->board_path);
        append_number(tree, node, pages.size, size_cells, machine->board_path);
    }
    if (node >= 0)
        set_string(tree, node, "compatible", "dragoman,images");
}

static void describe_module(void *tree, int node, const char *name,
                            const struct load_module *module)
{
    must_fdt(fdt_setprop_u64(tree, node, name, module->address), name);
    must_fdt(fdt_appendprop_u64(tree, node, name, module->size), name);
}

/* What Dragoman needs to build the guest again. */
static void describe_build(void *tree, int node, const struct guest_config *guest,
                           const struct load_plan *plan)
{
    static const char *const ends[] = {"on-poweroff", "on-reboot", "on-crash", "on-watchdog"};

    for (size_t end = 0; end < GUEST_END_COUNT; end++)
        set_string(tree, node, ends[end], guest_action_name(guest->on[end]));
    if (!guest_config_restarts(guest))
        return;
    must_fdt(fdt_setprop_u64(tree, node, "memory", (uint64_t)guest->memory_mib * 1024), "memory");
    set_cell(tree, node, "vcpus", (uint32_t)guest->vcpus);
    set_string(tree, node, "bootargs", guest->command_line);
    describe_module(tree, node, "kernel", load_plan_kernel(plan, guest));
    if (guest->ramdisk != NULL)
        describe_module(tree, node, "ramdisk", load_plan_ramdisk(plan, guest));
}

/* --- the configuration --- */

/* Adds the ranges of /memreserve/, which Xen does not pass on to Dom0. */
static void add_reservations(void *tree, int dragoman)
{
    for (int i = 0; i < fdt_num_mem_rsv(tree); i++) {
        uint64_t start, size;
        if (fdt_get_mem_rsv(tree, i, &start, &size) != 0 || size == 0)
            continue;
        if (fdt_appendprop_u64(tree, dragoman, "reserved", start) != 0 ||
            fdt_appendprop_u64(tree, dragoman, "reserved", size) != 0)
            die("the boot tree has no room for the board's reserved memory");
    }
}

static void describe_vif(void *tree, int node, const struct vif_config *vif, long vcpus)
{
    set_string(tree, node, "mac", vif->mac);
    set_string(tree, node, "bridge", vif->bridge);
    set_cell(tree, node, "queues", (uint32_t)(vcpus < VIF_QUEUES_MAX ? vcpus : VIF_QUEUES_MAX));
    if (vif->rate_bytes != 0) {
        must_fdt(fdt_setprop_u32(tree, node, "rate", vif->rate_bytes), "rate");
        must_fdt(fdt_appendprop_u32(tree, node, "rate", vif->rate_us), "rate");
    }
    if (vif->vlans.untagged != 0)
        set_cell(tree, node, "vlan", vif->vlans.untagged);
    for (unsigned first = 1, last; first <= VLAN_MAX; first = last + 1) {
        last = first;
        if (!vif->vlans.tagged[first])
            continue;
        while (last < VLAN_MAX && vif->vlans.tagged[last + 1])
            last++;
        if (fdt_appendprop_u32(tree, node, "tagged-vlans", first) != 0 ||
            fdt_appendprop_u32(tree, node, "tagged-vlans", last) != 0)
            die("%s:%d: the boot tree has no room for so many VLANs; give ranges of adjacent ones",
                vif->file, vif->line);
    }
    if (vif->ip_count != 0)
        must_fdt(fdt_setprop(tree, node, "ip", vif->ip, (int)(vif->ip_count * sizeof vif->ip[0])),
                 "ip");
    if (vif->group != 0)
        set_cell(tree, node, "group", vif->group);
    if (vif->mirror)
        set_empty(tree, node, "mirror");
}

/*
 * The domain's own configuration. No node below carries a unit address, a reg or interrupts: Xen
 * would take it for a device of the board and refuse the tree.
 */
void dragoman_nodes_add(void *tree, const struct machine_config *machine,
                        const struct guest_config *guests, size_t guest_count,
                        const struct load_plan *plan)
{
    keep_images(tree, machine, guests, guest_count, plan);
    int dragoman = add_node(tree, 0, "dragoman");
    set_string(tree, dragoman, "compatible", "dragoman,config");
    set_string(tree, dragoman, "when-idle", machine->when_idle);
    for (size_t i = 0; i < machine->kind_count; i++)
        set_cell(tree, dragoman, must_format("%s-controllers", machine->kinds[i].name),
                 machine->kinds[i].count);
    add_reservations(tree, dragoman);
    for (size_t i = guest_count; i > 0; i--) {
        const struct guest_config *guest = &guests[i - 1];
        int node = add_numbered_node(tree, dragoman, "guest", i);
        set_cell(tree, node, "domid", (uint32_t)i);
        set_string(tree, node, "label", guest->name);
        describe_build(tree, node, guest, plan);
        for (size_t v = guest->vif_count; v > 0; v--) {
            int vif_node = add_numbered_node(tree, node, "vif", v - 1);
            describe_vif(tree, vif_node, &guest->vifs[v - 1], guest->vcpus);
        }
        for (size_t d = guest->disk_count; d > 0; d--) {
            const struct disk_config *disk = &guest->disks[d - 1];
            int disk_node = add_numbered_node(tree, node, "disk", d - 1);
            set_string(tree, disk_node, "vdev", disk->vdev);
            set_string(tree, disk_node, "target", disk->target);
            set_string(tree, disk_node, "access", disk->writable ? "w" : "r");
            if (disk->mode != NULL)
                set_string(tree, disk_node, "mode", disk->mode);
            if (disk->persistent != NULL)
                set_string(tree, disk_node, "persistent", disk->persistent);
        }
    }
}
