/* SPDX-License-Identifier: MIT */
/*
 * balloon: XENMEM_decrease_reservation and populate_physmap over a run of frames. See
 * dragoman/balloon.h.
 *
 * The list of frames is on the stack, so a run goes in pieces of 128: 256 hypercalls for the
 * default window, once, while the domain starts.
 */
#include <dragoman/balloon.h>
#include <dragoman/hypercall.h>

#include <xen/memory.h>

#define EXTENTS_MAX 128u

static int64_t change(unsigned command, struct dgm_gfn_range range)
{
    xen_pfn_t extents[EXTENTS_MAX];
    uint64_t done = 0;

    while (done < range.count) {
        const uint64_t left = range.count - done;
        const uint64_t count = left < EXTENTS_MAX ? left : EXTENTS_MAX;
        struct xen_memory_reservation reservation = {
            .nr_extents = count, .extent_order = 0, .domid = DOMID_SELF};
        long result;

        for (uint64_t i = 0; i < count; i++)
            extents[i] = (xen_pfn_t)(range.first.n + done + i);
        set_xen_guest_handle(reservation.extent_start, extents);
        result = dgm_memory_op(command, &reservation);
        if (result < 0 && done == 0)
            return result;
        if (result > 0)
            done += (uint64_t)result;
        if (result < 0 || (uint64_t)result < count)
            break;
    }
    return (int64_t)done;
}

int64_t dgm_balloon_out(struct dgm_gfn_range range)
{
    return change(XENMEM_decrease_reservation, range);
}

int64_t dgm_balloon_in(struct dgm_gfn_range range)
{
    return change(XENMEM_populate_physmap, range);
}
