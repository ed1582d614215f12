/* SPDX-License-Identifier: MIT */
/* flow: see flow.h. */
#include <net/flow.h>

/* Each step is a bijection of 32 bits that spreads every bit of its input to the upper ones, by
 * by which a queue is chosen (the finalizer of MurmurHash3, public domain). */
static uint32_t mix(uint32_t hash, uint32_t word)
{
    hash ^= word;
    hash = (hash ^ hash >> 16) * 0x85ebca6bu;
    hash = (hash ^ hash >> 13) * 0xc2b2ae35u;
    return hash ^ hash >> 16;
}

/* Adds `count` words of the packet. */
static uint32_t mix_words(uint32_t hash, const uint8_t *from, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t word;

        __builtin_memcpy(&word, from + 4 * i, sizeof word);
        hash = mix(hash, word);
    }
    return hash;
}

static uint32_t hash_flow(const struct dgm_packet_headers *headers, const uint8_t *bytes)
{
    if (headers->ip == 0)
        return mix_words(0, bytes, 3); /* both MAC addresses */
    const uint32_t hash = headers->ip == 4 ? mix_words(0, bytes + headers->network + 12, 2)
                                           : mix_words(0, bytes + headers->network + 8, 8);

    return headers->transport
               ? mix_words(mix(hash, headers->protocol), bytes + headers->transport, 1)
               : hash;
}

uint32_t dgm_flow_queue(const struct dgm_packet_headers *headers, const uint8_t *bytes,
                        uint32_t count)
{
    return (uint32_t)((uint64_t)hash_flow(headers, bytes) * count >> 32);
}
