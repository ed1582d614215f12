/* SPDX-License-Identifier: MIT */
/* guestcfg.c: see guestcfg.h. */
#include "guestcfg.h"

#include <ctype.h>
#include <errno.h>
#include <libxlutil.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "message.h"
#include "must.h"

/* The file that is being read. */
struct reading {
    const char *path;
    const char *text;
    XLU_Config *config;
};

static const char *const keys_known[] = {
    "name", "kernel", "ramdisk", "memory", "vcpus", "cmdline", "extra", "root", "disk", "type",
};

/* The 1-based line that holds the given place of the text. */
static int line_of(const char *text, const char *place)
{
    int line = 1;
    for (; text < place; text++)
        line += *text == '\n';
    return line;
}

/*
 * The next top-level "key =" of the text at or after *cursor, which moves behind it. libxlutil does
 * not list the keys of a file, so this skips everything else: comments, strings and brackets. The
 * file has passed libxlutil's parser, so quotes and brackets are paired.
 */
static const char *next_key(const char **cursor, size_t *length)
{
    int depth = 0;
    const char *at = *cursor;

    while (*at != '\0') {
        if (*at == '#') {
            at += strcspn(at, "\n");
        } else if (*at == '"' || *at == '\'') {
            char quote = *at++;
            while (*at != '\0' && *at != quote)
                at += *at == '\\' && at[1] != '\0' ? 2 : 1;
            at += *at != '\0';
        } else if (*at == '[' || *at == ']') {
            depth += *at++ == '[' ? 1 : -1;
        } else if (isalpha((unsigned char)*at) || *at == '_') {
            const char *start = at;
            while (isalnum((unsigned char)*at) || *at == '_')
                at++;
            size_t word = (size_t)(at - start);
            const char *after = at + strspn(at, " \t");
            if (depth == 0 && (*after == '=' || strncmp(after, "+=", 2) == 0)) {
                *length = word;
                *cursor = after + 1;
                return start;
            }
        } else {
            at++;
        }
    }
    *cursor = at;
    return NULL;
}

/* The line of a key; 1 when the file has no such key, and the message concerns the whole file. */
static int line_of_key(const struct reading *reading, const char *key)
{
    const char *cursor = reading->text;
    size_t length;
    for (const char *found; (found = next_key(&cursor, &length)) != NULL;) {
        if (length == strlen(key) && memcmp(found, key, length) == 0)
            return line_of(reading->text, found);
    }
    return 1;
}

static void warn_of_unknown_keys(const struct reading *reading)
{
    const char *cursor = reading->text;
    size_t length;
    for (const char *found; (found = next_key(&cursor, &length)) != NULL;) {
        bool known = false;
        for (size_t i = 0; i < sizeof keys_known / sizeof keys_known[0]; i++)
            known |= strlen(keys_known[i]) == length && memcmp(keys_known[i], found, length) == 0;
        if (!known)
            message_warn("%s:%d: key '%.*s' is not known here and is ignored (known: name, kernel, "
                         "ramdisk, memory, vcpus, cmdline, root, extra, disk)",
                         reading->path, line_of(reading->text, found), (int)length, found);
    }
}

/* The value of a string key, or NULL when it is absent or empty. */
static const char *get_string(const struct reading *reading, const char *key)
{
    const char *value = NULL;
    int error = xlu_cfg_get_string(reading->config, key, &value, 1);
    if (error != 0 && error != ESRCH)
        die("%s:%d: '%s' must be one string, as in %s = \"...\"", reading->path,
            line_of_key(reading, key), key, key);
    return error == 0 && value[0] != '\0' ? value : NULL;
}

static long get_number(const struct reading *reading, const char *key, long min, long max,
                       long fallback)
{
    long value = 0;
    int error = xlu_cfg_get_long(reading->config, key, &value, 1);
    if (error == ESRCH && fallback >= min)
        return fallback;
    if (error == ESRCH)
        die("%s: '%s' is missing: add a line such as %s = %ld", reading->path, key, key, max / 8);
    if (error != 0 || value < min || value > max)
        die("%s:%d: '%s' must be a number from %ld to %ld", reading->path,
            line_of_key(reading, key), key, min, max);
    return value;
}

