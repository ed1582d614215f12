/* SPDX-License-Identifier: MIT */
/*
 * watch: observes every load of the library from memory that it shares with guests
 *
 * The library is built by clang with load tracing: each of its loads first calls a function here,
 * and so does each memcpy (the build renames it). Bytes that a hostile guest shares often change at
 * that moment, so two loads of one byte may differ. A byte of an honest guest's request, or of its
 * list of segments, that is loaded a second time is a double fetch and fails the run. Without
 * tracing no function here is called, and memory changes only at barriers.
 */
#include <sim/machine/machine.h>
#include <sim/machine/network.h>

#include <dragoman/net/netback.h>

#include <string.h>

static struct {
    bool on;
    struct {
        uint32_t ring[FRONT_RING_PAGES * DGM_FRAME_BYTES]; /* consumed + 1 when it was loaded */
        bool list[FRONT_REQUESTS][DGM_FRAME_BYTES];
    } front[SIM_GUESTS_MAX][GUEST_FRONTS_MAX];
    /* The same: for each queue of a vif of transmit and receive. */
    uint32_t vif_ring[SIM_GUESTS_MAX][NETFRONT_RING_FRAMES][DGM_FRAME_BYTES];
    uint64_t work; /* loads and stores; a memcpy counts its words */
} watch;

uint64_t watch_work(void)
{
    return watch.work;
}

void watch_start(void)
{
    watch.on = true;
}

void watch_ring_begins(const struct front *front)
{
    memset(watch.front[front->guest->domid - 1][front->index].ring, 0,
           sizeof watch.front[0][0].ring);
}

void watch_vif_begins(const struct netfront *front)
{
    memset(watch.vif_ring[front->guest->domid - 1], 0, sizeof watch.vif_ring[0]);
}

void watch_list_begins(const struct front *front, unsigned index)
{
    memset(watch.front[front->guest->domid - 1][front->index].list[index], 0, DGM_FRAME_BYTES);
}

/* Bytes of a ring of `entries` entries are loaded, of which the library has consumed `consumed`. */
static void check_entries(uint32_t *seen, uint32_t consumed, uint32_t entries,
                          const struct sim_guest *guest, struct dgm_span loaded)
{
    const uint64_t page_end = (loaded.offset / DGM_FRAME_BYTES + 1) * DGM_FRAME_BYTES;

    for (uint64_t i = loaded.offset; i < loaded.offset + loaded.bytes && i < page_end; i++) {
        if (i < 64) /* indices are loaded many times */
            continue;
        SIM_CHECK(!seen[i] || consumed - (seen[i] - 1) >= entries,
                  "double fetch: byte %u of guest %u's ring is loaded a second time", (unsigned)i,
                  guest->domid);
        seen[i] = consumed + 1;
    }
}

static void on_ring_load(const struct front *front, uint32_t offset, size_t bytes)
{
    const struct dgm_blkback *back = sim_back_of(front);

    if (back && back->connected && front->connected)
        check_entries(watch.front[front->guest->domid - 1][front->index].ring, back->ring.consumed,
                      back->ring.entries, front->guest, (struct dgm_span){offset, (uint32_t)bytes});
}

/* `ring`: of queue 0: transmit 0, receive 1; and so on. */
static void on_vif_ring_load(const struct sim_guest *guest, unsigned ring, uint32_t offset,
                             size_t bytes)
{
    const struct dgm_netback *back = network_back(guest->vif);

    if (!back || !back->connected || !guest->vif->connected || ring / 2 >= back->queue_count)
        return;
    const struct dgm_netback_queue *queue = &back->queues[ring / 2];

    check_entries(watch.vif_ring[guest->domid - 1][ring],
                  ring % 2 ? queue->receive.consumed : queue->transmit.consumed, NETFRONT_ENTRIES,
                  guest, (struct dgm_span){offset, (uint32_t)bytes});
}

static void on_list_load(const struct front *front, unsigned index, uint32_t offset, size_t bytes)
{
    bool *seen = watch.front[front->guest->domid - 1][front->index].list[index];

    for (size_t i = 0; i < bytes && offset + i < DGM_FRAME_BYTES; i++) {
        SIM_CHECK(!seen[offset + i],
                  "double fetch: byte %u of guest %u's list of segments is loaded a second time",
                  (unsigned)(offset + i), front->guest->domid);
        seen[offset + i] = true;
    }
}

/* The guest that owns the frame may act at this moment, as if on another CPU: before the library
 * loads an index, and before it stores one. */
static void guest_may_act(struct sim_guest *guest, uint32_t offset, uint64_t one_in)
{
    if (offset < 64 && !guest->dead && rng_below(&sim.rng, one_in) == 0)
        sim_guest_acts(guest);
}

