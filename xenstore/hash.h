/* SPDX-License-Identifier: MIT */
/*
 * hash: keyed hashes of names and paths
 *
 * A guest chooses the names of its nodes and the paths of its watches. With a hash that it can
 * compute, it could put them all into one chain, and every lookup would walk that chain. So the
 * hash is HalfSipHash-1-3 with a key drawn at start: without the key no input is more likely to
 * collide than another.
 */
#ifndef XENSTORE_HASH_H
#define XENSTORE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct dgm_xs_hash_key {
    uint32_t word[2];
};

/* A key of the time of this call, in nanoseconds. */
struct dgm_xs_hash_key dgm_xs_hash_key_draw(void);

/* The hash of `start` and then the bytes. */
uint32_t dgm_xs_hash(struct dgm_xs_hash_key key, uint64_t start, const char *bytes, size_t count);

#endif
