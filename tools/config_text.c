/* SPDX-License-Identifier: MIT */
/* config_text.c: see config_text.h. */
#include "config_text.h"

#include <ctype.h>
#include <string.h>

#include "message.h"

int config_line(const struct config_text *text, const char *place)
{
    int line = 1;

    for (const char *at = text->text; at < place; at++)
        line += *at == '\n';
    return line;
}

/* Skips all that is not a key: comments, strings and brackets. */
const char *config_next_key(const char **cursor, size_t *length)
{
    int depth = 0;
    const char *at = *cursor;

    while (*at != '\0') {
        if (*at == '#') {
            at += strcspn(at, "\n");
        } else if (*at == '"' || *at == '\'') {
            char quote = *at++;
            while (*at != '\0' && *at != quote)
                at += *at == '\\' && at[1] != '\0' ? 2 : 1;
            at += *at != '\0';
        } else if (*at == '[' || *at == ']') {
            depth += *at++ == '[' ? 1 : -1;
        } else if (isalpha((unsigned char)*at) || *at == '_') {
            const char *start = at;
            while (isalnum((unsigned char)*at) || *at == '_')
                at++;
            size_t word = (size_t)(at - start);
            const char *after = at + strspn(at, " \t");
            if (depth == 0 && (*after == '=' || strncmp(after, "+=", 2) == 0)) {
                *length = word;
                *cursor = after + 1;
                return start;
            }
        } else {
            at++;
        }
    }
    *cursor = at;
    return NULL;
}

int config_line_of_key(const struct config_text *text, const char *key)
{
    const char *cursor = text->text;
    size_t length;

    for (const char *found; (found = config_next_key(&cursor, &length)) != NULL;)
        if (length == strlen(key) && memcmp(found, key, length) == 0)
            return config_line(text, found);
    return 1;
}

void config_check_printable(const struct config_text *text, int line, const char *key,
                            const char *value)
{
    for (const char *at = value; at != NULL && *at != '\0'; at++)
        if (iscntrl((unsigned char)*at))
            die("%s:%d: %s holds a control character (0x%02x); remove it", text->path, line, key,
                (unsigned)(unsigned char)*at);
}
