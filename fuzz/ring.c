/* SPDX-License-Identifier: MIT */
/*
 * fuzz ring: a ring's pages that the guest rewrites between any two steps, and the parser of
 * requests
 *
 * Properties: no access outside of the pages; never more requests outstanding than the ring has
 * entries; a taken entry equals the one in the ring; an accepted request lies within the disk, its
 * segments within their frames, and this disk offers its operation; a refused one keeps its id and
 * operation.
 */
#include "lib/feed.h"

#include <block/request.h>
#include <dragoman/hyper/ring.h>
#include <dragoman/base/status.h>
#include <hyper/internal.h>

static struct dgm_blkif_limits limits;

static struct dgm_blkif_limits random_limits(struct feed *feed)
{
    const uint32_t block_bytes = feed_chance(feed, 64) ? 4096 : 512;
    const uint64_t sectors = feed_chance(feed, 64) ? feed_take(feed, 8) : feed_below(feed, 5000);
    const uint16_t segments_max = (uint16_t)(1 + feed_below(feed, DGM_BLKIF_SEGMENTS_MAX));

    return (struct dgm_blkif_limits){
        .sectors = sectors - sectors % (block_bytes / 512),
        .block_bytes = block_bytes,
        .segments_max = segments_max,
        .writable = feed_chance(feed, 128),
    };
}

static void check_accepted(const struct dgm_blkif_request *request,
                           const struct blkif_request_segment *segments)
{
    const uint64_t sectors = request->bytes / 512;
    uint64_t sum = 0;

    fuzz_check(request->operation == BLKIF_OP_READ ||
               (request->operation == BLKIF_OP_WRITE && limits.writable));
    fuzz_check(request->segment_count >= 1 && request->segment_count <= DGM_BLKIF_SEGMENTS_MAX);
    for (unsigned i = 0; i < request->segment_count; i++) {
        fuzz_check(segments[i].first_sect <= segments[i].last_sect && segments[i].last_sect < 8);
        sum += (uint64_t)segments[i].last_sect - segments[i].first_sect + 1;
    }
    fuzz_check(sum == sectors && request->bytes == sum * 512);
    fuzz_check(request->sector < limits.sectors && sectors <= limits.sectors);
    fuzz_check(request->sector <= limits.sectors - sectors);
    fuzz_check(request->sector * 512 % limits.block_bytes == 0);
    fuzz_check(request->bytes % limits.block_bytes == 0);
}

/* The second step: the page of segments is the guest's. */
static void parse_indirect(struct feed *feed, struct dgm_blkif_request *request)
{
    static struct blkif_request_segment segments[DGM_BLKIF_SEGMENTS_MAX];

    fuzz_check(request->segment_count <= limits.segments_max);
    for (unsigned i = 0; i < request->segment_count; i++) {
        const uint8_t bounds = (uint8_t)feed_take(feed, 1);

        segments[i].first_sect = bounds & 15;
        segments[i].last_sect = bounds ? bounds >> 4 : 7; /* 0, at the end of the feed: all */
    }
    if (dgm_blkif_check_segments(request, &limits, segments, &request->bytes) ==
        DGM_BLKBACK_ACCEPTED)
        check_accepted(request, segments);
}

static void check_parse(struct feed *feed, const union dgm_blkif_entry *entry)
{
    struct dgm_blkif_request request;
    const enum dgm_blkback_refusal refusal = dgm_blkif_parse(entry, &limits, &request);

    fuzz_check(request.id == entry->direct.id);
    fuzz_check(request.indirect || request.operation == entry->direct.operation);
    fuzz_check(refusal < DGM_BLKBACK_REFUSALS);
    fuzz_check((dgm_blkif_status(refusal) == BLKIF_RSP_OKAY) == (refusal == DGM_BLKBACK_ACCEPTED));
    if (refusal != DGM_BLKBACK_ACCEPTED || request.operation == BLKIF_OP_FLUSH_DISKCACHE)
        return;
    if (request.indirect)
        parse_indirect(feed, &request);
    else
        check_accepted(&request, entry->direct.seg);
}

