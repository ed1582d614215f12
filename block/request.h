/* SPDX-License-Identifier: MIT */
/*
 * request: a ring entry understood, or refused
 *
 * Pure functions over private copies: bytes in, request out or a reason. Nothing here touches
 * shared memory, so nothing that the guest does meanwhile changes an answer. A request comes in one
 * step (direct, up to 11 segments in the entry) or two (indirect: its segments lie in a page that
 * has to be mapped and copied first).
 *
 * Layouts: xen/io/blkif.h, native 64-bit. Sectors are 512 bytes, whatever the disk's block is.
 */
#ifndef BLOCK_REQUEST_H
#define BLOCK_REQUEST_H

#include <dragoman/block/blkback.h>

#define DGM_BLKIF_ENTRY_BYTES  112u /* the larger of request and response */
#define DGM_BLKIF_SECTOR_BYTES 512u
#define DGM_BLKIF_SEGMENTS_MAX 256u /* what we publish; they fit in one indirect page */

/* What a request is judged by. */
struct dgm_blkif_limits {
    uint64_t sectors;     /* the disk's size */
    uint32_t block_bytes; /* 512 or 4096 */
    uint16_t segments_max;
    bool writable;
};

/* A request as it was understood. id and operation are right even in a refused one: they are what
 * the response echoes. */
struct dgm_blkif_request {
    uint64_t id;
    uint64_t sector;
    uint32_t bytes; /* the sum of all segments; 0 while they are not known */
    grant_ref_t indirect_ref;
    uint16_t segment_count;
    uint8_t operation; /* BLKIF_OP_READ, WRITE or FLUSH_DISKCACHE; an indirect one's inner one */
    bool indirect;     /* segments are yet to come from indirect_ref */
};

/*
 * Parses one entry of DGM_BLKIF_ENTRY_BYTES. Of a direct request the segments come out too (room
 * for 11) and everything is checked; of an indirect one all but the segments.
 */
enum dgm_blkback_refusal dgm_blkif_parse(const void *entry, const struct dgm_blkif_limits *limits,
                                         struct dgm_blkif_request *request,
                                         struct blkif_request_segment *segments);

/* Checks request->segment_count segments, and the range that they make; sets request->bytes. */
enum dgm_blkback_refusal dgm_blkif_check_segments(struct dgm_blkif_request *request,
                                                  const struct dgm_blkif_limits *limits,
                                                  const struct blkif_request_segment *segments);

/* The response's status for a refusal. */
int16_t dgm_blkif_status(enum dgm_blkback_refusal refusal);

#endif
