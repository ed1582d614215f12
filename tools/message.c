/* SPDX-License-Identifier: MIT */
/* message.c: see message.h. */
#include "message.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *tool_name = "tool";

void message_tool_name(const char *name)
{
    tool_name = name;
}

static void write_message(const char *kind, const char *format, va_list arguments)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s", tool_name, kind);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void message_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_message("warning: ", format, arguments);
    va_end(arguments);
}

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_message("", format, arguments);
    va_end(arguments);
    exit(1);
}

void die_usage(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_message("", format, arguments);
    va_end(arguments);
    fprintf(stderr, "Try '%s --help'.\n", tool_name);
    exit(2);
}