/* A file named by a key: relative names start from the configuration's own directory. */
static const char *get_file(const struct reading *reading, const char *key)
{
    const char *value = get_string(reading, key);
    if (value == NULL)
        return NULL;
    const char *slash = strrchr(reading->path, '/');
    const char *path =
        value[0] == '/' || slash == NULL
            ? value
            : must_format("%.*s/%s", (int)(slash - reading->path), reading->path, value);
    if (access(path, R_OK) != 0)
        die("%s:%d: %s '%s' cannot be read: %s", reading->path, line_of_key(reading, key), key,
            path, strerror(errno));
    return path;
}

/* Xen boots an arm64 Image, plain or gzipped; any other kernel stops the boot of the machine. */
static void check_kernel(const struct reading *reading, const char *path)
{
    unsigned char head[64] = {0};
    FILE *file = fopen(path, "rb");
    size_t got = file == NULL ? 0 : fread(head, 1, sizeof head, file);
    if (file != NULL)
        fclose(file);
    bool gzip = got >= 2 && head[0] == 0x1f && head[1] == 0x8b;
    bool image = got == sizeof head && memcmp(head + 56, "ARM\x64", 4) == 0;
    if (!gzip && !image)
        die("%s:%d: kernel '%s' is not an arm64 Image (nor a gzipped one), so Xen would refuse it",
            reading->path, line_of_key(reading, "kernel"), path);
}

static const char *command_line(const struct reading *reading)
{
    const char *cmdline = get_string(reading, "cmdline");
    const char *root = get_string(reading, "root");
    const char *extra = get_string(reading, "extra");
    const char *result = cmdline;

    if (cmdline != NULL && (root != NULL || extra != NULL))
        message_warn("%s:%d: 'cmdline' is given, so 'root' and 'extra' are ignored (as xl does)",
                     reading->path, line_of_key(reading, "cmdline"));
    else if (cmdline == NULL)
        result = must_format("%s%s%s%s", root ? "root=" : "", root ? root : "",
                             root && extra ? " " : "", extra ? extra : "");
    if (strlen(result) > COMMAND_LINE_LENGTH_MAX)
        die("%s:%d: the kernel's command line has %zu characters; Xen takes at most %d",
            reading->path, line_of_key(reading, cmdline ? "cmdline" : "extra"), strlen(result),
            COMMAND_LINE_LENGTH_MAX);
    return result;
}

/* "xvda", "xvdaz", "xvda3": the names that xl.cfg gives to a PV disk. */
static bool vdev_is_valid(const char *vdev)
{
    if (strncmp(vdev, "xvd", 3) != 0)
        return false;
    size_t letters = strspn(vdev + 3, "abcdefghijklmnopqrstuvwxyz");
    const char *digits = vdev + 3 + letters;
    size_t digit_count = strspn(digits, "0123456789");
    return letters >= 1 && letters <= 2 && digit_count <= 2 && digits[0] != '0' &&
           digits[digit_count] == '\0';
}

/* "nvme0" and "sd0" count disks of that kind in PCI order; "serial:XYZ" names one (NVMe allows 20
 * characters). */
static bool target_is_valid(const char *target)
{
    if (strncmp(target, "serial:", 7) == 0)
        return strlen(target) > 7 && strlen(target) <= 7 + 20;
    size_t letters = strncmp(target, "nvme", 4) == 0 ? 4 : strncmp(target, "sd", 2) == 0 ? 2 : 0;
    if (letters == 0)
        return false;
    size_t digits = strspn(target + letters, "0123456789");
    return digits >= 1 && digits <= 3 && target[letters + digits] == '\0';
}

/* A key of a disk's string that is Dragoman's and unknown to xl. */
struct disk_key {
    const char *name;
    const char *former;    /* a name that it had once and that is still read, or NULL */
    const char *values[5]; /* the allowed values; NULL ends the list */
    const char *allowed;   /* the allowed values in words */
    const char *value;     /* the value in this string, or NULL */
};

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

/* One field of a disk's string. True when it is this key, whose value is then set. */
static bool take_disk_key(const struct reading *reading, int line, const char *spec,
                          const char *field, size_t length, struct disk_key *key)
{
    size_t name = strcspn(field, "=,");
    if (field[name] != '=' || !(is_word(field, name, key->name) ||
                                (key->former != NULL && is_word(field, name, key->former))))
        return false;
    const char *value = must_format("%.*s", (int)(length - name - 1), field + name + 1);
    if (key->value != NULL)
        die("%s:%d: disk '%s': %s is given twice; take one of them away", reading->path, line, spec,
            key->name);
    for (size_t i = 0; key->values[i] != NULL; i++)
        if (strcmp(key->values[i], value) == 0)
            key->value = key->values[i];
    if (key->value == NULL)
        die("%s:%d: disk '%s': %s must be %s, not '%s'", reading->path, line, spec, key->name,
            key->allowed, value);
    return true;
}

