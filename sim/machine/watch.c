/* SPDX-License-Identifier: MIT */
/*
 * watch: every load of the library from memory that it shares with guests
 *
 * The library is built by clang with load tracing: each of its loads calls here first, and so does
 * each memcpy (the build renames it). Bytes that a hostile guest shares often change at that
 * moment, so two loads of one byte may differ. A byte of an honest guest's request, or of its list
 * of segments, that is loaded a second time is a double fetch and fails at once. Without tracing
 * nothing calls, and memory changes at barriers only.
 */
#include <sim/machine/machine.h>

#include <string.h>

static struct {
    bool on;
    struct {
        uint32_t ring[DGM_FRAME_BYTES]; /* consumed + 1 when the byte was loaded */
        bool list[RING_ENTRIES][DGM_FRAME_BYTES];
    } guest[SIM_GUESTS_MAX];
    uint64_t loads;
} watch;

void watch_start(void)
{
    memset(&watch, 0, sizeof watch);
    watch.on = true;
}

void watch_ring_begins(const struct sim_guest *guest)
{
    memset(watch.guest[guest->domid - 1].ring, 0, sizeof watch.guest[0].ring);
}

void watch_list_begins(const struct sim_guest *guest, unsigned index)
{
    memset(watch.guest[guest->domid - 1].list[index], 0, DGM_FRAME_BYTES);
}

static void loaded_ring(const struct sim_guest *guest, uint32_t offset, size_t bytes)
{
    const struct dgm_blkback *back = sim_back_of(guest);
    uint32_t *seen = watch.guest[guest->domid - 1].ring;

    if (!back || !back->connected || !guest->front.connected)
        return;
    for (size_t i = 0; i < bytes && offset + i < DGM_FRAME_BYTES; i++) {
        if (offset + i < 64) /* indices are loaded many times */
            continue;
        SIM_CHECK(!seen[offset + i] || back->ring.consumed - (seen[offset + i] - 1) >= RING_ENTRIES,
                  "double fetch: byte %u of guest %u's ring is loaded a second time",
                  (unsigned)(offset + i), guest->domid);
        seen[offset + i] = back->ring.consumed + 1;
    }
}

static void loaded_list(const struct sim_guest *guest, unsigned index, uint32_t offset,
                        size_t bytes)
{
    bool *seen = watch.guest[guest->domid - 1].list[index];

    for (size_t i = 0; i < bytes && offset + i < DGM_FRAME_BYTES; i++) {
        SIM_CHECK(!seen[offset + i],
                  "double fetch: byte %u of guest %u's list of segments is loaded a second time",
                  (unsigned)(offset + i), guest->domid);
        seen[offset + i] = true;
    }
}

/* The guest whose frame it is may act at this moment, on another CPU: before the library loads an
 * index, and before it stores one. */
static void guest_may_act(struct sim_guest *guest, uint32_t offset, uint64_t one_in)
{
    if (offset < 64 && !guest->dead && rng_below(&sim.rng, one_in) == 0)
        sim_guest_acts(guest);
}

static void stored(const void *va)
{
    uint64_t index;
    const uint32_t offset = (uint32_t)((uintptr_t)va & (DGM_FRAME_BYTES - 1));
    uint8_t *frame;

    if (!dgm_hv_is_guests(va) || !watch.on)
        return;
    frame = dgm_hv_guest_frame(va, &index);
    for (unsigned i = 0; i < sim.guest_count; i++)
        if (frame == guest_page(sim.guests[i], GUEST_RING_GFN))
            guest_may_act(sim.guests[i], offset, 3);
}

static void loaded_guest(const void *va, size_t bytes)
{
    const uint32_t offset = (uint32_t)((uintptr_t)va & (DGM_FRAME_BYTES - 1));
    uint64_t index;
    uint8_t *frame = dgm_hv_guest_frame(va, &index);

    watch.loads++;
    for (unsigned i = 0; i < sim.guest_count; i++) {
        struct sim_guest *guest = sim.guests[i];
        const size_t gfn = (size_t)(frame - guest->memory) / DGM_FRAME_BYTES;

        if (guest->hostile && (gfn < GUEST_FRAMES || (const void *)frame == guest->xs.page)) {
            if (bytes <= 16)
                hostile_loaded(guest, frame, offset, bytes);
            return;
        }
        if (gfn == GUEST_RING_GFN) {
            guest_may_act(guest, offset, 12);
            loaded_ring(guest, offset, bytes);
        } else if (gfn >= GUEST_INDIRECT_GFN && gfn < GUEST_INDIRECT_GFN + RING_ENTRIES)
            loaded_list(guest, (unsigned)gfn - GUEST_INDIRECT_GFN, offset, bytes);
    }
}

static inline void loaded(const void *va, size_t bytes)
{
    if (dgm_hv_is_guests(va) && watch.on)
        loaded_guest(va, bytes);
}

/* --- what the compiler calls --- */

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
    loaded(va, 1);
}

void __sanitizer_cov_load2(uint16_t *va)
{
    loaded(va, 2);
}

void __sanitizer_cov_load4(uint32_t *va)
{
    loaded(va, 4);
}

void __sanitizer_cov_load8(uint64_t *va)
{
    loaded(va, 8);
}

void __sanitizer_cov_load16(void *va)
{
    loaded(va, 16);
}

void *sim_memcpy(void *to, const void *from, size_t bytes)
{
    loaded(from, bytes);
    return memcpy(to, from, bytes);
}

void __sanitizer_cov_store1(uint8_t *va)
{
    stored(va);
}

void __sanitizer_cov_store2(uint16_t *va)
{
    stored(va);
}

void __sanitizer_cov_store4(uint32_t *va)
{
    stored(va);
}

void __sanitizer_cov_store8(uint64_t *va)
{
    stored(va);
}

void __sanitizer_cov_store16(void *va)
{
    stored(va);
}
