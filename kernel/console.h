/* SPDX-License-Identifier: MIT */
/*
 * console: lines to Xen's console by hypercall
 *
 * Every line bears the prefix "dragoman: " so that it can be told from Xen's and the guests' lines,
 * which share the wire. dgm_env_log() is this.
 */
#ifndef KERNEL_CONSOLE_H
#define KERNEL_CONSOLE_H

/* One line, without prefix. printf's conversions; cut at 240 characters. */
void console_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
