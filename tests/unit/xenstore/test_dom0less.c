/* SPDX-License-Identifier: MIT */
/*
 * dom0less: if these fail, a guest that Xen created at boot never finds its xenstore, or finds
 * another guest's nodes there.
 */
#include "dom0less_rig.h"

#define GIVEN_GFN 5 /* where the simulated Xen 4.21 puts the page */

/* --- the page, with old and new Xen --- */

/* Xen 4.17 and 4.20: there is no page. */
static void makes_the_page(void **state)
{
    const struct xenstore_domain_interface *page;
    int limit, populate, parameter_set, sent;

    dom0less_introduce();
    assert_int_equal(dgm_hv_pages_max(DOM0LESS_GUEST), DOM0LESS_FRAMES + 1);
    assert_int_equal(dgm_hv_pages(DOM0LESS_GUEST), DOM0LESS_FRAMES + 1);
    assert_int_equal(dgm_hv_param(DOM0LESS_GUEST, HVM_PARAM_STORE_PFN), DOM0LESS_MAGIC_GFN);
    page = dgm_hv_page(DOM0LESS_GUEST, DOM0LESS_MAGIC_GFN);
    assert_int_equal(page->connection, XENSTORE_CONNECTED);
    assert_true(dgm_hv_guest_events(DOM0LESS_GUEST, dom0less_rig.port) >
                0); /* the event that wakes the guest */
    assert_ptr_equal(dgm_env_va(dom0less_rig.guest.page), page);
    assert_int_equal(dgm_hv_stats()->foreign, 1);
    assert_int_equal(dom0less_rig.slots.taken, 1);

    /* A guest that is woken looks at the parameter: it must be set by then. */
    limit = dom0less_find_call(__HYPERVISOR_domctl, XEN_DOMCTL_max_mem);
    populate = dom0less_find_call(__HYPERVISOR_memory_op, XENMEM_populate_physmap);
    parameter_set = dom0less_find_call(__HYPERVISOR_hvm_op, HVMOP_set_param);
    sent = dom0less_find_call(__HYPERVISOR_event_channel_op, EVTCHNOP_send);
    assert_true(limit >= 0 && limit < populate && populate < parameter_set && parameter_set < sent);
    assert_string_equal(dom0less_ask(DOM0LESS_MAGIC_GFN, XS_READ, "name|"), "web");
    dom0less_release();
}

/* If it fails, the guest sees the frame's former contents. */
static void zeroes_the_page(void **state)
{
    static const char nothing[DGM_FRAME_BYTES];
    char *page;

    dom0less_introduce();
    page = dgm_hv_page(DOM0LESS_GUEST, DOM0LESS_MAGIC_GFN);
    assert_memory_equal(page, nothing, DGM_FRAME_BYTES); /* XENSTORE_CONNECTED is 0 as well */
    dom0less_release();
}

/* Xen 4.21: the page is there, wherever Xen chose, and says RECONNECT. */
static void finds_the_page(void **state)
{
    struct xenstore_domain_interface *const page = dgm_hv_page(DOM0LESS_GUEST, GIVEN_GFN);

    memset(page, 0x5a, DGM_FRAME_BYTES);
    page->connection = XENSTORE_RECONNECT;
    dgm_hv_set_param(DOM0LESS_GUEST, HVM_PARAM_STORE_PFN, GIVEN_GFN);
    dom0less_introduce();
    assert_int_equal(dgm_hv_pages_max(DOM0LESS_GUEST), DOM0LESS_FRAMES);
    assert_int_equal(dgm_hv_pages(DOM0LESS_GUEST), DOM0LESS_FRAMES);
    assert_int_equal(dom0less_find_call(__HYPERVISOR_domctl, XEN_DOMCTL_max_mem), -1);
    assert_int_equal(dom0less_find_call(__HYPERVISOR_memory_op, XENMEM_populate_physmap), -1);
    assert_int_equal(dom0less_find_call(__HYPERVISOR_hvm_op, HVMOP_set_param), -1);
    assert_int_equal(dgm_hv_param(DOM0LESS_GUEST, HVM_PARAM_STORE_PFN), GIVEN_GFN);
    assert_int_equal(page->connection, XENSTORE_CONNECTED);
    assert_int_equal(page->req_prod | page->req_cons | page->rsp_prod | page->rsp_cons, 0);
    assert_int_equal(page->server_features,
                     0x5a5a5a5a); /* Xen made the page, so it is not cleared */
    assert_int_equal(((const char *)page)[4095], 0x5a);
    assert_true(dgm_hv_guest_events(DOM0LESS_GUEST, dom0less_rig.port) > 0);
    assert_string_equal(dom0less_ask(GIVEN_GFN, XS_READ, "domid|"), "1");
    dom0less_release();
}

