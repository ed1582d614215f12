/* SPDX-License-Identifier: MIT */
/*
 * dma/bus: tags, and the translation of a frame to a device's bus address
 *
 * Two steps. A frame has an address in the tag's space: the machine's, by the p2m, or, behind an
 * IOMMU that translates guest-physical addresses, our guest-physical one. The device's windows and
 * its mask turn that into a bus address, or the device does not reach it.
 */
#include <dma/internal.h>

#include <dragoman/base/check.h>

#include <string.h>

static bool is_power_of_two(uint64_t n)
{
    return n && (n & (n - 1)) == 0;
}

void dgm_dma_tag_check(const struct dgm_dma_tag *tag)
{
    dgm_assert(is_power_of_two(tag->block_bytes) && tag->block_bytes <= DGM_FRAME_BYTES);
    dgm_assert(tag->segments_max > 0 && tag->window_count <= DGM_DMA_WINDOWS_MAX);
    dgm_assert(tag->gap == 0 || (is_power_of_two(tag->gap) && tag->gap <= DGM_FRAME_BYTES));
    dgm_assert(tag->alignment == 0 ||
               (is_power_of_two(tag->alignment) && tag->alignment <= DGM_FRAME_BYTES));
    dgm_assert(tag->boundary == 0 ||
               (is_power_of_two(tag->boundary) && tag->boundary >= tag->block_bytes));
    dgm_assert(tag->segment_bytes_max == 0 || tag->segment_bytes_max >= tag->block_bytes);
    dgm_assert(tag->transfer_bytes_max == 0 || tag->transfer_bytes_max >= tag->block_bytes);
    dgm_assert(tag->space == DGM_DMA_MACHINE || tag->space == DGM_DMA_GUEST_PHYSICAL);
}

bool dgm_dma_address(const struct dgm_p2m *p2m, const struct dgm_dma_tag *tag, dgm_gfn_t gfn,
                     uint64_t *address)
{
    const dgm_mfn_t mfn = dgm_p2m_lookup(p2m, gfn);

    if (dgm_mfn_is_none(mfn))
        return false;
    *address = tag->space == DGM_DMA_MACHINE ? dgm_mfn_address(mfn) : dgm_gfn_address(gfn);
    return true;
}

bool dgm_dma_bus(const struct dgm_dma_tag *tag, struct dma_bytes at, dgm_bus_t *bus)
{
    const uint64_t bytes = at.count;
    uint64_t address = at.address;
    size_t i = 0;

    for (; i < tag->window_count; i++) {
        const struct dgm_dma_window *window = &tag->windows[i];

        if (address >= window->machine_base && address - window->machine_base < window->length) {
            if (bytes > window->length - (address - window->machine_base))
                return false;
            address = address - window->machine_base + window->bus_base;
            break;
        }
    }
    if (tag->window_count && i == tag->window_count)
        return false;
    if (address > tag->mask || bytes - 1 > tag->mask - address)
        return false;
    *bus = dgm_bus(address);
    return true;
}

unsigned dgm_dma_areas(const struct dgm_dma *dma, const struct dgm_dma_tag *tag)
{
    unsigned areas = 0;
    dgm_bus_t bus;

    for (unsigned a = 0; a < dma->bounce->area_count; a++) {
        const struct dma_extent *extent = &dma->bounce->areas[a].extents[tag->space];
        const uint64_t first = extent->first << DGM_FRAME_SHIFT;
        const uint64_t frames = extent->last - extent->first + 1;

        if (dgm_dma_bus(tag,
                        (struct dma_bytes){.address = first, .count = frames << DGM_FRAME_SHIFT},
                        &bus))
            areas |= 1u << a;
    }
    return areas;
}

static void extent_include(struct dma_extent *extent, uint64_t frame)
{
    if (frame < extent->first)
        extent->first = frame;
    if (frame > extent->last)
        extent->last = frame;
}

void dgm_dma_init(struct dgm_dma *dma, struct dgm_p2m *p2m, struct dgm_bounce *bounce)
{
    memset(dma, 0, sizeof *dma);
    dma->p2m = p2m;
    dma->bounce = bounce;
    for (unsigned a = 0; a < bounce->area_count; a++) {
        struct dgm_bounce_area *area = &bounce->areas[a];
        struct dma_extent *machine = &area->extents[DGM_DMA_MACHINE];
        struct dma_extent *guest = &area->extents[DGM_DMA_GUEST_PHYSICAL];

        *machine = *guest = (struct dma_extent){.first = UINT64_MAX};
        for (uint16_t b = area->first; b < area->first + area->total; b++) {
            const dgm_gfn_t gfn = bounce->buffers[b].gfn;
            const dgm_mfn_t mfn = dgm_p2m_lookup(p2m, gfn);

            dgm_assert(!dgm_mfn_is_none(mfn)); /* buffers are our own RAM */
            extent_include(machine, dgm_mfn_number(mfn));
            extent_include(guest, dgm_gfn_number(gfn));
        }
    }
}

int dgm_dma_device_begin(struct dgm_dma *dma, struct dgm_bounce_device *device,
                         struct dgm_bounce_share *share, const struct dgm_dma_tag *tag)
{
    dgm_dma_tag_check(tag);
    return dgm_bounce_device_begin(dma->bounce, device, share, dgm_dma_areas(dma, tag));
}

int dgm_dma_local(const struct dgm_p2m *p2m, const struct dgm_dma_tag *tag, dgm_gfn_t gfn,
                  dgm_bus_t *bus)
{
    uint64_t address;

    if (!dgm_dma_address(p2m, tag, gfn, &address))
        return DGM_EFAULT;
    return dgm_dma_bus(tag, (struct dma_bytes){.address = address, .count = DGM_FRAME_BYTES}, bus)
               ? DGM_OK
               : DGM_ERANGE;
}
