/* SPDX-License-Identifier: MIT */
/*
 * packets: the pool of all network packets, in our own memory
 *
 * Vifs and cards of one switch have one pool. The caller provides its frames once; only net/ takes
 * packets from it. Expect some hundred packets of one frame each.
 */
#ifndef DRAGOMAN_NET_PACKETS_H
#define DRAGOMAN_NET_PACKETS_H

#include <dragoman/base/frames.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_PACKET_FRAMES_MAX 16u /* of one packet */

struct dgm_packet; /* net/packet.h */

/* Other rooms use `total`, `free_frame_count`, `free_frames_min`, `shortages`; the rest is net's
 * own. */
struct dgm_packets {
    dgm_gfn_t first;            /* of the frames, which have adjacent gfns */
    struct dgm_packet *records; /* one for each frame */
    struct dgm_packet *free;
    uint16_t *free_frames; /* a stack */
    uint16_t total, free_frame_count;
    uint16_t free_frames_min; /* low-water mark */
    uint64_t shortages;       /* takes that failed */
};

/* Takes `count` frames, and the memory of their records, from `frames`. DGM_ENOMEM. */
int dgm_packets_init(struct dgm_packets *pool, struct dgm_frames *frames, uint16_t count);

/* Asserts that each frame is either free or in a packet. */
void dgm_packets_check(const struct dgm_packets *pool);

#ifdef __cplusplus
}
#endif

#endif
