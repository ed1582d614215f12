/* SPDX-License-Identifier: MIT */
/*
 * Proves: maintenance covers each of the bytes exactly once and no other byte, frame by frame, and
 * never leaves a frame; bytes that share a cache line at either end are recognised.
 * Over: any gfn, offset, and length up to four frames; lines of 16 to 2048 bytes.
 *
 * sources: dma/cachemaint.c
 * options: --unwind 6
 * planted: dma/cachemaint.c s/^        span.offset = 0;//
 * planted: dma/cachemaint.c s/to_frame_end = DGM_FRAME_BYTES - span.offset;/to_frame_end = DGM_FRAME_BYTES;/
 * planted: dma/cachemaint.c s/span.offset \| \(span.offset \+ span.bytes\)/span.offset/
 * planted: dma/cachemaint.c s/if \(device_writes\)/if (!device_writes)/
 */
#include "proof.h"

#include <dma/cachemaint.h>
#include <port/arch.h>

#define FRAMES 5

char memory[FRAMES * DGM_FRAME_BYTES]; /* the frames, so that the bytes are contiguous */
uint64_t first_frame;
uint32_t watched; /* any byte of memory */
unsigned cleaned, cleaned_and_invalidated;
size_t line;

void *dgm_env_va(dgm_gfn_t gfn)
{
    prove(dgm_gfn_number(gfn) - first_frame < FRAMES);
    return memory + (dgm_gfn_number(gfn) - first_frame) * DGM_FRAME_BYTES;
}

static bool covers_watched(const void *va, size_t bytes)
{
    const size_t at = (size_t)((const char *)va - memory);

    prove(bytes > 0 && at / DGM_FRAME_BYTES == (at + bytes - 1) / DGM_FRAME_BYTES);
    return watched >= at && watched - at < bytes;
}

void dgm_arch_cache_clean(const void *va, size_t bytes)
{
    cleaned += covers_watched(va, bytes);
}

void dgm_arch_cache_clean_invalidate(const void *va, size_t bytes)
{
    cleaned_and_invalidated += covers_watched(va, bytes);
}

size_t dgm_arch_cache_line(void)
{
    return line;
}

int main(void)
{
    const uint32_t offset = any_u32(), bytes = any_u32();
    const struct dgm_span span = {.offset = offset, .bytes = bytes};
    const bool device_writes = any_bool();
    unsigned within;

    first_frame = any_u64();
    watched = any_u32();
    line = (size_t)16 << any_u8() % 8;
    assume(first_frame <= UINT64_MAX - FRAMES && watched < sizeof memory);
    assume(offset < DGM_FRAME_BYTES && bytes <= 4 * DGM_FRAME_BYTES);
    within = watched >= offset && watched - offset < bytes;

    dgm_cachemaint_before(dgm_gfn(first_frame), span, device_writes);
    prove(cleaned == (device_writes ? 0 : within));
    prove(cleaned_and_invalidated == (device_writes ? within : 0));
    dgm_cachemaint_after(dgm_gfn(first_frame), span, device_writes);
    prove(cleaned == (device_writes ? 0 : within));
    prove(cleaned_and_invalidated == (device_writes ? 2 * within : 0));

    prove(dgm_cachemaint_shares_line(span) == (offset % line != 0 || (offset + bytes) % line != 0));
    return 0;
}
