/* SPDX-License-Identifier: MIT */
/*
 * contig: if these fail, a PV guest's buffer is not what the device finds, a frame is lost between
 * us and Xen, or Xen hands our data to a stranger.
 *
 * The Xen here is a model of XENMEM_exchange alone, as seen on real ones (tests/x86 runs the same
 * code there): it works extent by extent, refuses a frame that is still mapped, tells its m2p the
 * gfn that it finds in the output list, and gives frames full of someone else's bytes. Its oracles,
 * after every step (judge): each of our gfns has exactly one machine frame, of which contig knows,
 * m2p and page tables agree with it, what is mapped reads as zero, and no frame came back to Xen
 * with a byte of ours in it.
 */
#include "unit.h"

#include <dragoman/pages/contig.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/base/status.h>
#include <port/env.h>

#include <xen/features.h>
#include <xen/memory.h>
#include <xen/version.h>

#define FIRST     0x100u /* our first gfn */
#define FRAMES    512u   /* gfns of ours */
#define MACHINE   4096u  /* machine frames in the model */
#define LOW       2048u  /* those below 2^(12+11) = 2^23 bytes, all free at first */
#define LOW_BITS  23
#define OURS      0x11 /* in every byte that we used */
#define STRANGERS 0xa5 /* in every byte that Xen gives */
#define XEN_FREE  UINT64_MAX

static struct {
    uint8_t (*memory)[DGM_FRAME_BYTES]; /* per machine frame */
    bool ours[MACHINE];
    uint64_t m2p[MACHINE];        /* XEN_FREE: not ours */
    unsigned references[MACHINE]; /* page table entries of ours */
    uint64_t p2m[FRAMES];         /* UINT64_MAX: absent */
    uint64_t table[FRAMES];       /* the page tables: mfn, or UINT64_MAX */
    bool auto_translated;
    unsigned order_max;
    uint64_t exchanges;
    /* faults: -1 or UINT64_MAX: none */
    int64_t fail_extent; /* this extent (the larger kind) of every exchange is refused */
    int fail_error;
    uint64_t call, fail_call; /* of unmap, exchange, remap together: the n-th fails */
    bool fail_forever;
    uint64_t unmap_leaves; /* this gfn stays mapped, silently */
    bool liar;             /* a short exchange answers 0 */
} xen;

static struct dgm_contig contig;

static bool fails_now(void)
{
    const uint64_t call = xen.call++;

    return call == xen.fail_call || (xen.fail_forever && call > xen.fail_call);
}

/* --- the port --- */

static dgm_mfn_t port_mfn(void *context, dgm_gfn_t gfn)
{
    assert_ptr_equal(context, &xen);
    return gfn.n - FIRST < FRAMES ? dgm_mfn(xen.p2m[gfn.n - FIRST]) : DGM_MFN_NONE;
}

static void set_entry(dgm_gfn_t gfn, uint64_t mfn)
{
    uint64_t *entry = &xen.table[gfn.n - FIRST];

    if (*entry != UINT64_MAX)
        xen.references[*entry]--;
    *entry = mfn;
    if (mfn == UINT64_MAX) {
        dgm_sim_hole(gfn);
        return;
    }
    /* Xen's own check: nobody maps what is not his. */
    assert_true(mfn < MACHINE && xen.ours[mfn]);
    xen.references[mfn]++;
    dgm_sim_alias(gfn, xen.memory[mfn]);
}

static int port_unmap(void *context, struct dgm_gfn_range range)
{
    const bool fails = fails_now();

    for (uint64_t i = 0; i < range.count; i++) {
        const dgm_gfn_t gfn = dgm_gfn(range.first.n + i);

        if (fails && i == range.count / 2)
            return DGM_EBUSY;
        xen.p2m[gfn.n - FIRST] = UINT64_MAX;
        if (gfn.n != xen.unmap_leaves)
            set_entry(gfn, UINT64_MAX);
    }
    return 0;
}

static int port_remap(void *context, struct dgm_gfn_range range, const dgm_mfn_t *mfn)
{
    const bool fails = fails_now();

    for (uint64_t i = 0; i < range.count; i++) {
        if (fails && i == range.count / 2)
            return DGM_ENOMEM;
        set_entry(dgm_gfn(range.first.n + i), mfn[i].n);
        xen.p2m[range.first.n + i - FIRST] = mfn[i].n;
    }
    return 0;
}

