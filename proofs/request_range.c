/* SPDX-License-Identifier: MIT */
/*
 * Proves: accepted segments lie within their frames, and the resulting range lies on the disk and
 * is a multiple of its blocks; the harness computes it again in 128 bits, where no sum wraps. Every
 * request that satisfies all this is accepted.
 * Over: any sector, any disk size, up to 16 segments of any bytes (for 256 the loop is the same).
 *
 * sources: block/request.c
 * options: --unwind 18
 * planted: block/request.c s/request->sector > limits->sectors - sectors/request->sector + sectors > limits->sectors/
 * planted: block/request.c s/sectors > limits->sectors \|\| //
 * planted: block/request.c s/last >= DGM_FRAME_BYTES/last > DGM_FRAME_BYTES/
 */
#include "proof.h"

#include <block/request.h>

#define SEGMENTS 16

int main(void)
{
    struct blkif_request_segment segments[SEGMENTS];
    struct dgm_blkif_limits limits = {.sectors = any_u64(),
                                      .block_bytes = any_bool() ? 512 : 4096,
                                      .segments_max = SEGMENTS,
                                      .writable = true};
    struct dgm_blkif_request request = {.sector = any_u64(), .segment_count = any_u16()};
    unsigned __int128 end = request.sector;
    uint32_t sectors = 0;
    bool inside = true;
    enum dgm_blkback_refusal refusal;

    assume(request.segment_count <= SEGMENTS);
    for (uint16_t i = 0; i < request.segment_count; i++) {
        inside =
            inside && segments[i].first_sect <= segments[i].last_sect && segments[i].last_sect <= 7;
        sectors += segments[i].last_sect - segments[i].first_sect + 1u;
    }
    end += sectors;

    refusal = dgm_blkif_check_segments(&request, &limits, segments, &request.bytes);

    prove((refusal == DGM_BLKBACK_ACCEPTED) ==
          (inside && end <= limits.sectors && request.sector * 512 % limits.block_bytes == 0 &&
           sectors * 512 % limits.block_bytes == 0));
    prove(refusal != DGM_BLKBACK_ACCEPTED || request.bytes == sectors * 512);
    return 0;
}
