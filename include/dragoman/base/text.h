/* SPDX-License-Identifier: MIT */
/*
 * text: short strings built in fixed buffers, without a libc
 *
 * For xenstore paths and values. A text that does not fit is truncated and marked as such; it never
 * overruns its buffer and is always NUL-terminated.
 */
#ifndef DRAGOMAN_BASE_TEXT_H
#define DRAGOMAN_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Other rooms use `length`, `truncated`; the rest is base's own. */
struct dgm_text {
    char *start;
    size_t bytes;   /* of the buffer */
    size_t length;  /* without the NUL */
    bool truncated; /* something did not fit */
};

/* Starts an empty text in `buffer` of `bytes` > 0. */
struct dgm_text dgm_text(char *buffer, size_t bytes);
void dgm_text_add(struct dgm_text *text, const char *string);
void dgm_text_add_number(struct dgm_text *text, uint64_t number); /* decimal */

/* For NUL-terminated strings: the length; true if equal; true if `text` begins with `prefix`. */
size_t dgm_text_length(const char *string);
bool dgm_text_equal(const char *a, const char *b);
bool dgm_text_starts(const char *text, const char *prefix);

/*
 * Parses all of [string, string + length) as an unsigned decimal number no larger than `max`.
 * False: it is empty, has a character that is not a digit, or is too large.
 */
bool dgm_text_number(const char *string, size_t length, uint64_t *number, uint64_t max);

#ifdef __cplusplus
}
#endif

#endif
