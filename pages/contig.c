/* SPDX-License-Identifier: MIT */
/*
 * contig: XENMEM_exchange and the steps around it. See dragoman/pages/contig.h.
 *
 * make and undo consist of the same four steps, with the shapes of the two lists swapped:
 *   1. Zero the frames and remove them from the page tables: Xen takes only frames that have no
 *      reference but its own.
 *   2. Make one exchange. Its output list is an input too: it names the guest frame number of each
 *      extent. Xen enters these in its m2p, then overwrites the list with the new machine frames.
 *   3. Use nr_exchanged, not the result: after an error the extents before it *are* exchanged.
 *   4. Map every frame again with the machine frame that is behind it now, new or old.
 *
 * make hands in extents from the first run on, undo from the last run back. So after any partial
 * exchange the contiguous runs are the first ones, and one number describes the region.
 *
 * One exchange covers the whole region (at most 512 frames). Xen processes it run by run and stops
 * at the first run that fails; the runs before it are exchanged.
 */
#include <dragoman/base/check.h>
#include <dragoman/pages/contig.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/base/status.h>

#include <string.h>
#include <xen/features.h>
#include <xen/memory.h>
#include <xen/version.h>

static bool auto_translated(void)
{
    struct xen_feature_info features = {.submap_idx = 0};
    const long result =
        dgm_hypercall(__HYPERVISOR_xen_version, XENVER_get_features, (uintptr_t)&features, 0, 0, 0);

    return result != 0 || (features.submap & 1u << XENFEAT_auto_translated_physmap);
}

int dgm_contig_init(struct dgm_contig *contig, const struct dgm_contig_port *port,
                    struct dgm_gfn_range range, unsigned order)
{
    if (auto_translated())
        return DGM_EOPNOTSUPP;
    if (order > DGM_CONTIG_ORDER_MAX || range.count > DGM_CONTIG_FRAMES_MAX)
        return DGM_E2BIG;
    if (range.count == 0 || range.count & ((1u << order) - 1))
        return DGM_EINVAL;
    *contig = (struct dgm_contig){.port = port, .range = range, .order = order, .mapped = true};
    for (uint64_t i = 0; i < range.count; i++) {
        contig->mfn[i] = port->mfn(port->context, dgm_gfn_add(range.first, i));
        if (dgm_mfn_is_none(contig->mfn[i]))
            return DGM_EINVAL;
    }
    return DGM_OK;
}

static void zero_frames(const struct dgm_contig *contig)
{
    for (uint64_t i = 0; i < contig->range.count; i++)
        memset(dgm_env_va(dgm_gfn_add(contig->range.first, i)), 0, DGM_FRAME_BYTES);
}

/* Step 4. Its own error replaces that of an earlier step: the region is then not mapped. */
static void remap_frames(struct dgm_contig *contig)
{
    const struct dgm_contig_port *port = contig->port;
    const int result = port->remap(port->context, contig->range, contig->mfn);

    contig->mapped = result == 0;
    if (result)
        contig->error = result;
    else
        zero_frames(contig);
}

int dgm_contig_remap(struct dgm_contig *contig)
{
    dgm_assert(!contig->mapped);
    contig->error = DGM_OK;
    remap_frames(contig);
    return contig->error;
}

/* Step 1. Frames that are not mapped, because a remap failed, hold no data of ours. */
static int zero_and_unmap(struct dgm_contig *contig)
{
    const struct dgm_contig_port *port = contig->port;

    if (contig->mapped)
        zero_frames(contig);
    return port->unmap(port->context, contig->range);
}

/*
 * Steps 2 and 3: exchanges the `in` extents of contig->list for its `out` extents. Returns how many
 * of the `in` extents were exchanged; contig->error says why it was not all of them.
 */
