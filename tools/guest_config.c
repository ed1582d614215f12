/* SPDX-License-Identifier: MIT */
/* guest_config.c: see guest_config.h. */
#include "guest_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_target.h"
#include "guest_keys.h"
#include "message.h"
#include "must.h"

/* The value of a string key, or NULL when it is absent or empty. */
static const char *get_string(const struct config_text *text, const char *key)
{
    const char *value = NULL;
    int error = xlu_cfg_get_string(text->config, key, &value, 1);
    if (error != 0 && error != ESRCH)
        die("%s:%d: '%s' must be one string, as in %s = \"...\"", text->path,
            config_line_of_key(text, key), key, key);
    if (error == 0)
        config_check_printable(text, config_line_of_key(text, key), key, value);
    return error == 0 && value[0] != '\0' ? value : NULL;
}

static long get_number(const struct config_text *text, const char *key, long min, long max,
                       long fallback)
{
    long value = 0;
    int error = xlu_cfg_get_long(text->config, key, &value, 1);
    if (error == ESRCH && fallback >= min)
        return fallback;
    if (error == ESRCH)
        die("%s: '%s' is missing: add a line such as %s = %ld", text->path, key, key, 256L);
    if (error != 0 || value < min || value > max)
        die("%s:%d: '%s' must be a number from %ld to %ld", text->path,
            config_line_of_key(text, key), key, min, max);
    return value;
}

/* The file named by a key: relative names start from the configuration's own directory. */
static const char *get_file(const struct config_text *text, const char *key, struct stat *status)
{
    const char *value = get_string(text, key);
    if (value == NULL)
        return NULL;
    const char *slash = strrchr(text->path, '/');
    const char *path = value[0] == '/' || slash == NULL
                           ? value
                           : must_format("%.*s/%s", (int)(slash - text->path), text->path, value);
    if (stat(path, status) != 0 || access(path, R_OK) != 0)
        die("%s:%d: %s '%s' cannot be read: %s", text->path, config_line_of_key(text, key), key,
            path, strerror(errno));
    if (!S_ISREG(status->st_mode) || status->st_size == 0)
        die("%s:%d: %s '%s' %s", text->path, config_line_of_key(text, key), key, path,
            S_ISREG(status->st_mode) ? "is empty" : "is not a regular file");
    return path;
}

static void read_kernel(const struct config_text *text, struct guest_config *guest)
{
    struct stat kernel, ramdisk;

    guest->kernel = get_file(text, "kernel", &kernel);
    guest->kernel_line = config_line_of_key(text, "kernel");
    if (guest->kernel == NULL)
        die("%s: 'kernel' is missing: add a line such as kernel = \"/boot/Image\" (an arm64 Image)",
            text->path);
    const char *wrong = kernel_image_read(&guest->image, guest->kernel);
    if (wrong != NULL)
        die("%s:%d: kernel '%s' %s", text->path, guest->kernel_line, guest->kernel, wrong);
    guest->ramdisk = get_file(text, "ramdisk", &ramdisk);
    if (guest->ramdisk == NULL)
        return;
    if (kernel.st_dev == ramdisk.st_dev && kernel.st_ino == ramdisk.st_ino)
        die("%s:%d: ramdisk '%s' is the guest's kernel; give another file, or remove the line",
            text->path, config_line_of_key(text, "ramdisk"), guest->ramdisk);
    guest->ramdisk_bytes = (uint64_t)ramdisk.st_size;
}

static const char *command_line(const struct config_text *text)
{
    const char *cmdline = get_string(text, "cmdline");
    const char *root = get_string(text, "root");
    const char *extra = get_string(text, "extra");
    const char *result = cmdline;

    if (cmdline != NULL && (root != NULL || extra != NULL))
        message_warn("%s:%d: 'cmdline' is given, so 'root' and 'extra' are ignored (as xl does)",
                     text->path, config_line_of_key(text, "cmdline"));
    else if (cmdline == NULL)
        result = must_format("%s%s%s%s", root ? "root=" : "", root ? root : "",
                             root && extra ? " " : "", extra ? extra : "");
    if (strlen(result) > COMMAND_LINE_LENGTH_MAX)
        die("%s:%d: the kernel's command line has %zu characters; Xen takes at most %d", text->path,
            config_line_of_key(text, cmdline ? "cmdline" : "extra"), strlen(result),
            COMMAND_LINE_LENGTH_MAX);
    return result;
}

