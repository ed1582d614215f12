/* SPDX-License-Identifier: MIT */
/* dom0less_rig: see dom0less_rig.h. */
#include "dom0less_rig.h"

#include <sys/wait.h>
#include <unistd.h>

#define XS_BYTES (512u << 10)

struct dom0less_rig dom0less_rig;

static enum dgm_hv_domctl xen_version = DGM_HV_DOMCTL_4_20;

static long watched_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                              uint64_t a5)
{
    const bool domctl = op == __HYPERVISOR_domctl;

    assert_true(dom0less_rig.call_count < DOM0LESS_CALLS_MAX);
    dom0less_rig.calls[dom0less_rig.call_count].op = op;
    dom0less_rig.calls[dom0less_rig.call_count].command =
        domctl ? ((const struct xen_domctl *)(uintptr_t)a1)->cmd : (unsigned)a1;
    if (dom0less_rig.call_count++ == dom0less_rig.refuse)
        return dom0less_rig.result;
    return dgm_hv_hypercall(op, a1, a2, a3, a4, a5);
}

int dom0less_find_call(unsigned op, unsigned command)
{
    int i = 0;

    while (i < dom0less_rig.call_count &&
           (dom0less_rig.calls[i].op != op || dom0less_rig.calls[i].command != command))
        i++;
    return i < dom0less_rig.call_count ? i : -1;
}

int dom0less_rig_start(void **state)
{
    const struct dgm_sim_machine machine = {.hypercall = watched_hypercall};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{0x1000}, 4});

    memset(&dom0less_rig, 0, sizeof dom0less_rig);
    dgm_hv_start(dgm_gfn(0x40000), 16, dgm_mfn(0x40000));
    dgm_hv_set_domctl(xen_version);
    dgm_sim_attach(&machine);
    dom0less_rig.refuse = -1;
    dom0less_rig.call_count = 0;
    dgm_reactor_init(&dom0less_rig.reactor);
    dgm_evtchn_init(&dom0less_rig.evtchn, &dom0less_rig.reactor, dgm_hv_shared_info(),
                    &dgm_hv_shared_info()->vcpu_info[0]);
    dgm_slots_init(&dom0less_rig.store, &window, true, dom0less_rig.store_memory);
    dgm_slot_cache_init(&dom0less_rig.slots, &dom0less_rig.store, dom0less_rig.slot_memory);
    dom0less_rig.xs_memory = malloc(XS_BYTES);
    dom0less_rig.xs = dgm_xenstore_init(dom0less_rig.xs_memory, XS_BYTES, &dom0less_rig.reactor,
                                        &dom0less_rig.evtchn, &dgm_xs_limits_default);
    assert_non_null(dom0less_rig.xs);

    dgm_hv_domain_add(DOM0LESS_GUEST, DOM0LESS_FRAMES);
    dom0less_rig.port = dgm_hv_guest_port(DOM0LESS_GUEST);
    dgm_hv_set_param(DOM0LESS_GUEST, HVM_PARAM_STORE_EVTCHN, dom0less_rig.port);
    dgm_hv_set_param(DOM0LESS_GUEST, HVM_PARAM_STORE_PFN, DOM0LESS_UNSET);
    return 0;
}

void dom0less_rig_run(void)
{
    dgm_evtchn_dispatch(&dom0less_rig.evtchn);
    for (int turns = 0; dgm_reactor_turn(&dom0less_rig.reactor); turns++) {
        assert_true(turns < 1000);
        dgm_evtchn_dispatch(&dom0less_rig.evtchn);
    }
    dgm_xs_check(dom0less_rig.xs);
}

void dom0less_rig_check_idle(void)
{
    assert_int_equal(dgm_hv_stats()->foreign, 0);
    assert_int_equal(dom0less_rig.slots.taken, 0);
    assert_int_equal(dom0less_rig.slots.retired, 0);
    dgm_slot_cache_check(&dom0less_rig.slots);
    assert_true(dgm_gfn_is_none(dom0less_rig.guest.page));
    assert_false(
        dgm_hv_guest_send(DOM0LESS_GUEST, dom0less_rig.port)); /* the channel has no other end */
}

int dom0less_rig_stop(void **state)
{
    assert_int_equal(dgm_hv_stats()->over, 0);
    dgm_xs_check(dom0less_rig.xs);
    dgm_hv_stop();
    free(dom0less_rig.xs_memory);
    return 0;
}

const char *dom0less_ask(uint64_t gfn, uint32_t type, const char *payload)
{
    static char text[1024];
    struct xenstore_domain_interface *const page = dgm_hv_page(DOM0LESS_GUEST, gfn);
    struct xsd_sockmsg header = {.type = type, .req_id = 77, .len = (uint32_t)strlen(payload)};

    for (size_t i = 0; i < sizeof header; i++)
        page->req[MASK_XENSTORE_IDX(page->req_prod++)] = ((const char *)&header)[i];
    for (size_t i = 0; i < header.len; i++)
        page->req[MASK_XENSTORE_IDX(page->req_prod++)] = payload[i] == '|' ? '\0' : payload[i];
    assert_true(dgm_hv_guest_send(DOM0LESS_GUEST, dom0less_rig.port));
    dom0less_rig_run();
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

void dom0less_prepare(void)
{
    assert_int_equal(
        dgm_dom0less_prepare(&dom0less_rig.guest, dom0less_rig.xs, DOM0LESS_GUEST, "web"), DGM_OK);
}

void dom0less_introduce(void)
{
    dom0less_prepare();
    assert_int_equal(
        dgm_dom0less_introduce(&dom0less_rig.guest, dom0less_rig.xs, &dom0less_rig.slots), DGM_OK);
    dom0less_rig_run();
}

void dom0less_release(void)
{
    char value[8];

    dgm_dom0less_release(&dom0less_rig.guest, dom0less_rig.xs, &dom0less_rig.slots);
    dom0less_rig_run();
    dom0less_rig_check_idle();
    assert_int_equal(dgm_xs_read(dom0less_rig.xs, "/local/domain/1", value, sizeof value),
                     DGM_ENOENT);
    dgm_dom0less_release(&dom0less_rig.guest, dom0less_rig.xs, &dom0less_rig.slots); /* harmless */
}

int dom0less_each_xen(int (*tests_of_one_xen)(void))
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
            exit(tests_of_one_xen());
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            failed = 1;
    }
    return failed;
}
