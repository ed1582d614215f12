/* SPDX-License-Identifier: MIT */
/*
 * feed: a fuzzer's input as a stream of decisions
 *
 * A target is a small program that its input drives: it takes numbers from the feed, each from as
 * few bytes as it needs, and ends when the feed is empty (an empty feed gives zeros). So a small
 * change of the input is a small change of the run, and every input is a valid one.
 *
 * A target is one file that includes this one and defines run_input(). It must leave nothing behind
 * that changes the next run. What must hold is said with fuzz_check() or cmocka's assertions (the
 * rigs of tests/unit use those); both abort.
 */
#ifndef FUZZ_FEED_H
#define FUZZ_FEED_H

#include "../tests/unit/rigs/unit.h"

#include <port/env.h>

struct feed {
    const uint8_t *at;
    size_t left;
};

__attribute__((unused)) static uint64_t feed_take(struct feed *feed, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes && feed->left; i++, feed->at++, feed->left--)
        value |= (uint64_t)*feed->at << 8 * i;
    return value;
}

/* From 0 to `below` - 1. */
__attribute__((unused)) static uint64_t feed_below(struct feed *feed, uint64_t below)
{
    const unsigned bytes = below <= 0x100 ? 1 : below <= 0x10000 ? 2 : below <= 1ull << 32 ? 4 : 8;

    return feed_take(feed, bytes) % below;
}

/* True in `in_256` of 256 cases; false on an empty feed. */
__attribute__((unused)) static bool feed_chance(struct feed *feed, unsigned in_256)
{
    return feed->left && 255 - feed_take(feed, 1) < in_256;
}

/* Up to `bytes`, what is left; how many. */
__attribute__((unused)) static size_t feed_copy(struct feed *feed, void *to, size_t bytes)
{
    if (bytes > feed->left)
        bytes = feed->left;
    memcpy(to, feed->at, bytes);
    feed->at += bytes;
    feed->left -= bytes;
    return bytes;
}

#define fuzz_check(condition)                                                                      \
    ((condition) ? (void)0                                                                         \
                 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), abort()))

/* The target's. */
static void run_input(struct feed *feed);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerInitialize(int *count, char ***arguments);

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count;
    (void)arguments;
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failed assertion is a crash */
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct feed feed = {data, bytes};

    run_input(&feed);
    return 0;
}

#endif