/* Byte `i` of an entry of the ring. */
static uint8_t *byte_of(const struct dgm_ring_pages *pages, const struct dgm_ring *ring,
                        uint32_t entry, uint32_t i)
{
    const uint32_t at = 64 + (entry & (ring->entries - 1)) * ring->entry_bytes + i;

    return (uint8_t *)pages->at[at / 4096] + at % 4096;
}

void run_input(struct feed *feed)
{
    static const uint32_t sizes[] = {112, 112, 112, 64, 16, 12, 4, 4032};
    static _Alignas(8) const uint8_t response[16] = {1, 2, 3};
    static union {
        union dgm_blkif_entry blkif;
        uint8_t bytes[4032];
    } entry;
    const unsigned order = feed_below(feed, DGM_RING_ORDER_MAX + 1);
    const uint32_t entry_bytes = sizes[feed_below(feed, 8)];
    struct dgm_ring_pages pages = {.order = order}; /* of which each is memory of its own */
    struct dgm_ring ring;

    limits = random_limits(feed);
    for (unsigned i = 0; i < 1u << order; i++)
        pages.at[i] = memset(aligned_alloc(4096, 4096), 0, 4096);
    if (feed_chance(feed, 64)) { /* indices near their wrap */
        const uint32_t start = 0u - (uint32_t)feed_take(feed, 1);

        memcpy(pages.at[0], &start, 4);
        memcpy((char *)pages.at[0] + 8, &start, 4);
    }
    dgm_ring_init(&ring, &pages, entry_bytes);
    while (feed->left) {
        uint32_t index, at;

        switch (feed_below(feed, 8)) {
        case 0: /* an honest producer */
            index = ring.published + (uint32_t)feed_below(feed, ring.entries + 1);
            memcpy(pages.at[0], &index, 4);
            break;
        case 1: /* any byte */
            index = (uint32_t)feed_below(feed, 4096);
            at = (uint32_t)feed_below(feed, 1u << order);
            feed_copy(feed, (char *)pages.at[at] + index, 1 + feed_below(feed, 4096 - index));
            break;
        case 2: { /* a request, in the next entry */
            uint8_t request[112] = {0};

            feed_copy(feed, request, entry_bytes < 112 ? entry_bytes : 112);
            for (uint32_t i = 0; i < entry_bytes && i < sizeof request; i++)
                *byte_of(&pages, &ring, ring.consumed, i) = request[i];
            index = ring.consumed + 1;
            memcpy(pages.at[0], &index, 4);
        } /* fallthrough */
        case 3:
        case 4: {
            const uint32_t before = ring.consumed;
            const uint32_t first = feed_below(feed, (entry_bytes + 7) / 8) * 8;
            const int taken = dgm_ring_take(&ring, &entry, first);

            fuzz_check(taken == 0 || taken == 1 || taken == DGM_EPROTO);
            fuzz_check(ring.consumed == before + (taken == 1));
            if (taken == 1) {
                dgm_ring_take_rest(&ring, &entry, first);
                for (uint32_t i = 0; i < entry_bytes; i++)
                    fuzz_check(entry.bytes[i] == *byte_of(&pages, &ring, before, i));
                if (entry_bytes == 112)
                    check_parse(feed, &entry.blkif);
            }
            break;
        }
        case 5:
            if (dgm_ring_outstanding(&ring))
                dgm_ring_respond(&ring, response, entry_bytes < 16 ? entry_bytes : 16);
            break;
        case 6:
            dgm_ring_publish(&ring);
            fuzz_check(ring.published == ring.responded);
            break;
        default:
            dgm_ring_final_check(&ring);
            break;
        }
        fuzz_check(dgm_ring_outstanding(&ring) <= ring.entries);
    }
    for (unsigned i = 0; i < 1u << order; i++)
        free(pages.at[i]);
}
