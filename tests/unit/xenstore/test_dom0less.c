/* SPDX-License-Identifier: MIT */
/*
 * dom0less: if these fail, a guest that Xen made at boot never finds its xenstore, or one that
 * could not be introduced costs slots, mappings and channels for ever.
 *
 * Everything runs once for each Xen there is: the library keeps the domctl version that it found,
 * so each Xen has a process of its own.
 */
#include "unit.h"

#include <dragoman/xenstore/dom0less.h>
#include <dragoman/hyper/hypercall.h>
#include <port/env.h>
#include <sim/hypervisor/domctl.h>
#include <sim/hypervisor/hypervisor.h>
#include <xenstore/store.h>

#include <sys/wait.h>
#include <unistd.h>
#include <xen/domctl.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#include <xen/io/xs_wire.h>
#include <xen/memory.h>
#include <xen/sched.h>

#define GUEST     1
#define FRAMES    64
#define MAGIC_GFN 0x39001 /* where Xen's own tools put the page */
#define GIVEN_GFN 5       /* where a Xen of 4.21 has put it, here */
#define UNSET     UINT64_MAX
#define XS_BYTES  (512u << 10)
#define CALLS_MAX 128

static enum dgm_hv_domctl xen_version = DGM_HV_DOMCTL_4_20;

static struct {
    struct dgm_reactor reactor;
    struct dgm_evtchn evtchn;
    struct dgm_slots store;
    struct dgm_slot_cache slots;
    uint64_t store_memory[8], slot_memory[8];
    void *xs_memory;
    struct dgm_xenstore *xs;
    struct dgm_dom0less_guest guest;
    evtchn_port_t port; /* the guest's */
} rig;

/* Every hypercall, in order; the one numbered `refuse` is answered with `answer` and not made. */
static struct {
    unsigned op, command;
} calls[CALLS_MAX];
static int call_count, refuse;
static long answer;

static long watched_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                              uint64_t a5)
{
    const bool domctl = op == __HYPERVISOR_domctl;

    assert_true(call_count < CALLS_MAX);
    calls[call_count].op = op;
    calls[call_count].command =
        domctl ? ((const struct xen_domctl *)(uintptr_t)a1)->cmd : (unsigned)a1;
    if (call_count++ == refuse)
        return answer;
    return dgm_hv_hypercall(op, a1, a2, a3, a4, a5);
}

static int find_call(unsigned op, unsigned command)
{
    int i = 0;

    while (i < call_count && (calls[i].op != op || calls[i].command != command))
        i++;
    return i < call_count ? i : -1;
}

static int start(void **state)
{
    const struct dgm_sim_machine machine = {.hypercall = watched_hypercall};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{0x1000}, 4});

    memset(&rig, 0, sizeof rig);
    dgm_hv_start(dgm_gfn(0x40000), 16, dgm_mfn(0x40000));
    dgm_hv_set_domctl(xen_version);
    dgm_sim_attach(&machine);
    refuse = -1;
    call_count = 0;
    dgm_reactor_init(&rig.reactor);
    dgm_evtchn_init(&rig.evtchn, &rig.reactor, dgm_hv_shared_info(),
                    &dgm_hv_shared_info()->vcpu_info[0]);
    dgm_slots_init(&rig.store, &window, true, rig.store_memory);
    dgm_slot_cache_init(&rig.slots, &rig.store, rig.slot_memory);
    rig.xs_memory = malloc(XS_BYTES);
    rig.xs = dgm_xenstore_init(rig.xs_memory, XS_BYTES, &rig.reactor, &rig.evtchn,
                               &dgm_xs_limits_default);
    assert_non_null(rig.xs);

    dgm_hv_domain_add(GUEST, FRAMES);
    rig.port = dgm_hv_guest_port(GUEST);
    dgm_hv_set_param(GUEST, HVM_PARAM_STORE_EVTCHN, rig.port);
    dgm_hv_set_param(GUEST, HVM_PARAM_STORE_PFN, UNSET);
    return 0;
}

static void run(void)
{
    dgm_evtchn_dispatch(&rig.evtchn);
    for (int turns = 0; dgm_reactor_turn(&rig.reactor); turns++) {
        assert_true(turns < 1000);
        dgm_evtchn_dispatch(&rig.evtchn);
    }
    dgm_xs_check(rig.xs);
}

