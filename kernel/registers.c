/* SPDX-License-Identifier: MIT */
/* registers: see registers.h. */
#include "registers.h"

#include <stddef.h>

static struct {
    const char *name;
    uint64_t base, bytes;
} ranges[REGISTERS_RANGES_MAX];
static unsigned count;

void registers_add(const char *name, uint64_t base, uint64_t bytes)
{
    if (count == REGISTERS_RANGES_MAX)
        return;
    ranges[count].name = name;
    ranges[count].base = base;
    ranges[count++].bytes = bytes;
}

const char *registers_find(uint64_t address, uint64_t *offset)
{
    for (unsigned i = 0; i < count; i++) {
        *offset = address - ranges[i].base;
        if (address >= ranges[i].base && *offset < ranges[i].bytes)
            return ranges[i].name;
    }
    return NULL;
}
