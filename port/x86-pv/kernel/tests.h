/* SPDX-License-Identifier: MIT */
/* tests: each prints its checks and facts on the console. */
#ifndef X86_PV_TESTS_H
#define X86_PV_TESTS_H

#include <stdbool.h>
#include <stdint.h>

/* Fills region frame `frame` with bytes that are never 0 and that differ from those of 64 other
 * frames at the same offset. */
void pattern_fill(uint64_t frame);
uint8_t pattern_byte(uint64_t frame, unsigned offset);

/* DMA across a page border: wrong at first, right after contig, then undone. `broken`: the planted
 * bug, which asks for runs of one frame. */
void test_dma(bool broken);

void test_large(void);    /* 2 MiB in one run, below 1 GiB */
void test_partial(void);  /* exchanges that Xen does in part, to and from contiguous */
void test_refusals(void); /* Xen's and the port's */
void test_grant(void);    /* a grant to this guest itself, mapped for a device */
void test_pvh(void);      /* an auto-translated guest: not supported */

#endif
