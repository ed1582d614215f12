/* SPDX-License-Identifier: MIT */
/* selector: see selector.h. */
#include <dragoman/partition/selector.h>

#include <dragoman/base/text.h>

#define ANY_DISK      "partuuid:"
#define BY_NUMBER     ":part="
#define BY_LABEL      ":label="
#define BY_UUID       ":uuid="
#define BY_RANGE      ":range="
#define NUMBER_MAX    1024u
#define BYTES_MAX     (UINT64_MAX >> 1)
#define LABEL_BYTES   108u
#define SIZE_OF(text) (sizeof(text) - 1)

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower_case(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* "p2" after a digit, at the end: its length, or 0. */
static size_t short_number(const char *target, size_t length)
{
    size_t at = length;

    while (at > 0 && is_digit(target[at - 1]))
        at--;
    return at < length && at >= 2 && target[at - 1] == 'p' && target[at] != '0' &&
                   is_digit(target[at - 2])
               ? length - at + 1
               : 0;
}

size_t dgm_partition_split(const char *target)
{
    static const char *const keys[] = {BY_NUMBER, BY_LABEL, BY_UUID, BY_RANGE};
    const size_t length = dgm_text_length(target);

    if (dgm_text_starts(target, ANY_DISK))
        return 0;
    for (size_t at = 0; at < length; at++)
        for (size_t key = 0; key < sizeof keys / sizeof keys[0]; key++)
            if (dgm_text_starts(target + at, keys[key]))
                return at;
    if (dgm_text_starts(target, "serial:") || dgm_text_starts(target, "sd:"))
        return length;
    return length - short_number(target, length);
}

static bool read_number(const char *text, uint32_t *number)
{
    uint64_t value;

    if (!dgm_text_number(text, dgm_text_length(text), &value, NUMBER_MAX) || value == 0)
        return false;
    *number = (uint32_t)value;
    return true;
}

/* "64M"; the place after it, or NULL. */
static const char *read_bytes(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMG";
    size_t digits = 0;

    while (is_digit(text[digits]))
        digits++;
    if (!dgm_text_number(text, digits, bytes, BYTES_MAX))
        return NULL;
    text += digits;
    for (unsigned i = 0; units[i]; i++)
        if (*text == units[i]) {
            if (*bytes > BYTES_MAX >> 10 * (i + 1))
                return NULL;
            *bytes <<= 10 * (i + 1);
            return text + 1;
        }
    return text;
}

static bool read_range(const char *text, struct dgm_partition_selector *selector)
{
    text = read_bytes(text, &selector->first_byte);
    if (!text || *text != '+')
        return false;
    text = read_bytes(text + 1, &selector->bytes);
    return text && *text == '\0' && selector->bytes > 0 &&
           selector->bytes <= BYTES_MAX - selector->first_byte;
}

/* "8-4-4-4-12" or "8-2" hexadecimal digits. */
static bool is_uuid(const char *text)
{
    static const char *const shapes[] = {"........-....-....-....-............", "........-.."};

    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        size_t at = 0;

        for (; shapes[i][at]; at++) {
            const char c = lower_case(text[at]);

            if (shapes[i][at] == '-' ? c != '-' : !is_digit(c) && !(c >= 'a' && c <= 'f'))
                break;
        }
        if (!shapes[i][at] && !text[at])
            return true;
    }
    return false;
}

bool dgm_partition_select(const char *rest, struct dgm_partition_selector *selector)
{
    *selector = (struct dgm_partition_selector){.by = DGM_PARTITION_WHOLE};
    if (*rest == '\0')
        return true;
    if (dgm_text_starts(rest, BY_RANGE)) {
        selector->by = DGM_PARTITION_BY_RANGE;
        return read_range(rest + SIZE_OF(BY_RANGE), selector);
    }
    if (dgm_text_starts(rest, BY_LABEL)) {
        selector->by = DGM_PARTITION_BY_LABEL;
        selector->text = rest + SIZE_OF(BY_LABEL);
        return selector->text[0] && dgm_text_length(selector->text) <= LABEL_BYTES;
    }
    if (dgm_text_starts(rest, BY_UUID) || dgm_text_starts(rest, ANY_DISK)) {
        selector->by = DGM_PARTITION_BY_UUID;
        selector->text = rest + (*rest == ':' ? SIZE_OF(BY_UUID) : SIZE_OF(ANY_DISK));
        return is_uuid(selector->text);
    }
    selector->by = DGM_PARTITION_BY_NUMBER;
    if (dgm_text_starts(rest, BY_NUMBER))
        return read_number(rest + SIZE_OF(BY_NUMBER), &selector->number);
    return *rest == 'p' && read_number(rest + 1, &selector->number);
}

/* UUIDs of partitions have lower-case digits. */
static bool same_uuid(const char *partition, const char *wanted)
{
    while (*partition && *partition == lower_case(*wanted)) {
        partition++;
        wanted++;
    }
    return *partition == '\0' && *wanted == '\0';
}

bool dgm_partition_is_selected(const struct dgm_partition_selector *selector,
                               const struct dgm_partition *partition)
{
    if (partition->number == 0)
        return false;
    switch (selector->by) {
    case DGM_PARTITION_BY_NUMBER:
        return partition->number == selector->number;
    case DGM_PARTITION_BY_LABEL:
        return dgm_text_equal(partition->label, selector->text);
    case DGM_PARTITION_BY_UUID:
        return same_uuid(partition->uuid, selector->text);
    case DGM_PARTITION_WHOLE:
    case DGM_PARTITION_BY_RANGE:
        break;
    }
    return false;
}
