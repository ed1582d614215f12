/* SPDX-License-Identifier: MIT */
/*
 * start: the hypercalls of the domain's start (xen.c, memory.c, memory_learn.c), each refused
 *
 * If these fail, one refusal that would pass ends the machine's boot; or the start ends with a line
 * from which no operator learns the call, its error and the remedy; or it goes on with wrong
 * addresses of its own memory. Later hypercalls (guests, xenstore, backends) fail one by one in the
 * simulated machine: sim --nth hypercall.
 */
#include "unit.h"

#include <dragoman/base/status.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/hyper/xen_status.h>
#include <kernel/arm64/image.h>
#include <kernel/arm64/mmu.h>
#include <kernel/memory.h>
#include <kernel/xen.h>
#include <sim/hypervisor/hypervisor.h>

#include <xen/memory.h>
#include <xen/version.h>

#define RAM    0x40000u
#define FRAMES 1200u
#define REGION 0x80000u
#define SLOTS  256u
#define GRANTS 0x60000u /* the grant window */
#define GUEST  1
#define REF    8
#define ALWAYS UINT64_MAX

/* --- the rest of the kernel, as far as memory.c needs it --- */

char image_start[1], image_end[1];

void mmu_init(struct dgm_frames *frames)
{
    fail();
}

void mmu_map(struct mmu_range range, enum mmu_memory memory)
{
    assert_true(range.bytes > 0);
}

/* --- what is refused --- */

static struct refusal {
    uint64_t from, to; /* of the calls, counted from 0 */
    bool of_kind;      /* only calls of this kind count: */
    unsigned op, command;
    long error;
    uint64_t calls;                 /* that counted so far */
    unsigned last_op, last_command; /* of the last one that was refused */
} refusal;

static long refuse_call(void *context, uint64_t nth, unsigned op, unsigned command)
{
    uint64_t at;

    if (refusal.of_kind && (op != refusal.op || command != refusal.command))
        return 0;
    at = refusal.calls++;
    if (at < refusal.from || at >= refusal.to)
        return 0;
    refusal.last_op = op;
    refusal.last_command = command;
    return refusal.error;
}

/* --- the machines --- */

struct machine {
    bool direct, regions, costs, flush;
};

static const struct machine machines[] = {
    {.direct = true, .regions = true},
    {.direct = true, .regions = true, .costs = true, .flush = true},
    {.direct = true, .regions = false, .costs = true},
    {.direct = false, .regions = true},
    {.direct = false, .regions = false, .costs = true, .flush = true},
};
#define MACHINES (sizeof machines / sizeof machines[0])

static struct memory memory;
static struct devtree tree;
static struct dgm_reactor reactor;
static struct shared_info *shared;

/* The steps of kernel_main() that make hypercalls. */
static void start_domain(const struct machine *machine)
{
    const struct memory_wants wants = {
        .copy_frames = 64, .costs = machine->costs, .flush = machine->flush};
    char version[48];

    memory_init(&memory, &tree, &reactor, &wants);
    xen_version(version, sizeof version);
    shared = xen_shared_info(dgm_gfn(GRANTS));
    memory_learn(&memory, &tree, &wants);
}

/* The panic's text, or NULL: the domain has started. */
static const char *start_machine(const struct machine *machine)
{
    static char image[16];

    memset(&memory, 0, sizeof memory);
    dgm_sim_log_clear();
    dgm_hv_start(dgm_gfn(RAM), FRAMES, dgm_mfn(machine->direct ? RAM : 0x90000));
    if (!machine->direct)
        dgm_hv_scatter_ram(5);
    dgm_hv_domain_add(GUEST, 64);
    dgm_hv_grant(GUEST, REF, 3, false);
    tree = (struct devtree){
        .fdt = image,
        .bytes = sizeof image,
        .banks = {{RAM * 4096ull, FRAMES * 4096ull}},
        .bank_count = 1,
        .grant_window = {GRANTS * 4096ull, 0x10000},
        .regions = {{REGION * 4096ull, SLOTS * 4096ull}},
        .region_count = machine->regions,
    };
    dgm_reactor_init(&reactor);
    dgm_frames_init(&memory.frames);
    dgm_hv_set_faults(&(struct dgm_hv_faults){.call = refuse_call});
    dgm_sim_on_panic(unit_panicked);
    if (setjmp(unit_panic_return) == 0) {
        start_domain(machine);
        dgm_sim_on_panic(NULL);
        return NULL;
    }
    return dgm_sim_last_log();
}

