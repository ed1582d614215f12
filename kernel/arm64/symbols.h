/* SPDX-License-Identifier: MIT */
/* symbols: names of the image's functions, inserted by the build after a first link (build.mk,
 * symbols.awk). */
#ifndef KERNEL_ARM64_SYMBOLS_H
#define KERNEL_ARM64_SYMBOLS_H

#include <stdint.h>

/* The function that contains `address`, and the offset in it; NULL if it is outside the image's
 * code. */
const char *symbol_at(uint64_t address, uint64_t *offset);

#endif
