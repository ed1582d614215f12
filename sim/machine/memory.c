/* SPDX-License-Identifier: MIT */
/* memory: see memory.h. A few thousand frames at most are accessed by non-coherent masters. */
#include <dma/internal.h>
#include <reach/internal.h>
#include <sim/machine/base.h>
#include <sim/machine/memory.h>

#include <port/env.h>
#include <sim/hypervisor/hypervisor.h>

#include <stdlib.h>
#include <string.h>

#define LINE         64u
#define OWN_FRAMES   16384u
#define GUEST_FRAMES 65536u
#define RECENT       64u

/* A frame whose cached contents and memory may differ. */
struct split {
    uint8_t *cpu; /* what CPUs see */
    uint8_t memory[DGM_FRAME_BYTES];
    uint8_t cached[DGM_FRAME_BYTES]; /* the cached contents when they last equalled memory */
};

static struct {
    struct rng rng;
    struct dgm_gfn_range ram;
    uint64_t ram_mfn;
    const struct dgm_bounce *bounce;
    const struct dgm_copy_buffers *copy_buffers; /* NULL: none */
    bool lent[OWN_FRAMES];
    struct split *own[OWN_FRAMES];
    struct split *guests[GUEST_FRAMES];
    struct {
        struct split *split;
        uint32_t offset;
    } recent[RECENT];
    uint32_t recent_count;
} memory;

void memory_start(uint64_t seed, struct dgm_gfn_range ram, dgm_mfn_t mfn,
                  const struct dgm_bounce *bounce, const struct dgm_copy_buffers *copy_buffers)
{
    SIM_CHECK(ram.count <= OWN_FRAMES, "the simulator has records for fewer frames of our own");
    memset(&memory, 0, sizeof memory);
    memory.rng = rng_of(seed, "caches");
    memory.ram = ram;
    memory.ram_mfn = dgm_mfn_number(mfn);
    memory.bounce = bounce;
    memory.copy_buffers = copy_buffers;
}

void memory_lend(dgm_gfn_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        memory.lent[dgm_gfn_diff(first, memory.ram.first) + i] = true;
}

void memory_unlend(dgm_gfn_t first, uint64_t count)
{
    for (uint64_t i = dgm_gfn_diff(first, memory.ram.first); i < OWN_FRAMES && count--; i++)
        memory.lent[i] = false;
}

/* --- caches --- */

/* The record of the frame of `va`, an address as CPUs see it. */
static struct split *split_of(const void *va, bool make)
{
    uint64_t index;
    uint8_t *frame = dgm_hv_guest_frame(va, &index);
    struct split **place;

    if (frame) {
        SIM_CHECK(index < GUEST_FRAMES, "the simulator has records for fewer frames of guests");
        place = &memory.guests[index];
    } else {
        const dgm_gfn_t gfn = dgm_env_gfn(va);

        frame = dgm_env_va(gfn);
        place = &memory.own[dgm_gfn_diff(gfn, memory.ram.first)];
    }
    if (!*place && make) {
        *place = calloc(1, sizeof **place);
        (*place)->cpu = frame;
        /* Earlier stores of CPUs are dirty, or were evicted long ago. */
        for (uint32_t at = 0; at < DGM_FRAME_BYTES; at += LINE) {
            if (rng_chance(&memory.rng, 500000)) {
                memcpy((*place)->memory + at, frame + at, LINE);
                memcpy((*place)->cached + at, frame + at, LINE);
            }
        }
    }
    return *place;
}

static bool is_dirty(const struct split *split, uint32_t line)
{
    return memcmp(split->cpu + line, split->cached + line, LINE) != 0;
}

static void write_back_line(struct split *split, uint32_t line)
{
    if (!is_dirty(split, line))
        return;
    memcpy(split->memory + line, split->cpu + line, LINE);
    memcpy(split->cached + line, split->cpu + line, LINE);
}

/* Drops a clean line and fetches it again. */
static void refetch_line(struct split *split, uint32_t line)
{
    if (memcmp(split->cpu + line, split->memory + line, LINE) != 0)
        memcpy(split->cpu + line, split->memory + line, LINE);
    memcpy(split->cached + line, split->memory + line, LINE);
}

static void maintain_lines(const void *va, size_t bytes, bool invalidate)
{
    uintptr_t line = (uintptr_t)va & ~(uintptr_t)(LINE - 1);
    const uintptr_t end = (uintptr_t)va + bytes;

    for (; line < end; line += LINE) {
        struct split *split = split_of((const void *)line, true);
        const uint32_t offset = (uint32_t)(line & (DGM_FRAME_BYTES - 1));

        write_back_line(split, offset);
        if (invalidate)
            refetch_line(split, offset);
    }
}

