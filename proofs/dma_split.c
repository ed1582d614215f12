/* SPDX-License-Identifier: MIT */
/*
 * Proves: what a device is told is the memory that was meant, byte for byte and in order; every
 * segment obeys the tag (count, size, boundary, gap rule, reach); the bytes are whole blocks, at
 * least one; buffers and frames are held exactly while the map lives, and on an error nothing is.
 * Over: two pieces of any offset and length in steps of 128 bytes (together whole blocks of 512) in any
 * two of four frames, of which one lies beyond the device's mask and one may be empty; a tag with
 * or without gap rule, boundary and segment limit, of one to three segments; no, one or two bounce
 * buffers; a coherent device.
 *
 * sources: core/dma.c core/dma_plan.c
 * options: --unwind 6
 * defines: -Dmemcpy=proof_memcpy
 * planted: core/dma_plan.c s/\(!on_gap\(plan, last->bus.n \+ last->bytes\) \|\| !on_gap\(plan, at\)\)/!on_gap(plan, at)/
 * planted: core/dma_plan.c s/last->bus.n \+ last->bytes == at\)/last->bus.n + last->bytes <= at)/
 * planted: core/dma_plan.c s/bytes - 1 > tag->mask - address/false/
 * planted: core/dma_plan.c s/^            cut\(plan, 0\);//
 */
#include "proof.h"

#include <dragoman/cachemaint.h>
#include <dragoman/dma.h>

#define PIECES   2
#define FRAMES   4
#define SEGMENTS 3
#define BUFFERS  2
#define BLOCK    512u
#define UNIT     128u /* offsets and lengths are multiples of it */

/* Frames of ours 0 to 3, and 4 and 5 the buffers; behind gfn n is machine frame machine[n]. */
static const uint64_t machine[FRAMES + BUFFERS] = {16, 17, 40, 1 << 20, 50, 60};

struct dgm_dma dma;
struct dgm_bounce pool;
bool empty, buffer_taken[BUFFERS];
unsigned held[FRAMES + BUFFERS], buffers_there;

dgm_mfn_t dgm_p2m_lookup(const struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    prove(gfn.n < FRAMES + BUFFERS);
    return gfn.n == 2 && empty ? DGM_MFN_NONE : dgm_mfn(machine[gfn.n]);
}

bool dgm_p2m_is_slot(const struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    return gfn.n > 0;
}

void dgm_p2m_hold(struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    held[gfn.n]++;
}

void dgm_p2m_release(struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    prove(held[gfn.n] > 0);
    held[gfn.n]--;
}

uint16_t dgm_bounce_take(struct dgm_bounce *bounce)
{
    for (uint16_t i = 0; i < buffers_there; i++) {
        if (!buffer_taken[i]) {
            buffer_taken[i] = true;
            bounce->next[i] = DGM_BOUNCE_NONE;
            return i;
        }
    }
    return DGM_BOUNCE_NONE;
}

void dgm_bounce_give(struct dgm_bounce *bounce, uint16_t buffer)
{
    prove(buffer < buffers_there && buffer_taken[buffer]);
    buffer_taken[buffer] = false;
}

void dgm_cachemaint_before(dgm_gfn_t gfn, uint32_t offset, uint64_t bytes, bool device_writes)
{
    prove(false); /* the device is coherent */
}

void dgm_cachemaint_after(dgm_gfn_t gfn, uint32_t offset, uint64_t bytes, bool device_writes)
{
    prove(false);
}

bool dgm_cachemaint_shares_line(uint32_t offset, uint64_t bytes)
{
    return false;
}

/* An address says which frame: no byte is looked at in this proof. */
void *dgm_env_va(dgm_gfn_t gfn)
{
    return (void *)(uintptr_t)(gfn.n << DGM_FRAME_SHIFT);
}

/* Byte `watched` of the transfer, where it was meant to be and where a buffer stands in for it. */
uint64_t meant_at, stands_in_at;
bool stands_in;

void *proof_memcpy(void *to, const void *from, size_t bytes)
{
    const uint64_t a = (uintptr_t)from, b = (uintptr_t)to;

    prove(bytes > 0 && a % 4096 + bytes <= 4096 && b % 4096 + bytes <= 4096);
    if (b >> 12 >= FRAMES && meant_at >= a && meant_at - a < bytes) {
        stands_in = true;
        stands_in_at = b + (meant_at - a);
    }
    return to;
}

