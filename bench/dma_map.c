/* SPDX-License-Identifier: MIT */
/*
 * dma_map: the cost in dma of a transfer of 256 foreign frames, mapped for a device and unmapped,
 * 100 times, for one of four kinds of device. No frames are adjacent, so each is a segment.
 * callgrind counts the instructions of measured(); without it the program prints the number of
 * allocations and of bounced bytes.
 */
#include <dragoman/dma/dma.h>
#include <dragoman/base/frames.h>
#include <pages/internal.h>
#include <port/sim/sim.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS 256u
#define ROUNDS   100u
#define RAM      0x40000ull
#define SLOT     0x800000ull

void measured(const struct dgm_dma_tag *tag);

static struct dgm_p2m p2m;
static struct dgm_frames frames;
static struct dgm_reactor reactor;
static struct dgm_bounce bounce;
static struct dgm_dma dma;
static struct dgm_cacheflush flush;
static struct dgm_dma_piece pieces[SEGMENTS];
static struct dgm_dma_segment segments[SEGMENTS];
static unsigned long allocations;

void *__libc_malloc(size_t bytes);

void *malloc(size_t bytes)
{
    allocations++;
    return __libc_malloc(bytes);
}

static long accept_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                             uint64_t a5)
{
    return 0; /* Xen's own part is not counted */
}

static void ignore_maintenance(const void *va, size_t bytes)
{
}

__attribute__((noinline)) void measured(const struct dgm_dma_tag *tag)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        const struct dgm_dma_transfer transfer = {.tag = tag,
                                                  .pieces = pieces,
                                                  .piece_count = SEGMENTS,
                                                  .direction = DGM_DMA_FROM_DEVICE};
        struct dgm_dma_map map;
        const int bytes = dgm_dma_map(&dma, &transfer, segments, &map);

        if (bytes != (int)(SEGMENTS * DGM_FRAME_BYTES) || dgm_dma_unmap(&dma, &map, true) != 0)
            abort();
    }
}

static void set_up_dma(void)
{
    const struct dgm_ram_bank bank = {.gfn = {RAM}, .mfn = {RAM}, .count = 1024};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{SLOT}, SEGMENTS});
    static char guest[SEGMENTS][DGM_FRAME_BYTES] __attribute__((aligned(DGM_FRAME_BYTES)));

    dgm_sim_memory(bank.gfn, bank.count);
    dgm_sim_attach(&(struct dgm_sim_machine){.hypercall = accept_hypercall,
                                             .cache_clean = ignore_maintenance,
                                             .cache_clean_invalidate = ignore_maintenance});
    if (dgm_p2m_init(&p2m, &bank, 1, &window,
                     aligned_alloc(8, (dgm_p2m_bytes(SEGMENTS) + 7) / 8 * 8)) != 0)
        abort();
    dgm_frames_init(&frames);
    dgm_frames_add(&frames, (struct dgm_gfn_range){{RAM + 100}, 900});
    dgm_reactor_init(&reactor);
    dgm_bounce_init(&bounce, &reactor, SEGMENTS, aligned_alloc(8, dgm_bounce_bytes(SEGMENTS)));
    if (dgm_bounce_add(&bounce, &frames, SEGMENTS) != 0)
        abort();
    dgm_dma_init(&dma, &p2m, &bounce);
    for (unsigned i = 0; i < SEGMENTS; i++) {
        const dgm_gfn_t gfn = dgm_gfn(SLOT + i);

        dgm_sim_alias(gfn, guest[i]);
        dgm_p2m_publish(&p2m, gfn, dgm_mfn(0x140000 + 2 * i));
        pieces[i] = (struct dgm_dma_piece){gfn, 0, DGM_FRAME_BYTES};
    }
}

int main(int count, char **arguments)
{
    static const char *const kinds[] = {"coherent", "incoherent", "flush", "bounce"};

    set_up_dma();
    for (unsigned kind = 0; kind < 4; kind++) {
        struct dgm_dma_tag tag = {.mask = UINT64_MAX,
                                  .gap = 4096,
                                  .alignment = 4,
                                  .segments_max = SEGMENTS,
                                  .block_bytes = 512,
                                  .coherent = kind == 0 || kind == 3};

        if (count > 1 && strcmp(arguments[1], kinds[kind]) != 0)
            continue;
        if (kind == 3)
            tag.mask = UINT32_MAX;
        dma.flush = kind == 2 ? &flush : NULL;
        allocations = 0;
        measured(&tag);
        printf("# measure: dma %s: %lu allocations; %lu bytes bounced\n", kinds[kind], allocations,
               (unsigned long)(dma.bytes_bounced_reach + dma.bytes_bounced_gap));
    }
    return 0;
}
