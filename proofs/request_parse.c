/* SPDX-License-Identifier: MIT */
/*
 * Proves: the parser reads only the 112 bytes of an entry, and at most its 11 segments, whatever
 * the bytes; it copies the id; a request that it accepts is allowed (operation, count, access), and
 * a direct one lies on the disk.
 * Over: all 112-byte entries, any disk.
 *
 * sources: block/request.c
 * options: --unwind 13
 * planted: block/request.c s/direct->nr_segments > BLKIF_MAX/direct->nr_segments > 1 + BLKIF_MAX/
 * planted: block/request.c s/indirect->nr_segments > limits->segments_max/false/
 * planted: block/request.c s/return limits->writable \? /return true ? /
 */
#include "proof.h"

#include <block/request.h>

int main(void)
{
    union dgm_blkif_entry entry;
    struct dgm_blkif_limits limits = {.sectors = any_u64(),
                                      .block_bytes = any_bool() ? 512 : 4096,
                                      .segments_max = any_u16(),
                                      .writable = any_bool()};
    struct dgm_blkif_request request;
    enum dgm_blkback_refusal refusal;

    assume(limits.segments_max <= DGM_BLKIF_SEGMENTS_MAX);
    refusal = dgm_blkif_parse(&entry, &limits, &request);

    prove(refusal < DGM_BLKBACK_REFUSALS);
    prove(request.id == entry.direct.id);
    prove((dgm_blkif_status(refusal) == BLKIF_RSP_OKAY) == (refusal == DGM_BLKBACK_ACCEPTED));
    if (refusal != DGM_BLKBACK_ACCEPTED)
        return 0;
    prove(request.operation == BLKIF_OP_READ || request.operation == BLKIF_OP_WRITE ||
          request.operation == BLKIF_OP_FLUSH_DISKCACHE);
    prove(request.operation != BLKIF_OP_WRITE || limits.writable);
    if (request.operation == BLKIF_OP_FLUSH_DISKCACHE) {
        prove(request.bytes == 0 && !request.indirect);
    } else if (request.indirect) {
        prove(request.segment_count > 0 && request.segment_count <= limits.segments_max);
    } else {
        prove(request.segment_count > 0 && request.segment_count <= 11);
        prove(request.bytes > 0 && request.bytes <= 11 * 4096);
        prove(request.sector <= limits.sectors);
        prove(request.bytes / 512 <= limits.sectors - request.sector);
    }
    return 0;
}
