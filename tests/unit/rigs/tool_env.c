/* SPDX-License-Identifier: MIT */
/* tool_env: see tool_env.h. */
#include "tool_env.h"
#include "unit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <tools/message.h>
#include <tools/must.h>

#define ARENA_BYTES (8u << 20)
#define PIECE_MAX   4096u

static struct {
    jmp_buf died;
    char message[1024];
    const void *file;
    size_t file_bytes;
    void *pieces[PIECE_MAX]; /* each of its exact size, so that a read beyond its end is found */
    size_t piece_count, bytes;
} env;

void tool_env_end(void)
{
    while (env.piece_count > 0)
        free(env.pieces[--env.piece_count]);
    env.bytes = 0;
}

bool tool_env_run(void (*run)(void *context), void *context, const void *file, size_t bytes)
{
    tool_env_end();
    env.file = file;
    env.file_bytes = bytes;
    env.message[0] = '\0';
    if (setjmp(env.died) != 0)
        return false;
    run(context);
    return true;
}

const char *tool_env_message(void)
{
    return env.message;
}

static void keep_message(const char *format, va_list arguments)
{
    vsnprintf(env.message, sizeof env.message, format, arguments);
}

void message_warn(const char *format, ...)
{
    (void)format;
}

void die(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    keep_message(format, arguments);
    va_end(arguments);
    longjmp(env.died, 1);
}

void die_usage(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    keep_message(format, arguments);
    va_end(arguments);
    longjmp(env.died, 1);
}

void *must_alloc(size_t size)
{
    void *memory = calloc(1, size ? size : 1);

    assert_non_null(memory);
    assert_true(env.piece_count < PIECE_MAX && (env.bytes += size) <= ARENA_BYTES);
    env.pieces[env.piece_count++] = memory;
    return memory;
}

char *must_strdup(const char *text)
{
    return must_format("%s", text);
}

char *must_format(const char *format, ...)
{
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    const int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    assert_in_range(length, 0, sizeof text - 1);
    return strcpy(must_alloc((size_t)length + 1), text);
}

char *must_read_file(const char *path, size_t *size)
{
    char *copy = must_alloc(env.file_bytes + 1);

    (void)path;
    memcpy(copy, env.file, env.file_bytes);
    *size = env.file_bytes;
    return copy;
}

char *must_real_path(const char *path)
{
    return must_format("/%s", path);
}
