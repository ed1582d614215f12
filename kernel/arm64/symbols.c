/* SPDX-License-Identifier: MIT */
/*
 * symbols: see symbols.h. The table is a list of records {distance from the record before (the
 * first: from image_start) in instructions, as unsigned LEB128; NUL-terminated name}. It is read
 * only when the domain stops, so a linear walk is good enough.
 */
#include "symbols.h"
#include "image.h"

#include <stddef.h>
#include <string.h>

extern const unsigned char symbol_table[], symbol_table_end[];

const char *symbol_at(uint64_t address, uint64_t *offset)
{
    const uint64_t at = address - (uintptr_t)image_start;
    const unsigned char *record = symbol_table;
    uint64_t symbol = 0;
    const char *best = NULL;

    if (address < (uintptr_t)image_start || address >= (uintptr_t)rodata_start)
        return NULL;
    while (record < symbol_table_end) {
        uint64_t distance = 0;

        for (unsigned shift = 0;; shift += 7) {
            distance |= (uint64_t)(*record & 0x7f) << shift;
            if (!(*record++ & 0x80))
                break;
        }
        symbol += distance * 4;
        if (symbol > at)
            break;
        best = (const char *)record;
        *offset = at - symbol;
        record += strlen(best) + 1;
    }
    return best;
}