static void any_tag(struct dgm_dma_tag *tag)
{
    *tag = (struct dgm_dma_tag){.mask = (1u << 20) - 1,
                                .boundary = any_bool() ? 2048 : 0,
                                .gap = any_bool() ? 4096 : 0,
                                .segment_bytes_max = any_bool() ? 1024 : 0,
                                .segments_max = 1 + any_u8() % SEGMENTS,
                                .block_bytes = BLOCK,
                                .coherent = true};
}

static void check_segments(const struct dgm_dma_tag *tag, const struct dgm_dma_map *map,
                           uint32_t watched)
{
    const uint64_t expected = stands_in ? stands_in_at : meant_at;
    const uint64_t expected_bus = machine[expected >> 12] << 12 | expected % 4096;
    uint32_t at = 0;

    prove(map->segment_count > 0 && map->segment_count <= tag->segments_max);
    for (uint32_t i = 0; i < map->segment_count; i++) {
        const struct dgm_dma_segment *segment = &map->segments[i];
        const uint64_t end = segment->bus.n + segment->bytes;

        prove(segment->bytes > 0 && end - 1 <= tag->mask);
        prove(!tag->segment_bytes_max || segment->bytes <= tag->segment_bytes_max);
        prove(!tag->boundary || segment->bus.n / 2048 == (end - 1) / 2048);
        prove(!tag->gap || i == 0 || segment->bus.n % 4096 == 0);
        prove(!tag->gap || i + 1 == map->segment_count || end % 4096 == 0);
        if (watched >= at && watched - at < segment->bytes)
            prove(segment->bus.n + (watched - at) == expected_bus);
        at += segment->bytes;
    }
    prove(at == map->bytes);
}

int main(void)
{
    struct dgm_dma_piece pieces[PIECES];
    struct dgm_dma_segment segments[SEGMENTS];
    struct dgm_dma_map map;
    struct dgm_dma_tag tag;
    const uint32_t watched = any_u32();
    int result;

    dma.p2m = NULL;
    dma.bounce = &pool;
    buffers_there = any_u8() % (BUFFERS + 1);
    empty = any_bool();
    for (unsigned i = 0; i < BUFFERS; i++)
        pool.gfn[i] = dgm_gfn(FRAMES + i);
    for (unsigned i = 0; i < PIECES; i++) {
        pieces[i].gfn = dgm_gfn(any_u8() % FRAMES);
        assume(pieces[i].offset % UNIT == 0 && pieces[i].bytes % UNIT == 0);
        assume(pieces[i].bytes > 0 && pieces[i].bytes <= 4096);
        assume(pieces[i].offset <= 4096 - pieces[i].bytes);
    }
    assume((pieces[0].bytes + pieces[1].bytes) % BLOCK == 0);
    assume(pieces[0].gfn.n != pieces[1].gfn.n); /* so that an address says which byte is meant */
    assume(watched < pieces[0].bytes + pieces[1].bytes);
    meant_at = watched < pieces[0].bytes
                   ? (pieces[0].gfn.n << 12) + pieces[0].offset + watched
                   : (pieces[1].gfn.n << 12) + pieces[1].offset + (watched - pieces[0].bytes);
    any_tag(&tag);

    result = dgm_dma_map(&dma, &tag, pieces, PIECES, 0, DGM_DMA_TO_DEVICE, segments, &map);

    prove(result > 0 || result == DGM_EAGAIN || result == DGM_EFAULT);
    prove(result != DGM_EAGAIN || buffers_there == 0);
    prove(result != DGM_EFAULT || empty);
    if (result > 0) {
        prove(result % BLOCK == 0 && (uint32_t)result == map.bytes);
        prove((uint32_t)result <= pieces[0].bytes + pieces[1].bytes);
        check_segments(&tag, &map, watched);
        prove(held[meant_at >> 12] == 1 || watched >= map.bytes);
        dgm_dma_unmap(&dma, &map, true);
    }
    for (unsigned i = 0; i < FRAMES + BUFFERS; i++)
        prove(held[i] == 0);
    for (unsigned i = 0; i < BUFFERS; i++)
        prove(!buffer_taken[i]);
    return 0;
}
