/* SPDX-License-Identifier: MIT */
/* console: see console.h. Also implements the part of port/env.h that contig needs. */
#include "console.h"
#include "machine.h"

#include <port/arch.h>
#include <port/env.h>

#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <xen/xen.h>

static char line[256];
static size_t length;

static void put_character(char c)
{
    if (length < sizeof line)
        line[length++] = c;
}

static void put_string(const char *string)
{
    while (*string)
        put_character(*string++);
}

static void put_number(uint64_t number, unsigned base)
{
    char digits[24];
    int count = 0;

    do {
        digits[count++] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number);
    while (count)
        put_character(digits[--count]);
}

/* Handles one conversion, from after its '%'; returns where the format continues. */
static const char *print_conversion(const char *at, va_list *arguments)
{
    bool is_long = false;
    int64_t value;

    for (; *at == 'l'; at++)
        is_long = true;
    switch (*at) {
    case 's':
        put_string(va_arg(*arguments, const char *));
        break;
    case 'd':
        value = is_long ? va_arg(*arguments, long) : va_arg(*arguments, int);
        if (value < 0)
            put_character('-');
        put_number(value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
        break;
    case 'u':
    case 'x':
        put_number(is_long ? va_arg(*arguments, unsigned long) : va_arg(*arguments, unsigned),
                   *at == 'u' ? 10 : 16);
        break;
    default:
        put_character('?');
    }
    return at + 1;
}

static void write_line(const char *format, va_list *arguments)
{
    length = 0;
    put_string("x86-pv: ");
    while (*format) {
        if (*format == '%')
            format = print_conversion(format + 1, arguments);
        else
            put_character(*format++);
    }
    if (length == sizeof line)
        length--;
    line[length++] = '\n';
    dgm_arch_hypercall(__HYPERVISOR_console_io, CONSOLEIO_write, length, (uintptr_t)line, 0, 0);
}

void say(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_line(format, &arguments);
    va_end(arguments);
}

bool check(const char *name, bool good)
{
    say("%s %s", good ? "ok" : "not ok", name);
    return good;
}

void fact(const char *name, int64_t value)
{
    say("fact %s %ld", name, value);
}

void dgm_env_log(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_line(format, &arguments);
    va_end(arguments);
}

_Noreturn void dgm_env_panic(const char *file, int number, const char *what)
{
    say("not ok panic # %s:%d: %s", file, number, what);
    machine_end();
}

/* The library's and the compiler's own calls. Words first: an emulator executes and counts each
 * step of a string instruction. */
void *memset(void *to, int value, size_t bytes)
{
    void *const start = to;
    const uint64_t word = 0x0101010101010101ull * (uint8_t)value;
    size_t words = bytes / 8;

    bytes %= 8;
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(word) : "memory");
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(word) : "memory");
    return start;
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    void *const start = to;

    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes)::"memory");
    return start;
}
