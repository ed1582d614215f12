/* SPDX-License-Identifier: MIT */
/*
 * cachemaint: maintenance of the bytes that a device accesses, frame by frame. See
 * dma/cachemaint.h.
 *
 * Only the first frame has an offset. (Linux's dma_cache_maint adds it to every frame: of a buffer
 * with an offset over several pages, one page is maintained twice and the tail never.)
 */
#include <dma/cachemaint.h>
#include <dragoman/base/check.h>

#include <port/arch.h>

static void maintain_frames(dgm_gfn_t gfn, struct dgm_span span,
                            void (*maintain)(const void *va, size_t bytes))
{
    dgm_assert(span.offset < DGM_FRAME_BYTES);
    while (span.bytes) {
        const uint32_t to_frame_end = DGM_FRAME_BYTES - span.offset;
        const uint32_t in_frame = span.bytes < to_frame_end ? span.bytes : to_frame_end;

        maintain((const char *)dgm_env_va(gfn) + span.offset, in_frame);
        span.bytes -= in_frame;
        span.offset = 0;
        gfn = dgm_gfn_add(gfn, 1);
    }
}

void dgm_cachemaint_before(dgm_gfn_t gfn, struct dgm_span span, bool device_writes)
{
    maintain_frames(gfn, span,
                    device_writes ? dgm_arch_cache_clean_invalidate : dgm_arch_cache_clean);
}

void dgm_cachemaint_after(dgm_gfn_t gfn, struct dgm_span span, bool device_writes)
{
    if (device_writes)
        maintain_frames(gfn, span, dgm_arch_cache_clean_invalidate);
}

bool dgm_cachemaint_shares_line(struct dgm_span span)
{
    const size_t line = dgm_arch_cache_line();

    return ((span.offset | (span.offset + span.bytes)) & (line - 1)) != 0;
}
