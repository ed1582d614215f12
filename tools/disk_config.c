/* SPDX-License-Identifier: MIT */
/* disk_config.c: see disk_config.h. */
#include "disk_config.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "disk_target.h"
#include "message.h"
#include "must.h"

#define DISK_AT "%s:%d: disk '%s': "

/* "xvda" to "xvdzz": a whole disk. *partition: it is a partition of one, "xvda1". */
static bool vdev_is_valid(const char *vdev, bool *partition)
{
    *partition = false;
    if (strncmp(vdev, "xvd", 3) != 0)
        return false;
    size_t letters = strspn(vdev + 3, "abcdefghijklmnopqrstuvwxyz");
    const char *rest = vdev + 3 + letters;
    *partition = *rest != '\0' && strspn(rest, "0123456789") == strlen(rest);
    return letters >= 1 && letters <= 2 && *rest == '\0';
}

/* --- keys --- */

/* A key of a disk's string that only Dragoman has, not xl. */
struct disk_key {
    const char *name;
    const char *former;    /* a former name that is still accepted, or NULL */
    const char *values[5]; /* the allowed values; NULL ends the list */
    const char *allowed;   /* the allowed values, for messages */
    const char *value;     /* the value in this string, or NULL */
};

static bool is_word(const char *text, size_t length, const char *word)
{
    return word != NULL && strlen(word) == length && memcmp(text, word, length) == 0;
}

/* Reads one field of a disk's string. True if it is this key, whose value is then set. */
static bool take_disk_key(const struct config_text *text, int line, const char *spec,
                          const char *field, struct disk_key *key)
{
    size_t name = strcspn(field, "=,");
    size_t length = strcspn(field, ",");

    if (field[name] != '=' ||
        !(is_word(field, name, key->name) || is_word(field, name, key->former)))
        return false;
    const char *value = must_format("%.*s", (int)(length - name - 1), field + name + 1);
    if (key->value != NULL)
        die(DISK_AT "%s is given twice; remove one of them", text->path, line, spec, key->name);
    for (size_t i = 0; key->values[i] != NULL; i++)
        if (strcmp(key->values[i], value) == 0)
            key->value = key->values[i];
    if (key->value == NULL)
        die(DISK_AT "%s must be %s, not '%s'", text->path, line, spec, key->name, key->allowed,
            value);
    return true;
}

#define NO_COLO    "Dragoman does not replicate disks"
#define NO_DISCARD "Dragoman offers no discard, and its I/O is always direct"

/* Words of xl's syntax that Dragoman does not support. */
static const struct {
    const char *word;
    bool is_key;  /* "word=..." */
    bool refused; /* it would change what the guest gets; otherwise only a warning */
    const char *why;
} not_honoured[] = {
    {"backend", true, true, "the disks are Dragoman's own, not another domain's"},
    {"backendtype", true, true, "Dragoman itself is the backend"},
    {"script", true, true, "Dragoman runs no scripts"},
    {"specification", true, true, "Dragoman offers Xen's block protocol only, not virtio"},
    {"transport", true, true, "Dragoman offers Xen's block protocol only, not virtio"},
    {"grant_usage", true, true, "frontends always grant their frames"},
    {"devtype", true, true, "Dragoman has hard disks only; for a read-only disk use access r"},
    {"cdrom", false, true, "Dragoman has no CD-ROMs; for a read-only disk use access r"},
    {"colo", false, true, NO_COLO},
    {"colo-host", true, true, NO_COLO},
    {"colo-port", true, true, NO_COLO},
    {"colo-export", true, true, NO_COLO},
    {"active-disk", true, true, NO_COLO},
    {"hidden-disk", true, true, NO_COLO},
    {"no-colo", false, false, NO_COLO},
    {"discard", false, false, NO_DISCARD},
    {"no-discard", false, false, NO_DISCARD},
    {"direct-io-safe", false, false, NO_DISCARD},
};

static void check_honoured(const struct config_text *text, int line, const char *spec,
                           const char *field)
{
    size_t length = strcspn(field, ",");
    size_t name = strcspn(field, "=,");

    for (size_t i = 0; i < sizeof not_honoured / sizeof not_honoured[0]; i++) {
        if (not_honoured[i].is_key != (field[name] == '=') ||
            !is_word(field, name, not_honoured[i].word))
            continue;
        if (not_honoured[i].refused)
            die(DISK_AT "'%.*s' cannot be honoured: %s; remove it", text->path, line, spec,
                (int)length, field, not_honoured[i].why);
        message_warn(DISK_AT "'%.*s' has no effect: %s", text->path, line, spec, (int)length, field,
                     not_honoured[i].why);
    }
}

/*
 * Removes Dragoman's own keys from a disk's string and returns the rest, which libxlutil reads. As
 * in xl's syntax, a field may begin with blanks, and "target=" takes the rest of the string.
 */
static const char *take_disk_keys(const struct config_text *text, const char *spec,
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
            ours |= take_disk_key(text, disk->line, spec, field, &keys[i]);
        if (ours && in_target)
            die(DISK_AT "'%.*s' must come before target=, which takes everything that follows",
                text->path, disk->line, spec, (int)length, field);
        if (!in_target)
            check_honoured(text, disk->line, spec, field);
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
        die(DISK_AT "persistent grants are mappings: mode must be map or auto; change one of the "
                    "two",
            text->path, disk->line, spec);
    return rest;
}

