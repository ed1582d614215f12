/* SPDX-License-Identifier: MIT */
/*
 * cachemaint: frame by frame over what the device touches. See dragoman/dma/cachemaint.h.
 *
 * Only the first frame has an offset. (Linux's dma_cache_maint adds it to every frame, so that a
 * buffer with an offset over several pages has one page done twice and its tail never.)
 */
#include <dragoman/dma/cachemaint.h>
#include <dragoman/base/check.h>

#include <port/arch.h>

static void each_frame(dgm_gfn_t gfn, uint32_t offset, uint64_t bytes,
                       void (*maintain)(const void *va, size_t bytes))
{
    dgm_assert(offset < DGM_FRAME_BYTES);
    while (bytes) {
        const uint64_t room = DGM_FRAME_BYTES - offset;
        const uint64_t here = bytes < room ? bytes : room;

        maintain((const char *)dgm_env_va(gfn) + offset, (size_t)here);
        bytes -= here;
        offset = 0;
        gfn = dgm_gfn(gfn.n + 1);
    }
}

void dgm_cachemaint_before(dgm_gfn_t gfn, uint32_t offset, uint64_t bytes, bool device_writes)
{
    each_frame(gfn, offset, bytes,
               device_writes ? dgm_arch_cache_clean_invalidate : dgm_arch_cache_clean);
}

void dgm_cachemaint_after(dgm_gfn_t gfn, uint32_t offset, uint64_t bytes, bool device_writes)
{
    if (device_writes)
        each_frame(gfn, offset, bytes, dgm_arch_cache_clean_invalidate);
}

bool dgm_cachemaint_shares_line(uint32_t offset, uint64_t bytes)
{
    const uint64_t line = dgm_arch_cache_line();

    return ((offset | (offset + bytes)) & (line - 1)) != 0;
}
