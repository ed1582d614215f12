/* SPDX-License-Identifier: MIT */
/*
 * config_text.h: the text of one guest configuration, and positions in it.
 *
 * libxlutil parses the file but keeps neither the list of its keys nor their lines; messages need
 * both. Internal to guestcfg.c and disk_config.c.
 */
#ifndef DRAGOMAN_TOOLS_CONFIG_TEXT_H
#define DRAGOMAN_TOOLS_CONFIG_TEXT_H

#include <stddef.h>

#include <libxlutil.h>

struct config_text {
    const char *path;
    const char *text;
    XLU_Config *config;
};

/* The line, from 1, of the given position of the text. */
int config_line(const struct config_text *text, const char *place);

/* The line of a key; 1 when the file has no such key, and the message concerns the whole file. */
int config_line_of_key(const struct config_text *text, const char *key);

/*
 * The next top-level "key =" at or after *cursor, which moves past it; NULL after the last. The
 * text must have passed libxlutil's parser: quotes and brackets are paired.
 */
const char *config_next_key(const char **cursor, size_t *length);

/* Ends the tool if the string of a key contains a control character, such as a line end. */
void config_check_printable(const struct config_text *text, int line, const char *key,
                            const char *value);

#endif