/*
 * Removes Dragoman's own keys from a disk's string and returns the rest, which libxlutil reads. As
 * in xl's syntax, a field may begin with blanks, and "target=" takes everything that follows.
 */
static const char *take_disk_keys(const struct reading *reading, int line, const char *spec,
                                  struct disk_config *disk)
{
    struct disk_key keys[] = {
        {"mode", "path", {"map", "copy", "identity", "auto"}, "map, copy, identity or auto", NULL},
        {"persistent", NULL, {"yes", "no"}, "yes or no", NULL},
    };
    size_t rest_length = 0, fields_kept = 0;
    char *rest = must_alloc(strlen(spec) + 1);
    bool in_target = false;

    for (const char *at = spec; at != NULL;) {
        const char *field = at + strspn(at, " \t\n");
        size_t length = strcspn(field, ",");
        const char *end = field + length;
        bool ours = false;
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
            ours |= take_disk_key(reading, line, spec, field, length, &keys[i]);
        if (ours && in_target)
            die("%s:%d: disk '%s': '%.*s' must come before target=, which takes everything that "
                "follows",
                reading->path, line, spec, (int)length, field);
        in_target |= strncmp(field, "target=", 7) == 0;
        if (!ours) {
            if (fields_kept++ > 0)
                rest[rest_length++] = ',';
            memcpy(rest + rest_length, at, (size_t)(end - at));
            rest_length += (size_t)(end - at);
        }
        at = *end == ',' ? end + 1 : NULL;
    }
    rest[rest_length] = '\0';
    disk->mode = keys[0].value;
    disk->persistent = keys[1].value;
    if (disk->persistent != NULL && strcmp(disk->persistent, "yes") == 0 && disk->mode != NULL &&
        strcmp(disk->mode, "map") != 0 && strcmp(disk->mode, "auto") != 0)
        die("%s:%d: disk '%s': persistent grants are mappings: mode must be map or auto; change "
            "one of the two",
            reading->path, line, spec);
    return rest;
}

static void read_disk(const struct reading *reading, struct guest_config *guest, const char *spec)
{
    const char *place = strstr(reading->text, spec);
    int line = place ? line_of(reading->text, place) : line_of_key(reading, "disk");
    struct disk_config disk = {.line = line};
    const char *rest = take_disk_keys(reading, line, spec, &disk);
    struct libxl_device_disk parsed;

    libxl_device_disk_init(&parsed);
    if (xlu_disk_parse(reading->config, 1, &rest, &parsed) != 0)
        die("%s:%d: disk '%s' is not in xl's disk syntax; write 'TARGET,raw,VDEV,ACCESS' (for "
            "example 'nvme0,raw,xvda,w') or 'vdev=VDEV,access=ACCESS,target=serial:SERIAL'",
            reading->path, line, spec);
    if (parsed.vdev == NULL || !vdev_is_valid(parsed.vdev))
        die("%s:%d: disk '%s': the guest's device must be xvda, xvdb and so on, not '%s'",
            reading->path, line, spec, parsed.vdev ? parsed.vdev : "");
    if (parsed.pdev_path == NULL || !target_is_valid(parsed.pdev_path))
        die("%s:%d: disk '%s': the target must be nvmeN or sdN (the N-th NVMe disk or SD card in "
            "PCI order, from 0) or serial:SERIAL (20 characters at most), not '%s'",
            reading->path, line, spec, parsed.pdev_path ? parsed.pdev_path : "");
    if (parsed.format != LIBXL_DISK_FORMAT_RAW)
        die("%s:%d: disk '%s': the format must be raw: Dragoman shares whole disks", reading->path,
            line, spec);
    if (parsed.is_cdrom)
        die("%s:%d: disk '%s': Dragoman has no CD-ROMs; take 'devtype=cdrom' away and use access r",
            reading->path, line, spec);
    for (size_t i = 0; i < guest->disk_count; i++)
        if (strcmp(guest->disks[i].vdev, parsed.vdev) == 0)
            die("%s:%d: disk '%s': %s is used already, on line %d; give it another name",
                reading->path, line, spec, parsed.vdev, guest->disks[i].line);
    if (guest->disk_count == DISK_COUNT_MAX)
        die("%s:%d: more than %d disks: the domain serves no more", reading->path, line,
            DISK_COUNT_MAX);
    disk.vdev = must_strdup(parsed.vdev);
    disk.target = must_strdup(parsed.pdev_path);
    disk.writable = parsed.readwrite != 0;
    guest->disks[guest->disk_count++] = disk;
    libxl_device_disk_dispose(&parsed);
}

