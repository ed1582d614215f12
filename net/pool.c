/* SPDX-License-Identifier: MIT */
/* pool: the packets of all ports, and their frames. See net/packet.h. */
#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <net/packet.h>

#include <string.h>

_Static_assert(DGM_PACKET_FRAMES_MAX *DGM_FRAME_BYTES > DGM_PACKET_BYTES_MAX, "frames of a packet");

int dgm_packets_init(struct dgm_packets *pool, struct dgm_frames *frames, uint16_t count)
{
    *pool = (struct dgm_packets){.total = count, .free_frames_min = count};
    pool->records = dgm_frames_take_bytes(frames, count * sizeof *pool->records);
    pool->free_frames = dgm_frames_take_bytes(frames, count * sizeof *pool->free_frames);
    if (!pool->records || !pool->free_frames ||
        dgm_frames_take(frames, count, &pool->first) != DGM_OK)
        return DGM_ENOMEM;
    for (uint16_t i = count; i-- > 0;) {
        struct dgm_packet *packet = &pool->records[i];

        packet->pool = pool;
        packet->next = pool->free;
        pool->free = packet;
        pool->free_frames[pool->free_frame_count++] = i;
    }
    return DGM_OK;
}

struct dgm_packet *dgm_packet_take(struct dgm_packets *pool, uint32_t length)
{
    const uint16_t count = (uint16_t)((length + DGM_FRAME_BYTES - 1) / DGM_FRAME_BYTES);
    struct dgm_packet *packet = pool->free;

    dgm_assert(length >= DGM_PACKET_BYTES_MIN && length <= DGM_PACKET_BYTES_MAX);
    if (count > pool->free_frame_count) {
        pool->shortages++;
        return NULL;
    }
    dgm_assert(packet != NULL); /* a packet has a frame at least */
    pool->free = packet->next;
    *packet = (struct dgm_packet){.pool = pool,
                                  .users = 1,
                                  .length = (uint16_t)length,
                                  .present = (uint16_t)length,
                                  .frame_count = count};
    for (uint16_t i = 0; i < count; i++)
        packet->frames[i] = pool->free_frames[--pool->free_frame_count];
    if (pool->free_frame_count < pool->free_frames_min)
        pool->free_frames_min = pool->free_frame_count;
    packet->nic.gfn = dgm_packet_gfn(packet, 0);
    packet->nic.bytes = packet->length;
    return packet;
}

void dgm_packet_hold(struct dgm_packet *packet)
{
    dgm_assert(packet->users > 0 && packet->users < UINT16_MAX);
    dgm_assert(packet->present == packet->length);
    packet->users++;
}

void dgm_packet_release(struct dgm_packet *packet)
{
    struct dgm_packets *pool = packet->pool;

    dgm_assert(packet->users > 0);
    if (--packet->users)
        return;
    for (uint16_t i = 0; i < packet->frame_count; i++)
        pool->free_frames[pool->free_frame_count++] = packet->frames[i];
    dgm_assert(pool->free_frame_count <= pool->total);
    packet->next = pool->free;
    pool->free = packet;
}

dgm_gfn_t dgm_packet_gfn(const struct dgm_packet *packet, uint32_t offset)
{
    const uint32_t index = offset / DGM_FRAME_BYTES;

    dgm_assert(index < packet->frame_count);
    return dgm_gfn(dgm_gfn_number(packet->pool->first) + packet->frames[index]);
}

void *dgm_packet_at(const struct dgm_packet *packet, uint32_t offset)
{
    return (char *)dgm_env_va(dgm_packet_gfn(packet, offset)) + offset % DGM_FRAME_BYTES;
}

void dgm_packet_copy(struct dgm_packet *to, uint32_t to_offset, const struct dgm_packet *from,
                     struct dgm_span span)
{
    while (span.bytes) {
        const uint32_t room = DGM_FRAME_BYTES - to_offset % DGM_FRAME_BYTES;
        const uint32_t here = DGM_FRAME_BYTES - span.offset % DGM_FRAME_BYTES;
        uint32_t bytes = room < here ? room : here;

        if (bytes > span.bytes)
            bytes = span.bytes;
        memcpy(dgm_packet_at(to, to_offset), dgm_packet_at(from, span.offset), bytes);
        to_offset += bytes;
        span.offset += bytes;
        span.bytes -= bytes;
    }
}

void dgm_packets_check(const struct dgm_packets *pool)
{
    uint32_t used = 0, free_records = 0, used_records = 0;

    for (const struct dgm_packet *packet = pool->free; packet; packet = packet->next) {
        dgm_assert(packet->users == 0 && free_records < pool->total);
        free_records++;
    }
    for (uint16_t i = 0; i < pool->total; i++) {
        if (pool->records[i].users) {
            used += pool->records[i].frame_count;
            used_records++;
        }
    }
    dgm_assert(used + pool->free_frame_count == pool->total);
    dgm_assert(used_records + free_records == pool->total);
}
