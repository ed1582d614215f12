/* SPDX-License-Identifier: MIT */
/*
 * devtree_claim: which addresses are whose (see devtree.h)
 *
 * Two nodes of a wrong tree may name the same addresses: a disk would be found twice, or a BAR
 * would get the address of another device's registers. So each range is claimed before its use, and
 * the second claim is refused. Memory and the interrupt controller come first, then the
 * configuration space of every host bridge, extended regions, and devices and windows in the order
 * of their use.
 */
#include "devtree.h"

#include <dragoman/base/addr.h>
#include <port/env.h>

#include <stdarg.h>
#include <stdio.h>

bool devtree_is_taken(const struct devtree *tree, struct range range)
{
    return ranges_overlap(tree->banks, tree->bank_count, range) ||
           ranges_overlap(tree->reserved, tree->reserved_count, range) ||
           ranges_overlap(tree->regions, tree->region_count, range) ||
           ranges_overlap(tree->gic_registers, DEVTREE_GIC_REGISTERS, range) ||
           range_overlaps(tree->grant_window, range);
}

static const struct devtree_claim *claim_over(const struct devtree *tree, struct range range)
{
    for (size_t i = 0; i < tree->claim_count; i++)
        if (range_overlaps(tree->claims[i].range, range))
            return &tree->claims[i];
    return NULL;
}

static const char *name_of(const struct devtree *tree, int node)
{
    const char *name = fdt_get_name(tree->fdt, node, NULL);

    return name && *name ? name : "a device";
}

const char *devtree_claim(struct devtree *tree, struct range range, int node)
{
    static char text[64];
    const struct devtree_claim *other = claim_over(tree, range);

    if (devtree_is_taken(tree, range))
        return "over memory, or over the interrupt controller";
    if (other) {
        snprintf(text, sizeof text, "over a range of %.40s", name_of(tree, other->node));
        return text;
    }
    if (tree->claim_count == DEVTREE_CLAIMS_MAX)
        return "beyond the 64 ranges that are kept";
    tree->claims[tree->claim_count++] = (struct devtree_claim){range, node};
    return NULL;
}

void devtree_complain(const struct devtree *tree, int node, const char *format, ...)
{
    char about[200];
    va_list values;

    va_start(values, format);
    vsnprintf(about, sizeof about, format, values);
    va_end(values);
    dgm_env_log("device tree: %.40s: %s", name_of(tree, node), about);
}