static void read_disks(const struct reading *reading, struct guest_config *guest)
{
    XLU_ConfigList *list = NULL;
    int count = 0;
    int error = xlu_cfg_get_list(reading->config, "disk", &list, &count, 1);
    if (error == ESRCH)
        return;
    if (error != 0)
        die("%s:%d: 'disk' must be a list, as in disk = [ 'nvme0,raw,xvda,w' ]", reading->path,
            line_of_key(reading, "disk"));
    for (int i = 0; i < count; i++) {
        const char *spec = xlu_cfg_get_listitem(list, i);
        if (spec == NULL)
            die("%s:%d: 'disk' must hold strings only", reading->path,
                line_of_key(reading, "disk"));
        read_disk(reading, guest, spec);
    }
}

void guest_config_read(struct guest_config *guest, const char *path)
{
    size_t size;
    char *text = must_read_file(path, &size);
    if (strlen(text) != size)
        die("%s: holds a zero byte, so it is no text", path);
    struct reading reading = {path, text, xlu_cfg_init(stderr, path)};
    if (reading.config == NULL)
        die("out of memory");
    if (xlu_cfg_readdata(reading.config, text, (int)size) != 0)
        die("%s: is not in the syntax of xl.cfg (the place is in the message above)", path);

    warn_of_unknown_keys(&reading);
    guest->file = path;
    guest->name = get_string(&reading, "name");
    if (guest->name == NULL)
        die("%s: 'name' is missing: add a line such as name = \"web\"", path);
    if (strlen(guest->name) > GUEST_NAME_LENGTH_MAX)
        die("%s:%d: the name has %zu characters; at most %d are kept", path,
            line_of_key(&reading, "name"), strlen(guest->name), GUEST_NAME_LENGTH_MAX);
    guest->kernel = get_file(&reading, "kernel");
    if (guest->kernel == NULL)
        die("%s: 'kernel' is missing: add a line such as kernel = \"/boot/Image\" (an arm64 Image)",
            path);
    check_kernel(&reading, guest->kernel);
    guest->ramdisk = get_file(&reading, "ramdisk");
    guest->command_line = command_line(&reading);
    guest->memory_mib = get_number(&reading, "memory", 1, 1024L * 1024, 0);
    guest->vcpus = get_number(&reading, "vcpus", 1, 128, 1);
    const char *type = get_string(&reading, "type");
    if (type != NULL && strcmp(type, "pvh") != 0)
        die("%s:%d: type '%s': Xen on Arm has only \"pvh\"; the line may be left out", path,
            line_of_key(&reading, "type"), type);
    read_disks(&reading, guest);
    /* The configuration stays open: it owns the strings above. */
}

static void check_pair(const struct guest_config *one, const struct guest_config *two)
{
    if (strcmp(one->name, two->name) == 0)
        die("%s and %s: both guests are named '%s'; give one another name", one->file, two->file,
            one->name);
}

/* Guests may share a disk only if all of them only read it; a writer destroys the others' view. */
static void check_disk_sharing(const struct guest_config *guests, size_t count, size_t guest,
                               const struct disk_config *disk)
{
    for (size_t i = guest; i < count; i++) {
        for (size_t d = 0; d < guests[i].disk_count; d++) {
            const struct disk_config *other = &guests[i].disks[d];
            if (other == disk || strcmp(other->target, disk->target) != 0)
                continue;
            if (other->writable || disk->writable)
                die("%s:%d: %s is assigned already, at %s:%d, and one of the two may write: its "
                    "file system would be destroyed; use another disk, or access r in both",
                    guests[i].file, other->line, other->target, guests[guest].file, disk->line);
        }
    }
}

void guest_configs_check(const struct guest_config *guests, size_t count)
{
    size_t disk_count = 0;
    for (size_t i = 0; i < count; i++) {
        disk_count += guests[i].disk_count;
        for (size_t j = i + 1; j < count; j++)
            check_pair(&guests[i], &guests[j]);
        for (size_t d = 0; d < guests[i].disk_count; d++)
            check_disk_sharing(guests, count, i, &guests[i].disks[d]);
    }
    if (disk_count > DISK_COUNT_MAX)
        die("%zu disks in all; the domain serves at most %d", disk_count, DISK_COUNT_MAX);
}
