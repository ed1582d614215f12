/* SPDX-License-Identifier: MIT */
/* exchange_rig: see exchange_rig.h */
#include "exchange_rig.h"

#include <dragoman/hyper/hypercall.h>
#include <dragoman/base/status.h>

#include <xen/features.h>
#include <xen/memory.h>
#include <xen/version.h>

struct exchange_rig exchange_rig;

static bool call_fails(void)
{
    const uint64_t call = exchange_rig.call++;

    return call == exchange_rig.fail_call ||
           (exchange_rig.fail_all_later && call > exchange_rig.fail_call);
}

/* --- the port --- */

/* The place of `gfn` in our tables; beyond them for a gfn that is not ours. */
static uint64_t index_of(dgm_gfn_t gfn)
{
    return dgm_gfn_diff(gfn, dgm_gfn(EXCHANGE_FIRST));
}

static dgm_mfn_t port_mfn(void *context, dgm_gfn_t gfn)
{
    const uint64_t index = index_of(gfn);

    assert_ptr_equal(context, &exchange_rig);
    return index < EXCHANGE_FRAMES ? dgm_mfn(exchange_rig.p2m[index]) : DGM_MFN_NONE;
}

static void set_entry(dgm_gfn_t gfn, uint64_t mfn)
{
    uint64_t *entry = &exchange_rig.table[index_of(gfn)];

    if (*entry != UINT64_MAX)
        exchange_rig.references[*entry]--;
    *entry = mfn;
    if (mfn == UINT64_MAX) {
        dgm_sim_hole(gfn);
        return;
    }
    /* Xen's own check: a domain maps only its own frames. */
    assert_true(mfn < EXCHANGE_MACHINE && exchange_rig.ours[mfn]);
    exchange_rig.references[mfn]++;
    dgm_sim_alias(gfn, exchange_rig.memory[mfn]);
}

static int port_unmap(void *context, struct dgm_gfn_range range)
{
    const bool fails = call_fails();

    for (uint64_t i = 0; i < range.count; i++) {
        const dgm_gfn_t gfn = dgm_gfn_add(range.first, i);

        if (fails && i == range.count / 2)
            return DGM_EBUSY;
        exchange_rig.p2m[index_of(gfn)] = UINT64_MAX;
        if (dgm_gfn_number(gfn) != exchange_rig.unmap_leaves)
            set_entry(gfn, UINT64_MAX);
    }
    return 0;
}

static int port_remap(void *context, struct dgm_gfn_range range, const dgm_mfn_t *mfn)
{
    const bool fails = call_fails();

    for (uint64_t i = 0; i < range.count; i++) {
        if (fails && i == range.count / 2)
            return DGM_ENOMEM;
        set_entry(dgm_gfn_add(range.first, i), dgm_mfn_number(mfn[i]));
        exchange_rig.p2m[index_of(dgm_gfn_add(range.first, i))] = dgm_mfn_number(mfn[i]);
    }
    return 0;
}

const struct dgm_contig_port exchange_rig_port = {&exchange_rig, port_mfn, port_unmap, port_remap};

/* --- the model of XENMEM_exchange --- */

/* Finds free frames from the highest down, naturally aligned, as Xen does. UINT64_MAX: none. */
static uint64_t allocate_frames(unsigned order, unsigned bits)
{
    const uint64_t count = 1ull << order;
    const uint64_t limit = bits && bits < 24 ? (1ull << bits) / DGM_FRAME_BYTES : EXCHANGE_MACHINE;

    for (uint64_t start = limit & ~(count - 1); start >= count;) {
        uint64_t i = 0;

        start -= count;
        while (i < count && !exchange_rig.ours[start + i])
            i++;
        if (i == count)
            return start;
    }
    return UINT64_MAX;
}

static void give_frame(uint64_t mfn, uint64_t gfn)
{
    exchange_rig.ours[mfn] = true;
    exchange_rig.m2p[mfn] = gfn;
    memset(exchange_rig.memory[mfn], STRANGERS, DGM_FRAME_BYTES);
}

static int take_frame(uint64_t mfn)
{
    if (mfn >= EXCHANGE_MACHINE || !exchange_rig.ours[mfn] || exchange_rig.references[mfn])
        return DGM_EINVAL;
    for (unsigned i = 0; i < DGM_FRAME_BYTES; i++)
        assert_int_not_equal(exchange_rig.memory[mfn][i],
                             EXCHANGE_OURS); /* another domain would read our data */
    exchange_rig.ours[mfn] = false;
    exchange_rig.m2p[mfn] = XEN_FREE;
    return 0;
}

