/* SPDX-License-Identifier: MIT */
/*
 * treemap: what pages/p2m is measured against
 *
 * The design that it replaces (Linux's arch/arm/xen/p2m.c), built from well-kept parts: one
 * red-black tree (libbsd's <sys/tree.h>), keyed by the guest frame, an allocation per entry, one
 * reader-writer lock (pthread's, made to spin as Linux's does) around it.
 */
#ifndef BENCH_TREEMAP_H
#define BENCH_TREEMAP_H

#include <stdint.h>

void treemap_publish(uint64_t gfn, uint64_t mfn);
void treemap_unpublish(uint64_t gfn);

/* The machine frame behind `gfn`; `gfn` itself where there is no entry, as for local memory. */
uint64_t treemap_lookup(uint64_t gfn);

#endif
