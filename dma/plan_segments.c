/* SPDX-License-Identifier: MIT */
/*
 * dma/plan_segments: the segments of a plan, and the rules of a tag about their ends
 *
 * Appended bytes are merged with the last segment if their bus addresses are adjacent, and split at
 * the tag's limits. Two rules of a tag are about bus addresses:
 *
 *   gap        between two segments, the end of the one and the start of the next are multiples of
 *              tag->gap. The first segment may start anywhere, the last may end anywhere.
 *   alignment  a segment starts at a multiple of tag->alignment.
 *
 * An example, with a gap of 4096 as NVMe PRPs have it. A, B, C and D are appended in this order:
 *
 *      bus  9800    a000   5000            6000   3000    3400        7400    7800
 *            |---A---|      |-------B-------|      |---C---|           |---D---|
 *
 *   A ends and B starts at a multiple of 4096, B ends and C starts at one: three segments of 2048,
 *   4096 and 1024 bytes. C ends at 0x3400, which is no multiple of 4096, so no segment can follow
 *   it: D cannot be appended. The plan ends after 7168 bytes, and D starts the next map.
 *
 * Splits. A split makes two segments of adjacent bytes, and the rules hold between these too. So if
 * a segment reaches a limit and another must follow it, the segment ends at the last address within
 * the limit where the next one may start (inner_segment_bytes()). For example with a gap of 4096
 * and at most 6144 bytes in a segment: 16 adjacent KiB become four segments of 4096 bytes.
 */
#include <dma/internal.h>

static bool is_on_gap(const struct dgm_dma_tag *tag, dgm_bus_t bus)
{
    return tag->gap == 0 || dgm_bus_offset(bus, tag->gap) == 0;
}

static bool is_aligned(const struct dgm_dma_tag *tag, dgm_bus_t bus)
{
    return dma_beyond_alignment(tag, dgm_bus_address(bus)) == 0;
}

/* The caller ensures that there is one. */
static struct dgm_dma_segment *last_segment(const struct dma_plan *plan)
{
    return &plan->map->segments[plan->map->segment_count - 1];
}

static dgm_bus_t segment_end(const struct dgm_dma_segment *segment)
{
    return dgm_bus_add(segment->bus, segment->bytes);
}

static bool is_adjacent_to_last_segment(const struct dma_plan *plan, dgm_bus_t bus)
{
    return plan->map->segment_count && dgm_bus_equal(segment_end(last_segment(plan)), bus);
}

bool dgm_dma_plan_is_appendable(const struct dma_plan *plan, dgm_bus_t bus)
{
    return is_aligned(plan->tag, bus) || is_adjacent_to_last_segment(plan, bus);
}

/* Whether a segment may start at `bus`, after the last one if there is one. */
static bool may_start_segment(const struct dma_plan *plan, dgm_bus_t bus)
{
    const struct dgm_dma_tag *tag = plan->tag;

    if (!is_aligned(tag, bus))
        return false;
    return plan->map->segment_count == 0 ||
           (is_on_gap(tag, segment_end(last_segment(plan))) && is_on_gap(tag, bus));
}

/* How many of `bytes` bytes at `bus` fit into one segment that has `present` bytes already. */
static uint32_t segment_bytes_allowed(const struct dgm_dma_tag *tag, dgm_bus_t bus,
                                      uint32_t present, uint32_t bytes)
{
    if (tag->segment_bytes_max)
        bytes = dma_min(bytes, tag->segment_bytes_max - present);
    if (tag->boundary) {
        const uint64_t crossed = dgm_bus_offset(bus, tag->boundary);

        if (crossed == 0 && present)
            return 0;
        if (bytes > tag->boundary - crossed)
            bytes = (uint32_t)(tag->boundary - crossed);
    }
    return bytes;
}

/*
 * The same for an inner segment: if not all `bytes` fit, another segment must follow directly, so
 * this one ends where the next may start. 0 with `present` 0: it cannot end at such an address.
 */
static uint32_t inner_segment_bytes(const struct dgm_dma_tag *tag, dgm_bus_t bus, uint32_t present,
                                    uint32_t bytes)
{
    const uint32_t unit = tag->gap > tag->alignment ? tag->gap : tag->alignment;
    const uint32_t allowed = segment_bytes_allowed(tag, bus, present, bytes);
    uint32_t over;

    if (allowed == bytes || unit == 0)
        return allowed;
    over = (uint32_t)dgm_bus_offset(dgm_bus_add(bus, allowed), unit);
    return over <= allowed ? allowed - over : allowed;
}

/* Adds a segment for the first of `bytes` bytes at `bus`. Returns its length; 0: no segment may
 * start. */
static uint32_t plan_add_segment(struct dma_plan *plan, dgm_bus_t bus, uint32_t bytes)
{
    struct dgm_dma_map *map = plan->map;
    uint32_t segment_bytes;

    if (map->segment_count == plan->tag->segments_max)
        return 0;
    if (!may_start_segment(plan, bus)) {
        plan->gap_broken = true;
        return 0;
    }
    segment_bytes = inner_segment_bytes(plan->tag, bus, 0, bytes);
    if (segment_bytes == 0) /* it is the last one: no segment can follow it */
        segment_bytes = segment_bytes_allowed(plan->tag, bus, 0, bytes);
    map->segments[map->segment_count++] = (struct dgm_dma_segment){bus, segment_bytes};
    return segment_bytes;
}

uint32_t dgm_dma_plan_append(struct dma_plan *plan, dgm_bus_t bus, uint32_t bytes)
{
    uint32_t done = 0;

    while (done < bytes) {
        const dgm_bus_t at = dgm_bus_add(bus, done);
        uint32_t more = 0;

        if (is_adjacent_to_last_segment(plan, at)) {
            struct dgm_dma_segment *last = last_segment(plan);

            more = inner_segment_bytes(plan->tag, at, last->bytes, bytes - done);
            last->bytes += more;
        }
        if (more == 0)
            more = plan_add_segment(plan, at, bytes - done);
        if (more == 0)
            break;
        done += more;
    }
    plan->map->bytes += done;
    return done;
}
