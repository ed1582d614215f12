/* SPDX-License-Identifier: MIT */
/*
 * text: strings in fixed buffers. See dragoman/base/text.h.
 *
 * The invariant of a struct dgm_text: length < bytes, and start[length] is the NUL. A text that was
 * truncated is full, so later additions change nothing and it stays a prefix of the whole text.
 */
#include <dragoman/base/check.h>
#include <dragoman/base/text.h>

#include <string.h>

#define DECIMAL_DIGITS_MAX 20 /* of a uint64_t */

struct dgm_text dgm_text(char *buffer, size_t bytes)
{
    dgm_assert(bytes > 0);
    buffer[0] = '\0';
    return (struct dgm_text){.start = buffer, .bytes = bytes};
}

static void add_bytes(struct dgm_text *text, const char *string, size_t length)
{
    const size_t room = text->bytes - 1 - text->length;

    if (length > room) {
        text->truncated = true;
        length = room;
    }
    memcpy(text->start + text->length, string, length);
    text->length += length;
    text->start[text->length] = '\0';
}

void dgm_text_add(struct dgm_text *text, const char *string)
{
    add_bytes(text, string, dgm_text_length(string));
}

void dgm_text_add_number(struct dgm_text *text, uint64_t number)
{
    char digits[DECIMAL_DIGITS_MAX];
    size_t first = sizeof digits;

    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    add_bytes(text, digits + first, sizeof digits - first);
}

size_t dgm_text_length(const char *string)
{
    size_t length = 0;

    while (string[length])
        length++;
    return length;
}

bool dgm_text_equal(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

bool dgm_text_starts(const char *text, const char *prefix)
{
    while (*prefix && *text == *prefix) {
        text++;
        prefix++;
    }
    return *prefix == '\0';
}

bool dgm_text_number(const char *string, size_t length, uint64_t *number, uint64_t max)
{
    uint64_t value = 0;

    if (length == 0)
        return false;
    for (size_t i = 0; i < length; i++) {
        const unsigned digit = (unsigned)(unsigned char)string[i] - '0';

        if (digit > 9 || digit > max || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}