/* One step: `ins` extents in and `outs` extents out; one of the two numbers is 1. */
static int exchange_step(const struct xen_memory_exchange *op, uint64_t ins, uint64_t outs,
                         const xen_pfn_t *in, xen_pfn_t *out)
{
    const unsigned bits = XENMEMF_get_address_bits(op->out.mem_flags);
    const uint64_t in_run = 1ull << op->in.extent_order, out_run = 1ull << op->out.extent_order;
    uint64_t found[EXCHANGE_FRAMES];

    for (uint64_t i = 0; i < ins * in_run; i++) {
        const uint64_t mfn = in[i / in_run] + i % in_run;

        if (mfn >= EXCHANGE_MACHINE || !exchange_rig.ours[mfn] || exchange_rig.references[mfn])
            return DGM_EINVAL;
    }
    /* Xen allocates before it frees. */
    for (uint64_t i = 0; i < outs; i++) {
        found[i] = allocate_frames(op->out.extent_order, bits);
        if (found[i] == UINT64_MAX) {
            while (i--)
                for (uint64_t j = 0; j < out_run; j++)
                    exchange_rig.ours[found[i] + j] = false;
            return DGM_ENOMEM;
        }
        for (uint64_t j = 0; j < out_run; j++)
            exchange_rig.ours[found[i] + j] = true;
    }
    for (uint64_t i = 0; i < ins * in_run; i++)
        assert_int_equal(take_frame(in[i / in_run] + i % in_run), 0);
    for (uint64_t i = 0; i < outs; i++) {
        for (uint64_t j = 0; j < out_run; j++)
            give_frame(found[i] + j, out[i] + j);
        out[i] = found[i];
    }
    return 0;
}

static long model_exchange(struct xen_memory_exchange *op)
{
    const unsigned in_order = op->in.extent_order, out_order = op->out.extent_order;
    const uint64_t ins = out_order > in_order ? 1ull << (out_order - in_order) : 1;
    const uint64_t outs = in_order > out_order ? 1ull << (in_order - out_order) : 1;
    const xen_pfn_t *in = op->in.extent_start.p;
    xen_pfn_t *out = op->out.extent_start.p;

    exchange_rig.exchanges++;
    assert_int_equal(op->in.domid, DOMID_SELF);
    assert_int_equal(op->out.domid, DOMID_SELF);
    assert_int_equal(op->nr_exchanged, 0);
    if (call_fails())
        return DGM_EPERM;
    if (in_order > exchange_rig.order_max || out_order > exchange_rig.order_max)
        return DGM_EPERM;
    if (op->in.nr_extents << in_order != op->out.nr_extents << out_order)
        return DGM_EINVAL;
    for (uint64_t step = 0; step < op->in.nr_extents / ins; step++) {
        int result = (int64_t)step == exchange_rig.fail_extent ? exchange_rig.fail_error : 0;

        if (!result)
            result = exchange_step(op, ins, outs, in + step * ins, out + step * outs);
        if (result)
            return exchange_rig.short_is_ok ? 0 : result;
        op->nr_exchanged += ins;
    }
    return 0;
}

static long model_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                            uint64_t a5)
{
    if (op == __HYPERVISOR_xen_version && a1 == XENVER_get_features) {
        struct xen_feature_info *info = (struct xen_feature_info *)(uintptr_t)a2;

        info->submap = exchange_rig.auto_translated ? 1u << XENFEAT_auto_translated_physmap : 0;
        return 0;
    }
    assert_int_equal(op, __HYPERVISOR_memory_op);
    assert_int_equal(a1, XENMEM_exchange);
    return model_exchange((struct xen_memory_exchange *)(uintptr_t)a2);
}

/* --- start and stop --- */

int exchange_rig_start(void **state)
{
    const struct dgm_sim_machine machine = {.hypercall = model_hypercall};

    memset(&exchange_rig, 0, sizeof exchange_rig);
    exchange_rig.memory = calloc(EXCHANGE_MACHINE, sizeof *exchange_rig.memory);
    exchange_rig.order_max = 18;
    exchange_rig.fail_extent = -1;
    exchange_rig.fail_call = exchange_rig.unmap_leaves = UINT64_MAX;
    for (uint64_t i = 0; i < EXCHANGE_MACHINE; i++)
        exchange_rig.m2p[i] = XEN_FREE;
    dgm_sim_attach(&machine);
    /* Ours is every second frame above EXCHANGE_LOW, in mixed order: 229 is odd, so it permutes
     * 512. */
    for (uint64_t i = 0; i < EXCHANGE_FRAMES; i++) {
        const uint64_t mfn = EXCHANGE_LOW + 2 * (i * 229 % EXCHANGE_FRAMES);

        give_frame(mfn, EXCHANGE_FIRST + i);
        exchange_rig.p2m[i] = mfn;
        exchange_rig.table[i] = UINT64_MAX;
        set_entry(dgm_gfn(EXCHANGE_FIRST + i), mfn);
        memset(exchange_rig.memory[mfn], EXCHANGE_OURS, DGM_FRAME_BYTES);
    }
    return 0;
}

int exchange_rig_stop(void **state)
{
    for (uint64_t i = 0; i < EXCHANGE_FRAMES; i++)
        dgm_sim_plain(dgm_gfn(EXCHANGE_FIRST + i));
    dgm_sim_attach(NULL);
    free(exchange_rig.memory);
    return 0;
}
