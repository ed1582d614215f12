/* SPDX-License-Identifier: MIT */
/*
 * edu: QEMU's teaching device, a DMA engine with 4096 bytes of its own and 28 address bits
 *
 * QEMU docs/specs/edu.txt. It reads and writes machine memory with nothing in between: a transfer
 * that crosses the end of a frame continues in the *machine's* next frame.
 */
#ifndef X86_PV_EDU_H
#define X86_PV_EDU_H

#include <stdbool.h>
#include <stdint.h>

#define EDU_BITS 28

/* Finds the device on PCI bus 0 and maps its registers. False: there is none. */
bool edu_start(void);

/* Copies `bytes` (below 4096) from machine address to the device's memory, or from there. False:
 * it did not end. About 100 ms each, by QEMU's clock. */
bool edu_read(uint64_t address, unsigned bytes);
bool edu_write(uint64_t address, unsigned bytes);

#endif
