/* SPDX-License-Identifier: MIT */
/*
 * check: assertions that stay on in release
 *
 * For programmer errors only. What a guest, the hypervisor or a device can cause is never asserted:
 * it is handled where it happens, and counted.
 */
#ifndef DRAGOMAN_BASE_CHECK_H
#define DRAGOMAN_BASE_CHECK_H

#include <port/env.h>

#define dgm_assert(condition)                                                                      \
    ((condition) ? (void)0 : dgm_env_panic(__FILE__, __LINE__, "assertion failed: " #condition))

/* The structure that holds `member` at `pointer`. */
#define dgm_container(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#endif
