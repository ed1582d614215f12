/* SPDX-License-Identifier: MIT */
/* console: see console.h. CONSOLEIO_write of xen.h; Xen copies the text and prints Dom0's text
 * unchanged. */
#include "console.h"

#include <port/arch.h>
#include <port/env.h>

#include <stdarg.h>
#include <stdio.h>
#include <xen/xen.h>

static char line[256];

static void write_line(const char *prefix, const char *format, va_list arguments)
{
    int length = snprintf(line, sizeof line, "%s", prefix);

    length += vsnprintf(line + length, sizeof line - 16 - (size_t)length, format, arguments);
    if (length > (int)sizeof line - 17)
        length = (int)sizeof line - 17;
    line[length++] = '\n';
    /* Not counted: the counters of hypercalls are about requests, not about log lines. */
    dgm_arch_hypercall(__HYPERVISOR_console_io, CONSOLEIO_write, (uint64_t)length, (uintptr_t)line,
                       0, 0);
}

void console_line(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_line("", format, arguments);
    va_end(arguments);
}

void dgm_env_log(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_line("dragoman: ", format, arguments);
    va_end(arguments);
}
