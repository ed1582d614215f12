/* SPDX-License-Identifier: MIT */
/*
 * console: lines to Xen's console by hypercall
 *
 * Every line begins with "dragoman: ", because Xen's lines and those of the guests share the serial
 * line. dgm_env_log() is implemented here.
 */
#ifndef KERNEL_CONSOLE_H
#define KERNEL_CONSOLE_H

/* Prints one line without the prefix; printf's conversions; truncated to 240 characters. */
void console_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
