/* SPDX-License-Identifier: MIT */
/*
 * request: the parser of ring entries
 *
 * Pure functions over private copies: bytes in, a request or a refusal out. They read no shared
 * memory, so the guest cannot change the result meanwhile. A direct request is complete in its
 * entry (up to 11 segments). An indirect request is parsed in two steps: its segments lie in a page
 * that has to be reached and copied first.
 *
 * Layouts: xen/io/blkif.h, native 64-bit. A sector is 512 bytes, independent of the disk's block
 * size.
 */
#ifndef BLOCK_REQUEST_H
#define BLOCK_REQUEST_H

#include <dragoman/block/blkback.h>

#define DGM_BLKIF_SECTOR_BYTES 512u
#define DGM_BLKIF_SEGMENTS_MAX 256u /* the most that we offer; they fit in one indirect page */

/* The limits for the check of a request. */
struct dgm_blkif_limits {
    uint64_t sectors;     /* the disk's size */
    uint32_t block_bytes; /* 512 or 4096 */
    uint16_t segments_max;
    bool writable;
};

/* A parsed request. `id` and `operation` are valid even in a refused one: the response echoes
 * them. */
struct dgm_blkif_request {
    uint64_t id;
    uint64_t sector;
    uint32_t bytes; /* the sum of all segments; 0 while they are not known */
    grant_ref_t indirect_ref;
    uint16_t segment_count;
    uint8_t operation; /* BLKIF_OP_READ, WRITE or FLUSH_DISKCACHE; of an indirect one the inner */
    bool indirect;     /* the segments lie in the page of indirect_ref */
};

/*
 * Parses one entry. A direct request is checked completely; its segments are those of the entry
 * (entry->direct.seg). An indirect one is checked without its segments.
 */
enum dgm_blkback_refusal dgm_blkif_parse(const union dgm_blkif_entry *entry,
                                         const struct dgm_blkif_limits *limits,
                                         struct dgm_blkif_request *request);

/* Checks request->segment_count segments and the resulting range on the disk. Accepted: sets *bytes
 * to their sum. */
enum dgm_blkback_refusal dgm_blkif_check_segments(const struct dgm_blkif_request *request,
                                                  const struct dgm_blkif_limits *limits,
                                                  const struct blkif_request_segment *segments,
                                                  uint32_t *bytes);

/* The second half of that check, for segments whose bounds are known to be right: `sectors` is
 * their sum. */
enum dgm_blkback_refusal dgm_blkif_check_range(const struct dgm_blkif_request *request,
                                               const struct dgm_blkif_limits *limits,
                                               uint32_t sectors, uint32_t *bytes);

/* The number of frames that a request needs: its segments, and their page. */
static inline uint32_t dgm_blkif_frames(const struct dgm_blkif_request *request)
{
    return request->segment_count + (request->indirect ? 1u : 0u);
}

/* The response's status for a refusal. */
int16_t dgm_blkif_status(enum dgm_blkback_refusal refusal);

const char *dgm_blkback_refusal_name(enum dgm_blkback_refusal refusal);

#endif
