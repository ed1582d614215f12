/* SPDX-License-Identifier: MIT */
/* disk_target.c: see disk_target.h. */
#include "disk_target.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <dragoman/partition/selector.h>

enum {
    SERIAL_LENGTH_MAX = 20, /* of NVMe */
    DISK_LENGTH_MAX = 47,   /* of the domain, kernel/config.h */
    PART_LENGTH_MAX = 119,  /* likewise */
};

/* A target, split. */
struct parts {
    char disk[DISK_LENGTH_MAX + 1]; /* empty: any disk */
    struct dgm_partition_selector part;
};

/* False: the target has no such parts. */
static bool split(const char *target, struct parts *parts)
{
    const size_t length = dgm_partition_split(target);

    if (length > DISK_LENGTH_MAX || strlen(target + length) > PART_LENGTH_MAX)
        return false;
    memcpy(parts->disk, target, length);
    parts->disk[length] = '\0';
    return dgm_partition_select(target + length, &parts->part);
}

/* --- names of disks --- */

/* A decimal number without leading zeros, of at most three digits; the text after it, or NULL. */
static const char *after_number(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 3 || (digits > 1 && text[0] == '0'))
        return NULL;
    return text + digits;
}

/* `count` hexadecimal digits; the text after them, or NULL. */
static const char *after_hex(const char *text, size_t count)
{
    for (size_t i = 0; text != NULL && i < count; i++)
        if (!isxdigit((unsigned char)text[i]))
            return NULL;
    return text != NULL ? text + count : NULL;
}

/* The text after the character, or NULL. */
static const char *after_char(const char *text, char character)
{
    return text != NULL && *text == character ? text + 1 : NULL;
}

/* "DD.F", device and function. */
static const char *after_function(const char *text)
{
    text = after_char(after_hex(text, 2), '.');
    return text != NULL && *text >= '0' && *text <= '7' ? text + 1 : NULL;
}

/* "pci:BB:DD.F" or "pci:SSSS:BB:DD.F", then "/DD.F" for each bridge; the text after it, or NULL. */
static const char *after_pci_place(const char *text)
{
    const char *segment = after_char(after_hex(text, 4), ':');

    text = after_function(after_char(after_hex(segment != NULL ? segment : text, 2), ':'));
    while (text != NULL && *text == '/')
        text = after_function(text + 1);
    return text;
}

/* The end of a name of a controller, after which only a namespace, "nN", may follow; or NULL. */
static const char *after_controller(const char *target)
{
    if (strncmp(target, "nvme", 4) == 0)
        return after_number(target + 4);
    if (strncmp(target, "pci:", 4) == 0)
        return after_pci_place(target + 4);
    return NULL;
}

static bool is_namespace(const char *text)
{
    size_t digits = *text == 'n' ? strspn(text + 1, "0123456789") : 0;
    return digits >= 1 && digits <= 9 && text[1] != '0' && text[1 + digits] == '\0';
}

/* "/axi/mmc@ff170000": a path to a node. */
static bool is_node_path(const char *text)
{
    const char *const last = strrchr(text, '/');

    return text[0] == '/' && last[1] != '\0' && strstr(text, "//") == NULL &&
           strpbrk(text, " \t\n") == NULL;
}

static bool is_disk(const char *target)
{
    const char *rest;

    if (strncmp(target, "serial:", 7) == 0)
        return target[7] != '\0' && strlen(target + 7) <= SERIAL_LENGTH_MAX && target[7] != ' ' &&
               target[strlen(target) - 1] != ' ';
    if (strncmp(target, "eui:", 4) == 0)
        return ((rest = after_hex(target + 4, 16)) != NULL && *rest == '\0') ||
               ((rest = after_hex(target + 4, 32)) != NULL && *rest == '\0');
    if (strncmp(target, "sd:", 3) == 0)
        return is_node_path(target + 3);
    if (strncmp(target, "mmc", 3) == 0)
        return (rest = after_number(target + 3)) != NULL && *rest == '\0';
    if (strncmp(target, "sd", 2) == 0)
        return (rest = after_number(target + 2)) != NULL && *rest == '\0';
    rest = after_controller(target);
    return rest != NULL && (*rest == '\0' || is_namespace(rest));
}

