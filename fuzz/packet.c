/* SPDX-License-Identifier: MIT */
/*
 * fuzz packet: the parser of a packet's headers, the checksum that is filled in, large packets
 *
 * Properties: no access outside of the packet; reported offsets lie within it and in order; the
 * number of readable bytes decides only whether a header is reported, never what is reported; with
 * a checksum that was filled in, a receiver's sum is correct; the packets that a large one is cut
 * into have its payload, once and in order.
 */
#include "lib/feed.h"

#include <dragoman/base/status.h>
#include <net/packet.h>
#include <sim/hypervisor/hypervisor.h>

#define RAM 0x40000u

static struct dgm_packets pool;

static void check_headers(const struct dgm_packet_headers *headers, size_t length)
{
    fuzz_check(headers->network >= 14 && headers->network <= 22 && headers->network <= length);
    fuzz_check(headers->ip == 0 || headers->ip == 4 || headers->ip == 6);
    if (headers->transport == 0)
        return;
    fuzz_check(headers->ip != 0);
    fuzz_check(headers->transport >= headers->network + 20);
    fuzz_check((size_t)headers->transport + headers->transport_bytes <= length);
    fuzz_check(headers->checksum ==
               headers->transport + (headers->protocol == DGM_IP_TCP ? 16 : 6));
    fuzz_check(headers->checksum + 2u <= headers->transport + headers->transport_bytes);
    if (headers->payload == 0)
        return;
    fuzz_check(headers->payload >= headers->checksum + 2u);
    fuzz_check(headers->payload <= headers->transport + headers->transport_bytes);
}

static void check_fill(const uint8_t *bytes, size_t length,
                       const struct dgm_packet_headers *expected)
{
    struct dgm_packet *packet = dgm_packet_take(&pool, (uint32_t)length);
    const struct dgm_packet_headers *headers = &packet->headers;
    uint32_t before, after;

    memcpy(dgm_packet_at(packet, 0), bytes, length);
    fuzz_check(dgm_packet_read_headers(packet));
    fuzz_check(headers->transport == expected->transport);
    before = (uint32_t)bytes[headers->checksum] << 8 | bytes[headers->checksum + 1];
    if (dgm_packet_fill_checksum(packet) == DGM_OK) {
        after = dgm_checksum_add(before, dgm_packet_at(packet, headers->transport),
                                 headers->transport_bytes, false);
        fuzz_check(dgm_checksum_finish(after) == 0);
    } else {
        fuzz_check(headers->transport == 0);
        fuzz_check(memcmp(dgm_packet_at(packet, 0), bytes, length) == 0);
    }
    dgm_packet_release(packet);
}

static void check_cut(const uint8_t *bytes, size_t length, unsigned ip, uint16_t mss)
{
    struct dgm_packet *large = dgm_packet_take(&pool, (uint32_t)length), *packet;
    uint32_t done = 0;

    memcpy(dgm_packet_at(large, 0), bytes, length);
    fuzz_check(dgm_packet_read_headers(large));
    large->checksum_blank = true;
    if (dgm_packet_set_large(large, ip, mss) == DGM_OK && large->mss) {
        const uint32_t header_bytes = large->headers.payload;
        uint32_t before = 0;

        while ((packet = dgm_packet_cut(large, &done)) != NULL) {
            struct dgm_packet_headers headers = packet->headers;

            fuzz_check(packet->length <= dgm_packet_cut_bytes(large) && done > before);
            fuzz_check(packet->length == header_bytes + (done - before));
            fuzz_check(memcmp(dgm_packet_at(packet, header_bytes), bytes + header_bytes + before,
                              done - before) == 0);
            fuzz_check(dgm_packet_read_headers(packet));
            fuzz_check(memcmp(&headers, &packet->headers, sizeof headers) == 0);
            fuzz_check(dgm_packet_fill_checksum(packet) == DGM_OK);
            dgm_packet_release(packet);
            before = done;
        }
        fuzz_check(dgm_packet_is_cut(large, done));
    }
    dgm_packet_release(large);
}

void run_input(struct feed *feed)
{
    const size_t room = 1 + feed_below(feed, 2048);
    size_t available = feed_below(feed, 2048);
    uint8_t *bytes = malloc(room); /* of the exact size, so that the sanitizer sees each overrun */
    const size_t length = feed_copy(feed, bytes, room);
    uint8_t *part;
    struct dgm_packet_headers whole, headers;
    struct dgm_frames frames;

    dgm_hv_start(dgm_gfn(RAM), 16, dgm_mfn(RAM));
    dgm_frames_init(&frames);
    dgm_frames_add(&frames, (struct dgm_gfn_range){dgm_gfn(RAM), 16});
    fuzz_check(dgm_packets_init(&pool, &frames, 2) == DGM_OK);
    if (available > length)
        available = length;
    part = malloc(available + 1);
    memcpy(part, bytes, available);
    if (dgm_packet_parse(&whole, (struct dgm_packet_view){bytes, length, length})) {
        fuzz_check(length >= DGM_PACKET_BYTES_MIN);
        check_headers(&whole, length);
        check_fill(bytes, length, &whole);
        check_cut(bytes, length, whole.ip, (uint16_t)(88 + feed_below(feed, 400)));
        if (dgm_packet_parse(&headers, (struct dgm_packet_view){part, available, length})) {
            check_headers(&headers, length);
            fuzz_check(headers.destination == whole.destination);
            fuzz_check(headers.transport == 0 || headers.transport == whole.transport);
        }
    }
    dgm_packets_check(&pool);
    dgm_hv_stop();
    free(part);
    free(bytes);
}
