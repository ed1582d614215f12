/* SPDX-License-Identifier: MIT */
/*
 * segments: from a request's segments to the pieces of its transfer
 *
 * Segments lie in the ring's entry, or in the page of an indirect request, which is copied out once
 * and checked in that copy. Frames that a persistent connection has mapped already, as almost
 * always all of them, become pieces in one pass, without a record, a reservation or a commit. The
 * other frames are added to the batch.
 */
#include <block/internal.h>

#define SECTORS_OF_FRAME (DGM_FRAME_BYTES / DGM_BLKIF_SECTOR_BYTES)

/* The word of a segment, apart from its reference and padding, if it is a whole frame. */
#define WHOLE_FRAME_MASK (0xffffull << 32)
#define WHOLE_FRAME      (0x0700ull << 32)

/* A frame that the disk reads may be granted read-only; one that it writes may not. */
static void add_segments(struct dgm_blkback *blkback, struct dgm_blkback_request *request,
                         const struct blkif_request_segment *segments)
{
    const enum dgm_reach_direction direction =
        request->parsed.operation == BLKIF_OP_WRITE ? DGM_REACH_FROM_GUEST : DGM_REACH_TO_GUEST;

    for (uint16_t i = 0; i < request->parsed.segment_count; i++) {
        const uint32_t sectors = segments[i].last_sect - segments[i].first_sect + 1u;

        request->frames[i].piece = (struct dgm_reach_piece){
            .ref = segments[i].gref,
            .offset = (uint16_t)(segments[i].first_sect * DGM_BLKIF_SECTOR_BYTES),
            .bytes = (uint16_t)(sectors * DGM_BLKIF_SECTOR_BYTES),
            .direction = direction};
    }
    request->added = request->parsed.segment_count;
    blkback->frames_reserved +=
        dgm_reach_add(&blkback->connection, request->frames, request->added);
}

/* Makes the pieces of the request, if the connection has mapped all of its frames already: in one
 * pass, without a record of a frame. False: nothing is held. Inline: `whole` is constant then. */
static inline __attribute__((always_inline)) bool
use_each(struct dgm_blkback *blkback, struct dgm_blkback_request *request,
         const struct blkif_request_segment *segment, bool whole)
{
    const struct dgm_persistent mapped = *blkback->env.reach->persistent;
    const struct blkif_request_segment *const end = segment + request->parsed.segment_count;
    struct dgm_reach_frame *frame = request->frames;
    struct dgm_dma_piece *piece = request->pieces;

    for (; segment != end; segment++, frame++, piece++) {
        if (!dgm_reach_use(&blkback->connection, &mapped, frame, segment->gref, &piece->gfn)) {
            dgm_reach_unuse(&blkback->connection, request->frames,
                            (uint32_t)(frame - request->frames));
            return false;
        }
        piece->offset = whole ? 0 : (uint16_t)(segment->first_sect * DGM_BLKIF_SECTOR_BYTES);
        piece->bytes = whole ? DGM_FRAME_BYTES
                             : (uint16_t)((segment->last_sect + 1 - segment->first_sect) *
                                          DGM_BLKIF_SECTOR_BYTES);
    }
    request->used = request->parsed.segment_count;
    dgm_reach_count_used(&blkback->connection, request->used);
    return true;
}

static inline bool use_segments(struct dgm_blkback *blkback, struct dgm_blkback_request *request,
                                const struct blkif_request_segment *segments)
{
    return dgm_blkback_is_whole_frames(request) ? use_each(blkback, request, segments, true)
                                                : use_each(blkback, request, segments, false);
}

/* Copies an indirect page's segments. The compiler must not read any byte twice: the guest may
 * change it in between. True: all are whole frames. */
static inline bool copy_segments(struct dgm_blkback_pool *pool, dgm_gfn_t page, uint16_t count)
{
    const volatile uint64_t *from = dgm_env_va(page), *const end = from + count;
    uint64_t other = 0;

    for (uint64_t *to = pool->segment_words; from != end; from++) {
        const uint64_t word = *from;

        *to++ = word;
        other |= word ^ WHOLE_FRAME;
    }
    return (other & WHOLE_FRAME_MASK) == 0;
}

void dgm_blkback_read_segments(struct dgm_blkback *blkback, struct dgm_blkback_request *request,
                               dgm_gfn_t page)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;
    const struct dgm_blkif_limits limits = dgm_blkback_limits_of(blkback);
    const struct dgm_blkif_request *parsed = &request->parsed;

    request->segments_known = true;
    request->refusal =
        copy_segments(pool, page, parsed->segment_count)
            ? dgm_blkif_check_range(parsed, &limits, parsed->segment_count * SECTORS_OF_FRAME,
                                    &request->parsed.bytes)
            : dgm_blkif_check_segments(parsed, &limits, pool->segments, &request->parsed.bytes);
}

bool dgm_blkback_reach_segments(struct dgm_blkback *blkback, struct dgm_blkback_request *request,
                                const struct blkif_request_segment *segments)
{
    if (request->refusal == DGM_BLKBACK_ACCEPTED &&
        !(blkback->connection.persistent && use_segments(blkback, request, segments))) {
        add_segments(blkback, request, segments);
        return false;
    }
    blkback->frames_reserved += request->parsed.segment_count;
    return true;
}
