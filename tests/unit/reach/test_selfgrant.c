/* SPDX-License-Identifier: MIT */
/*
 * selfgrant: if these fail, mode auto is the slower one, tells a device the
 * wrong machine address of its own RAM (every queue and bounce buffer), or starts with frames of
 * its own granted or mapped somewhere.
 */
#include "unit.h"

#include <dragoman/hyper/hypercall.h>
#include <dragoman/pages/p2m.h>
#include <dragoman/reach/selfgrant.h>
#include <dragoman/base/status.h>
#include <port/env.h>
#include <sim/hypervisor/hypervisor.h>
#include <xen/memory.h>

#define LOCAL  0x40000u
#define RAM    1000u
#define MFN    0x80000u
#define WINDOW 0x200000u
#define TABLE  0x300000u
#define SLOTS  128u
#define FRAMES 32u

static struct dgm_slots slots;
static struct dgm_slot_cache cache;
static struct dgm_selfgrant self;
static dgm_gfn_t frames[FRAMES];
static uint64_t slot_memory[16], cache_memory[16], p2m_memory[SLOTS * 2];
static struct dgm_window window;

static int start_with(uint64_t slot_count)
{
    struct xen_add_to_physmap grow = {
        .domid = DOMID_SELF, .space = XENMAPSPACE_grant_table, .idx = 0, .gpfn = TABLE};

    window = dgm_window((struct dgm_gfn_range){{WINDOW}, slot_count});
    dgm_hv_start(dgm_gfn(LOCAL), RAM, dgm_mfn(MFN));
    dgm_hv_scatter_ram(3);
    assert_int_equal(dgm_memory_op(XENMEM_add_to_physmap, &grow), 0);
    assert_true(dgm_slots_bytes(slot_count) <= sizeof slot_memory);
    assert_true(dgm_slot_cache_bytes(slot_count) <= sizeof cache_memory);
    dgm_slots_init(&slots, &window, true, slot_memory);
    dgm_slot_cache_init(&cache, &slots, cache_memory);
    self = (struct dgm_selfgrant){.table = dgm_env_va(dgm_gfn(TABLE)), .self = 0, .slots = &cache};
    for (unsigned i = 0; i < FRAMES; i++)
        frames[i] = dgm_gfn(LOCAL + 5 + i * 3);
    return 0;
}

static int start(void **state)
{
    return start_with(SLOTS);
}

static int stop(void **state)
{
    dgm_hv_stop();
    return 0;
}

/* Nothing granted, mapped, reserved or taken, but `stuck` frames that Xen would not unmap. */
static void nothing_is_left(unsigned stuck)
{
    unsigned in_use = 0;

    for (unsigned ref = 0; ref < 512; ref++) {
        if (self.table[ref].flags == 0)
            continue;
        assert_true(self.table[ref].flags & GTF_reading);
        in_use++;
    }
    assert_int_equal(in_use, stuck);
    assert_int_equal(dgm_hv_stats()->live, stuck);
    assert_int_equal(cache.retired, stuck);
    assert_int_equal(cache.reserved, 0);
    assert_int_equal(cache.taken, 0);
    assert_int_equal(dgm_hv_stats()->stale, 0);
    assert_int_equal(dgm_hv_stats()->over, 0);
    dgm_slot_cache_check(&cache);
}

/* --- measuring --- */

static uint64_t now_ns, map_ns, copy_ns;
static unsigned rounds_calls; /* so far; all rounds but one are disturbed by another domain */

static void pass_time(uint64_t ns)
{
    now_ns += ns;
    dgm_sim_set_now_ns(now_ns);
}

static int16_t map_takes(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    pass_time(map_ns * 3 / 4);
    return 0;
}

static int16_t unmap_takes(void *context, uint64_t nth, const struct gnttab_unmap_grant_ref *op)
{
    pass_time(map_ns / 4);
    return 0;
}

static int16_t copy_takes(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    pass_time(copy_ns);
    return 0;
}

