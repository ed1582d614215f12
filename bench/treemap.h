/* SPDX-License-Identifier: MIT */
/*
 * treemap: the design with which pages/p2m is compared
 *
 * The design of Linux's arch/arm/xen/p2m.c, built from well-maintained parts: one red-black tree
 * (libbsd's <sys/tree.h>), keyed by the guest frame, an allocation per entry, one reader-writer
 * lock (pthread's, made to spin as Linux's does) around it.
 */
#ifndef BENCH_TREEMAP_H
#define BENCH_TREEMAP_H

#include <stdint.h>

void treemap_publish(uint64_t gfn, uint64_t mfn);
void treemap_unpublish(uint64_t gfn);

/* The machine frame behind `gfn`; `gfn` itself if there is no entry, as for local memory. */
uint64_t treemap_lookup(uint64_t gfn);

#endif
