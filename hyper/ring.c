/* SPDX-License-Identifier: MIT */
/*
 * ring: each index is read once, each entry copied once. See dragoman/hyper/ring.h.
 *
 * The layout of the page is that of xen/io/ring.h: four indices, padding to 64 bytes, the entries.
 * All accesses are volatile, one per word, so that the compiler cannot read a word twice. Entries
 * are copied by whole words: a memcpy() of unknown alignment costs several times as much.
 */
#include <dragoman/base/check.h>
#include <hyper/internal.h>
#include <dragoman/base/status.h>

#include <port/arch.h>

#define PAGE_BYTES   4096u
#define HEADER_BYTES 64u

typedef uint32_t __attribute__((may_alias)) word32;
typedef uint64_t __attribute__((may_alias)) word64;

struct dgm_ring_shared {
    uint32_t req_prod, req_event;
    uint32_t rsp_prod, rsp_event;
    uint8_t pad[HEADER_BYTES - 16];
};

_Static_assert(sizeof(struct dgm_ring_shared) == HEADER_BYTES, "xen/io/ring.h");

static uint32_t load_index(const uint32_t *index)
{
    return *(const volatile word32 *)index;
}

static void store_index(uint32_t *index, uint32_t value)
{
    *(volatile word32 *)index = value;
}

struct dgm_ring_indices dgm_ring_indices(const struct dgm_ring *ring)
{
    return (struct dgm_ring_indices){.req_prod = load_index(&ring->shared->req_prod),
                                     .req_event = load_index(&ring->shared->req_event),
                                     .rsp_prod = load_index(&ring->shared->rsp_prod),
                                     .rsp_event = load_index(&ring->shared->rsp_event)};
}

static void *entry_at(const struct dgm_ring *ring, uint32_t index)
{
    return (char *)ring->shared + HEADER_BYTES +
           (size_t)(index & (ring->entries - 1)) * ring->entry_bytes;
}

/* Copies between an entry of `ring` and private memory, by the words of the ring. */
static inline void copy_words(const struct dgm_ring *ring, volatile void *to,
                              const volatile void *from, size_t bytes)
{
    if (ring->word_bytes == sizeof(word64)) {
        volatile word64 *to64 = to;
        const volatile word64 *from64 = from;

        for (; bytes >= 2 * sizeof(word64); bytes -= 2 * sizeof(word64)) {
            to64[0] = from64[0];
            to64[1] = from64[1];
            to64 += 2;
            from64 += 2;
        }
        if (bytes)
            *to64 = *from64;
    } else {
        for (size_t i = 0; i < bytes / sizeof(word32); i++)
            ((volatile word32 *)to)[i] = ((const volatile word32 *)from)[i];
    }
}

/* Whether so many bytes of an entry are whole words of copy_words(). */
static inline bool is_copied_whole(const struct dgm_ring *ring, size_t bytes)
{
    return bytes <= ring->entry_bytes && (bytes & (ring->word_bytes - 1)) == 0;
}

void dgm_ring_init(struct dgm_ring *ring, void *page, uint32_t entry_bytes)
{
    uint32_t entries = 1;
    uint32_t start;

    dgm_assert(entry_bytes >= 4 && entry_bytes % 4 == 0 && (uintptr_t)page % 8 == 0);
    dgm_assert(entry_bytes <= PAGE_BYTES - HEADER_BYTES);
    while (entries * 2 * entry_bytes <= PAGE_BYTES - HEADER_BYTES)
        entries *= 2;
    ring->shared = page;
    ring->entries = entries;
    ring->entry_bytes = entry_bytes;
    ring->word_bytes = entry_bytes % sizeof(word64) ? sizeof(word32) : sizeof(word64);
    start = load_index(&ring->shared->rsp_prod);
    ring->consumed = ring->responded = ring->published = start;
}

/*
 * The guest writes a request into an entry only after it has read the response in it. So the number
 * of requests that it may claim is bounded by the responses published, not by those written.
 */
int dgm_ring_take(struct dgm_ring *ring, void *request, size_t bytes)
{
    dgm_assert(is_copied_whole(ring, bytes));

    const uint32_t waiting = load_index(&ring->shared->req_prod) - ring->consumed; /* wraps */

    if (waiting == 0)
        return 0;
    if (waiting > ring->entries - (ring->consumed - ring->published))
        return DGM_EPROTO;
    dgm_arch_rmb(); /* reads the index before the entry that it announces */
    copy_words(ring, request, entry_at(ring, ring->consumed), bytes);
    ring->consumed++;
    dgm_assert(dgm_ring_outstanding(ring) <= ring->entries);
    return 1;
}

void dgm_ring_take_rest(const struct dgm_ring *ring, void *request, size_t bytes)
{
    dgm_assert(is_copied_whole(ring, bytes) && dgm_ring_outstanding(ring) > 0);
    copy_words(ring, (char *)request + bytes, (char *)entry_at(ring, ring->consumed - 1) + bytes,
               ring->entry_bytes - bytes);
}

bool dgm_ring_final_check(struct dgm_ring *ring)
{
    store_index(&ring->shared->req_event, ring->consumed + 1);
    dgm_arch_mb(); /* req_event is visible before req_prod is read again */
    return load_index(&ring->shared->req_prod) != ring->consumed;
}

void dgm_ring_respond(struct dgm_ring *ring, const void *response, size_t bytes)
{
    dgm_assert(is_copied_whole(ring, bytes));
    dgm_assert(dgm_ring_outstanding(ring) > 0);
    copy_words(ring, entry_at(ring, ring->responded), response, bytes);
    ring->responded++;
    dgm_assert(ring->responded - ring->published <= ring->entries);
}

bool dgm_ring_publish(struct dgm_ring *ring)
{
    const uint32_t before = ring->published, now = ring->responded;

    if (now == before)
        return false;
    dgm_arch_wmb(); /* the responses are visible before rsp_prod */
    store_index(&ring->shared->rsp_prod, now);
    ring->published = now;
    dgm_arch_mb(); /* rsp_prod is visible before rsp_event is read */
    return now - load_index(&ring->shared->rsp_event) < now - before;
}
