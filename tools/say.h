/* SPDX-License-Identifier: MIT */
/*
 * say.h: how the host tools speak to their user.
 *
 * Every message names the tool, the place, the cause and, where there is one, the cure. Results go
 * to standard output, messages to standard error. die() ends the tool with status 1; a wrong
 * command line ends it with status 2 (die_usage).
 */
#ifndef DRAGOMAN_TOOLS_SAY_H
#define DRAGOMAN_TOOLS_SAY_H

#include <stddef.h>

/* Set once, first thing in main(). */
void say_tool_name(const char *name);

__attribute__((format(printf, 1, 2))) void say_warn(const char *format, ...);
__attribute__((format(printf, 1, 2), noreturn)) void die(const char *format, ...);
__attribute__((format(printf, 1, 2), noreturn)) void die_usage(const char *format, ...);

/* Allocation that cannot fail: a host tool that has no memory has nothing left to do. */
void *must_alloc(size_t size);
char *must_strdup(const char *text);
__attribute__((format(printf, 1, 2))) char *must_format(const char *format, ...);

/* The whole file, with a zero byte after its end; dies with the cause when it cannot be read. */
char *must_read_file(const char *path, size_t *size);
void must_write_file(const char *path, const void *data, size_t size);

#endif