/* Fails unless a started domain can serve a guest: it has slots, events, its own addresses, and a
 * guest's frame can be mapped. */
static void domain_works(void)
{
    struct dgm_core *core = memory.core;
    struct dgm_foreign foreign;

    dgm_hv_set_faults(NULL);
    assert_true(memory_slots(&memory) >= 64);
    assert_true(shared);
    for (uint64_t gfn = RAM; gfn < RAM + FRAMES; gfn += 7)
        if (dgm_window_index(&core->slots.window, dgm_gfn(gfn)) == DGM_WINDOW_NONE)
            assert_int_equal(dgm_mfn_number(dgm_p2m_lookup(&core->p2m, dgm_gfn(gfn))),
                             dgm_mfn_number(dgm_hv_mfn(0, gfn)));
    assert_int_equal(dgm_slot_reserve(&core->cache, NULL, 1), DGM_OK);
    dgm_grant_map_add(core->grant, &foreign, NULL,
                      (struct dgm_guest_grant){.ref = REF, .domid = GUEST, .readonly = false});
    dgm_grant_map_commit(core->grant);
    assert_int_equal(foreign.status, DGM_OK);
    assert_int_equal(dgm_mfn_number(dgm_p2m_lookup(&core->p2m, foreign.gfn)),
                     dgm_mfn_number(dgm_hv_mfn(GUEST, 3)));
}

/* Fails unless the start ended with a line that names a hypercall, Xen's error, and a remedy. */
static void end_is_explained(const char *panic)
{
    static const char *const calls[] = {"XENMEM_add_to_physmap", "XENMEM_decrease_reservation",
                                        "GNTTABOP_map_grant_ref"};
    static const char *const remedies[] = {"boot Xen ", "leave Xen more memory"};
    char error[32];
    bool names_call = false, names_remedy = false;

    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        names_call = names_call || strstr(panic, calls[i]);
    for (size_t i = 0; i < sizeof remedies / sizeof remedies[0]; i++)
        names_remedy = names_remedy || strstr(panic, remedies[i]);
    snprintf(error, sizeof error, "(error %ld)", refusal.error);
    if (!names_call || !names_remedy || !strstr(panic, "Xen refuses") ||
        (!strstr(panic, "GNTTABOP") && !strstr(panic, error)))
        fail_msg("after error %ld of hypercall %u, command %u the start ends with: %s",
                 refusal.error, refusal.last_op, refusal.last_command, panic);
}

static const long errors[] = {DGM_EPERM,  DGM_EAGAIN, DGM_ENOMEM,     DGM_EFAULT, DGM_EBUSY,
                              DGM_EINVAL, DGM_ENOSYS, DGM_EOPNOTSUPP, -999};
#define ERRORS (sizeof errors / sizeof errors[0])

/* Starts it with this refusal. True: the domain started, and works. */
static bool start_with(const struct machine *machine, const struct refusal *what)
{
    const char *panic;

    refusal = *what;
    panic = start_machine(machine);
    if (panic)
        end_is_explained(panic);
    else
        domain_works();
    dgm_hv_stop();
    return !panic;
}

/* Fails: a machine does not start where Xen refuses nothing. */
static void every_machine_starts(void **state)
{
    for (size_t m = 0; m < MACHINES; m++)
        assert_true(start_with(&machines[m], &(struct refusal){.from = ALWAYS}));
}

