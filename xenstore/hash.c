/* SPDX-License-Identifier: MIT */
/* hash: see hash.h. Source: HalfSipHash by Aumasson and Bernstein, with one round per word. */
#include "hash.h"

#include <port/env.h>

struct sip {
    uint32_t v[4];
};

static uint32_t rotate_left(uint32_t value, unsigned bits)
{
    return value << bits | value >> (32 - bits);
}

static void sip_round(struct sip *s)
{
    uint32_t *const v = s->v;

    v[0] += v[1];
    v[1] = rotate_left(v[1], 5) ^ v[0];
    v[0] = rotate_left(v[0], 16);
    v[2] += v[3];
    v[3] = rotate_left(v[3], 8) ^ v[2];
    v[0] += v[3];
    v[3] = rotate_left(v[3], 7) ^ v[0];
    v[2] += v[1];
    v[1] = rotate_left(v[1], 13) ^ v[2];
    v[2] = rotate_left(v[2], 16);
}

static void sip_word(struct sip *s, uint32_t word)
{
    s->v[3] ^= word;
    sip_round(s);
    s->v[0] ^= word;
}

uint32_t dgm_xs_hash(struct dgm_xs_hash_key key, uint64_t start, const char *bytes, size_t count)
{
    struct sip s = {{key.word[0], key.word[1], 0x6c796765 ^ key.word[0], 0x74656462 ^ key.word[1]}};
    uint32_t last = (uint32_t)(count + sizeof start) << 24;
    size_t i = 0;

    sip_word(&s, (uint32_t)start);
    sip_word(&s, (uint32_t)(start >> 32));
    for (; i + 4 <= count; i += 4)
        sip_word(&s, (uint32_t)(uint8_t)bytes[i] | (uint32_t)(uint8_t)bytes[i + 1] << 8 |
                         (uint32_t)(uint8_t)bytes[i + 2] << 16 |
                         (uint32_t)(uint8_t)bytes[i + 3] << 24);
    for (unsigned shift = 0; i < count; i++, shift += 8)
        last |= (uint32_t)(uint8_t)bytes[i] << shift;
    sip_word(&s, last);
    s.v[2] ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v[1] ^ s.v[3];
}

struct dgm_xs_hash_key dgm_xs_hash_key_draw(void)
{
    const uint64_t now_ns = dgm_env_now_ns();
    const struct dgm_xs_hash_key time = {{(uint32_t)now_ns, (uint32_t)(now_ns >> 32)}};

    return (struct dgm_xs_hash_key){
        {dgm_xs_hash(time, 0, "names", 5), dgm_xs_hash(time, 0, "paths", 5)}};
}