static long sometimes_busy(void *context, uint64_t nth, unsigned op, unsigned command)
{
    if (rounds_calls++ / 3 != 4)
        pass_time(1000000);
    return 0;
}

static const struct dgm_hv_faults takes_time = {
    .map = map_takes, .unmap = unmap_takes, .copy = copy_takes, .call = sometimes_busy};

/* Fails: map and copy are mixed up, or time that another domain took is charged to one. */
static void measures_both_ways(void **state)
{
    static const struct {
        uint64_t map, copy;
        size_t count;
    } machine[] = {{4000, 2000, 32}, {400, 2200, 32}, {4000, 2000, 2}, {8, 12, 7}};

    for (size_t i = 0; i < sizeof machine / sizeof machine[0]; i++) {
        struct dgm_reach_costs costs = {0, 0, 1};

        start(NULL);
        map_ns = machine[i].map;
        copy_ns = machine[i].copy;
        rounds_calls = 0;
        dgm_hv_set_faults(&takes_time);
        assert_int_equal(dgm_selfgrant_measure(&self, frames, machine[i].count, &costs), DGM_OK);
        assert_int_equal(costs.map, machine[i].map * 1024);
        assert_int_equal(costs.copy, machine[i].copy * 1024);
        assert_int_equal(costs.guest_copy, 0); /* no time passes in the simulation's memory */
        assert_int_equal(dgm_hv_stats()->map_ops, dgm_hv_stats()->copy_ops);
        assert_int_equal(dgm_hv_stats()->copy_bytes, dgm_hv_stats()->copy_ops * 4096);
        assert_true(dgm_hv_stats()->copy_ops >= 4 * machine[i].count);
        nothing_is_left(0);
    }
}

/* --- learning --- */

/* Fails: a device is given the machine address of another frame of ours. */
static void learns_every_frame(void **state)
{
    static const uint64_t counts[] = {0, 1, 31, 32, 33, 100, RAM};
    static uint64_t mfns[RAM + 1];

    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        const uint64_t first = counts[c] == RAM ? 0 : 17;

        start(NULL);
        memset(mfns, 0xff, sizeof mfns);
        assert_int_equal(
            dgm_selfgrant_learn(&self, (struct dgm_gfn_range){{LOCAL + first}, counts[c]}, mfns),
            DGM_OK);
        for (uint64_t i = 0; i < counts[c]; i++)
            assert_int_equal(mfns[i], dgm_mfn_number(dgm_hv_mfn(0, LOCAL + first + i)));
        assert_int_equal(mfns[counts[c]], UINT64_MAX);
        assert_int_equal(dgm_hv_stats()->calls - 1, (counts[c] + 31) / 32 * 2);
        nothing_is_left(0);
    }
}

/* Fails: a lookup does not return the learnt frame. */
static void a_p2m_of_what_was_learnt(void **state)
{
    static uint64_t mfns[RAM];
    const struct dgm_ram_bank bank = {.gfn = {LOCAL}, .count = RAM, .mfns = mfns};
    struct dgm_p2m p2m;

    assert_int_equal(dgm_selfgrant_learn(&self, (struct dgm_gfn_range){{LOCAL}, RAM}, mfns),
                     DGM_OK);
    assert_true(dgm_p2m_bytes(SLOTS) <= sizeof p2m_memory);
    assert_int_equal(dgm_p2m_init(&p2m, &bank, 1, &window, p2m_memory), DGM_OK);
    for (unsigned i = 0; i < RAM; i++)
        assert_ptr_equal(dgm_hv_machine(dgm_p2m_lookup(&p2m, dgm_gfn(LOCAL + i))),
                         dgm_env_va(dgm_gfn(LOCAL + i)));
    assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&p2m, dgm_gfn(LOCAL + RAM))));
}

/* Fails: our RAM can be written through a slot because it was learnt. */
static int16_t only_reads(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    assert_true(op->flags & GNTMAP_readonly);
    assert_int_equal(self.table[op->ref].flags & GTF_readonly, GTF_readonly);
    assert_true(op->ref >= 8);
    return 0;
}