static void nothing_is_held(void)
{
    assert_int_equal(dgm_hv_stats()->foreign, 0);
    assert_int_equal(rig.slots.taken, 0);
    assert_int_equal(rig.slots.retired, 0);
    dgm_slot_cache_check(&rig.slots);
    assert_true(dgm_gfn_is_none(rig.guest.page));
    assert_false(dgm_hv_guest_send(GUEST, rig.port)); /* the channel has no other end */
}

static int stop(void **state)
{
    assert_int_equal(dgm_hv_stats()->over, 0);
    dgm_xs_check(rig.xs);
    dgm_hv_stop();
    free(rig.xs_memory);
    return 0;
}

/* --- the guest's eyes --- */

/* Sends a request ('|' for NUL) and gives the reply as text; an error's name with a '!'. */
static const char *ask(uint64_t gfn, uint32_t type, const char *payload)
{
    static char text[1024];
    struct xenstore_domain_interface *const page = dgm_hv_page(GUEST, gfn);
    struct xsd_sockmsg header = {.type = type, .req_id = 77, .len = (uint32_t)strlen(payload)};

    for (size_t i = 0; i < sizeof header; i++)
        page->req[MASK_XENSTORE_IDX(page->req_prod++)] = ((const char *)&header)[i];
    for (size_t i = 0; i < header.len; i++)
        page->req[MASK_XENSTORE_IDX(page->req_prod++)] = payload[i] == '|' ? '\0' : payload[i];
    assert_true(dgm_hv_guest_send(GUEST, rig.port));
    run();
    assert_true(page->rsp_prod - page->rsp_cons >= sizeof header);
    for (size_t i = 0; i < sizeof header; i++)
        ((char *)&header)[i] = page->rsp[MASK_XENSTORE_IDX(page->rsp_cons++)];
    assert_int_equal(header.req_id, 77);
    assert_int_equal(page->rsp_prod - page->rsp_cons, header.len);
    text[0] = '!';
    for (size_t i = 0; i < header.len; i++) {
        const char c = page->rsp[MASK_XENSTORE_IDX(page->rsp_cons++)];

        text[1 + i] = c ? c : '|';
    }
    text[1 + header.len] = '\0';
    return header.type == XS_ERROR ? text : text + 1;
}

static void prepare(void)
{
    assert_int_equal(dgm_dom0less_prepare(&rig.guest, rig.xs, GUEST, "web"), DGM_OK);
}

static void introduce(void)
{
    prepare();
    assert_int_equal(dgm_dom0less_introduce(&rig.guest, rig.xs, &rig.slots), DGM_OK);
    run();
}

static void release(void)
{
    char value[8];

    dgm_dom0less_release(&rig.guest, rig.xs, &rig.slots);
    run();
    nothing_is_held();
    assert_int_equal(dgm_xs_read(rig.xs, "/local/domain/1", value, sizeof value), DGM_ENOENT);
    dgm_dom0less_release(&rig.guest, rig.xs, &rig.slots); /* harmless */
}

/* --- both ways --- */

/* Xen 4.17 and 4.20: there is no page. */
static void makes_the_page(void **state)
{
    const struct xenstore_domain_interface *page;
    int limit, populate, told, sent;

    introduce();
    assert_int_equal(dgm_hv_pages_max(GUEST), FRAMES + 1);
    assert_int_equal(dgm_hv_pages(GUEST), FRAMES + 1);
    assert_int_equal(dgm_hv_param(GUEST, HVM_PARAM_STORE_PFN), MAGIC_GFN);
    page = dgm_hv_page(GUEST, MAGIC_GFN);
    assert_int_equal(page->connection, XENSTORE_CONNECTED);
    assert_true(dgm_hv_guest_events(GUEST, rig.port) > 0); /* what wakes the guest */
    assert_ptr_equal(dgm_env_va(rig.guest.page), page);
    assert_int_equal(dgm_hv_stats()->foreign, 1);
    assert_int_equal(rig.slots.taken, 1);

    /* A guest that is woken looks at the parameter: it must be set by then. */
    limit = find_call(__HYPERVISOR_domctl, XEN_DOMCTL_max_mem);
    populate = find_call(__HYPERVISOR_memory_op, XENMEM_populate_physmap);
    told = find_call(__HYPERVISOR_hvm_op, HVMOP_set_param);
    sent = find_call(__HYPERVISOR_event_channel_op, EVTCHNOP_send);
    assert_true(limit >= 0 && limit < populate && populate < told && told < sent);
    assert_string_equal(ask(MAGIC_GFN, XS_READ, "name|"), "web");
    release();
}

