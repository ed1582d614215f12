/* SPDX-License-Identifier: MIT */
/*
 * output_files.h: output files that appear completely, all of them, or not at all.
 *
 * Each is written in its final directory, under a temporary name, and synced. When all are written,
 * each exchanges its name with the file that it replaces. If one cannot, those before it change
 * back. The former files are removed last. No signal but SIGKILL ends the tool in between, and
 * after an error the temporary files are removed.
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