void memory_clean(const void *va, size_t bytes)
{
    maintain_lines(va, bytes, false);
}

void memory_clean_invalidate(const void *va, size_t bytes)
{
    maintain_lines(va, bytes, true);
}

static void line_moves(struct split *split, uint32_t line)
{
    if (is_dirty(split, line))
        write_back_line(split, line);
    else
        refetch_line(split, line);
}

void memory_disturb(void)
{
    for (int i = 0; i < 2 && memory.recent_count; i++) {
        const uint32_t pick = (uint32_t)rng_below(
            &memory.rng, memory.recent_count < RECENT ? memory.recent_count : RECENT);

        line_moves(memory.recent[pick].split, memory.recent[pick].offset);
    }
}

/* A non-coherent device is about to access these bytes: caches may evict or fetch around them. */
static void disturb_lines(struct split *split, uint32_t offset, uint32_t bytes)
{
    const uint32_t end = offset + bytes;

    for (uint32_t line = offset & ~(LINE - 1); line < end; line += LINE) {
        if (rng_chance(&memory.rng, 100000))
            line_moves(split, line);
        if (rng_chance(&memory.rng, 60000)) {
            const uint32_t place = memory.recent_count++ % RECENT;

            memory.recent[place].split = split;
            memory.recent[place].offset = line;
        }
    }
}

/* --- masters --- */

static uint64_t machine_address(const struct sim_master *master, uint64_t bus)
{
    const struct dgm_dma_tag *tag = &master->tag;

    SIM_CHECK(!master->stopped, "%s accesses memory though it was taken off the bus", master->name);
    SIM_CHECK(bus <= tag->mask, "%s was given 0x%llx, which it cannot form", master->name,
              (unsigned long long)bus);
    if (tag->window_count == 0)
        return bus;
    for (size_t i = 0; i < tag->window_count; i++) {
        const struct dgm_dma_window *window = &tag->windows[i];

        if (bus >= window->bus_base && bus - window->bus_base < window->length)
            return bus - window->bus_base + window->machine_base;
    }
    sim_fail("%s was given 0x%llx, which is in none of its windows", master->name,
             (unsigned long long)bus);
}

/* Whether the frame is a buffer of one of the pools, and taken. */
static bool is_taken_buffer(dgm_gfn_t gfn)
{
    return dgm_bounce_is_taken(memory.bounce, gfn) ||
           (memory.copy_buffers && dgm_copy_buffers_is_taken(memory.copy_buffers, gfn));
}

static void judge_access(const struct sim_master *master, dgm_mfn_t mfn, bool device_writes)
{
    const uint64_t own = dgm_mfn_number(mfn) - memory.ram_mfn;
    const char *const verb = device_writes ? "writes" : "reads";

    if (own < memory.ram.count)
        SIM_CHECK(memory.lent[own] || is_taken_buffer(dgm_gfn_add(memory.ram.first, own)),
                  "%s %s our own frame %llu, which was not lent to devices", master->name, verb,
                  (unsigned long long)own);
    else
        SIM_CHECK(dgm_hv_may_dma(mfn, device_writes),
                  "%s %s machine frame 0x%llx, which is not granted to us with that right now",
                  master->name, verb, (unsigned long long)dgm_mfn_number(mfn));
}

void *memory_dma(struct sim_master *master, uint64_t bus, uint32_t bytes, bool device_writes)
{
    const uint64_t machine = machine_address(master, bus);
    const dgm_mfn_t mfn = dgm_mfn(machine >> DGM_FRAME_SHIFT);
    const uint32_t offset = (uint32_t)(machine & (DGM_FRAME_BYTES - 1));
    struct split *split;
    uint8_t *cpu;

    SIM_CHECK(bytes <= DGM_FRAME_BYTES - offset, "%s: an access across frames", master->name);
    judge_access(master, mfn, device_writes);
    master->accesses++;
    cpu = dgm_hv_machine(mfn);
    SIM_CHECK(cpu, "%s accesses machine frame 0x%llx, where there is no memory", master->name,
              (unsigned long long)dgm_mfn_number(mfn));
    if (master->tag.coherent)
        return cpu + offset; /* it reads and writes through the caches */
    split = split_of(cpu, true);
    disturb_lines(split, offset, bytes);
    return split->memory + offset;
}
