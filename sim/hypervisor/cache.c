/* SPDX-License-Identifier: MIT */
/*
 * hypervisor/cache: GNTTABOP_cache_flush as Xen on Arm does it (xen/common/grant_table.c)
 *
 * By machine address only, for our own frames, and for a guest's while we have a grant mapping of
 * it. The first refused operation ends the batch, and Xen does not report which one it was. A bare
 * INVAL counts as both: the loss of a dirty line is not modelled, and the library never uses it.
 */
#include <sim/hypervisor/internal.h>

#include <port/arch.h>

#include <errno.h>

static long flush_one(const struct gnttab_cache_flush *op)
{
    const dgm_mfn_t mfn = dgm_mfn(op->a.dev_bus_addr >> DGM_FRAME_SHIFT);
    const struct hv_page *page = hv_table_get(&hv.machine, dgm_mfn_number(mfn));
    const char *frame = dgm_hv_machine(mfn);

    if (op->offset >= DGM_FRAME_BYTES || op->length > DGM_FRAME_BYTES ||
        op->offset + op->length > DGM_FRAME_BYTES ||
        (op->op & ~(uint32_t)(GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL)))
        return -EINVAL;
    if (op->length == 0 || op->op == 0)
        return 0;
    if (!frame || (page && page->maps == 0))
        return -EINVAL;
    if (op->op & GNTTAB_CACHE_INVAL)
        dgm_arch_cache_clean_invalidate(frame + op->offset, op->length);
    else
        dgm_arch_cache_clean(frame + op->offset, op->length);
    return 0;
}

long hv_cache_flush(const struct gnttab_cache_flush *ops, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        const long refused = flush_one(&ops[i]);

        if (refused)
            return refused;
        hv.stats.flush_ops++;
    }
    return 0;
}