/* Fails: the guest sees what somebody left in the frame. */
static void zeroes_the_page(void **state)
{
    static const char nothing[DGM_FRAME_BYTES];
    char *page;

    introduce();
    page = dgm_hv_page(GUEST, MAGIC_GFN);
    assert_memory_equal(page, nothing, DGM_FRAME_BYTES); /* CONNECTED is 0, too */
    release();
}

/* Xen 4.21: the page is there, wherever Xen chose, and says RECONNECT. */
static void finds_the_page(void **state)
{
    struct xenstore_domain_interface *const page = dgm_hv_page(GUEST, GIVEN_GFN);

    memset(page, 0x5a, DGM_FRAME_BYTES);
    page->connection = XENSTORE_RECONNECT;
    dgm_hv_set_param(GUEST, HVM_PARAM_STORE_PFN, GIVEN_GFN);
    introduce();
    assert_int_equal(dgm_hv_pages_max(GUEST), FRAMES);
    assert_int_equal(dgm_hv_pages(GUEST), FRAMES);
    assert_int_equal(find_call(__HYPERVISOR_domctl, XEN_DOMCTL_max_mem), -1);
    assert_int_equal(find_call(__HYPERVISOR_memory_op, XENMEM_populate_physmap), -1);
    assert_int_equal(find_call(__HYPERVISOR_hvm_op, HVMOP_set_param), -1);
    assert_int_equal(dgm_hv_param(GUEST, HVM_PARAM_STORE_PFN), GIVEN_GFN);
    assert_int_equal(page->connection, XENSTORE_CONNECTED);
    assert_int_equal(page->req_prod | page->req_cons | page->rsp_prod | page->rsp_cons, 0);
    assert_int_equal(page->server_features, 0x5a5a5a5a); /* Xen's, not ours to clear */
    assert_int_equal(((const char *)page)[4095], 0x5a);
    assert_true(dgm_hv_guest_events(GUEST, rig.port) > 0);
    assert_string_equal(ask(GIVEN_GFN, XS_READ, "domid|"), "1");
    release();
}

/* A guest that has xenstore's channel but whose parameter nobody ever set: 0, not ~0. */
static void page_number_of_zero(void **state)
{
    dgm_hv_set_param(GUEST, HVM_PARAM_STORE_PFN, 0);
    introduce();
    assert_int_equal(dgm_hv_param(GUEST, HVM_PARAM_STORE_PFN), MAGIC_GFN);
    release();
}

/* --- what a guest finds --- */

#define assert_answer(type, payload, expected)                                                     \
    assert_string_equal(ask(MAGIC_GFN, type, payload), expected)

static void nodes_as_the_guest_sees_them(void **state)
{
    dgm_hv_domain_add(2, 4);
    dgm_hv_set_param(2, HVM_PARAM_STORE_EVTCHN, dgm_hv_guest_port(2));
    introduce();
    struct dgm_dom0less_guest other;
    assert_int_equal(dgm_dom0less_prepare(&other, rig.xs, 2, NULL), DGM_OK);

    /* What Linux asks first of all. */
    assert_answer(XS_READ, "control/platform-feature-xs_reset_watches|", "1");
    assert_answer(XS_RESET_WATCHES, "|", "OK|");
    assert_answer(XS_DIRECTORY, "device|", "suspend|");
    assert_answer(XS_READ, "name|", "web");
    assert_answer(XS_READ, "domid|", "1");
    assert_answer(XS_READ, "memory/static-max|", "256");
    assert_answer(XS_READ, "cpu/0/availability|", "online");
    char number[16];
    snprintf(number, sizeof number, "%u", rig.port);
    assert_answer(XS_READ, "store/port|", number);
    assert_answer(XS_READ, "store/ring-ref|", "233473"); /* MAGIC_GFN */

    /* It answers on these, and may keep its own things in data. */
    assert_answer(XS_WRITE, "control/shutdown|", "OK|");
    assert_answer(XS_WRITE, "control/feature-poweroff|1", "OK|");
    assert_answer(XS_WRITE, "data/mine|x", "OK|");
    assert_answer(XS_WRITE, "attr/os|linux", "OK|");

    /* It neither changes what it is, nor makes devices, nor looks at others. */
    assert_answer(XS_WRITE, "name|root", "!EACCES|");
    assert_answer(XS_WRITE, "domid|0", "!EACCES|");
    assert_answer(XS_WRITE, "device/vbd/1/state|1", "!EACCES|");
    assert_answer(XS_WRITE, "memory/target|1", "!EACCES|");
    assert_answer(XS_RM, "control|", "!EACCES|");
    assert_answer(XS_SET_PERMS, "name|b1|", "!EACCES|");
    assert_answer(XS_READ, "/local/domain/2/name|", "!EACCES|");
    assert_answer(XS_READ, "/local/domain/2/control/shutdown|", "!EACCES|");
    assert_answer(XS_WRITE, "/local/domain/2/data/x|1", "!EACCES|");

    char name[16];
    assert_int_equal(dgm_xs_read(rig.xs, "/local/domain/2/name", name, sizeof name), 7);
    assert_string_equal(name, "guest-2"); /* nobody named it */
    dgm_dom0less_release(&other, rig.xs, &rig.slots);
    release();
}

