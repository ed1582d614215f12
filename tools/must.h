/* SPDX-License-Identifier: MIT */
/*
 * must.h: functions that succeed, or end the tool with a message that names the cause.
 *
 * The host tools are short-lived and cannot continue without memory or without their input, so no
 * caller checks for failure, and no memory is freed before the tool ends.
 */
#ifndef DRAGOMAN_TOOLS_MUST_H
#define DRAGOMAN_TOOLS_MUST_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed memory. */
void *must_alloc(size_t size);
char *must_strdup(const char *text);
__attribute__((format(printf, 1, 2))) char *must_format(const char *format, ...);

/* The whole file, with a zero byte after its end, which *size does not count. */
char *must_read_file(const char *path, size_t *size);

/* The absolute name of a regular file, without symbolic links. */
char *must_real_path(const char *path);

/* The exception: writes all bytes to a file descriptor. False, with errno: it failed. */
bool write_whole(int fd, const char *bytes, size_t count);

#endif
