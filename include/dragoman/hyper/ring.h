/* SPDX-License-Identifier: MIT */
/*
 * ring: the backend's half of a shared ring (xen/io/ring.h)
 *
 * The guest may rewrite the page at any instant, so indices are read once, entries are copied out
 * once, and responses are copied in whole. One frame per ring. Requests and responses share the
 * entries, so no more than `entries` requests are ever outstanding: a producer index that claims
 * more is a broken or hostile frontend.
 */
#ifndef DRAGOMAN_HYPER_RING_H
#define DRAGOMAN_HYPER_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dgm_ring_shared; /* the page, as xen/io/ring.h lays it out */

struct dgm_ring {
    struct dgm_ring_shared *shared;
    uint32_t entries;     /* power of two */
    uint32_t entry_bytes; /* the larger of request and response */
    uint32_t consumed;    /* requests taken */
    uint32_t responded;   /* responses written */
    uint32_t published;   /* responses that the guest may see */
};

/*
 * Starts on a freshly connected page (4096 bytes at `page`). Continues at the indices found there,
 * which a frontend has just set to 0. entry_bytes: largest of request and response, a multiple
 * of 4.
 */
void dgm_ring_init(struct dgm_ring *ring, void *page, uint32_t entry_bytes);

/*
 * Takes one request: copies the first `bytes` of the entry out. 1: taken. 0: nothing new.
 * DGM_EPROTO: the producer index claims more than the ring can hold; stop the ring.
 */
int dgm_ring_take(struct dgm_ring *ring, void *request, size_t bytes);

/* Asks to be woken for the next request; true if one has come meanwhile (then drain again). */
bool dgm_ring_final_check(struct dgm_ring *ring);

/* Writes one response, not yet visible. Asserts: a request was taken for it. */
void dgm_ring_respond(struct dgm_ring *ring, const void *response, size_t bytes);

/* Makes the written responses visible; true if the guest wants an event for them. */
bool dgm_ring_publish(struct dgm_ring *ring);

/* Requests taken and not answered. */
static inline uint32_t dgm_ring_outstanding(const struct dgm_ring *ring)
{
    return ring->consumed - ring->responded;
}

#ifdef __cplusplus
}
#endif

#endif