static const struct dgm_contig_port port = {&xen, port_mfn, port_unmap, port_remap};

/* --- the model of XENMEM_exchange --- */

/* From the top of what is free, naturally aligned, as Xen does. UINT64_MAX: none. */
static uint64_t allocate(unsigned order, unsigned bits)
{
    const uint64_t count = 1ull << order;
    const uint64_t limit = bits && bits < 24 ? (1ull << bits) / DGM_FRAME_BYTES : MACHINE;

    for (uint64_t start = limit & ~(count - 1); start >= count;) {
        uint64_t i = 0;

        start -= count;
        while (i < count && !xen.ours[start + i])
            i++;
        if (i == count)
            return start;
    }
    return UINT64_MAX;
}

static void give(uint64_t mfn, uint64_t gfn)
{
    xen.ours[mfn] = true;
    xen.m2p[mfn] = gfn;
    memset(xen.memory[mfn], STRANGERS, DGM_FRAME_BYTES);
}

static int take(uint64_t mfn)
{
    if (mfn >= MACHINE || !xen.ours[mfn] || xen.references[mfn])
        return DGM_EINVAL;
    for (unsigned i = 0; i < DGM_FRAME_BYTES; i++)
        assert_int_not_equal(xen.memory[mfn][i], OURS); /* given to a stranger */
    xen.ours[mfn] = false;
    xen.m2p[mfn] = XEN_FREE;
    return 0;
}

/* One step: 2^order frames, as `ins` extents in and `outs` extents out, one of the two being 1. */
static int exchange_step(const struct xen_memory_exchange *op, uint64_t ins, uint64_t outs,
                         const xen_pfn_t *in, xen_pfn_t *out)
{
    const unsigned bits = XENMEMF_get_address_bits(op->out.mem_flags);
    const uint64_t in_run = 1ull << op->in.extent_order, out_run = 1ull << op->out.extent_order;
    uint64_t found[FRAMES];

    for (uint64_t i = 0; i < ins * in_run; i++) {
        const uint64_t mfn = in[i / in_run] + i % in_run;

        if (mfn >= MACHINE || !xen.ours[mfn] || xen.references[mfn])
            return DGM_EINVAL;
    }
    /* Xen allocates before it frees. */
    for (uint64_t i = 0; i < outs; i++) {
        found[i] = allocate(op->out.extent_order, bits);
        if (found[i] == UINT64_MAX) {
            while (i--)
                for (uint64_t j = 0; j < out_run; j++)
                    xen.ours[found[i] + j] = false;
            return DGM_ENOMEM;
        }
        for (uint64_t j = 0; j < out_run; j++)
            xen.ours[found[i] + j] = true;
    }
    for (uint64_t i = 0; i < ins * in_run; i++)
        assert_int_equal(take(in[i / in_run] + i % in_run), 0);
    for (uint64_t i = 0; i < outs; i++) {
        for (uint64_t j = 0; j < out_run; j++)
            give(found[i] + j, out[i] + j);
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

    xen.exchanges++;
    assert_int_equal(op->in.domid, DOMID_SELF);
    assert_int_equal(op->out.domid, DOMID_SELF);
    assert_int_equal(op->nr_exchanged, 0);
    if (fails_now())
        return DGM_EPERM;
    if (in_order > xen.order_max || out_order > xen.order_max)
        return DGM_EPERM;
    if (op->in.nr_extents << in_order != op->out.nr_extents << out_order)
        return DGM_EINVAL;
    for (uint64_t step = 0; step < op->in.nr_extents / ins; step++) {
        int result = (int64_t)step == xen.fail_extent ? xen.fail_error : 0;

        if (!result)
            result = exchange_step(op, ins, outs, in + step * ins, out + step * outs);
        if (result)
            return xen.liar ? 0 : result;
        op->nr_exchanged += ins;
    }
    return 0;
}

static long model_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                            uint64_t a5)
{
    if (op == __HYPERVISOR_xen_version && a1 == XENVER_get_features) {
        struct xen_feature_info *info = (struct xen_feature_info *)(uintptr_t)a2;

        info->submap = xen.auto_translated ? 1u << XENFEAT_auto_translated_physmap : 0;
        return 0;
    }
    assert_int_equal(op, __HYPERVISOR_memory_op);
    assert_int_equal(a1, XENMEM_exchange);
    return model_exchange((struct xen_memory_exchange *)(uintptr_t)a2);
}