static uint64_t exchange_extents(struct dgm_contig *contig, uint64_t in, unsigned in_order,
                                 uint64_t out, unsigned out_order, unsigned address_bits)
{
    struct xen_memory_exchange exchange = {
        .in = {.nr_extents = in, .extent_order = in_order, .domid = DOMID_SELF},
        .out = {.nr_extents = out,
                .extent_order = out_order,
                .mem_flags = address_bits ? XENMEMF_address_bits(address_bits) : 0,
                .domid = DOMID_SELF},
    };
    long result;

    set_xen_guest_handle(exchange.in.extent_start, contig->list);
    set_xen_guest_handle(exchange.out.extent_start, contig->list + DGM_CONTIG_FRAMES_MAX);
    result = dgm_memory_op(XENMEM_exchange, &exchange);
    if (exchange.nr_exchanged >= in) {
        contig->error = DGM_OK;
        return in;
    }
    contig->error = result < 0 ? (int)result : DGM_EIO;
    if (exchange.nr_exchanged)
        contig->partial++;
    return exchange.nr_exchanged;
}

int64_t dgm_contig_make(struct dgm_contig *contig, unsigned address_bits)
{
    const uint64_t frames = contig->range.count, run = 1ull << contig->order;
    const xen_pfn_t *const out = contig->list + DGM_CONTIG_FRAMES_MAX;

    dgm_assert(contig->mapped && contig->runs == 0);
    contig->error = zero_and_unmap(contig);
    if (contig->error == DGM_OK) {
        for (uint64_t i = 0; i < frames; i++)
            contig->list[i] = dgm_mfn_number(contig->mfn[i]);
        for (uint64_t i = 0; i < frames / run; i++)
            contig->list[DGM_CONTIG_FRAMES_MAX + i] =
                dgm_gfn_number(dgm_gfn_add(contig->range.first, i * run));
        contig->runs =
            exchange_extents(contig, frames, 0, frames / run, contig->order, address_bits) / run;
        for (uint64_t i = 0; i < contig->runs * run; i++)
            contig->mfn[i] = dgm_mfn(out[i / run] + i % run);
        contig->exchanged += contig->runs * run;
    }
    remap_frames(contig);
    return contig->error && (contig->runs == 0 || !contig->mapped) ? contig->error
                                                                   : (int64_t)contig->runs;
}

int dgm_contig_undo(struct dgm_contig *contig)
{
    const uint64_t runs = contig->runs, run = 1ull << contig->order;
    xen_pfn_t *const out = contig->list + DGM_CONTIG_FRAMES_MAX;
    uint64_t undone;

    contig->error = zero_and_unmap(contig);
    if (contig->error == DGM_OK && runs) {
        /* The list begins with the last run. */
        for (uint64_t i = 0; i < runs; i++) {
            const uint64_t frame = (runs - 1 - i) * run;

            contig->list[i] = dgm_mfn_number(contig->mfn[frame]);
            for (uint64_t j = 0; j < run; j++)
                out[i * run + j] = dgm_gfn_number(dgm_gfn_add(contig->range.first, frame + j));
        }
        undone = exchange_extents(contig, runs, contig->order, runs * run, 0, 0);
        for (uint64_t i = 0; i < undone * run; i++)
            contig->mfn[(runs - 1 - i / run) * run + i % run] = dgm_mfn(out[i]);
        contig->runs -= undone;
        contig->exchanged += undone * run;
    }
    remap_frames(contig);
    return contig->error;
}

void dgm_contig_check(const struct dgm_contig *contig)
{
    const uint64_t run = 1ull << contig->order;

    dgm_assert(contig->order <= DGM_CONTIG_ORDER_MAX);
    dgm_assert(contig->range.count <= DGM_CONTIG_FRAMES_MAX && contig->range.count % run == 0);
    dgm_assert(contig->runs <= contig->range.count / run);
    for (uint64_t i = 0; i < contig->range.count; i++) {
        const struct dgm_contig_port *port = contig->port;
        const dgm_gfn_t gfn = dgm_gfn_add(contig->range.first, i);

        dgm_assert(!dgm_mfn_is_none(contig->mfn[i]));
        dgm_assert(!contig->mapped || dgm_mfn_equal(port->mfn(port->context, gfn), contig->mfn[i]));
        if (i < contig->runs * run)
            dgm_assert(dgm_mfn_diff(contig->mfn[i], contig->mfn[i - i % run]) == i % run &&
                       dgm_mfn_number(contig->mfn[i - i % run]) % run == 0);
    }
}