static void read_disk(const struct config_text *text, struct guest_config *guest, const char *spec)
{
    struct disk_config disk;

    disk_config_read(&disk, text, spec);
    for (size_t i = 0; i < guest->disk_count; i++)
        if (strcmp(guest->disks[i].vdev, disk.vdev) == 0)
            die("%s:%d: disk '%s': %s is used already, on line %d; give it another name", disk.file,
                disk.line, spec, disk.vdev, guest->disks[i].line);
    if (guest->disk_count == DISK_COUNT_MAX)
        die("%s:%d: more than %d disks: the domain serves no more", disk.file, disk.line,
            DISK_COUNT_MAX);
    guest->disks[guest->disk_count++] = disk;
}

static void read_disks(const struct config_text *text, struct guest_config *guest)
{
    XLU_ConfigList *list = NULL;
    int count = 0;
    int error = xlu_cfg_get_list(text->config, "disk", &list, &count, 1);
    if (error == ESRCH)
        return;
    if (error != 0)
        die("%s:%d: 'disk' must be a list, as in disk = [ 'nvme0,raw,xvda,w' ]", text->path,
            config_line_of_key(text, "disk"));
    for (int i = 0; i < count; i++) {
        const char *spec = xlu_cfg_get_listitem(list, i);
        if (spec == NULL)
            die("%s:%d: 'disk' must hold strings only", text->path,
                config_line_of_key(text, "disk"));
        read_disk(text, guest, spec);
    }
}

static void read_vifs(const struct config_text *text, struct guest_config *guest)
{
    XLU_ConfigList *list = NULL;
    int count = 0;
    int error = xlu_cfg_get_list(text->config, "vif", &list, &count, 1);
    if (error == ESRCH)
        return;
    if (error != 0)
        die("%s:%d: 'vif' must be a list, as in vif = [ 'bridge=xenbr0' ]", text->path,
            config_line_of_key(text, "vif"));
    for (int i = 0; i < count; i++) {
        const char *spec = xlu_cfg_get_listitem(list, i);
        if (spec == NULL)
            die("%s:%d: 'vif' must hold strings only", text->path, config_line_of_key(text, "vif"));
        if (guest->vif_count == VIF_COUNT_MAX)
            die("%s:%d: more than %d vifs: the domain serves no more", text->path,
                config_line_of_key(text, "vif"), VIF_COUNT_MAX);
        vif_config_read(&guest->vifs[guest->vif_count], text, spec, guest->name, guest->vif_count);
        guest->vif_count++;
    }
}

static enum guest_action read_end(const struct config_text *text, const struct guest_config *guest,
                                  const char *key, enum guest_action usual)
{
    const char *value = get_string(text, key);
    const int line = config_line_of_key(text, key);
    int action = 0;

    if (value == NULL)
        return guest->image.gzipped ? GUEST_DESTROY : usual;
    while (action < GUEST_ACTION_COUNT && strcmp(value, guest_action_name(action)) != 0)
        action++;
    if (strncmp(value, "coredump-", 9) == 0)
        die("%s:%d: %s = \"%s\": Dragoman keeps no core dumps; give \"%s\"", text->path, line, key,
            value, value + 9);
    if (strcmp(value, "rename-restart") == 0)
        die("%s:%d: %s = \"%s\": a guest keeps its name and its number; give \"restart\", or "
            "\"preserve\" to look at what is left of it",
            text->path, line, key, value);
    if (action == GUEST_ACTION_COUNT)
        die("%s:%d: %s = \"%s\" is none of destroy, restart and preserve", text->path, line, key,
            value);
    if (action == GUEST_RESTART && guest->image.gzipped)
        die("%s:%d: %s = \"restart\": Dragoman starts no gzipped kernel, such as '%s'; unpack it, "
            "or "
            "give \"destroy\"",
            text->path, line, key, guest->kernel);
    return action;
}

