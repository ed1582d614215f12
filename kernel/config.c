/* SPDX-License-Identifier: MIT */
/* config: see config.h. */
#include "config.h"
#include "config_keys.h"

#include <dragoman/partition/selector.h>
#include <port/env.h>

#include <libfdt.h>
#include <string.h>

#define SECONDS_MAX 86400u

/* A number of seconds, in nanoseconds; 0: missing, or invalid and logged. */
static uint64_t seconds_property(const void *fdt, int node, const char *path, const char *name)
{
    int bytes;
    const fdt32_t *cell = fdt_getprop(fdt, node, name, &bytes);

    if (!cell)
        return 0;
    if (bytes == sizeof *cell && fdt32_to_cpu(*cell) > 0 && fdt32_to_cpu(*cell) <= SECONDS_MAX)
        return fdt32_to_cpu(*cell) * 1000000000ull;
    dgm_env_log("config: %s: %s must be one cell, from 1 to %u seconds; the default is used", path,
                name, SECONDS_MAX);
    return 0;
}

static void read_kinds(struct config *config, const void *fdt, int node)
{
    int property;

    fdt_for_each_property_offset(property, fdt, node)
    {
        struct config_kind *kind = &config->kinds[config->kind_count];
        const char *name = NULL;
        int bytes = 0;
        const fdt32_t *cell = fdt_getprop_by_offset(fdt, property, &name, &bytes);
        const size_t length = cell && name ? config_kind_length(name) : 0;

        if (length == 0)
            continue;
        if (bytes != sizeof *cell || length >= sizeof kind->driver ||
            config->kind_count == CONFIG_KINDS_MAX) {
            dgm_env_log("config: /dragoman: %s must be one cell, for a driver of at most %u "
                        "letters and %u drivers; it is ignored",
                        name, (unsigned)sizeof kind->driver - 1, CONFIG_KINDS_MAX);
            continue;
        }
        memcpy(kind->driver, name, length);
        kind->driver[length] = 0;
        kind->controllers = fdt32_to_cpu(*cell);
        config->kind_count++;
    }
}

/* Reads how the disk's frames are reached. After an error the default is used; the disk is still
 * shared. */
static void read_reach(struct config_disk *disk, const void *fdt, int node, const char *path)
{
    static const struct config_choices modes = {{[DGM_REACH_MODE_MAP] = "map",
                                                 [DGM_REACH_MODE_COPY] = "copy",
                                                 [DGM_REACH_MODE_IDENTITY] = "identity",
                                                 [DGM_REACH_MODE_AUTO] = "auto"},
                                                4,
                                                DGM_REACH_MODE_AUTO,
                                                "\"map\", \"copy\", \"identity\" or \"auto\""};
    struct config_choices no_yes = {{"no", "yes"}, 2, 0, "\"yes\" or \"no\""};

    /* "path" is the former name of "mode"; if a node has both, "mode" is used. */
    const char *key = fdt_getprop(fdt, node, "mode", NULL) ? "mode" : "path";

    disk->mode = (enum dgm_reach_mode)config_choice(fdt, node, path, key, &modes);
    no_yes.usual = disk->mode == DGM_REACH_MODE_AUTO;
    disk->persistent = config_choice(fdt, node, path, "persistent", &no_yes) == 1;
    if (disk->persistent && disk->mode != DGM_REACH_MODE_MAP && disk->mode != DGM_REACH_MODE_AUTO) {
        dgm_env_log("config: %s: persistent grants are mappings: mode must be \"map\" or \"auto\", "
                    "not \"%s\"; persistent is \"no\"",
                    path, modes.words[disk->mode]);
        disk->persistent = false;
    }
}

/* Reads the target of a disk. False: it is invalid, and logged. */
static bool read_target(struct config_disk *disk, const void *fdt, int node, const char *path)
{
    struct dgm_partition_selector selector;
    const char *target =
        config_string(fdt, node, path, "target", sizeof disk->target + sizeof disk->part);
    const size_t length = target ? dgm_partition_split(target) : 0;

    if (!target)
        return false;
    if (length >= sizeof disk->target || strlen(target + length) >= sizeof disk->part ||
        !dgm_partition_select(target + length, &selector)) {
        dgm_env_log("config: %s: target is \"%s\": the name of a disk is too long, or what follows "
                    "is none of pN, :part=N, :label=, :uuid= and :range=START+SIZE; it is left out",
                    path, target);
        return false;
    }
    memcpy(disk->target, target, length);
    disk->target[length] = '\0';
    strcpy(disk->part, target + length);
    return true;
}

