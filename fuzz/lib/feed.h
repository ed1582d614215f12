/* SPDX-License-Identifier: MIT */
/*
 * feed: a fuzzer's input as a stream of decisions
 *
 * A target is a small program that its input drives: it takes numbers from the feed, each from as
 * few bytes as it needs, and ends when the feed is empty (an empty feed gives zeros). So a small
 * change of the input is a small change of the run, and every input is valid.
 *
 * A target is one file that includes this one and defines run_input(). It must leave no state that
 * changes the next run. Properties are checked with fuzz_check() or cmocka's assertions (the rigs
 * of tests/unit use those); both abort.
 */
#ifndef FUZZ_LIB_FEED_H
#define FUZZ_LIB_FEED_H

#include "../../tests/unit/rigs/unit.h"

#include <port/env.h>

struct feed {
    const uint8_t *at;
    size_t left;
};

/* The next `bytes` (at most 8) as a number. */
uint64_t feed_take(struct feed *feed, unsigned bytes);

/* From 0 to `below` - 1. */
uint64_t feed_below(struct feed *feed, uint64_t below);

/* True in `in_256` of 256 cases; false on an empty feed. */
bool feed_chance(struct feed *feed, unsigned in_256);

/* Copies up to `bytes` of the remaining input; returns how many. */
size_t feed_copy(struct feed *feed, void *to, size_t bytes);

#define fuzz_check(condition)                                                                      \
    ((condition) ? (void)0                                                                         \
                 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), abort()))

/* Defined by the target. */
void run_input(struct feed *feed);

#endif
