/* SPDX-License-Identifier: MIT */
/*
 * Proves: the segments of a map that is not bounced are, byte for byte, the memory of the pieces;
 * they obey the gap rule, the alignment, and the limits of a segment and of their number; the map
 * consists of whole blocks; if no rule forbids it, it is the whole transfer.
 * Over: two pieces of one or two 512-byte blocks, anywhere in any two of four machine frames, any
 * such tag; no bounce buffer is free.
 *
 * sources: dma/plan.c dma/plan_segments.c dma/plan_bounce.c dma/bus.c
 * options: --unwind 5
 * defines: -Dmemset=proof_memset
 * resized: include/dragoman/dma/bounce.h s/AREAS_MAX 4u/AREAS_MAX 1u/
 * planted: dma/plan_segments.c s/&& is_on_gap\(tag, bus\)\);/\&\& true);/
 * planted: dma/plan_segments.c s/if \(!is_aligned\(tag, bus\)\)/if (false)/
 * planted: dma/plan_segments.c s/map->bytes \+= done;/map->bytes += bytes;/
 * planted: dma/plan_segments.c s/bytes = dma_min\(bytes, tag->segment_bytes_max - present\);/;/
 * planted: dma/plan_segments.c s/dgm_bus_equal\(segment_end\(last_segment\(plan\)\), bus\)/true/
 */
#include "proof.h"

#include <dma/cachemaint.h>
#include <dragoman/base/status.h>
#include <dma/internal.h>

#define PIECES   2
#define SEGMENTS 3
#define BLOCK    512u

struct dgm_dma dma;
struct dgm_bounce_area areas[DGM_BOUNCE_AREAS_MAX];
struct dgm_bounce pool;
struct dgm_p2m p2m;
struct dgm_dma_map map;
struct dgm_dma_piece pieces[PIECES];
struct dgm_dma_segment segments[SEGMENTS];
uint64_t frame[PIECES];

dgm_mfn_t dgm_p2m_lookup(const struct dgm_p2m *of, dgm_gfn_t gfn)
{
    return dgm_mfn(frame[dgm_gfn_number(gfn)]);
}

bool dgm_p2m_is_slot(const struct dgm_p2m *of, dgm_gfn_t gfn)
{
    return true;
}

uint16_t dgm_bounce_take(struct dgm_bounce *of, struct dgm_bounce_device *device, unsigned areas)
{
    return DGM_BOUNCE_NONE;
}

void dgm_bounce_give(struct dgm_bounce *of, uint16_t buffer)
{
    prove(false); /* none was taken */
}

bool dgm_cachemaint_shares_line(struct dgm_span span)
{
    return false;
}

static uint64_t expected_address(uint32_t at)
{
    const unsigned i = at >= pieces[0].bytes;

    return (frame[i] << DGM_FRAME_SHIFT) + pieces[i].offset + (i ? at - pieces[0].bytes : at);
}

static bool is_multiple(uint32_t unit, uint64_t address)
{
    return unit == 0 || (address & (unit - 1)) == 0;
}

int main(void)
{
    const uint32_t units[] = {0, 512, 1024, 4096};
    struct dgm_dma_tag tag = {
        .mask = UINT64_MAX,
        .gap = units[any_u8() % 4],
        .alignment = units[any_u8() % 4],
        .segment_bytes_max = units[any_u8() % 3],
        .segments_max = 1 + any_u8() % SEGMENTS,
        .block_bytes = BLOCK,
        .coherent = true,
    };
    struct dma_plan plan = {.dma = &dma,
                            .tag = &tag,
                            .map = &map,
                            .start = {.pieces = pieces, .piece_count = PIECES},
                            .buffer_last = DGM_BOUNCE_NONE,
                            .buffer_saved = DGM_BOUNCE_NONE};
    uint32_t at = 0, watched = any_u32(), all = 0;
    int status;

    for (unsigned i = 0; i < PIECES; i++) {
        frame[i] = any_u8() % 4;
        pieces[i].gfn = dgm_gfn(i);
        pieces[i].offset = (uint16_t)(any_u8() % 8 * BLOCK);
        pieces[i].bytes = (uint16_t)((1 + any_u8() % 2) * BLOCK);
        assume(pieces[i].bytes <= DGM_FRAME_BYTES - pieces[i].offset);
        all += pieces[i].bytes;
    }
    dma.bounce = &pool;
    dma.p2m = &p2m;
    pool.areas = areas;
    pool.area_count = 1;
    map.segments = segments;
    map.buffer_first = DGM_BOUNCE_NONE;

    status = dgm_dma_plan_make(&plan);
    if (tag.gap == 0 && tag.alignment <= BLOCK && tag.segment_bytes_max == 0 &&
        tag.segments_max > 1)
        prove(status == DGM_OK && map.bytes == all);
    if (status != DGM_OK) {
        prove(status == DGM_EAGAIN && map.bytes == 0 && map.segment_count == 0);
        return 0;
    }
    prove(map.bytes > 0 && map.bytes <= all && map.bytes % BLOCK == 0);
    prove(map.segment_count > 0 && map.segment_count <= tag.segments_max);
    assume(watched < map.bytes);
    for (unsigned i = 0; i < map.segment_count; i++) {
        const uint64_t first = dgm_bus_address(segments[i].bus), end = first + segments[i].bytes;

        prove(segments[i].bytes > 0 && is_multiple(tag.alignment, first));
        prove(!tag.segment_bytes_max || segments[i].bytes <= tag.segment_bytes_max);
        prove(i == 0 || is_multiple(tag.gap, first));
        prove(i + 1 == map.segment_count || is_multiple(tag.gap, end));
        if (watched >= at && watched - at < segments[i].bytes)
            prove(first + (watched - at) == expected_address(watched));
        at += segments[i].bytes;
    }
    prove(at == map.bytes);
    return 0;
}
