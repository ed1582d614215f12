/* SPDX-License-Identifier: MIT */
/* shortage: the end of a start with too little memory, with what is needed */
#ifndef KERNEL_SHORTAGE_H
#define KERNEL_SHORTAGE_H

#include <dragoman/base/frames.h>

/* Dom0's RAM, when it is known. */
void shortage_ram(uint64_t bytes);

/*
 * Panics: `what` needs `bytes` (0: not known), and `frames` has no such run. The text has the
 * smallest dom0_mem= with which the start gets further.
 */
_Noreturn void shortage(const struct dgm_frames *frames, uint64_t bytes, const char *what);

#endif
