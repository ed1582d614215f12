/* SPDX-License-Identifier: MIT */
/*
 * symbols: see symbols.h. The table is a list of records {u32 offset from image_start;
 * NUL-terminated name, padded to a multiple of 4}, ascending, ended by offset 0xffffffff. It is
 * read only when the domain stops, so a linear walk is good enough.
 */
#include "symbols.h"
#include "image.h"

#include <stddef.h>
#include <string.h>

extern const uint32_t symbol_table[];

const char *symbol_at(uint64_t address, uint64_t *offset)
{
    const uint64_t at = address - (uintptr_t)image_start;
    const uint32_t *record = symbol_table, *best = NULL;

    if (address < (uintptr_t)image_start || address >= (uintptr_t)rodata_start)
        return NULL;
    while (*record != UINT32_MAX && *record <= at) {
        best = record;
        record += 1 + strlen((const char *)(record + 1)) / 4 + 1;
    }
    if (!best)
        return NULL;
    *offset = at - *best;
    return (const char *)(best + 1);
}
