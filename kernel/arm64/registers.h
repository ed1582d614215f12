/* SPDX-License-Identifier: MIT */
/*
 * registers: which device's registers an address belongs to, for the report of an abort
 *
 * An error with which a device or its bus answers an access may arrive some instructions later
 * (SError), without an address. The CPU's registers then tell which device was accessed: one of
 * them usually still has the address.
 */
#ifndef KERNEL_ARM64_REGISTERS_H
#define KERNEL_ARM64_REGISTERS_H

#include "mmu.h"

#define REGISTERS_RANGES_MAX 96u

/* The registers in `range` are those of `name`, a string that stays valid. Ranges beyond
 * REGISTERS_RANGES_MAX are not kept. */
void registers_add(const char *name, struct mmu_range range);

/* The device that has a register at `address`, and the register's offset; NULL: none. */
const char *registers_find(uint64_t address, uint64_t *offset);

#endif