static void learns_read_only(void **state)
{
    uint64_t mfns[40];

    dgm_hv_set_faults(&(struct dgm_hv_faults){.map = only_reads});
    assert_int_equal(dgm_selfgrant_learn(&self, (struct dgm_gfn_range){{LOCAL}, 40}, mfns), DGM_OK);
}

/* Fails: entries in use by other code are overwritten. */
static void other_entries_stay(void **state)
{
    struct grant_entry_v1 before[512];
    struct dgm_reach_costs costs;
    uint64_t mfns[40];

    for (unsigned ref = 0; ref < 500; ref++)
        if (ref % 3 || ref < 8)
            self.table[ref] = (struct grant_entry_v1){GTF_permit_access, 7, 0x1000 + ref};
    for (unsigned ref = 8; ref < 500; ref++)
        if (ref % 3)
            self.table[ref].domid = (domid_t)(7 + ref % 2);
    memcpy(before, self.table, sizeof before);
    assert_int_equal(dgm_selfgrant_learn(&self, (struct dgm_gfn_range){{LOCAL}, 40}, mfns), DGM_OK);
    assert_int_equal(dgm_selfgrant_measure(&self, frames, FRAMES, &costs), DGM_OK);
    for (unsigned ref = 0; ref < 512; ref++) {
        assert_int_equal(self.table[ref].flags, before[ref].flags);
        if (before[ref].flags)
            assert_memory_equal(&self.table[ref], &before[ref], sizeof before[ref]);
    }
}

/* --- failures --- */

/* Fails: a lack of slots or entries is an assertion, or leaves something behind. */
static void too_few(void **state)
{
    struct dgm_reach_costs costs = {7, 7, 7};
    uint64_t mfns[64];

    start_with(16);
    assert_int_equal(dgm_selfgrant_measure(&self, frames, 17, &costs), DGM_EAGAIN);
    assert_int_equal(dgm_selfgrant_learn(&self, (struct dgm_gfn_range){{LOCAL}, 64}, mfns),
                     DGM_EAGAIN);
    nothing_is_left(0);
    assert_int_equal(costs.map, 7);
    assert_int_equal(dgm_selfgrant_measure(&self, frames, 16, &costs), DGM_OK);
    nothing_is_left(0);
    start(NULL);
    for (unsigned ref = 0; ref < 512 - 20; ref++)
        self.table[ref].flags = GTF_permit_access;
    assert_int_equal(dgm_selfgrant_measure(&self, frames, 21, &costs), DGM_EPERM);
    assert_int_equal(dgm_selfgrant_measure(&self, frames, 20, &costs), DGM_OK);
    assert_int_equal(dgm_selfgrant_learn(&self, (struct dgm_gfn_range){{LOCAL}, 64}, mfns), DGM_OK);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(mfns[i], dgm_mfn_number(dgm_hv_mfn(0, LOCAL + i)));
    for (unsigned ref = 0; ref < 512; ref++)
        self.table[ref].flags = GTF_permit_access;
    assert_int_equal(dgm_selfgrant_learn(&self, (struct dgm_gfn_range){{LOCAL}, 64}, mfns),
                     DGM_EPERM);
    expect_panic((void)dgm_selfgrant_measure(&self, frames, 1, &costs));
    expect_panic((void)dgm_selfgrant_measure(&self, frames, 33, &costs));
}

static struct {
    uint64_t calls_from, calls_to; /* grant-table hypercalls that fail as a whole */
    uint64_t op;                   /* or one op */
    uint64_t calls;
} fail;

static long fail_call(void *context, uint64_t nth, unsigned op, unsigned command)
{
    const uint64_t call = fail.calls++;

    return call >= fail.calls_from && call < fail.calls_to ? DGM_ENOSYS : 0;
}

static bool cut_at_op(void *context, uint64_t nth)
{
    fail.calls = nth + 1;
    return nth == fail.op;
}