/* Fails: a guest of a Xen whose domctl interface is newer than ours gets no disk, though it has all
 * that a disk needs. First in its process: the version is kept once it is found. */
static void an_unknown_domctl_version(void **state)
{
    struct xenstore_domain_interface *const page = dgm_hv_page(DOM0LESS_GUEST, GIVEN_GFN);
    char value[8];

    dgm_hv_set_domctl((enum dgm_hv_domctl)0x99);
    page->connection = XENSTORE_RECONNECT;
    dgm_hv_set_param(DOM0LESS_GUEST, HVM_PARAM_STORE_PFN, GIVEN_GFN);
    dom0less_introduce();
    assert_string_equal(dom0less_ask(GIVEN_GFN, XS_READ, "domid|"), "1");
    assert_int_equal(dgm_xs_read(dom0less_rig.xs, "/local/domain/1/memory/target", value, 8),
                     DGM_ENOENT); /* unknown, not 0 */
    dom0less_release();
}

/* A guest that has xenstore's channel but whose parameter is unset: 0, not ~0. */
static void page_number_of_zero(void **state)
{
    dgm_hv_set_param(DOM0LESS_GUEST, HVM_PARAM_STORE_PFN, 0);
    dom0less_introduce();
    assert_int_equal(dgm_hv_param(DOM0LESS_GUEST, HVM_PARAM_STORE_PFN), DOM0LESS_MAGIC_GFN);
    dom0less_release();
}

/* --- the guest's nodes --- */

#define assert_reply_text(type, payload, expected)                                                 \
    assert_string_equal(dom0less_ask(DOM0LESS_MAGIC_GFN, type, payload), expected)

static void nodes_as_the_guest_sees_them(void **state)
{
    dgm_hv_domain_add(2, 4);
    dgm_hv_set_param(2, HVM_PARAM_STORE_EVTCHN, dgm_hv_guest_port(2));
    dom0less_introduce();
    struct dgm_dom0less_guest other;
    assert_int_equal(dgm_dom0less_prepare(&other, dom0less_rig.xs, 2, NULL), DGM_OK);

    /* Linux's first requests. */
    assert_reply_text(XS_READ, "control/platform-feature-xs_reset_watches|", "1");
    assert_reply_text(XS_RESET_WATCHES, "|", "OK|");
    assert_reply_text(XS_DIRECTORY, "device|", "suspend|");
    assert_reply_text(XS_READ, "name|", "web");
    assert_reply_text(XS_READ, "domid|", "1");
    assert_reply_text(XS_READ, "memory/static-max|", "256");
    assert_reply_text(XS_READ, "cpu/0/availability|", "online");
    char number[16];
    snprintf(number, sizeof number, "%u", dom0less_rig.port);
    assert_reply_text(XS_READ, "store/port|", number);
    assert_reply_text(XS_READ, "store/ring-ref|", "233473"); /* DOM0LESS_MAGIC_GFN */

    /* It responds on these, and may keep its own nodes in data. */
    assert_reply_text(XS_WRITE, "control/shutdown|", "OK|");
    assert_reply_text(XS_WRITE, "control/feature-poweroff|1", "OK|");
    assert_reply_text(XS_WRITE, "data/mine|x", "OK|");
    assert_reply_text(XS_WRITE, "attr/os|linux", "OK|");

    /* It can change neither its own description nor its devices, and cannot read others. */
    assert_reply_text(XS_WRITE, "name|root", "!EACCES|");
    assert_reply_text(XS_WRITE, "domid|0", "!EACCES|");
    assert_reply_text(XS_WRITE, "device/vbd/1/state|1", "!EACCES|");
    assert_reply_text(XS_WRITE, "memory/target|1", "!EACCES|");
    assert_reply_text(XS_RM, "control|", "!EACCES|");
    assert_reply_text(XS_SET_PERMS, "name|b1|", "!EACCES|");
    assert_reply_text(XS_READ, "/local/domain/2/name|", "!EACCES|");
    assert_reply_text(XS_READ, "/local/domain/2/control/shutdown|", "!EACCES|");
    assert_reply_text(XS_WRITE, "/local/domain/2/data/x|1", "!EACCES|");

    char name[16];
    assert_int_equal(dgm_xs_read(dom0less_rig.xs, "/local/domain/2/name", name, sizeof name), 7);
    assert_string_equal(name, "guest-2"); /* the default name */
    dgm_dom0less_release(&other, dom0less_rig.xs, &dom0less_rig.slots);
    dom0less_release();
}

