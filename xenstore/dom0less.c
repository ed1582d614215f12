/* SPDX-License-Identifier: MIT */
/* dom0less: see dom0less.h. */
#include <dragoman/xenstore/dom0less.h>

#include <dragoman/pages/foreign.h>
#include <dragoman/base/status.h>
#include <dragoman/base/text.h>
#include <dragoman/hyper/xen_status.h>

#include <port/env.h>
#include <string.h>
#include <xen/hvm/params.h>
#include <xen/io/xs_wire.h>

/* The address at which Xen's tools put the page in a guest's space: the second frame from
 * GUEST_MAGIC_BASE of xen/arch-arm.h. */
#define XENSTORE_GFN 0x39001u

/* The value of HVM_PARAM_STORE_PFN before the first write to it. */
#define STORE_PFN_UNSET UINT64_MAX

static int home_write(struct dgm_xenstore *xs, domid_t domid, const char *key, const char *value)
{
    char buffer[96];
    struct dgm_text path = dgm_text(buffer, sizeof buffer);

    dgm_text_add(&path, "/local/domain/");
    dgm_text_add_number(&path, domid);
    dgm_text_add(&path, key);
    return dgm_xs_write(xs, (struct dgm_xs_entry){.path = buffer, .value = value});
}

static int home_write_number(struct dgm_xenstore *xs, domid_t domid, const char *key,
                             uint64_t value)
{
    char buffer[24];
    struct dgm_text text = dgm_text(buffer, sizeof buffer);

    dgm_text_add_number(&text, value);
    return home_write(xs, domid, key, buffer);
}

static void home_set_owner(struct dgm_xenstore *xs, domid_t domid, const char *key, domid_t owner)
{
    char buffer[96];
    struct dgm_text path = dgm_text(buffer, sizeof buffer);

    dgm_text_add(&path, "/local/domain/");
    dgm_text_add_number(&path, domid);
    dgm_text_add(&path, key);
    dgm_xs_set_access(xs, buffer,
                      (struct dgm_xs_access){.owner = owner, .reader = owner ? 0 : domid});
}

/* Writes the nodes that Xen's own tool writes. A guest runs without the nodes for vCPUs and memory,
 * but tools in it read them. */
static int home_write_nodes(const struct dgm_dom0less_guest *guest, struct dgm_xenstore *xs)
{
    static const struct {
        const char *key, *value;
        bool writable; /* by the guest */
    } nodes[] = {
        {"", "", false},
        {"/cpu", "", false},
        {"/memory", "", false},
        {"/memory/videoram", "-1", false},
        {"/device", "", false},
        {"/device/suspend", "", false},
        {"/device/suspend/event-channel", "", true},
        {"/control", "", false},
        {"/control/shutdown", "", true},
        {"/control/feature-poweroff", "1", true},
        {"/control/feature-reboot", "1", true},
        {"/control/feature-suspend", "", true},
        {"/control/sysrq", "", true},
        {"/control/platform-feature-multiprocessor-suspend", "1", false},
        {"/control/platform-feature-xs_reset_watches", "1", false},
        {"/data", "", true},
        {"/drivers", "", true},
        {"/feature", "", true},
        {"/attr", "", true},
        {"/error", "", true},
        {"/store", "", false},
    };
    const domid_t domid = guest->domid;
    int result = DGM_OK;

    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0] && result == DGM_OK; i++) {
        result = home_write(xs, domid, nodes[i].key, nodes[i].value);
        home_set_owner(xs, domid, nodes[i].key, nodes[i].writable ? domid : 0);
    }
    if (result == DGM_OK)
        result = home_write(xs, domid, "/name", guest->name);
    if (result == DGM_OK)
        result = home_write_number(xs, domid, "/domid", domid);
    if (result == DGM_OK && guest->memory_kib)
        result = home_write_number(xs, domid, "/memory/static-max", guest->memory_kib);
    if (result == DGM_OK && guest->memory_kib)
        result = home_write_number(xs, domid, "/memory/target", guest->memory_kib);
    for (uint32_t cpu = 0; cpu < guest->vcpus && cpu < 128 && result == DGM_OK; cpu++) {
        char key[32];
        struct dgm_text text = dgm_text(key, sizeof key);

        dgm_text_add(&text, "/cpu/");
        dgm_text_add_number(&text, cpu);
        dgm_text_add(&text, "/availability");
        result = home_write(xs, domid, key, "online");
    }
    return result;
}