/* --- what every test does --- */

static int start(void **state)
{
    const struct dgm_sim_machine machine = {.hypercall = model_hypercall};

    memset(&xen, 0, sizeof xen);
    xen.memory = calloc(MACHINE, sizeof *xen.memory);
    xen.order_max = 18;
    xen.fail_extent = -1;
    xen.fail_call = xen.unmap_leaves = UINT64_MAX;
    for (uint64_t i = 0; i < MACHINE; i++)
        xen.m2p[i] = XEN_FREE;
    dgm_sim_attach(&machine);
    /* Ours are every second frame above LOW, mixed: 229 is odd, so it permutes 512. */
    for (uint64_t i = 0; i < FRAMES; i++) {
        const uint64_t mfn = LOW + 2 * (i * 229 % FRAMES);

        give(mfn, FIRST + i);
        xen.p2m[i] = mfn;
        xen.table[i] = UINT64_MAX;
        set_entry(dgm_gfn(FIRST + i), mfn);
        memset(xen.memory[mfn], OURS, DGM_FRAME_BYTES);
    }
    return 0;
}

static int stop(void **state)
{
    for (uint64_t i = 0; i < FRAMES; i++)
        dgm_sim_plain(dgm_gfn(FIRST + i));
    dgm_sim_attach(NULL);
    free(xen.memory);
    return 0;
}

static struct dgm_gfn_range range(uint64_t count)
{
    return (struct dgm_gfn_range){dgm_gfn(FIRST), count};
}

/* The oracles: see the head of this file. */
static void judge(void)
{
    uint64_t owned = 0;

    dgm_contig_check(&contig);
    for (uint64_t i = 0; i < MACHINE; i++)
        owned += xen.ours[i];
    assert_int_equal(owned, FRAMES);
    for (uint64_t i = 0; i < contig.range.count; i++) {
        const uint64_t mfn = contig.mfn[i].n;

        assert_true(mfn < MACHINE && xen.ours[mfn]);
        assert_int_equal(xen.m2p[mfn], FIRST + i);
        if (!contig.mapped)
            continue;
        assert_int_equal(xen.p2m[i], mfn);
        assert_int_equal(xen.table[i], mfn);
        assert_int_equal(xen.references[mfn], 1);
        for (unsigned at = 0; at < DGM_FRAME_BYTES; at++)
            assert_int_equal(((uint8_t *)dgm_env_va(dgm_gfn(FIRST + i)))[at], 0);
    }
}

/* We use our memory: what is there is ours, and no zero. */
static void use(void)
{
    for (uint64_t i = 0; i < contig.range.count; i++)
        memset(dgm_env_va(dgm_gfn(FIRST + i)), OURS, DGM_FRAME_BYTES);
}

static uint64_t runs_below(unsigned bits)
{
    uint64_t runs = 0;

    for (uint64_t i = 0; i < contig.range.count; i += 1ull << contig.order)
        runs += contig.mfn[i].n * DGM_FRAME_BYTES >> bits == 0;
    return runs;
}

/* --- tests --- */

/* Fails: an Arm or PVH guest is told that its buffer is contiguous, or Xen is asked for nothing. */
static void not_here(void **state)
{
    xen.auto_translated = true;
    assert_int_equal(dgm_contig_init(&contig, &port, range(8), 3), DGM_EOPNOTSUPP);
    assert_int_equal(xen.exchanges, 0);
    dgm_sim_attach(NULL); /* a Xen that does not even say */
    assert_int_equal(dgm_contig_init(&contig, &port, range(8), 3), DGM_EOPNOTSUPP);
}

