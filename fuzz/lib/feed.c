/* SPDX-License-Identifier: MIT */
/* feed: see feed.h. And what the fuzzer, or replay.c, calls. */
#include "feed.h"

uint64_t feed_take(struct feed *feed, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes && feed->left; i++, feed->at++, feed->left--)
        value |= (uint64_t)*feed->at << 8 * i;
    return value;
}

uint64_t feed_below(struct feed *feed, uint64_t below)
{
    const unsigned bytes = below <= 0x100 ? 1 : below <= 0x10000 ? 2 : below <= 1ull << 32 ? 4 : 8;

    return feed_take(feed, bytes) % below;
}

bool feed_chance(struct feed *feed, unsigned in_256)
{
    return feed->left && 255 - feed_take(feed, 1) < in_256;
}

size_t feed_copy(struct feed *feed, void *to, size_t bytes)
{
    if (bytes > feed->left)
        bytes = feed->left;
    memcpy(to, feed->at, bytes);
    feed->at += bytes;
    feed->left -= bytes;
    return bytes;
}

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
