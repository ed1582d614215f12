/* SPDX-License-Identifier: MIT */
/*
 * xenbus_keys: the keys of a device's two directories, and numbers in the forms that frontends
 * write
 *
 * For a number that cannot be used a reason is stored that names the key: the cause why a frontend
 * gets no device is in the log and in its node `error`.
 */
#include <dragoman/base/check.h>
#include <dragoman/base/text.h>
#include <dragoman/xenstore/xenbus.h>

#define XENBUS_PATH_MAX    128
#define XENBUS_VALUE_MAX   256 /* of a number with its blanks, zeros and trailing text */
#define XENBUS_SHOWN_BYTES 20  /* of a value in a message */

static struct dgm_text xenbus_path(const struct dgm_xenbus_device *device, enum dgm_xenbus_end end,
                                   const char *key, char *buffer)
{
    struct dgm_text path = dgm_text(buffer, XENBUS_PATH_MAX);

    dgm_text_add(&path, end == DGM_XENBUS_FRONTEND ? device->frontend : device->backend);
    dgm_text_add(&path, "/");
    dgm_text_add(&path, key);
    dgm_assert(!path.truncated);
    return path;
}

int dgm_xenbus_write(struct dgm_xenbus_device *device, enum dgm_xenbus_end end,
                     const struct dgm_xenbus_key *keys, size_t count)
{
    char path[XENBUS_PATH_MAX];

    for (size_t i = 0; i < count; i++) {
        xenbus_path(device, end, keys[i].key, path);
        const int status =
            keys[i].text ? dgm_xs_write(device->xs,
                                        (struct dgm_xs_entry){.path = path, .value = keys[i].text})
                         : dgm_xs_write_number(device->xs, path, keys[i].number);
        if (status < 0)
            return status;
    }
    return DGM_OK;
}

/* Reads a key that the frontend wrote. Returns the length, DGM_ENOENT, or DGM_ERANGE: the value
 * does not fit. */
static int read_key(const struct dgm_xenbus_device *device, const char *key, char *value,
                    size_t bytes)
{
    char path[XENBUS_PATH_MAX];

    xenbus_path(device, DGM_XENBUS_FRONTEND, key, path);
    return dgm_xs_read(device->xs, path, value, bytes);
}

/* Only a few printable characters of a guest's bytes reach the log. */
void dgm_xenbus_set_reason(struct dgm_xenbus_device *device, struct dgm_xenbus_key key,
                           const char *wrong)
{
    struct dgm_text reason = dgm_text(device->reason, sizeof device->reason);
    char shown[XENBUS_SHOWN_BYTES + 1];
    size_t i = 0;

    dgm_text_add(&reason, key.key);
    if (key.text) {
        for (; i < XENBUS_SHOWN_BYTES && key.text[i]; i++)
            shown[i] =
                key.text[i] >= ' ' && key.text[i] <= '~' && key.text[i] != '"' ? key.text[i] : '?';
        shown[i] = '\0';
        dgm_text_add(&reason, " \"");
        dgm_text_add(&reason, shown);
        dgm_text_add(&reason, key.text[i] ? "...\"" : "\"");
    }
    dgm_text_add(&reason, wrong);
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Reads a number like the kernel's sscanf() with "%u" or "%lu": blanks, then digits; the rest is
 * not read. A plus sign is accepted too. False: there is no digit, or with `*large` the number
 * exceeds `max`. */
static bool xenbus_scan_number(const char *value, uint64_t max, uint64_t *number, bool *large)
{
    const char *digit = value;
    uint64_t result = 0;

    while (is_blank(*digit))
        digit++;
    if (*digit == '+')
        digit++;
    *large = false;
    if (*digit < '0' || *digit > '9')
        return false;
    for (; *digit >= '0' && *digit <= '9'; digit++) {
        const uint64_t units = (uint64_t)(*digit - '0');

        if (units > max || result > (max - units) / 10) {
            *large = true;
            return false;
        }
        result = result * 10 + units;
    }
    *number = result;
    return true;
}

int dgm_xenbus_read_number(struct dgm_xenbus_device *device, const char *key, uint64_t max,
                           uint64_t *number)
{
    char value[XENBUS_VALUE_MAX];
    const int length = read_key(device, key, value, sizeof value);
    bool large;

    if (length == DGM_ENOENT) {
        dgm_xenbus_set_reason(device, (struct dgm_xenbus_key){.key = key}, " is missing");
        return DGM_ENOENT;
    }
    if (length < 0) {
        dgm_xenbus_set_reason(device, (struct dgm_xenbus_key){.key = key},
                              " is too long for a number");
    } else if (!length) {
        dgm_xenbus_set_reason(device, (struct dgm_xenbus_key){.key = key}, " is empty");
    } else if (!xenbus_scan_number(value, max, number, &large)) {
        dgm_xenbus_set_reason(device, (struct dgm_xenbus_key){.key = key, .text = value},
                              large ? " is too large" : " is not a number");
        return large ? DGM_ERANGE : DGM_EINVAL;
    } else {
        return DGM_OK;
    }
    return DGM_EINVAL;
}

int dgm_xenbus_read_word(const struct dgm_xenbus_device *device, const char *key, char *word,
                         size_t bytes)
{
    char value[XENBUS_VALUE_MAX];
    const int length = read_key(device, key, value, sizeof value);
    const char *from = value;
    size_t letters = 0;

    if (length < 0)
        return length;
    while (is_blank(*from))
        from++;
    while (from[letters] && !is_blank(from[letters]) && letters + 1 < bytes) {
        word[letters] = from[letters];
        letters++;
    }
    word[letters] = '\0';
    return letters ? (int)letters : DGM_ENOENT;
}
