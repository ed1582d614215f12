/* SPDX-License-Identifier: MIT */
/*
 * hypervisor/domctl: see domctl.h. A destroyed domain is reported as dying while we map a frame of
 * it, and is gone after that, as on Xen.
 */
#include <sim/hypervisor/domctl.h>
#include <sim/hypervisor/internal.h>

#include <xen/domctl.h>

#include <errno.h>

void dgm_hv_set_domctl(enum dgm_hv_domctl version)
{
    hv.domctl = version;
}

void dgm_hv_domain_shutdown(domid_t domid, uint8_t reason)
{
    struct hv_domain *domain = hv_domain_or_die(domid);

    domain->shut_down = true;
    domain->shutdown_reason = reason;
}

uint64_t hv_domain_pages(const struct hv_domain *domain)
{
    uint64_t count = 0;

    for (size_t i = 0; i < HV_BUCKETS; i++)
        for (const struct hv_node *node = domain->pages.bucket[i]; node; node = node->next)
            count++;
    return count;
}

uint64_t dgm_hv_pages(domid_t domid)
{
    return hv_domain_pages(hv_domain_or_die(domid));
}

uint64_t dgm_hv_pages_max(domid_t domid)
{
    return hv_domain_or_die(domid)->pages_max;
}

static bool is_mapped(const struct hv_domain *domain)
{
    for (size_t i = 0; i < HV_BUCKETS; i++)
        for (const struct hv_node *node = domain->pages.bucket[i]; node; node = node->next) {
            const struct hv_page *page = node->value;

            if (page->maps || page->foreign)
                return true;
        }
    return false;
}

/* The domain with the lowest domid from `domid` on. */
static struct hv_domain *first_from(domid_t domid)
{
    struct hv_domain *found = NULL;

    for (struct hv_domain *domain = hv.all; domain; domain = domain->next)
        if (domain->domid >= domid && (!found || domain->domid < found->domid) &&
            (!domain->dead || is_mapped(domain)))
            found = domain;
    return found;
}

static long get_info(struct xen_domctl *op)
{
    const struct hv_domain *domain = first_from(op->domain);

    if (!domain || (hv.domctl != DGM_HV_DOMCTL_4_17 && domain->domid != op->domain))
        return -ESRCH;
    op->domain = domain->domid;
    op->u.getdomaininfo = (struct xen_domctl_getdomaininfo){
        .domain = domain->domid,
        .flags = (domain->dead ? XEN_DOMINF_dying : 0u) |
                 (domain->shut_down ? XEN_DOMINF_shutdown : 0u) |
                 (domain->shut_down ? (uint32_t)domain->shutdown_reason : 0xffffu)
                     << XEN_DOMINF_shutdownshift,
        .tot_pages = hv_domain_pages(domain),
        .max_pages = domain->pages_max,
        .nr_online_vcpus = 1,
    };
    return 0;
}

long hv_domctl(struct xen_domctl *op)
{
    struct hv_domain *domain;

    if (!hv.domctl)
        hv.domctl = DGM_HV_DOMCTL_4_20;
    if (op->interface_version != hv.domctl)
        return -EACCES;
    if (op->cmd == XEN_DOMCTL_getdomaininfo)
        return get_info(op);
    domain = hv_domain(op->domain);
    if (!domain)
        return -ESRCH;
    switch (op->cmd) {
    case XEN_DOMCTL_max_mem:
        domain->pages_max = op->u.max_mem.max_memkb / 4;
        return 0;
    case XEN_DOMCTL_destroydomain:
        dgm_hv_domain_destroy(op->domain);
        return 0;
    default:
        return -ENOSYS;
    }
}