/* --- guests that are not introduced --- */

static void not_enhanced(void **state)
{
    dgm_hv_set_param(DOM0LESS_GUEST, HVM_PARAM_STORE_EVTCHN, 0);
    assert_int_equal(
        dgm_dom0less_prepare(&dom0less_rig.guest, dom0less_rig.xs, DOM0LESS_GUEST, "web"),
        DGM_ENODEV);
    char value[8];
    assert_int_equal(dgm_xs_read(dom0less_rig.xs, "/local/domain/1", value, sizeof value),
                     DGM_ENOENT);
}

/* For a domid that does not exist Xen 4.17 returns the next existing domain. */
static void no_such_domain(void **state)
{
    struct dgm_domain_info info;

    dgm_hv_domain_add(7, 3);
    assert_int_equal(dgm_dom0less_prepare(&dom0less_rig.guest, dom0less_rig.xs, 5, "web"),
                     DGM_ESRCH);
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

    dom0less_introduce();
    dgm_hv_domain_shutdown(DOM0LESS_GUEST, SHUTDOWN_crash);
    assert_int_equal(dgm_domain_info(DOM0LESS_GUEST, &info), DGM_OK);
    assert_true(info.shut_down && !info.dying);
    assert_int_equal(info.shutdown_reason, SHUTDOWN_crash);
    assert_int_equal(dgm_domain_destroy(DOM0LESS_GUEST), DGM_OK);
    assert_int_equal(dgm_domain_info(DOM0LESS_GUEST, &info),
                     DGM_OK); /* a zombie: we map its page */
    assert_true(info.dying);
    dgm_dom0less_release(&dom0less_rig.guest, dom0less_rig.xs, &dom0less_rig.slots);
    assert_int_equal(dgm_hv_stats()->foreign, 0);
    assert_int_equal(dom0less_rig.slots.taken, 0);
    assert_int_equal(dgm_domain_info(DOM0LESS_GUEST, &info), DGM_ESRCH);
}

static int test_one_xen(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_unknown_domctl_version, dom0less_rig_start,
                                        dom0less_rig_stop),
        cmocka_unit_test_setup_teardown(makes_the_page, dom0less_rig_start, dom0less_rig_stop),
        cmocka_unit_test_setup_teardown(zeroes_the_page, dom0less_rig_start, dom0less_rig_stop),
        cmocka_unit_test_setup_teardown(finds_the_page, dom0less_rig_start, dom0less_rig_stop),
        cmocka_unit_test_setup_teardown(page_number_of_zero, dom0less_rig_start, dom0less_rig_stop),
        cmocka_unit_test_setup_teardown(nodes_as_the_guest_sees_them, dom0less_rig_start,
                                        dom0less_rig_stop),
        cmocka_unit_test_setup_teardown(not_enhanced, dom0less_rig_start, dom0less_rig_stop),
        cmocka_unit_test_setup_teardown(no_such_domain, dom0less_rig_start, dom0less_rig_stop),
        cmocka_unit_test_setup_teardown(ends_are_seen, dom0less_rig_start, dom0less_rig_stop),
    };

    return cmocka_run_group_tests_name("dom0less", tests, NULL, NULL);
}

int main(void)
{
    return dom0less_each_xen(test_one_xen);
}
