/* SPDX-License-Identifier: MIT */
/*
 * output_files.h: output files that appear whole, all of them, or not at all.
 *
 * Each is written beside its final place, under a name of its own, and synced. When all are written
 * they are renamed. No signal ends the tool in between, and an error removes what was written.
 */
#ifndef DRAGOMAN_TOOLS_OUTPUT_FILES_H
#define DRAGOMAN_TOOLS_OUTPUT_FILES_H

#include <stddef.h>

enum {
    OUTPUT_FILE_MAX = 4,
};

struct output_file {
    const char *path;
    const void *data;
    size_t size;
};

/* Writes OUTPUT_FILE_MAX files at most, or ends the tool with a message. */
void output_files_write(const struct output_file *files, size_t count);

#endif