static void read_disk(struct config *config, const void *fdt, int node, const char *guest_path,
                      uint16_t domid)
{
    static const char *const keys[] = {"vdev", "target", "access", "mode", "path", "persistent"};
    char path[96];
    struct config_disk *disk = &config->disks[config->disk_count];

    strcpy(path, guest_path);
    strcat(path, "/");
    strncat(path, fdt_get_name(fdt, node, NULL), 31);
    config_warn_unknown(fdt, node, path, keys, 6);
    if (config->disk_count == CONFIG_DISKS_MAX) {
        dgm_env_log("config: %s is more than the %u disks that fit; it is left out", path,
                    CONFIG_DISKS_MAX);
        return;
    }
    const char *vdev = config_string(fdt, node, path, "vdev", sizeof disk->vdev);
    const char *access = vdev && read_target(disk, fdt, node, path)
                             ? config_string(fdt, node, path, "access", 16)
                             : NULL;

    if (!access)
        return;
    if (strcmp(access, "r") && strcmp(access, "w")) {
        dgm_env_log("config: %s: access is \"%s\", must be \"r\" or \"w\"; it is left out", path,
                    access);
        return;
    }
    for (size_t i = 0; i < config->disk_count; i++)
        if (config->disks[i].domid == domid && !strcmp(config->disks[i].vdev, vdev)) {
            dgm_env_log("config: %s: the guest already has a disk %s; it is left out", path, vdev);
            return;
        }
    strcpy(disk->vdev, vdev);
    disk->writable = access[0] == 'w';
    disk->domid = domid;
    read_reach(disk, fdt, node, path);
    config->disk_count++;
}

static void read_guest(struct config *config, const void *fdt, int node)
{
    static const char *const keys[] = {"domid",     "label",    "memory",     "vcpus",
                                       "bootargs",  "kernel",   "ramdisk",    "on-poweroff",
                                       "on-reboot", "on-crash", "on-watchdog"};
    char path[64] = "/dragoman/";
    struct config_guest *guest = &config->guests[config->guest_count];
    int length, child;
    const fdt32_t *domid = fdt_getprop(fdt, node, "domid", &length);

    strncat(path, fdt_get_name(fdt, node, NULL), 31);
    config_warn_unknown(fdt, node, path, keys, sizeof keys / sizeof keys[0]);
    if (!domid || length != 4 || fdt32_to_cpu(*domid) == 0 || fdt32_to_cpu(*domid) > 0x7fef) {
        dgm_env_log("config: %s: \"domid\" must be one number, 1 for the first guest; "
                    "it is left out",
                    path);
        return;
    }
    if (config_guest(config, (uint16_t)fdt32_to_cpu(*domid))) {
        dgm_env_log("config: %s: domid %u occurs twice; it is left out", path,
                    fdt32_to_cpu(*domid));
        return;
    }
    if (config->guest_count == CONFIG_GUESTS_MAX) {
        dgm_env_log("config: %s is more than the %u guests that fit; it is left out", path,
                    CONFIG_GUESTS_MAX);
        return;
    }
    const char *label = config_string(fdt, node, path, "label", sizeof guest->name);
    if (!label)
        return;
    guest->domid = (uint16_t)fdt32_to_cpu(*domid);
    strcpy(guest->name, label);
    config_read_life(guest, fdt, node, path);
    config->guest_count++;
    fdt_for_each_subnode(child, fdt, node)
    {
        if (strncmp(fdt_get_name(fdt, child, NULL), "vif", 3))
            read_disk(config, fdt, child, path, guest->domid);
        else
            config_read_vif(config, fdt, child, path, guest->domid);
    }
}

void config_read(struct config *config, const void *fdt)
{
    static const char *const keys[] = {
        "compatible",         "when-idle",          "cache-maintenance", "disk-start-seconds",
        "disk-stall-seconds", "disk-retry-seconds", "disk-lost-seconds", "reserved",
    };
    static const struct config_choices idle = {
        {"stay", "poweroff"}, 2, 0, "\"poweroff\" or \"stay\""};
    static const struct config_choices caches = {
        {"by-address", "by-xen"}, 2, 0, "\"by-address\" or \"by-xen\""};
    const int node = fdt_node_offset_by_compatible(fdt, -1, "dragoman,config");
    int child;

    memset(config, 0, sizeof *config);
    if (node < 0) {
        dgm_env_log("config: no node compatible with \"dragoman,config\" in the device tree: "
                    "no guest gets a disk");
        return;
    }
    config_warn_unknown(fdt, node, "/dragoman", keys, sizeof keys / sizeof keys[0]);
    config->poweroff_when_idle = config_choice(fdt, node, "/dragoman", "when-idle", &idle) == 1;
    config->caches_by_xen =
        config_choice(fdt, node, "/dragoman", "cache-maintenance", &caches) == 1;
    config->disk_times = (struct dgm_device_times){
        .start_ns = seconds_property(fdt, node, "/dragoman", "disk-start-seconds"),
        .stall_ns = seconds_property(fdt, node, "/dragoman", "disk-stall-seconds"),
        .retry_ns = seconds_property(fdt, node, "/dragoman", "disk-retry-seconds"),
        .lost_ns = seconds_property(fdt, node, "/dragoman", "disk-lost-seconds"),
    };
    read_kinds(config, fdt, node);
    fdt_for_each_subnode(child, fdt, node) read_guest(config, fdt, child);
}