/* Fails: a region that no list holds is begun. */
static void limits(void **state)
{
    assert_int_equal(dgm_contig_init(&contig, &port, range(1024), 10), DGM_E2BIG);
    assert_int_equal(dgm_contig_init(&contig, &port, range(513), 0), DGM_E2BIG);
    assert_int_equal(dgm_contig_init(&contig, &port, range(0), 0), DGM_EINVAL);
    assert_int_equal(dgm_contig_init(&contig, &port, range(12), 3), DGM_EINVAL);
    assert_int_equal(dgm_contig_init(&contig, &port, (struct dgm_gfn_range){{FIRST + 511}, 2}, 1),
                     DGM_EINVAL);
    assert_int_equal(dgm_contig_init(&contig, &port, range(512), 9), DGM_OK);
    assert_int_equal(contig.runs, 0);
    assert_true(contig.mapped);
}

/* Fails: the plain way, at every order: not contiguous, not low, not zero, or not undone. */
static void make_and_undo(void **state)
{
    for (unsigned order = 0; order <= DGM_CONTIG_ORDER_MAX; order++) {
        const int64_t runs = order < 3 ? 64 : FRAMES >> order;

        assert_int_equal(dgm_contig_init(&contig, &port, range((uint64_t)runs << order), order),
                         DGM_OK);
        use();
        assert_int_equal(dgm_contig_make(&contig, LOW_BITS), runs);
        assert_int_equal(contig.error, DGM_OK);
        judge();
        assert_int_equal(runs_below(LOW_BITS), runs);
        use();
        assert_int_equal(dgm_contig_undo(&contig), DGM_OK);
        assert_int_equal(contig.runs, 0);
        judge();
        assert_int_equal(contig.exchanged, 2 * contig.range.count);
        assert_int_equal(contig.partial, 0);
        assert_int_equal(dgm_contig_undo(&contig), DGM_OK); /* nothing to do */
        judge();
    }
}

/* Fails: a frame that Xen did exchange is taken for one that it did not, or the other way round. */
static void partial_at_every_k(void **state)
{
    for (int64_t k = 0; k < 16; k++) {
        assert_int_equal(dgm_contig_init(&contig, &port, range(16 * 4), 2), DGM_OK);
        use();
        xen.fail_extent = k;
        xen.fail_error = DGM_EINVAL;
        assert_int_equal(dgm_contig_make(&contig, LOW_BITS), k ? k : DGM_EINVAL);
        assert_int_equal(contig.error, DGM_EINVAL);
        assert_int_equal(contig.runs, k);
        assert_int_equal(contig.partial, k > 0);
        judge();
        assert_int_equal(runs_below(LOW_BITS), k);
        use();
        xen.fail_extent = -1;
        assert_int_equal(dgm_contig_undo(&contig), DGM_OK);
        judge();
        assert_int_equal(runs_below(LOW_BITS), 0);
    }
}

/* Fails: after half an undo the contiguous runs are not the first ones, and are told to devices. */
static void partial_undo_at_every_k(void **state)
{
    for (int64_t k = 0; k < 16; k++) {
        assert_int_equal(dgm_contig_init(&contig, &port, range(16 * 4), 2), DGM_OK);
        assert_int_equal(dgm_contig_make(&contig, LOW_BITS), 16);
        use();
        xen.fail_extent = k;
        xen.fail_error = DGM_ENOMEM;
        assert_int_equal(dgm_contig_undo(&contig), DGM_ENOMEM);
        assert_int_equal(contig.runs, 16 - k);
        judge();
        assert_int_equal(runs_below(LOW_BITS), 16 - k);
        use();
        xen.fail_extent = -1;
        assert_int_equal(dgm_contig_undo(&contig), DGM_OK);
        assert_int_equal(contig.runs, 0);
        judge();
        assert_int_equal(runs_below(LOW_BITS), 0);
    }
}

