/* SPDX-License-Identifier: MIT */
/*
 * tool_env: tools/message.h and tools/must.h for tests of the host tools' parts
 *
 * Instead of ending the program, die() keeps its message and returns to tool_env_run(). Files exist
 * only here: must_read_file() returns a copy of the one file. Memory lasts until the next run.
 */
#ifndef TESTS_TOOL_ENV_H
#define TESTS_TOOL_ENV_H

#include <stdbool.h>
#include <stddef.h>

/* Calls run(context), with that content for every file that is read. False: it died. */
bool tool_env_run(void (*run)(void *context), void *context, const void *file, size_t bytes);

/* Frees the memory of the last run. */
void tool_env_end(void);

/* What die() said in the last run; "" if it did not die. */
const char *tool_env_message(void);

#endif