/* --- who is not introduced --- */

static void not_enhanced(void **state)
{
    dgm_hv_set_param(GUEST, HVM_PARAM_STORE_EVTCHN, 0);
    assert_int_equal(dgm_dom0less_prepare(&rig.guest, rig.xs, GUEST, "web"), DGM_ENODEV);
    char value[8];
    assert_int_equal(dgm_xs_read(rig.xs, "/local/domain/1", value, sizeof value), DGM_ENOENT);
}

/* On 4.17 a question about a hole is answered with the next domain there is. */
static void no_such_domain(void **state)
{
    struct dgm_domain_info info;

    dgm_hv_domain_add(7, 3);
    assert_int_equal(dgm_dom0less_prepare(&rig.guest, rig.xs, 5, "web"), DGM_ESRCH);
    assert_int_equal(dgm_domain_info(5, &info), DGM_ESRCH);
    assert_int_equal(dgm_domain_info(8, &info), DGM_ESRCH);
    assert_int_equal(dgm_domain_info(7, &info), DGM_OK);
    assert_int_equal(info.pages, 3);
    assert_int_equal(info.vcpus, 1);
    assert_false(info.shut_down || info.dying);
}

static void ends_are_seen(void **state)
{
    struct dgm_domain_info info;

    introduce();
    dgm_hv_domain_shutdown(GUEST, SHUTDOWN_crash);
    assert_int_equal(dgm_domain_info(GUEST, &info), DGM_OK);
    assert_true(info.shut_down && !info.dying);
    assert_int_equal(info.shutdown_reason, SHUTDOWN_crash);
    assert_int_equal(dgm_domain_destroy(GUEST), DGM_OK);
    assert_int_equal(dgm_domain_info(GUEST, &info), DGM_OK); /* a zombie: we map its page */
    assert_true(info.dying);
    dgm_dom0less_release(&rig.guest, rig.xs, &rig.slots);
    assert_int_equal(dgm_hv_stats()->foreign, 0);
    assert_int_equal(rig.slots.taken, 0);
    assert_int_equal(dgm_domain_info(GUEST, &info), DGM_ESRCH);
}

/* --- every step refused --- */

static int call_of_step; /* since introduce began */

/* Introduces with the n-th hypercall refused; n counts from introduce on. */
static int introduce_refused(int n, long result)
{
    prepare();
    call_of_step = call_count;
    refuse = n < 0 ? -1 : call_count + n;
    answer = result;
    const int status = dgm_dom0less_introduce(&rig.guest, rig.xs, &rig.slots);
    refuse = -1;
    return status;
}

/* The steps by name; each leaves nothing, and says what it was. */
static void steps_refused(void **state)
{
    static const struct {
        unsigned op, command;
        long answer;
        int status;
        const char *says;
    } steps[] = {
        {__HYPERVISOR_domctl, XEN_DOMCTL_max_mem, -22, DGM_EINVAL, "no xenstore page"},
        {__HYPERVISOR_memory_op, XENMEM_populate_physmap, 0, DGM_ENOMEM, "no xenstore page"},
        {__HYPERVISOR_memory_op, XENMEM_add_to_physmap_batch, -22, DGM_EINVAL, "cannot be mapped"},
        {__HYPERVISOR_hvm_op, HVMOP_set_param, -22, DGM_EINVAL, "Xen refuses to publish"},
        {__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, -28, DGM_ENOSPC,
         "channel cannot be bound"},
    };

    assert_int_equal(introduce_refused(-1, 0), DGM_OK);
    const int begin = call_of_step;
    int nth[5];
    for (size_t i = 0; i < 5; i++) {
        nth[i] = find_call(steps[i].op, steps[i].command) - begin;
        assert_true(nth[i] >= 0);
    }
    stop(NULL);
    for (size_t i = 0; i < 5; i++) {
        start(NULL);
        /* The first domctl of a process may cost probes; the library knows the version by now. */
        assert_int_equal(introduce_refused(nth[i], steps[i].answer), steps[i].status);
        assert_int_equal(calls[call_of_step + nth[i]].op, steps[i].op);
        assert_int_equal(calls[call_of_step + nth[i]].command, steps[i].command);
        assert_non_null(strstr(dgm_sim_last_log(), steps[i].says));
        nothing_is_held();
        release();
        if (i < 4)
            stop(NULL);
    }
}