static void home_remove(struct dgm_xenstore *xs, domid_t domid)
{
    char buffer[32];
    struct dgm_text path = dgm_text(buffer, sizeof buffer);

    dgm_text_add(&path, "/local/domain/");
    dgm_text_add_number(&path, domid);
    dgm_xs_rm(xs, buffer);
}

/* An error of Xen that is not about the guest is temporary: DGM_EAGAIN. */
static int prepare_error(int result)
{
    return dgm_xen_call_meaning(DGM_XEN_CALL_DOMAIN, result) == DGM_XEN_NO_DOMAIN ? DGM_ESRCH
                                                                                  : DGM_EAGAIN;
}

int dgm_dom0less_prepare(struct dgm_dom0less_guest *guest, struct dgm_xenstore *xs, domid_t domid,
                         const char *name)
{
    struct dgm_domain_info info = {0};
    struct dgm_text text = dgm_text(guest->name, sizeof guest->name);
    uint64_t remote;
    int result = dgm_domain_get_param(
        (struct dgm_domain_param){.domid = domid, .index = HVM_PARAM_STORE_EVTCHN}, &remote);

    if (result != DGM_OK)
        return prepare_error(result);
    if (remote == 0)
        return DGM_ENODEV;
    result = dgm_domain_info(domid, &info);
    if (dgm_xen_call_meaning(DGM_XEN_CALL_DOMAIN, result) == DGM_XEN_NO_DOMAIN)
        return DGM_ESRCH;
    if (result != DGM_OK) /* its nodes on memory and vCPUs, which no disk needs, say nothing then */
        info = (struct dgm_domain_info){0};
    *guest = (struct dgm_dom0less_guest){
        .domid = domid, .page = DGM_GFN_NONE, .memory_kib = info.pages * 4, .vcpus = info.vcpus};
    if (name) {
        dgm_text_add(&text, name);
    } else {
        dgm_text_add(&text, "guest-");
        dgm_text_add_number(&text, domid);
    }
    result = home_write_nodes(guest, xs);
    if (result != DGM_OK)
        home_remove(xs, domid); /* its cells become free for other guests */
    return result;
}

/* DGM_OK; DGM_EAGAIN: Xen may do it later, with a line the first time; else the final error. */
static int judge_step(struct dgm_dom0less_guest *guest, enum dgm_xen_call call, const char *failed,
                      int result)
{
    const enum dgm_xen_meaning meaning = dgm_xen_call_meaning(call, result);
    const bool final = meaning == DGM_XEN_NO_DOMAIN || meaning == DGM_XEN_REFUSED;

    if (meaning == DGM_XEN_OK)
        return DGM_OK;
    if (final || !guest->retried)
        dgm_env_log("guest %u (%s): %s (error %d)%s", guest->domid, guest->name, failed, result,
                    final ? "" : "; it is retried");
    guest->retried = true;
    return final ? result : DGM_EAGAIN;
}

/*
 * Adds a frame for the page, and room for it. Xen may have the room already, so the frame is tried
 * where Xen does not say (an unknown domctl version). DGM_ENOMEM: no room, or no memory.
 */
static int populate_page(const struct dgm_dom0less_guest *guest)
{
    struct dgm_domain_info info;
    int result = dgm_domain_info(guest->domid, &info);

    if (result == DGM_OK && info.pages + 1 > info.pages_max)
        result = dgm_domain_set_pages_max(guest->domid, info.pages + 1);
    if (dgm_xen_call_meaning(DGM_XEN_CALL_DOMAIN, result) == DGM_XEN_NO_DOMAIN)
        return result;
    result = dgm_domain_populate(guest->domid, dgm_gfn(XENSTORE_GFN), 0);
    return result == 1 ? DGM_OK : result < 0 ? result : DGM_ENOMEM;
}

