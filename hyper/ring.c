/* SPDX-License-Identifier: MIT */
/*
 * ring: each index is read once, each entry copied once. See dragoman/hyper/ring.h.
 *
 * The layout is that of xen/io/ring.h: four indices, padding to 64 bytes, the entries, on pages one
 * after the other. All accesses are volatile, one per word, so that the compiler cannot read a word
 * twice. Entries are copied by whole words: a memcpy() of unknown alignment costs several times as
 * much.
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

static struct dgm_ring_shared *shared_of(const struct dgm_ring *ring)
{
    return (struct dgm_ring_shared *)(void *)ring->pages[0];
}

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
    const struct dgm_ring_shared *shared = shared_of(ring);

    return (struct dgm_ring_indices){.req_prod = load_index(&shared->req_prod),
                                     .req_event = load_index(&shared->req_event),
                                     .rsp_prod = load_index(&shared->rsp_prod),
                                     .rsp_event = load_index(&shared->rsp_event)};
}

/* Where the entry begins: bytes from the beginning of the first page. */
static inline uint32_t offset_of(const struct dgm_ring *ring, uint32_t index)
{
    return HEADER_BYTES + (index & (ring->entries - 1)) * ring->entry_bytes;
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

static inline char *address_of(const struct dgm_ring *ring, uint32_t offset)
{
    return ring->pages[offset / PAGE_BYTES] + offset % PAGE_BYTES;
}

/* Of `bytes` at `offset` the number that lies in the first page. Pages and entries are aligned to
 * words, so no word lies in two pages. */
static inline size_t bytes_in_page(uint32_t offset, size_t bytes)
{
    const size_t room = PAGE_BYTES - offset % PAGE_BYTES;

    return bytes < room ? bytes : room;
}

/* Copies an entry of which a part lies in the next page, out of the ring to `to`, or else from
 * `from` into it. Not inline: one entry for each page at most. */
static __attribute__((noinline)) void copy_across(const struct dgm_ring *ring, uint32_t offset,
                                                  char *to, const char *from, size_t bytes)
{
    for (uint32_t i = 0; i < bytes; i += sizeof(word32)) {
        volatile word32 *word = (volatile void *)address_of(ring, offset + i);

        if (to)
            *(word32 *)(void *)(to + i) = *word;
        else
            *word = *(const word32 *)(const void *)(from + i);
    }
}

static inline void copy_out(const struct dgm_ring *ring, void *to, uint32_t offset, size_t bytes)
{
    if (bytes_in_page(offset, bytes) == bytes)
        copy_words(ring, to, address_of(ring, offset), bytes);
    else
        copy_across(ring, offset, to, NULL, bytes);
}

static inline void copy_in(const struct dgm_ring *ring, uint32_t offset, const void *from,
                           size_t bytes)
{
    if (bytes_in_page(offset, bytes) == bytes)
        copy_words(ring, address_of(ring, offset), from, bytes);
    else
        copy_across(ring, offset, NULL, from, bytes);
}

/* Whether so many bytes of an entry are whole words of copy_words(). */
static inline bool is_copied_whole(const struct dgm_ring *ring, size_t bytes)
{
    return bytes <= ring->entry_bytes && (bytes & (ring->word_bytes - 1)) == 0;
}

void dgm_ring_init(struct dgm_ring *ring, const struct dgm_ring_pages *pages, uint32_t entry_bytes)
{
    const unsigned order = pages->order;
    uint32_t entries = 1;
    uint32_t start;

    dgm_assert(order <= DGM_RING_ORDER_MAX);
    dgm_assert(entry_bytes >= 4 && entry_bytes % 4 == 0 && (uintptr_t)pages->at[0] % 8 == 0);
    dgm_assert(entry_bytes <= PAGE_BYTES - HEADER_BYTES);
    while (entries * 2 * entry_bytes <= (PAGE_BYTES << order) - HEADER_BYTES)
        entries *= 2;
    for (unsigned i = 0; i < DGM_RING_PAGES_MAX; i++)
        ring->pages[i] = i < 1u << order ? pages->at[i] : NULL;
    ring->entries = entries;
    ring->entry_bytes = entry_bytes;
    ring->word_bytes = entry_bytes % sizeof(word64) ? sizeof(word32) : sizeof(word64);
    start = load_index(&shared_of(ring)->rsp_prod);
    ring->consumed = ring->responded = ring->published = start;
}

/*
 * The guest writes a request into an entry only after it has read the response in it. So the number
 * of requests that it may claim is bounded by the responses published, not by those written.
 */
int dgm_ring_take(struct dgm_ring *ring, void *request, size_t bytes)
{
    dgm_assert(is_copied_whole(ring, bytes));

    const uint32_t waiting = load_index(&shared_of(ring)->req_prod) - ring->consumed; /* wraps */

    if (waiting == 0)
        return 0;
    if (waiting > ring->entries - (ring->consumed - ring->published))
        return DGM_EPROTO;
    dgm_arch_rmb(); /* reads the index before the entry that it announces */
    copy_out(ring, request, offset_of(ring, ring->consumed), bytes);
    ring->consumed++;
    dgm_assert(dgm_ring_outstanding(ring) <= ring->entries);
    return 1;
}

void dgm_ring_take_rest(const struct dgm_ring *ring, void *request, size_t bytes)
{
    dgm_assert(is_copied_whole(ring, bytes) && bytes < ring->entry_bytes);
    dgm_assert(dgm_ring_outstanding(ring) > 0);
    copy_out(ring, (char *)request + bytes, offset_of(ring, ring->consumed - 1) + (uint32_t)bytes,
             ring->entry_bytes - bytes);
}

bool dgm_ring_final_check(struct dgm_ring *ring)
{
    store_index(&shared_of(ring)->req_event, ring->consumed + 1);
    dgm_arch_mb(); /* req_event is visible before req_prod is read again */
    return load_index(&shared_of(ring)->req_prod) != ring->consumed;
}

void dgm_ring_respond(struct dgm_ring *ring, const void *response, size_t bytes)
{
    dgm_assert(is_copied_whole(ring, bytes));
    dgm_assert(dgm_ring_outstanding(ring) > 0);
    copy_in(ring, offset_of(ring, ring->responded), response, bytes);
    ring->responded++;
    dgm_assert(ring->responded - ring->published <= ring->entries);
}

bool dgm_ring_publish(struct dgm_ring *ring)
{
    const uint32_t before = ring->published, now = ring->responded;

    if (now == before)
        return false;
    dgm_arch_wmb(); /* the responses are visible before rsp_prod */
    store_index(&shared_of(ring)->rsp_prod, now);
    ring->published = now;
    dgm_arch_mb(); /* rsp_prod is visible before rsp_event is read */
    return now - load_index(&shared_of(ring)->rsp_event) < now - before;
}