/* Whatever hypercall fails, once: nothing is held, or the guest is served. */
static void any_call_refused(void **state)
{
    bool clean = false;

    for (int n = 0; !clean; n++) {
        if (n)
            start(NULL);
        const int status = introduce_refused(n, -14);
        clean = call_count - call_of_step <= n; /* it needed fewer */
        if (status != DGM_OK)
            nothing_is_held();
        else
            assert_int_equal(rig.slots.taken, 1);
        release();
        assert_true(n < 40);
        if (!clean)
            stop(NULL);
    }
}

/* Fails: a guest that is refused for want of a slot is half introduced. */
static void no_slot(void **state)
{
    dgm_gfn_t taken[4];

    assert_int_equal(dgm_slot_reserve(&rig.slots, NULL, 4), DGM_OK);
    for (int i = 0; i < 4; i++)
        taken[i] = dgm_slot_take(&rig.slots);
    prepare();
    assert_int_equal(dgm_dom0less_introduce(&rig.guest, rig.xs, &rig.slots), DGM_EAGAIN);
    assert_int_equal(dgm_hv_stats()->foreign, 0);
    assert_true(dgm_gfn_is_none(rig.guest.page));
    for (int i = 0; i < 4; i++)
        dgm_slot_give(&rig.slots, NULL, taken[i]);
    release();
}

/* Fails: a store that is full keeps half of a guest's nodes for ever. */
static void store_is_full(void **state)
{
    char path[64];
    int status = DGM_OK;
    struct dgm_xs_counters before, after;

    assert_int_equal(dgm_xs_write(rig.xs, "/local/domain", ""), DGM_OK);
    for (int i = 0; status == DGM_OK; i++) {
        snprintf(path, sizeof path, "/fill/%d", i);
        status = dgm_xs_write(rig.xs, path, "");
        assert_true(i < 100000);
    }
    for (int i = 0; i < 15; i++) { /* room for a few, not for all */
        snprintf(path, sizeof path, "/fill/%d", i);
        assert_int_equal(dgm_xs_rm(rig.xs, path), DGM_OK);
    }
    dgm_xs_counters(rig.xs, &before);
    assert_int_equal(dgm_dom0less_prepare(&rig.guest, rig.xs, GUEST, "web"), DGM_ENOSPC);
    dgm_xs_counters(rig.xs, &after);
    assert_int_equal(before.nodes, after.nodes);
    assert_int_equal(before.memory_used, after.memory_used);
}

static int test_one_xen(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(makes_the_page, start, stop),
        cmocka_unit_test_setup_teardown(zeroes_the_page, start, stop),
        cmocka_unit_test_setup_teardown(finds_the_page, start, stop),
        cmocka_unit_test_setup_teardown(page_number_of_zero, start, stop),
        cmocka_unit_test_setup_teardown(nodes_as_the_guest_sees_them, start, stop),
        cmocka_unit_test_setup_teardown(not_enhanced, start, stop),
        cmocka_unit_test_setup_teardown(no_such_domain, start, stop),
        cmocka_unit_test_setup_teardown(ends_are_seen, start, stop),
        cmocka_unit_test_setup_teardown(steps_refused, start, stop),
        cmocka_unit_test_setup_teardown(any_call_refused, start, stop),
        cmocka_unit_test_setup_teardown(no_slot, start, stop),
        cmocka_unit_test_setup_teardown(store_is_full, start, stop),
    };

    return cmocka_run_group_tests_name("dom0less", tests, NULL, NULL);
}

int main(void)
{
    static const enum dgm_hv_domctl versions[] = {DGM_HV_DOMCTL_4_17, DGM_HV_DOMCTL_4_18,
                                                  DGM_HV_DOMCTL_4_20};
    int failed = 0;

    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        int status = 1;

        printf("# domctl version 0x%x\n", versions[i]);
        fflush(NULL);
        const pid_t child = fork();
        if (child == 0) {
            xen_version = versions[i];
            exit(test_one_xen());
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            failed = 1;
    }
    return failed;
}