/* The gfn of the guest's page: set by Xen (4.21), or of a frame populated here (`*fresh`). */
static int find_or_populate_page(struct dgm_dom0less_guest *guest, uint64_t *gfn, bool *fresh)
{
    int result = dgm_domain_get_param(
        (struct dgm_domain_param){.domid = guest->domid, .index = HVM_PARAM_STORE_PFN}, gfn);

    *fresh = false;
    if (result != DGM_OK || (*gfn != STORE_PFN_UNSET && *gfn != 0))
        return result;
    *fresh = true;
    *gfn = XENSTORE_GFN;
    if (!guest->populated)
        result = populate_page(guest);
    guest->populated = result == DGM_OK;
    return result;
}

/* Publishes a page that Xen did not make. The guest waits for XENSTORE_CONNECTED in it. */
static int publish_page(const struct dgm_dom0less_guest *guest, dgm_gfn_t page, uint64_t gfn)
{
    struct xenstore_domain_interface *interface = dgm_env_va(page);

    memset(interface, 0, DGM_FRAME_BYTES);
    interface->connection = XENSTORE_RECONNECT;
    return dgm_domain_set_param(
        (struct dgm_domain_param){.domid = guest->domid, .index = HVM_PARAM_STORE_PFN}, gfn);
}

/* Publishes the mapped page if it is `fresh`, and starts the service on it. */
static int serve_page(struct dgm_dom0less_guest *guest, struct dgm_xenstore *xs, dgm_gfn_t page,
                      uint64_t gfn, bool fresh)
{
    uint64_t remote;
    int result = fresh ? publish_page(guest, page, gfn) : DGM_OK;

    result =
        judge_step(guest, DGM_XEN_CALL_DOMAIN, "Xen refuses to publish its xenstore page", result);
    if (result == DGM_OK)
        result = judge_step(
            guest, DGM_XEN_CALL_DOMAIN, "Xen does not report its xenstore channel",
            dgm_domain_get_param(
                (struct dgm_domain_param){.domid = guest->domid, .index = HVM_PARAM_STORE_EVTCHN},
                &remote));
    if (result != DGM_OK)
        return result;
    home_write_number(xs, guest->domid, "/store/port", remote);
    home_write_number(xs, guest->domid, "/store/ring-ref", gfn);
    return judge_step(guest, DGM_XEN_CALL_BIND, "its xenstore channel cannot be bound",
                      dgm_xs_introduce(xs, guest->domid, dgm_env_va(page), (evtchn_port_t)remote));
}

int dgm_dom0less_introduce(struct dgm_dom0less_guest *guest, struct dgm_xenstore *xs,
                           struct dgm_slot_cache *slots)
{
    uint64_t gfn;
    bool fresh;
    dgm_gfn_t page;
    int result = judge_step(guest, DGM_XEN_CALL_DOMAIN, "no xenstore page could be made",
                            find_or_populate_page(guest, &gfn, &fresh));

    if (result == DGM_OK)
        result = judge_step(guest, DGM_XEN_CALL_FOREIGN, "its xenstore page cannot be mapped",
                            dgm_foreign_map(slots, guest->domid, dgm_gfn(gfn), &page));
    if (result != DGM_OK)
        return result;
    result = serve_page(guest, xs, page, gfn, fresh);
    if (result != DGM_OK) {
        dgm_foreign_unmap(slots, page);
        return result;
    }
    if (guest->retried)
        dgm_env_log("guest %u (%s): its xenstore is served now", guest->domid, guest->name);
    guest->page = page;
    return DGM_OK;
}

void dgm_dom0less_release(struct dgm_dom0less_guest *guest, struct dgm_xenstore *xs,
                          struct dgm_slot_cache *slots)
{
    if (!dgm_gfn_is_none(guest->page)) {
        dgm_xs_release(xs, guest->domid);
        dgm_foreign_unmap(slots, guest->page);
        guest->page = DGM_GFN_NONE;
    }
    home_remove(xs, guest->domid);
}
