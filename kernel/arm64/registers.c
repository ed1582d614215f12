/* SPDX-License-Identifier: MIT */
/* registers: see registers.h. */
#include "registers.h"

#include <stddef.h>

static const char *names[REGISTERS_RANGES_MAX];
static struct mmu_range ranges[REGISTERS_RANGES_MAX];
static unsigned count;

void registers_add(const char *name, struct mmu_range range)
{
    if (count == REGISTERS_RANGES_MAX)
        return;
    names[count] = name;
    ranges[count++] = range;
}

const char *registers_find(uint64_t address, uint64_t *offset)
{
    for (unsigned i = 0; i < count; i++) {
        *offset = address - ranges[i].address;
        if (address >= ranges[i].address && *offset < ranges[i].bytes)
            return names[i];
    }
    return NULL;
}