/* --- the whole string --- */

/* True: a word of its own, which takes none of the places target, format, vdev, access. */
static bool is_lone_word(const char *field, size_t length)
{
    for (size_t i = 0; i < sizeof not_honoured / sizeof not_honoured[0]; i++)
        if (!not_honoured[i].is_key && is_word(field, length, not_honoured[i].word))
            return true;
    return false;
}

/*
 * Checks what xl's parser does not report: of two accesses the last one counts, and a prefix of
 * another backend ("phy:") is removed from the target. `rest` is without Dragoman's own keys.
 */
static void check_places(const struct disk_config *disk, const struct config_text *text,
                         const char *spec, const char *rest, const char *target)
{
    bool has_target = false, has_format = false, has_vdev = false;
    unsigned accesses = 0;

    for (const char *at = rest; at != NULL;) {
        const char *field = at + strspn(at, " \t\n");
        const size_t length = strcspn(field, ",");

        at = field[length] == ',' ? field + length + 1 : NULL;
        if (strncmp(field, "target=", 7) == 0)
            break;
        if (memchr(field, '=', length) != NULL) {
            has_format |= strncmp(field, "format=", 7) == 0;
            has_vdev |= strncmp(field, "vdev=", 5) == 0;
            accesses += strncmp(field, "access=", 7) == 0;
        } else if (is_lone_word(field, length) || (length == 0 && at == NULL)) {
            continue;
        } else if (!has_target) {
            has_target = true;
            if (!is_word(field, length, target))
                die(DISK_AT "the target has a prefix of another backend; write it without",
                    text->path, disk->line, spec);
        } else if (!has_format) {
            has_format = true;
        } else if (!has_vdev) {
            has_vdev = true;
        } else {
            accesses++;
        }
    }
    if (accesses > 1)
        die(DISK_AT "access is given twice; remove one of them", text->path, disk->line, spec);
}

static void check_parsed(const struct disk_config *disk, const struct config_text *text,
                         const char *spec, const struct libxl_device_disk *parsed)
{
    bool partition = false;
    const char *vdev = parsed->vdev != NULL ? parsed->vdev : "";

    if (!vdev_is_valid(vdev, &partition) && partition)
        die(DISK_AT "%s is a partition, and a guest gets whole devices, also where the target is a "
                    "partition: write %.*s",
            text->path, disk->line, spec, vdev, (int)strcspn(vdev, "0123456789"), vdev);
    if (!vdev_is_valid(vdev, &partition))
        die(DISK_AT "the guest's device must be xvda, xvdb and so on, not '%s'", text->path,
            disk->line, spec, vdev);
    if (parsed->pdev_path == NULL || !disk_target_is_valid(parsed->pdev_path))
        die(DISK_AT
            "the target must be serial:SERIAL (20 characters at most), eui:HEX (16 or 32 "
            "digits), pci:BB:DD.F, sd:/PATH (the SD controller's node in the board's tree), mmcN "
            "(its alias there), nvmeN or sdN (the N-th NVMe controller or SD card, from 0); after "
            "it "
            "may be :part=N, :label=LABEL, :uuid=UUID or :range=START+SIZE, or pN after a digit; "
            "or "
            "it is partuuid:UUID; not '%s'",
            text->path, disk->line, spec, parsed->pdev_path ? parsed->pdev_path : "");
    if (parsed->format != LIBXL_DISK_FORMAT_RAW)
        die(DISK_AT "the format must be raw: Dragoman reads no images", text->path, disk->line,
            spec);
    if (parsed->is_cdrom)
        die(DISK_AT "Dragoman has no CD-ROMs; for a read-only disk use access r", text->path,
            disk->line, spec);
    if (parsed->script != NULL || parsed->backend != LIBXL_DISK_BACKEND_UNKNOWN)
        die(DISK_AT "the target has a prefix of another backend; write it without", text->path,
            disk->line, spec);
}

void disk_config_read(struct disk_config *disk, const struct config_text *text, const char *spec)
{
    const char *place = strstr(text->text, spec);
    struct libxl_device_disk parsed;

    *disk = (struct disk_config){
        .file = text->path,
        .line = place ? config_line(text, place) : config_line_of_key(text, "disk"),
    };
    config_check_printable(text, disk->line, "the disk's string", spec);
    const char *rest = take_disk_keys(text, spec, disk);
    libxl_device_disk_init(&parsed);
    if (xlu_disk_parse(text->config, 1, &rest, &parsed) != 0)
        die(DISK_AT "this is not xl's disk syntax; write 'TARGET,raw,VDEV,ACCESS' (for example "
                    "'nvme0,raw,xvda,w') or 'vdev=VDEV,access=ACCESS,target=serial:SERIAL'",
            text->path, disk->line, spec);
    check_parsed(disk, text, spec, &parsed);
    check_places(disk, text, spec, rest, parsed.pdev_path);
    disk->vdev = must_strdup(parsed.vdev);
    char *target = must_strdup(parsed.pdev_path);
    disk_target_normalise(target);
    disk->target = target;
    disk->writable = parsed.readwrite != 0;
    libxl_device_disk_dispose(&parsed);
}