/* Fails: Xen's refusals are not survived with the old frames in place. */
static void refusals(void **state)
{
    uint64_t before;

    assert_int_equal(dgm_contig_init(&contig, &port, range(512), 9), DGM_OK);
    before = contig.mfn[77].n;
    use();
    assert_int_equal(dgm_contig_make(&contig, 20), DGM_ENOMEM); /* 1 MiB below 1 MiB is not 2 */
    judge();
    xen.order_max = 8;
    use();
    assert_int_equal(dgm_contig_make(&contig, LOW_BITS), DGM_EPERM);
    judge();
    xen.order_max = 18;
    xen.references[contig.mfn[300].n]++; /* a second mapping, a grant, a page table */
    use();
    assert_int_equal(dgm_contig_make(&contig, LOW_BITS), DGM_EINVAL);
    xen.references[contig.mfn[300].n]--;
    judge();
    xen.unmap_leaves = FIRST + 511; /* a port that forgets one */
    use();
    assert_int_equal(dgm_contig_make(&contig, LOW_BITS), DGM_EINVAL);
    judge();
    assert_int_equal(contig.mfn[77].n, before);
    xen.unmap_leaves = UINT64_MAX;
    assert_int_equal(dgm_contig_make(&contig, LOW_BITS), 1);
    judge();
}

/* Fails: a short exchange that Xen calls a success passes for a whole one. */
static void short_without_an_error(void **state)
{
    assert_int_equal(dgm_contig_init(&contig, &port, range(16), 1), DGM_OK);
    use();
    xen.liar = true;
    xen.fail_extent = 5;
    xen.fail_error = DGM_EINVAL;
    assert_int_equal(dgm_contig_make(&contig, LOW_BITS), 5);
    assert_int_equal(contig.error, DGM_EIO);
    judge();
}

/* Fails: page tables half taken down stay so. */
static void unmap_fails(void **state)
{
    assert_int_equal(dgm_contig_init(&contig, &port, range(16), 2), DGM_OK);
    use();
    xen.fail_call = 0;
    assert_int_equal(dgm_contig_make(&contig, LOW_BITS), DGM_EBUSY);
    assert_int_equal(xen.exchanges, 0);
    judge();
    assert_int_equal(dgm_contig_make(&contig, LOW_BITS), 4);
    use();
    xen.fail_call = xen.call;
    assert_int_equal(dgm_contig_undo(&contig), DGM_EBUSY);
    assert_int_equal(contig.runs, 4);
    judge();
    assert_int_equal(dgm_contig_undo(&contig), DGM_OK);
    judge();
}

/* Fails: after a failed remap frames are lost, or a region half mapped is used. */
static void remap_fails(void **state)
{
    assert_int_equal(dgm_contig_init(&contig, &port, range(16), 2), DGM_OK);
    use();
    xen.fail_call = 2; /* unmap, exchange, remap */
    assert_int_equal(dgm_contig_make(&contig, LOW_BITS), DGM_ENOMEM);
    assert_int_equal(contig.runs, 4);
    assert_false(contig.mapped);
    judge();
    expect_panic(dgm_contig_make(&contig, LOW_BITS)); /* unmapped, and made already */
    xen.fail_call = xen.call;
    assert_int_equal(dgm_contig_remap(&contig), DGM_ENOMEM);
    assert_int_equal(dgm_contig_remap(&contig), DGM_OK);
    judge();
    expect_panic(dgm_contig_make(&contig, LOW_BITS)); /* made already */
    expect_panic((void)dgm_contig_remap(&contig));    /* mapped */
    use();
    xen.fail_call = xen.call + 2;
    assert_int_equal(dgm_contig_undo(&contig), DGM_ENOMEM);
    assert_int_equal(contig.runs, 0);
    assert_false(contig.mapped);
    judge();
    expect_panic(dgm_contig_make(&contig, LOW_BITS));   /* unmapped */
    assert_int_equal(dgm_contig_undo(&contig), DGM_OK); /* maps it, and has nothing else to do */
    judge();
}

/*
 * Every call of port and Xen fails in turn, once and for ever, until the scenario runs clean.
 * Fails: some failure leaves the books wrong, or cannot be got over.
 */
static void fail_the_nth(void **state)
{
    for (unsigned forever = 0; forever < 2; forever++) {
        for (uint64_t nth = 0; nth < 7; nth++) {
            stop(NULL);
            start(NULL);
            assert_int_equal(dgm_contig_init(&contig, &port, range(32), 3), DGM_OK);
            use();
            xen.fail_call = nth;
            xen.fail_forever = forever;
            dgm_contig_make(&contig, LOW_BITS);
            judge();
            if (contig.mapped)
                use();
            dgm_contig_undo(&contig);
            judge();
            xen.fail_call = UINT64_MAX;
            xen.fail_forever = false;
            assert_int_equal(dgm_contig_undo(&contig), DGM_OK);
            judge();
            assert_int_equal(contig.runs, 0);
            assert_int_equal(dgm_contig_make(&contig, LOW_BITS), 4);
            judge();
        }
    }
}