/* Does both; true if both did what they should. */
static bool measure_and_learn(void)
{
    struct dgm_reach_costs costs;
    uint64_t mfns[40];
    const int measured = dgm_selfgrant_measure(&self, frames, 3, &costs);
    const int learnt = dgm_selfgrant_learn(&self, (struct dgm_gfn_range){{LOCAL}, 40}, mfns);

    assert_true(measured == DGM_OK || measured == DGM_EPERM);
    assert_true(learnt == DGM_OK || learnt == DGM_EPERM);
    for (unsigned i = 0; i < 40 && learnt == DGM_OK; i++)
        assert_int_equal(mfns[i], dgm_mfn_number(dgm_hv_mfn(0, LOCAL + i)));
    return measured == DGM_OK && learnt == DGM_OK;
}

/* Fails: a hypercall that fails once stops the start; one that fails, once or from then on, leaves
 * a frame of ours granted or mapped, or a slot reserved; or a frame that stays mapped is learnt
 * wrong for another. */
static void fail_every_hypercall(void **state)
{
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        uint64_t at = 0;

        for (bool ended = false; !ended; at++) {
            start(NULL);
            memset(&fail, 0, sizeof fail);
            fail.calls_from = at;
            fail.calls_to = for_ever ? UINT64_MAX : at + 1;
            dgm_hv_set_faults(&(struct dgm_hv_faults){.call = fail_call});
            assert_true(measure_and_learn() || for_ever);
            ended = fail.calls <= at;
            nothing_is_left((unsigned)dgm_hv_stats()->live);
            if (dgm_hv_stats()->live == 0)
                continue;
            dgm_hv_set_faults(NULL);
            assert_true(measure_and_learn()); /* the frames that stay mapped do no harm */
            nothing_is_left((unsigned)dgm_hv_stats()->live);
        }
        assert_true(at > 20);
    }
}

/* Fails: the same if a hypercall stops in the middle. */
static void cut_every_op(void **state)
{
    uint64_t at = 0;

    for (bool ended = false; !ended; at++) {
        start(NULL);
        memset(&fail, 0, sizeof fail);
        fail.op = at;
        dgm_hv_set_faults(&(struct dgm_hv_faults){.cut = cut_at_op});
        assert_true(measure_and_learn());
        ended = fail.calls <= at;
        nothing_is_left(0);
    }
    assert_true(at > 100);
}

static int16_t refuse_map(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    const unsigned *subset = context;

    return *subset >> (nth % 4) & 1 ? GNTST_eagain : 0;
}

/* Fails: of a batch that is refused in part the rest stays mapped. */
static void every_subset_refused(void **state)
{
    for (unsigned subset = 1; subset < 16; subset++) {
        struct dgm_reach_costs costs;
        uint64_t mfns[4];

        start(NULL);
        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &subset, .map = refuse_map});
        assert_int_equal(dgm_selfgrant_measure(&self, frames, 4, &costs), DGM_EPERM);
        nothing_is_left(0);
        assert_int_equal(dgm_selfgrant_learn(&self, (struct dgm_gfn_range){{LOCAL}, 4}, mfns),
                         DGM_EPERM);
        nothing_is_left(0);
    }
    start(NULL); /* a frame that is no RAM of ours */
    {
        uint64_t mfns[64];

        assert_int_equal(
            dgm_selfgrant_learn(&self, (struct dgm_gfn_range){{LOCAL + RAM - 40}, 41}, mfns),
            DGM_EPERM);
        nothing_is_left(0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(measures_both_ways),   TEST(learns_every_frame), TEST(a_p2m_of_what_was_learnt),
        TEST(learns_read_only),     TEST(other_entries_stay), TEST(too_few),
        TEST(fail_every_hypercall), TEST(cut_every_op),       TEST(every_subset_refused),
    };

    return cmocka_run_group_tests_name("selfgrant", tests, NULL, NULL);
}
