/* SPDX-License-Identifier: MIT */
/* must.c: see must.h. */
#include "must.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "message.h"

void *must_alloc(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL)
        die("out of memory (%zu bytes wanted)", size);
    return memory;
}

char *must_strdup(const char *text)
{
    return must_format("%s", text);
}

char *must_format(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        die("a message could not be formatted");
    char *text = must_alloc((size_t)length + 1);
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}

char *must_read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        die("cannot read %s: %s", path, strerror(errno));
    if (fseek(file, 0, SEEK_END) != 0)
        die("cannot read %s: %s", path, strerror(errno));
    long length = ftell(file);
    if (length < 0)
        die("cannot read %s: %s", path, strerror(errno));
    rewind(file);
    char *data = must_alloc((size_t)length + 1);
    if (fread(data, 1, (size_t)length, file) != (size_t)length)
        die("cannot read %s: %s", path, ferror(file) ? strerror(errno) : "it shrank");
    fclose(file);
    *size = (size_t)length;
    return data;
}

char *must_real_path(const char *path)
{
    char real[PATH_MAX];

    if (realpath(path, real) == NULL)
        die("cannot read %s: %s", path, strerror(errno));
    return must_strdup(real);
}

bool write_whole(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t written = write(fd, bytes, count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        bytes += written;
        count -= (size_t)written;
    }
    return true;
}