/* Anything in any order, with failures anywhere, judged after each step. */
static void random_lives(void **state)
{
    print_message("# seed %llu\n", (unsigned long long)unit_seed());
    for (unsigned life = 0; life < 100; life++) {
        const unsigned order = (unsigned)unit_below(5);
        const uint64_t runs = 1 + unit_below(64 >> order);
        assert_int_equal(dgm_contig_init(&contig, &port, range(runs << order), order), DGM_OK);
        for (unsigned step = 0; step < 12; step++) {
            xen.fail_call = unit_chance(30) ? xen.call + unit_below(4) : UINT64_MAX;
            xen.fail_extent = unit_chance(30) ? (int64_t)unit_below(runs + 1) : -1;
            xen.fail_error = unit_chance(50) ? DGM_ENOMEM : DGM_EINVAL;
            if (contig.mapped && unit_chance(80))
                use();
            if (contig.mapped && contig.runs == 0)
                dgm_contig_make(&contig, unit_chance(80) ? LOW_BITS : 0);
            else if (contig.mapped || unit_chance(50))
                dgm_contig_undo(&contig);
            else
                dgm_contig_remap(&contig);
            judge();
        }
        xen.fail_call = UINT64_MAX;
        xen.fail_extent = -1;
        assert_int_equal(dgm_contig_undo(&contig), DGM_OK);
        judge();
    }
}

/* Fails: the invariants' own check sees nothing. */
static void the_check_can_fail(void **state)
{
    assert_int_equal(dgm_contig_init(&contig, &port, range(16), 2), DGM_OK);
    assert_int_equal(dgm_contig_make(&contig, LOW_BITS), 4);
    contig.mfn[5].n++;
    expect_panic(dgm_contig_check(&contig)); /* not what the port has */
    contig.mfn[5].n--;
    contig.runs = 5;
    expect_panic(dgm_contig_check(&contig)); /* more runs than the region holds */
    contig.runs = 4;
    contig.mapped = false;
    contig.mfn[5].n++;
    expect_panic(dgm_contig_check(&contig)); /* a run that is none */
    contig.mfn[5] = DGM_MFN_NONE;
    expect_panic(dgm_contig_check(&contig)); /* a frame lost */
    for (unsigned i = 0; i < 4; i++)
        contig.mfn[4 + i] = dgm_mfn(1001 + i);
    expect_panic(dgm_contig_check(&contig)); /* a run that is not aligned */
    contig.runs = 0;
    contig.range.count = 15;
    expect_panic(dgm_contig_check(&contig)); /* no whole runs */
    contig.range.count = 1024;
    expect_panic(dgm_contig_check(&contig)); /* more than the lists hold */
    contig.range.count = 16;
    contig.order = 10;
    expect_panic(dgm_contig_check(&contig));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(not_here, start, stop),
        cmocka_unit_test_setup_teardown(limits, start, stop),
        cmocka_unit_test_setup_teardown(make_and_undo, start, stop),
        cmocka_unit_test_setup_teardown(partial_at_every_k, start, stop),
        cmocka_unit_test_setup_teardown(partial_undo_at_every_k, start, stop),
        cmocka_unit_test_setup_teardown(refusals, start, stop),
        cmocka_unit_test_setup_teardown(short_without_an_error, start, stop),
        cmocka_unit_test_setup_teardown(unmap_fails, start, stop),
        cmocka_unit_test_setup_teardown(remap_fails, start, stop),
        cmocka_unit_test_setup_teardown(fail_the_nth, start, stop),
        cmocka_unit_test_setup_teardown(random_lives, start, stop),
        cmocka_unit_test_setup_teardown(the_check_can_fail, start, stop),
    };

    return cmocka_run_group_tests_name("contig", tests, NULL, NULL);
}