/* Fails: one refusal, of any call, ends the start or breaks the domain. Its error is another one at
 * each call. */
static void one_refusal_costs_nothing(void **state)
{
    for (size_t m = 0; m < MACHINES; m++) {
        uint64_t at = 0;

        do {
            const struct refusal one = {.from = at, .to = at + 1, .error = errors[at % ERRORS]};

            if (!start_with(&machines[m], &one))
                fail_msg("call %llu of machine %zu, error %ld: %s", (unsigned long long)at, m,
                         one.error, dgm_sim_last_log());
        } while (refusal.calls > at++);
        assert_true(at > 3);
    }
}

/* Fails: the n-th and all later calls are refused, and the start ends without a cause, or goes on
 * without what it needs. */
static void refused_from_the_nth_on(void **state)
{
    for (size_t m = 0; m < MACHINES; m++) {
        uint64_t at = 0;
        bool started;

        do {
            const struct refusal all = {.from = at, .to = ALWAYS, .error = errors[at % ERRORS]};

            started = start_with(&machines[m], &all);
        } while (refusal.calls > at++);
        assert_true(started); /* the last one refused nothing */
    }
}

/* Fails: the domain cannot do without a call that it does not need, or does not say so. */
static void refused_by_kind(void **state)
{
    static const struct {
        unsigned op, command;
        bool needed_1to1, needed_else; /* on a Dom0 that is mapped 1:1, with regions; else */
        const char *says;
    } kinds[] = {
        {__HYPERVISOR_xen_version, XENVER_version, false, false, ""},
        {__HYPERVISOR_xen_version, XENVER_commandline, false, false, "does not tell its arguments"},
        {__HYPERVISOR_xen_version, XENVER_get_features, false, false, "does not say whether"},
        {__HYPERVISOR_memory_op, XENMEM_add_to_physmap, true, true, ""},
        {__HYPERVISOR_memory_op, XENMEM_decrease_reservation, false, true, ""},
        {__HYPERVISOR_grant_table_op, GNTTABOP_map_grant_ref, false, true, "cannot be measured"},
        {__HYPERVISOR_grant_table_op, GNTTABOP_copy, false, false, "cannot be measured"},
        {__HYPERVISOR_grant_table_op, GNTTABOP_cache_flush, false, false, "by address"},
    };

    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        for (size_t e = 0; e < ERRORS; e++) {
            const struct refusal kind = {.to = ALWAYS,
                                         .of_kind = true,
                                         .op = kinds[k].op,
                                         .command = kinds[k].command,
                                         .error = errors[e]};

            assert_int_equal(start_with(&machines[1], &kind), !kinds[k].needed_1to1);
            if (!kinds[k].needed_1to1)
                assert_true(!*kinds[k].says || dgm_sim_logged(kinds[k].says) > 0);
            assert_int_equal(start_with(&machines[4], &kind), !kinds[k].needed_else);
        }
}

/* Fails: the version of a Xen that does not tell it is a wrong number. */
static void a_version_that_is_not_told(void **state)
{
    char version[48];

    dgm_hv_start(dgm_gfn(RAM), 64, dgm_mfn(RAM));
    xen_version(version, sizeof version);
    assert_string_equal(version, "4.20");
    refusal = (struct refusal){.to = ALWAYS, .error = DGM_EPERM};
    dgm_hv_set_faults(&(struct dgm_hv_faults){.call = refuse_call});
    xen_version(version, sizeof version);
    assert_string_equal(version, "of unknown version (error -1)");
    dgm_hv_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_machine_starts),       cmocka_unit_test(one_refusal_costs_nothing),
        cmocka_unit_test(refused_from_the_nth_on),    cmocka_unit_test(refused_by_kind),
        cmocka_unit_test(a_version_that_is_not_told),
    };

    return cmocka_run_group_tests_name("start", tests, NULL, NULL);
}