static void read_ends(const struct config_text *text, struct guest_config *guest)
{
    guest->on[GUEST_POWEROFF] = read_end(text, guest, "on_poweroff", GUEST_DESTROY);
    guest->on[GUEST_REBOOT] = read_end(text, guest, "on_reboot", GUEST_RESTART);
    guest->on[GUEST_CRASH] = read_end(text, guest, "on_crash", GUEST_RESTART);
    guest->on[GUEST_WATCHDOG] = read_end(text, guest, "on_watchdog", GUEST_RESTART);
    if (guest->image.gzipped)
        message_warn(
            "%s:%d: kernel '%s' is gzipped, so the guest cannot start again after its end; "
            "unpack it for that",
            text->path, guest->kernel_line, guest->kernel);
}

void guest_config_read(struct guest_config *guest, const char *path)
{
    size_t size;
    char *text = must_read_file(path, &size);
    if (strlen(text) != size)
        die("%s: holds a zero byte, so it is no text", path);
    struct config_text config = {path, text, xlu_cfg_init(stderr, path)};
    if (config.config == NULL)
        die("out of memory");
    if (xlu_cfg_readdata(config.config, text, (int)size) != 0)
        die("%s: is not in the syntax of xl.cfg (the place is in the message above)", path);

    guest_keys_check(&config);
    guest->file = path;
    guest->name = get_string(&config, "name");
    if (guest->name == NULL)
        die("%s: 'name' is missing: add a line such as name = \"web\"", path);
    if (strlen(guest->name) > GUEST_NAME_LENGTH_MAX)
        die("%s:%d: the name has %zu characters; at most %d are kept", path,
            config_line_of_key(&config, "name"), strlen(guest->name), GUEST_NAME_LENGTH_MAX);
    read_kernel(&config, guest);
    guest->command_line = command_line(&config);
    guest->memory_mib = get_number(&config, "memory", 1, 1024L * 1024, 0);
    guest->memory_line = config_line_of_key(&config, "memory");
    guest->vcpus_line = config_line_of_key(&config, "vcpus");
    guest->vcpus = get_number(&config, "vcpus", 1, 128, 1);
    const char *type = get_string(&config, "type");
    if (type != NULL && strcmp(type, "pvh") != 0)
        die("%s:%d: type '%s': Xen on Arm has only \"pvh\"; the line may be left out", path,
            config_line_of_key(&config, "type"), type);
    read_disks(&config, guest);
    read_vifs(&config, guest);
    read_ends(&config, guest);
    /* The configuration stays open: it owns the strings above. */
}

static void check_pair(const struct guest_config *one, const struct guest_config *two)
{
    if (strcmp(one->name, two->name) == 0)
        die("%s and %s: both guests are named '%s'; give one another name", one->file, two->file,
            one->name);
}

/* Whether names of two kinds mean one disk is known only at boot. */
static void warn_unclear_sharing(const struct disk_config *one, const struct disk_config *two)
{
    if ((one->writable || two->writable) && disk_targets_are_unclear(one->target, two->target))
        message_warn(
            "%s:%d: %s may be the disk %s of %s:%d; if it is, Dragoman refuses it at boot. "
            "Names of one kind are compared here",
            two->file, two->line, two->target, one->target, one->file, one->line);
}

/* Guests may share a disk only if all of them only read it; a writer would corrupt the others'
 * view. */
static void check_disk_sharing(const struct guest_config *guests, size_t count, size_t guest,
                               const struct disk_config *disk)
{
    for (size_t i = guest; i < count; i++) {
        for (size_t d = 0; d < guests[i].disk_count; d++) {
            const struct disk_config *other = &guests[i].disks[d];
            if (i > guest)
                warn_unclear_sharing(disk, other);
            if (other == disk || !disk_targets_overlap(other->target, disk->target))
                continue;
            if (other->writable || disk->writable)
                die("%s:%d: %s is assigned already, at %s:%d as %s, and one of the two may write: "
                    "its "
                    "file system would be destroyed; use another disk, or access r in both",
                    guests[i].file, other->line, other->target, disk->file, disk->line,
                    disk->target);
        }
    }
}