static bool is_vif_ring(const struct sim_guest *guest, const uint8_t *frame)
{
    const uint8_t *rings = guest_page(guest, GUEST_VIF_GFN);

    return frame >= rings && frame < rings + NETFRONT_RING_FRAMES * DGM_FRAME_BYTES;
}

static void note_store(const void *va)
{
    uint64_t index;
    const uint32_t offset = (uint32_t)((uintptr_t)va & (DGM_FRAME_BYTES - 1));
    uint8_t *frame;

    watch.work++;
    if (!dgm_hv_is_guests(va) || !watch.on)
        return;
    frame = dgm_hv_guest_frame(va, &index);
    for (unsigned i = 0; i < sim.guest_count; i++)
        for (unsigned f = 0; f < sim.guests[i]->front_count; f++)
            if (frame == guest_page(sim.guests[i], front_ring_gfn(&sim.guests[i]->fronts[f])))
                guest_may_act(sim.guests[i], offset, 3);
    for (unsigned i = 0; i < sim.guest_count && sim.plan.network; i++)
        if (is_vif_ring(sim.guests[i], frame))
            guest_may_act(sim.guests[i], offset, 3);
}

/* `page`: of the pages of the guest's frontends, each of which has its ring's first. */
static void on_shared_load(struct sim_guest *guest, size_t page, uint32_t offset, size_t bytes)
{
    const struct front *front = &guest->fronts[page / GUEST_FRONT_PAGES];
    const unsigned index = (unsigned)(page % GUEST_FRONT_PAGES);

    if (index >= FRONT_RING_PAGES) {
        on_list_load(front, index - FRONT_RING_PAGES, offset, bytes);
        return;
    }
    if (index == 0)
        guest_may_act(guest, offset, 12);
    on_ring_load(front, index * DGM_FRAME_BYTES + offset, bytes);
}

static void on_guest_load(const void *va, size_t bytes)
{
    const uint32_t offset = (uint32_t)((uintptr_t)va & (DGM_FRAME_BYTES - 1));
    uint64_t index;
    uint8_t *frame = dgm_hv_guest_frame(va, &index);

    for (unsigned i = 0; i < sim.guest_count; i++) {
        struct sim_guest *guest = sim.guests[i];
        const size_t gfn = (size_t)(frame - guest->memory) / DGM_FRAME_BYTES;

        if (guest->hostile &&
            (gfn < guest_frame_count() || (const void *)frame == guest->xs.page)) {
            if (bytes <= 16)
                hostile_loaded(guest, frame, offset, bytes);
            return;
        }
        if (gfn >= GUEST_RING_GFN &&
            gfn < GUEST_RING_GFN + guest->front_count * GUEST_FRONT_PAGES) {
            on_shared_load(guest, gfn - GUEST_RING_GFN, offset, bytes);
            return;
        }
        if (sim.plan.network && is_vif_ring(guest, frame)) {
            guest_may_act(guest, offset, 12);
            on_vif_ring_load(guest, (unsigned)(gfn - GUEST_VIF_GFN), offset, bytes);
            return;
        }
    }
}

static inline void note_load(const void *va, size_t bytes)
{
    watch.work += 1 + bytes / 16;
    if (dgm_hv_is_guests(va) && watch.on)
        on_guest_load(va, bytes);
}

/* --- the functions that the compiler calls --- */

void __sanitizer_cov_load1(uint8_t *va);
void __sanitizer_cov_store1(uint8_t *va);
void __sanitizer_cov_load2(uint16_t *va);
void __sanitizer_cov_store2(uint16_t *va);
void __sanitizer_cov_load4(uint32_t *va);
void __sanitizer_cov_store4(uint32_t *va);
void __sanitizer_cov_load8(uint64_t *va);
void __sanitizer_cov_store8(uint64_t *va);
void __sanitizer_cov_load16(void *va);
void __sanitizer_cov_store16(void *va);
void *sim_memcpy(void *to, const void *from, size_t bytes);

void __sanitizer_cov_load1(uint8_t *va)
{
    note_load(va, 1);
}

void __sanitizer_cov_load2(uint16_t *va)
{
    note_load(va, 2);
}

void __sanitizer_cov_load4(uint32_t *va)
{
    note_load(va, 4);
}

void __sanitizer_cov_load8(uint64_t *va)
{
    note_load(va, 8);
}

void __sanitizer_cov_load16(void *va)
{
    note_load(va, 16);
}

void *sim_memcpy(void *to, const void *from, size_t bytes)
{
    note_load(from, bytes);
    return memcpy(to, from, bytes);
}

void __sanitizer_cov_store1(uint8_t *va)
{
    note_store(va);
}

void __sanitizer_cov_store2(uint16_t *va)
{
    note_store(va);
}

void __sanitizer_cov_store4(uint32_t *va)
{
    note_store(va);
}

void __sanitizer_cov_store8(uint64_t *va)
{
    note_store(va);
}

void __sanitizer_cov_store16(void *va)
{
    note_store(va);
}
