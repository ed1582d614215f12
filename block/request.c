/* SPDX-License-Identifier: MIT */
/*
 * request: see request.h
 *
 * Order of the checks: whether the operation exists, whether this disk offers it, the number of
 * segments, each segment, and last the range on the disk, which needs the sum of the segments.
 * Every comparison subtracts from the larger side, so that no sector number wraps into the disk.
 */
#include <block/request.h>

_Static_assert(sizeof(union dgm_blkif_entry) == 112, "64-bit blkif layout");
_Static_assert(offsetof(struct blkif_request, id) == offsetof(struct blkif_request_indirect, id),
               "operation and id have the same offsets in all kinds");
_Static_assert(sizeof(struct blkif_request_segment) == 8, "as in an indirect page");
_Static_assert(DGM_BLKIF_SEGMENTS_MAX * sizeof(struct blkif_request_segment) <= DGM_FRAME_BYTES,
               "all segments lie in one indirect page");

static enum dgm_blkback_refusal check_operation(uint8_t operation,
                                                const struct dgm_blkif_limits *limits)
{
    if (operation == BLKIF_OP_READ)
        return DGM_BLKBACK_ACCEPTED;
    if (operation != BLKIF_OP_WRITE)
        return DGM_BLKBACK_OPERATION_UNKNOWN;
    return limits->writable ? DGM_BLKBACK_ACCEPTED : DGM_BLKBACK_READ_ONLY;
}

static enum dgm_blkback_refusal parse_direct(const struct blkif_request *direct,
                                             const struct dgm_blkif_limits *limits,
                                             struct dgm_blkif_request *request)
{
    const enum dgm_blkback_refusal refusal = check_operation(direct->operation, limits);

    request->sector = direct->sector_number;
    request->segment_count = direct->nr_segments;
    if (refusal != DGM_BLKBACK_ACCEPTED)
        return refusal;
    if (direct->nr_segments == 0)
        return DGM_BLKBACK_SEGMENTS_NONE;
    if (direct->nr_segments > BLKIF_MAX_SEGMENTS_PER_REQUEST)
        return DGM_BLKBACK_SEGMENTS_TOO_MANY;
    return dgm_blkif_check_segments(request, limits, direct->seg, &request->bytes);
}

static enum dgm_blkback_refusal parse_indirect(const struct blkif_request_indirect *indirect,
                                               const struct dgm_blkif_limits *limits,
                                               struct dgm_blkif_request *request)
{
    const enum dgm_blkback_refusal refusal = check_operation(indirect->indirect_op, limits);

    request->operation = indirect->indirect_op;
    request->sector = indirect->sector_number;
    request->segment_count = indirect->nr_segments;
    request->indirect_ref = indirect->indirect_grefs[0];
    request->indirect = true;
    if (refusal != DGM_BLKBACK_ACCEPTED)
        return refusal;
    if (indirect->nr_segments == 0)
        return DGM_BLKBACK_SEGMENTS_NONE;
    if (indirect->nr_segments > limits->segments_max)
        return DGM_BLKBACK_SEGMENTS_TOO_MANY;
    return DGM_BLKBACK_ACCEPTED;
}

enum dgm_blkback_refusal dgm_blkif_parse(const union dgm_blkif_entry *entry,
                                         const struct dgm_blkif_limits *limits,
                                         struct dgm_blkif_request *request)
{
    *request =
        (struct dgm_blkif_request){.id = entry->direct.id, .operation = entry->direct.operation};
    switch (entry->direct.operation) {
    case BLKIF_OP_READ:
    case BLKIF_OP_WRITE:
        return parse_direct(&entry->direct, limits, request);
    case BLKIF_OP_INDIRECT:
        return parse_indirect(&entry->indirect, limits, request);
    case BLKIF_OP_FLUSH_DISKCACHE:
        return entry->direct.nr_segments == 0 ? DGM_BLKBACK_ACCEPTED : DGM_BLKBACK_FLUSH_WITH_DATA;
    case BLKIF_OP_WRITE_BARRIER:
    case BLKIF_OP_DISCARD:
        return DGM_BLKBACK_OPERATION_NOT_OFFERED;
    default:
        return DGM_BLKBACK_OPERATION_UNKNOWN;
    }
}

enum dgm_blkback_refusal dgm_blkif_check_segments(const struct dgm_blkif_request *request,
                                                  const struct dgm_blkif_limits *limits,
                                                  const struct blkif_request_segment *segments,
                                                  uint32_t *bytes)
{
    uint32_t sectors = 0; /* at most 256 * 8 */

    for (uint16_t i = 0; i < request->segment_count; i++) {
        const uint8_t first = segments[i].first_sect, last = segments[i].last_sect;

        if (last >= DGM_FRAME_BYTES / DGM_BLKIF_SECTOR_BYTES || first > last)
            return DGM_BLKBACK_SEGMENT_BOUNDS;
        sectors += last - first + 1u;
    }
    return dgm_blkif_check_range(request, limits, sectors, bytes);
}

enum dgm_blkback_refusal dgm_blkif_check_range(const struct dgm_blkif_request *request,
                                               const struct dgm_blkif_limits *limits,
                                               uint32_t sectors, uint32_t *bytes)
{
    const uint32_t within_block = limits->block_bytes / DGM_BLKIF_SECTOR_BYTES - 1;

    if (sectors > limits->sectors || request->sector > limits->sectors - sectors)
        return DGM_BLKBACK_OUT_OF_RANGE;
    if (((request->sector | sectors) & within_block) != 0)
        return DGM_BLKBACK_UNALIGNED;
    *bytes = sectors * DGM_BLKIF_SECTOR_BYTES;
    return DGM_BLKBACK_ACCEPTED;
}

int16_t dgm_blkif_status(enum dgm_blkback_refusal refusal)
{
    switch (refusal) {
    case DGM_BLKBACK_ACCEPTED:
        return BLKIF_RSP_OKAY;
    case DGM_BLKBACK_OPERATION_NOT_OFFERED:
    case DGM_BLKBACK_OPERATION_UNKNOWN:
        return BLKIF_RSP_EOPNOTSUPP;
    default:
        return BLKIF_RSP_ERROR;
    }
}

const char *dgm_blkback_refusal_name(enum dgm_blkback_refusal refusal)
{
    static const char *const names[DGM_BLKBACK_REFUSALS] = {
        [DGM_BLKBACK_ACCEPTED] = "accepted",
        [DGM_BLKBACK_OPERATION_UNKNOWN] = "unknown operation",
        [DGM_BLKBACK_OPERATION_NOT_OFFERED] = "operation not offered",
        [DGM_BLKBACK_READ_ONLY] = "write to a read-only disk",
        [DGM_BLKBACK_SEGMENTS_NONE] = "no segments",
        [DGM_BLKBACK_SEGMENTS_TOO_MANY] = "too many segments",
        [DGM_BLKBACK_SEGMENT_BOUNDS] = "segment leaves its frame",
        [DGM_BLKBACK_OUT_OF_RANGE] = "beyond the end of the disk",
        [DGM_BLKBACK_UNALIGNED] = "not a multiple of the disk's block",
        [DGM_BLKBACK_FLUSH_WITH_DATA] = "flush with data",
        [DGM_BLKBACK_BAD_GRANT] = "bad grant reference",
    };

    return refusal < DGM_BLKBACK_REFUSALS ? names[refusal] : "?";
}
