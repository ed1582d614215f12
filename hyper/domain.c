/* SPDX-License-Identifier: MIT */
/* domain: see domain.h. */
#include <dragoman/hyper/domain.h>
#include <dragoman/hyper/hypercall.h>
#include <hyper/internal.h>
#include <dragoman/base/status.h>

#include <port/env.h>

#include <stddef.h>
#include <xen/domctl.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#include <xen/memory.h>
#include <xen/sched.h>

/* 4.22; 4.19 to 4.21; 4.18; 4.17. The operations used here have the same layout in all of them. */
#define DOMCTL_NEWEST 0x18
#define DOMCTL_OLDEST 0x15

static uint32_t version; /* 0: not yet known */

uint32_t dgm_domctl_version(void)
{
    struct dgm_domain_info info;

    if (!version)
        (void)dgm_domain_info(0, &info);
    return version;
}

int dgm_domctl(struct xen_domctl *op, uint32_t command, domid_t domid)
{
    static bool logged;
    uint32_t probe = version ? version : DOMCTL_NEWEST;
    long result;

    op->cmd = command;
    op->domain = domid;
    do {
        op->interface_version = probe;
        result = dgm_hypercall(__HYPERVISOR_domctl, (uintptr_t)op, 0, 0, 0, 0);
    } while (result == DGM_EACCES && !version && --probe >= DOMCTL_OLDEST);
    if (result == DGM_OK || result == DGM_ESRCH) {
        version = probe; /* any other error may precede Xen's check of the version */
    } else if (result == DGM_EACCES && !logged) {
        dgm_env_log("Xen takes none of the domctl versions 0x%x to 0x%x: it is newer or older than "
                    "this Dragoman. The ends of guests are not noticed; their disks are served",
                    DOMCTL_OLDEST, DOMCTL_NEWEST);
        logged = true;
    }
    return (int)result;
}

int dgm_domain_info(domid_t domid, struct dgm_domain_info *info)
{
    struct xen_domctl op = {0};
    const int result = dgm_domctl(&op, XEN_DOMCTL_getdomaininfo, domid);
    const struct xen_domctl_getdomaininfo *found = &op.u.getdomaininfo;

    if (result)
        return result;
    /* Before 4.18 Xen returns the next domain that exists. */
    if (found->domain != domid)
        return DGM_ESRCH;
    *info = (struct dgm_domain_info){
        .pages = found->tot_pages,
        .pages_max = found->max_pages,
        .vcpus = found->max_vcpu_id + 1,
        .dying = found->flags & XEN_DOMINF_dying,
        .shut_down = found->flags & XEN_DOMINF_shutdown,
        .shutdown_reason = found->flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask,
    };
    return DGM_OK;
}

int dgm_domain_set_pages_max(domid_t domid, uint64_t pages)
{
    struct xen_domctl op = {0};

    op.u.max_mem.max_memkb = pages * 4;
    return dgm_domctl(&op, XEN_DOMCTL_max_mem, domid);
}

int dgm_domain_destroy(domid_t domid)
{
    struct xen_domctl op = {0};

    return dgm_domctl(&op, XEN_DOMCTL_destroydomain, domid);
}

int dgm_domain_get_param(struct dgm_domain_param param, uint64_t *value)
{
    struct xen_hvm_param op = {.domid = param.domid, .index = param.index};
    const long result = dgm_hvm_op(HVMOP_get_param, &op);

    *value = op.value;
    return (int)result;
}

int dgm_domain_set_param(struct dgm_domain_param param, uint64_t value)
{
    struct xen_hvm_param op = {.domid = param.domid, .index = param.index, .value = value};

    return (int)dgm_hvm_op(HVMOP_set_param, &op);
}

int dgm_domain_populate(domid_t domid, dgm_gfn_t gfn, unsigned order)
{
    xen_pfn_t frame = dgm_gfn_number(gfn);
    struct xen_memory_reservation op = {.nr_extents = 1, .extent_order = order, .domid = domid};

    set_xen_guest_handle(op.extent_start, &frame);
    return (int)dgm_memory_op(XENMEM_populate_physmap, &op);
}

int dgm_domain_map_own(unsigned space, dgm_gfn_t gfn)
{
    struct xen_add_to_physmap op = {
        .domid = DOMID_SELF, .space = space, .gpfn = (xen_pfn_t)dgm_gfn_number(gfn)};
    long result = DGM_EAGAIN;

    for (unsigned tries = 0; tries < DGM_XEN_TRIES; tries++) {
        result = dgm_memory_op(XENMEM_add_to_physmap, &op);
        if (dgm_xen_call_meaning(DGM_XEN_CALL_OWN, result) == DGM_XEN_OK)
            return DGM_OK;
    }
    return (int)result;
}

const char *dgm_domain_reason(uint8_t shutdown_reason)
{
    static const char *const words[] = {"powered off",
                                        "requested a reboot (Linux also does so after a panic)",
                                        "suspended",
                                        "crashed",
                                        "was stopped by its watchdog",
                                        "reset itself"};

    return shutdown_reason < sizeof words / sizeof words[0] ? words[shutdown_reason] : "stopped";
}