/* Checks that each address occurs once, and that a bridge has one mirror. */
static void check_vif(const struct guest_config *guests, size_t count, const struct vif_config *vif)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t v = 0; v < guests[i].vif_count; v++) {
            const struct vif_config *other = &guests[i].vifs[v];
            if (other == vif)
                return; /* each pair once */
            if (strcmp(other->mac, vif->mac) == 0)
                die("%s:%d: the address %s is that of the vif at %s:%d already; give one of them "
                    "another one, with mac=",
                    vif->file, vif->line, vif->mac, other->file, other->line);
            if (vif->mirror && other->mirror && strcmp(other->bridge, vif->bridge) == 0)
                die("%s:%d: bridge %s has a mirror already, at %s:%d; remove mirror=yes", vif->file,
                    vif->line, vif->bridge, other->file, other->line);
        }
    }
}

/* Checks the number of bridges, and that it is clear which one has the network card. */
static void check_bridges(const struct guest_config *guests, size_t count)
{
    const struct vif_config *firsts[BRIDGE_COUNT_MAX];
    size_t bridges = 0;
    bool is_clear = false;

    for (size_t i = 0; i < count; i++)
        for (size_t v = 0; v < guests[i].vif_count; v++) {
            const struct vif_config *vif = &guests[i].vifs[v];
            size_t b = 0;
            while (b < bridges && strcmp(firsts[b]->bridge, vif->bridge) != 0)
                b++;
            is_clear |= strcmp(vif->bridge, VIF_BRIDGE_DEFAULT) == 0;
            if (b < bridges)
                continue;
            if (bridges == BRIDGE_COUNT_MAX)
                die("%s:%d: bridge %s is one more than the %d that the domain has; give fewer "
                    "names",
                    vif->file, vif->line, vif->bridge, BRIDGE_COUNT_MAX);
            firsts[bridges++] = vif;
        }
    if (bridges > 1 && !is_clear)
        die("%s:%d: bridge %s, and %s at %s:%d: of several bridges the one with the network card "
            "is " VIF_BRIDGE_DEFAULT "; give that name to one of them",
            firsts[1]->file, firsts[1]->line, firsts[1]->bridge, firsts[0]->bridge, firsts[0]->file,
            firsts[0]->line);
}

void guest_configs_check_positions(const struct guest_config *guests, size_t count,
                                   const char *kind, unsigned controllers)
{
    unsigned position;

    for (size_t i = 0; i < count; i++)
        for (size_t d = 0; d < guests[i].disk_count; d++) {
            const struct disk_config *disk = &guests[i].disks[d];
            if (disk_target_position(disk->target, kind, &position) && position >= controllers)
                die("%s:%d: there is no %s with --controllers %s=%u; the first one is %s0",
                    disk->file, disk->line, disk->target, kind, controllers, kind);
        }
}

void guest_configs_check(const struct guest_config *guests, size_t count)
{
    size_t disk_count = 0, vif_count = 0;
    for (size_t i = 0; i < count; i++) {
        disk_count += guests[i].disk_count;
        vif_count += guests[i].vif_count;
        for (size_t v = 0; v < guests[i].vif_count; v++)
            check_vif(guests, count, &guests[i].vifs[v]);
        for (size_t j = i + 1; j < count; j++)
            check_pair(&guests[i], &guests[j]);
        for (size_t d = 0; d < guests[i].disk_count; d++)
            check_disk_sharing(guests, count, i, &guests[i].disks[d]);
    }
    check_bridges(guests, count);
    if (disk_count > DISK_COUNT_MAX)
        die("%zu disks in all; the domain serves at most %d", disk_count, DISK_COUNT_MAX);
    if (vif_count > VIF_COUNT_MAX)
        die("%zu vifs in all; the domain serves at most %d", vif_count, VIF_COUNT_MAX);
}