static bool may_be_same_disk(const char *one, const char *other)
{
    const char *one_end = after_controller(one), *other_end = after_controller(other);

    if (one_end == NULL || other_end == NULL)
        return strcasecmp(one, other) == 0 &&
               (strncmp(one, "eui:", 4) == 0 || strcmp(one, other) == 0);
    if (one_end - one != other_end - other || strncasecmp(one, other, (size_t)(one_end - one)) != 0)
        return false;
    return *one_end == '\0' || *other_end == '\0' || strcmp(one_end, other_end) == 0;
}

/* The kind of the name: 's'erial, 'e'ui, 'p'ci, or 'n'vme, a position that may be any of these. 0:
 * that of an SD card, which can have only a place in common with an NVMe disk. */
static char kind_of(const char *disk)
{
    return strncmp(disk, "sd", 2) == 0 || strncmp(disk, "mmc", 3) == 0 ? 0 : disk[0];
}

/* --- targets --- */

bool disk_target_is_valid(const char *target)
{
    struct parts parts;

    return split(target, &parts) &&
           (parts.disk[0] == '\0' ? strncmp(target, "partuuid:", 9) == 0 : is_disk(parts.disk));
}

void disk_target_normalise(char *target)
{
    const size_t length = dgm_partition_split(target);

    if (strncmp(target, "pci:", 4) != 0)
        return;
    for (size_t i = 0; i < length; i++)
        target[i] = (char)tolower((unsigned char)target[i]);
}

static bool ranges_overlap(const struct dgm_partition_selector *one,
                           const struct dgm_partition_selector *other)
{
    return dgm_partition_overlaps((struct dgm_partition_extent){one->first_byte, one->bytes},
                                  (struct dgm_partition_extent){other->first_byte, other->bytes});
}

/* Whether two parts of one disk have bytes in common, as far as their text says. */
static bool parts_overlap(const struct dgm_partition_selector *one,
                          const struct dgm_partition_selector *other)
{
    if (one->by == DGM_PARTITION_WHOLE || other->by == DGM_PARTITION_WHOLE)
        return true;
    if (one->by != other->by)
        return false;
    switch (one->by) {
    case DGM_PARTITION_BY_NUMBER:
        return one->number == other->number;
    case DGM_PARTITION_BY_LABEL:
        return strcmp(one->text, other->text) == 0;
    case DGM_PARTITION_BY_UUID:
        return strcasecmp(one->text, other->text) == 0;
    case DGM_PARTITION_BY_RANGE:
        return ranges_overlap(one, other);
    case DGM_PARTITION_WHOLE:
        break;
    }
    return true;
}

bool disk_targets_overlap(const char *one, const char *other)
{
    struct parts a, b;

    if (!split(one, &a) || !split(other, &b))
        return false;
    if (a.disk[0] == '\0' || b.disk[0] == '\0')
        return a.part.by == DGM_PARTITION_BY_UUID && b.part.by == DGM_PARTITION_BY_UUID &&
               parts_overlap(&a.part, &b.part);
    return may_be_same_disk(a.disk, b.disk) && parts_overlap(&a.part, &b.part);
}

bool disk_targets_are_unclear(const char *one, const char *other)
{
    struct parts a, b;

    if (!split(one, &a) || !split(other, &b) || disk_targets_overlap(one, other))
        return false;
    if (a.disk[0] == '\0' || b.disk[0] == '\0')
        return a.part.by != b.part.by;
    if (may_be_same_disk(a.disk, b.disk))
        return a.part.by != b.part.by;
    return kind_of(a.disk) != 0 && kind_of(b.disk) != 0 && kind_of(a.disk) != kind_of(b.disk) &&
           (a.part.by != b.part.by || parts_overlap(&a.part, &b.part));
}

bool disk_target_position(const char *target, const char *kind, unsigned *position)
{
    size_t length = strlen(kind);
    struct parts parts;
    const char *rest;

    if (!split(target, &parts) || strncmp(parts.disk, kind, length) != 0 ||
        (rest = after_number(parts.disk + length)) == NULL || (*rest != '\0' && *rest != 'n'))
        return false;
    *position = (unsigned)strtoul(parts.disk + length, NULL, 10);
    return true;
}
