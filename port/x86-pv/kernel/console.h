/* SPDX-License-Identifier: MIT */
/*
 * console: the output of the test kernel, which tests/x86/run.py reads
 *
 *   x86-pv: ok NAME            a check that passed
 *   x86-pv: not ok NAME        a check that failed; an explanation may follow after " # "
 *   x86-pv: fact NAME VALUE    a number that the runner checks
 *   x86-pv: done               the last line
 */
#ifndef X86_PV_CONSOLE_H
#define X86_PV_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

/* %s, %d, %u and %x, the numbers also with l or ll. One line; the newline is added. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints the check's line; returns `good`. */
bool check(const char *name, bool good);

void fact(const char *name, int64_t value);

#endif
