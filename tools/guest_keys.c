/* SPDX-License-Identifier: MIT */
/* guest_keys.c: see guest_keys.h. */
#include "guest_keys.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static const char *const honoured[] = {
    "name", "kernel", "ramdisk", "memory",      "vcpus",     "cmdline",  "extra",       "root",
    "disk", "vif",    "type",    "on_poweroff", "on_reboot", "on_crash", "on_watchdog",
};

static const char boot[] = "Xen starts the guest's kernel itself; give kernel and ramdisk";
static const char device[] = "Dragoman gives a guest disks and network interfaces, nothing else";
static const char hardware[] = "Dragoman keeps the board's devices; no guest gets one";
static const char pinning[] = "a guest's CPUs cannot be chosen";
static const char label[] = "Xen starts the guests without labels";
static const char grants[] = "give gnttab_max_frames or gnttab_max_maptrack_frames in --xen-args";
static const char machine[] = "the guest gets the machine that Xen has by default";

/* The keys of xl.cfg(5) that would change what the guest gets. */
static const struct refused_key {
    const char *name;
    const char *why;
    const char *same_as; /* the key is accepted if its number is that of this key */
} refused[] = {
    {"builder", "Xen on Arm has one type of guest, \"pvh\"", NULL},
    {"bootloader", boot, NULL},
    {"firmware", boot, NULL},
    {"maxmem", "a guest's memory does not grow", "memory"},
    {"maxvcpus", "a guest's number of CPUs does not grow", "vcpus"},
    {"cpus", pinning, NULL},
    {"pool", pinning, NULL},
    {"cap", "a guest's share of the CPUs cannot be limited", NULL},
    {"vnuma", machine, NULL},
    {"seclabel", label, NULL},
    {"init_seclabel", label, NULL},
    {"device_model_stubdomain_seclabel", label, NULL},
    {"driver_domain", hardware, NULL},
    {"passthrough", hardware, NULL},
    {"pci", hardware, NULL},
    {"dtdev", hardware, NULL},
    {"device_tree", hardware, NULL},
    {"iomem", hardware, NULL},
    {"ioports", hardware, NULL},
    {"irqs", hardware, NULL},
    {"rdm", hardware, NULL},
    {"usbctrl", device, NULL},
    {"usbdev", device, NULL},
    {"vtpm", device, NULL},
    {"p9", device, NULL},
    {"pvcalls", device, NULL},
    {"vfb", device, NULL},
    {"vkb", device, NULL},
    {"vdispl", device, NULL},
    {"vsnd", device, NULL},
    {"virtio", device, NULL},
    {"channel", device, NULL},
    {"max_grant_frames", grants, NULL},
    {"max_maptrack_frames", grants, NULL},
    {"max_grant_version", "give gnttab=max-ver:N in --xen-args", NULL},
    {"gic_version", machine, NULL},
    {"vuart", machine, NULL},
    {"tee", machine, NULL},
    {"sve", machine, NULL},
    {"vpmu", machine, NULL},
    {"arm_sci", machine, NULL},
    {"nestedhvm", machine, NULL},
    {"altp2m", machine, NULL},
};

/* True: an empty list, or a value that means what the guest gets without the key. */
static bool asks_for_nothing(const struct config_text *text, const char *key)
{
    static const char *const nothing[] = {"", "0", "none", "default", "disabled", "all"};
    XLU_ConfigList *list;
    const char *value = NULL;
    int count = 0;

    if (xlu_cfg_get_list(text->config, key, &list, &count, 1) == 0)
        return count == 0;
    if (xlu_cfg_get_string(text->config, key, &value, 1) != 0)
        return false;
    for (size_t i = 0; i < COUNT_OF(nothing); i++)
        if (strcmp(value, nothing[i]) == 0)
            return true;
    return false;
}

static bool is_same_number(const struct config_text *text, const char *one, const char *other)
{
    long a, b;

    return other != NULL && xlu_cfg_get_long(text->config, one, &a, 1) == 0 &&
           xlu_cfg_get_long(text->config, other, &b, 1) == 0 && a == b;
}

static void check_other_key(const struct config_text *text, int line, const char *key,
                            size_t length)
{
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        const struct refused_key *entry = &refused[i];

        if (strlen(entry->name) != length || memcmp(entry->name, key, length) != 0)
            continue;
        if (is_same_number(text, entry->name, entry->same_as))
            return;
        if (!asks_for_nothing(text, entry->name))
            die("%s:%d: key '%s' cannot be honoured: %s; remove the line", text->path, line,
                entry->name, entry->why);
    }
    message_warn("%s:%d: key '%.*s' is not honoured and is ignored (honoured: name, kernel, "
                 "ramdisk, memory, vcpus, cmdline, root, extra, disk, vif, on_poweroff, on_reboot, "
                 "on_crash, on_watchdog)",
                 text->path, line, (int)length, key);
}

void guest_keys_check(const struct config_text *text)
{
    const char *cursor = text->text, *first[COUNT_OF(honoured)] = {NULL};
    size_t length;

    for (const char *found; (found = config_next_key(&cursor, &length)) != NULL;) {
        bool known = false;
        for (size_t i = 0; i < COUNT_OF(honoured); i++) {
            if (strlen(honoured[i]) != length || memcmp(honoured[i], found, length) != 0)
                continue;
            known = true;
            if (first[i] != NULL && cursor[-1] == '=' && cursor[-2] != '+' && *cursor != '=')
                die("%s:%d: key '%.*s' is given already, on line %d; remove one of them",
                    text->path, config_line(text, found), (int)length, found,
                    config_line(text, first[i]));
            first[i] = found;
        }
        if (!known)
            check_other_key(text, config_line(text, found), found, length);
    }
}
