/* SPDX-License-Identifier: MIT */
/*
 * ring: the backend's half of a shared ring (xen/io/ring.h)
 *
 * The guest may rewrite the page at any instant, so each index is read once, each entry is copied
 * out once, and each response is copied in whole. A ring lies in 1, 2 or 4 frames, which need not
 * be adjacent; an entry may begin in one and end in the next. Requests and responses share the
 * entries, so at most `entries` requests are outstanding; a producer index that claims more comes
 * from a broken or hostile frontend.
 */
#ifndef DRAGOMAN_HYPER_RING_H
#define DRAGOMAN_HYPER_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_RING_ORDER_MAX 2u /* a ring has 1 << order pages */
#define DGM_RING_PAGES_MAX (1u << DGM_RING_ORDER_MAX)

/* Other rooms use `consumed`, `responded`, `published`; the rest is hyper's own. */
struct dgm_ring {
    char *pages[DGM_RING_PAGES_MAX];
    uint32_t entries;     /* power of two */
    uint32_t entry_bytes; /* the larger of request and response */
    uint32_t word_bytes;  /* of the largest words to which all entries are aligned: 4 or 8 */
    uint32_t consumed;    /* requests taken */
    uint32_t responded;   /* responses written */
    uint32_t published;   /* responses that the guest may see */
};

/* The pages of a ring: 1 << order addresses of 4096 bytes each. */
struct dgm_ring_pages {
    void *at[DGM_RING_PAGES_MAX];
    unsigned order;
};

/*
 * Starts on newly connected pages, whose addresses are copied. The backend
 * begins at the rsp_prod found in the first one, which a frontend has just set to 0. `entry_bytes`
 * is the larger size of request and response, a multiple of 4. The number of entries is the largest
 * power of two that fits, as in xen/io/ring.h. Asserts: order <= DGM_RING_ORDER_MAX.
 */
void dgm_ring_init(struct dgm_ring *ring, const struct dgm_ring_pages *pages, uint32_t entry_bytes);

/* A snapshot of the ring's indices, for reports: the guest may change them at any time. */
struct dgm_ring_indices {
    uint32_t req_prod, req_event, rsp_prod, rsp_event;
};
struct dgm_ring_indices dgm_ring_indices(const struct dgm_ring *ring);

/*
 * Takes one request: copies the first `bytes` bytes of its entry into `request`, which is aligned
 * to 8 bytes. `bytes`: as for dgm_ring_respond(). 1: taken. 0: there is no request. DGM_EPROTO: the
 * producer index claims more than the ring can hold; stop the ring.
 */
int dgm_ring_take(struct dgm_ring *ring, void *request, size_t bytes);

/* Copies the rest of the entry that was taken last, of which `bytes` bytes, not all, are in
 * `request` already; at most once for each entry, before any response. */
void dgm_ring_take_rest(const struct dgm_ring *ring, void *request, size_t bytes);

/* Asks the guest for an event at its next request. True: a request arrived meanwhile, so the caller
 * must drain the ring again. */
bool dgm_ring_final_check(struct dgm_ring *ring);

/* Writes one response, not yet visible to the guest. `response` is aligned to 8 bytes, and `bytes`
 * is a multiple of 8, or of 4 if the size of an entry is not a multiple of 8. Asserts that a
 * request is outstanding. */
void dgm_ring_respond(struct dgm_ring *ring, const void *response, size_t bytes);

/* Makes the written responses visible. True: the guest wants an event for them. */
bool dgm_ring_publish(struct dgm_ring *ring);

#ifdef __cplusplus
}
#endif

#endif
