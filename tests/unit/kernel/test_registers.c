/* SPDX-License-Identifier: MIT */
/* registers: if these fail, the report of an abort names no device, or another one. */
#include "unit.h"

#include <kernel/arm64/registers.h>

static void add(const char *name, uint64_t address, uint64_t bytes)
{
    registers_add(name, (struct mmu_range){.address = address, .bytes = bytes});
}

static void expect(uint64_t address, const char *name, uint64_t offset)
{
    uint64_t found = 0;
    const char *device = registers_find(address, &found);

    assert_true(name ? device && !strcmp(device, name) && found == offset : !device);
}

static void addresses_name_their_device(void **state)
{
    expect(0, NULL, 0);
    add("pci 00:01.0", 0x10000000, 0x4000);
    add("pci 00:02.0", 0x10004000, 0x4000);
    add("last", UINT64_MAX - 0xfff, 0x1000);
    expect(0, NULL, 0);
    expect(0x0fffffff, NULL, 0);
    expect(0x10000000, "pci 00:01.0", 0);
    expect(0x10003fff, "pci 00:01.0", 0x3fff);
    expect(0x10004000, "pci 00:02.0", 0);
    expect(0x10008000, NULL, 0);
    expect(UINT64_MAX, "last", 0xfff);
    for (unsigned i = 0; i < 2 * REGISTERS_RANGES_MAX; i++)
        add("many", 0x20000000 + i * 0x1000, 0x1000);
    expect(0x20000000, "many", 0);
    expect(0x20000000 + REGISTERS_RANGES_MAX * 0x1000, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_name_their_device),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
