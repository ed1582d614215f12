/* SPDX-License-Identifier: MIT */
/* images: see images.h. */
#include "images.h"

#include <kernel/arm64/mmu.h>
#include <port/env.h>

#include <string.h>

#define HEADER_BYTES 64u
#define MAGIC        0x644d5241u /* "ARM\x64" */

bool image_read(const void *kernel, uint64_t bytes, struct image_header *header)
{
    uint32_t magic;

    if (bytes < HEADER_BYTES)
        return false;
    memcpy(&header->text_offset, (const char *)kernel + 8, sizeof header->text_offset);
    memcpy(&header->bytes, (const char *)kernel + 16, sizeof header->bytes);
    memcpy(&magic, (const char *)kernel + 56, sizeof magic);
    if (header->bytes == 0) /* of kernels before Linux 3.17, which say nothing */
        header->text_offset = 0x80000;
    if (header->bytes < bytes)
        header->bytes = bytes;
    return magic == MAGIC && header->bytes <= UINT64_MAX / 2 && header->text_offset < 0x200000;
}

static bool holds(struct range whole, struct range part)
{
    return part.base >= whole.base && part.base - whole.base <= whole.bytes &&
           part.bytes <= whole.bytes - (part.base - whole.base);
}

/* Whether Xen keeps this memory, and maps it for us. */
static bool is_kept(const struct devtree *tree, struct range image)
{
    const int node = fdt_node_offset_by_compatible(tree->fdt, -1, "dragoman,images");
    bool reserved = false;
    struct range range;

    for (size_t i = 0; i < tree->reserved_count; i++)
        reserved = reserved || holds(tree->reserved[i], range_outwards(image));
    for (unsigned i = 0; reserved && node >= 0 && devtree_reg(tree->fdt, node, i, &range); i++)
        if (holds(range, range_outwards(image)))
            return true;
    return false;
}

/* NULL, or what is wrong with it. */
static const char *map_image(const struct devtree *tree, struct range image)
{
    if (!is_kept(tree, image))
        return "is in memory that the boot tree does not reserve for it";
    mmu_map((struct mmu_range){.address = image.base, .bytes = image.bytes}, MMU_READONLY);
    if (!mmu_probe(range_outwards(image).base))
        return "is in memory that Xen has not mapped";
    return NULL;
}

static const char *map_guest(const struct config_build *build, const struct devtree *tree)
{
    struct image_header header;
    const char *wrong = map_image(tree, build->kernel);

    if (!wrong &&
        !image_read((const void *)(uintptr_t)build->kernel.base, build->kernel.bytes, &header))
        wrong = "has no header of an arm64 Image";
    if (!wrong && build->ramdisk.bytes)
        wrong = map_image(tree, build->ramdisk);
    return wrong;
}

void images_map(struct config *config, const struct devtree *tree)
{
    for (size_t i = 0; i < config->guest_count; i++) {
        struct config_guest *guest = &config->guests[i];
        const char *wrong = guest->can_build ? map_guest(&guest->build, tree) : NULL;

        if (!wrong)
            continue;
        dgm_env_log("guest %u (%s): its kernel or ramdisk %s: it cannot start again after its end",
                    guest->domid, guest->name, wrong);
        guest->can_build = false;
    }
}
