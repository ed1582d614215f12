/* SPDX-License-Identifier: MIT */
/* create: see dragoman/hyper/create.h. */
#include <dragoman/hyper/create.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/base/status.h>
#include <hyper/internal.h>

#include <stddef.h>
#include <string.h>
#include <xen/domctl.h>
#include <xen/version.h>

#define DOMCTL_4_19 0x17u /* createdomain has a word after grant_opts from then on */

/* Of Xen 4.21 and later: without it the first access to each part of the RAM reads ones. */
#define FLAG_TRAP_UNMAPPED 0x100u
#define XEN_4_21           0x40015

/* The guest only has frontends, so it maps no grants of others. */
#define GRANT_FRAMES 64
#define PORT_MAX     1023u
#define SPIS         1u /* that of its console */

/*
 * Writes the words of createdomain behind grant_opts, which differ between versions of Xen and of
 * its headers. All are 0 (cpupool 0, the native GIC, no TEE) but nr_spis.
 */
static void set_tail(struct xen_domctl *op)
{
    const struct {
        uint32_t vmtrace_size, cpupool_id;
        uint8_t gic_version, unused;
        uint16_t tee_type;
        uint32_t nr_spis;
    } tail = {.nr_spis = SPIS};
    const size_t moved = dgm_domctl_version() >= DOMCTL_4_19 ? sizeof(uint32_t) : 0;
    const size_t at = offsetof(struct xen_domctl_createdomain, grant_opts) + sizeof(uint32_t);

    memset(op->u.pad + at, 0, sizeof op->u.pad - at);
    memcpy(op->u.pad + at + moved, &tail, sizeof tail);
}

int dgm_domain_create(domid_t domid, uint32_t vcpus)
{
    struct xen_domctl op = {0};
    const long version = dgm_hypercall(__HYPERVISOR_xen_version, XENVER_version, 0, 0, 0, 0);

    op.u.createdomain.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;
    if (version >= XEN_4_21)
        op.u.createdomain.flags |= FLAG_TRAP_UNMAPPED;
    op.u.createdomain.max_vcpus = vcpus;
    op.u.createdomain.max_evtchn_port = PORT_MAX;
    op.u.createdomain.max_grant_frames = GRANT_FRAMES;
    op.u.createdomain.grant_opts = XEN_DOMCTL_GRANT_version(1);
    set_tail(&op);
    return dgm_domctl(&op, XEN_DOMCTL_createdomain, domid);
}

int dgm_domain_make_vcpus(domid_t domid, uint32_t vcpus)
{
    struct xen_domctl op = {.u.max_vcpus.max = vcpus};

    return dgm_domctl(&op, XEN_DOMCTL_max_vcpus, domid);
}

int dgm_domain_set_table_pool(domid_t domid, uint64_t bytes)
{
    struct xen_domctl op = {.u.paging_mempool.size = bytes};

    return dgm_domctl(&op, XEN_DOMCTL_set_paging_mempool_size, domid);
}

int dgm_domain_set_64_bit(domid_t domid)
{
    struct xen_domctl op = {.u.address_size.size = 64};

    return dgm_domctl(&op, XEN_DOMCTL_set_address_size, domid);
}

int dgm_domain_alloc_channel(domid_t domid, evtchn_port_t *port)
{
    struct evtchn_alloc_unbound op = {.dom = domid, .remote_dom = 0};
    const long result = dgm_event_channel_op(EVTCHNOP_alloc_unbound, &op);

    *port = op.port;
    return (int)result;
}

int dgm_domain_start_vuart(domid_t domid, dgm_gfn_t gfn, evtchn_port_t *port)
{
    struct xen_domctl op = {.u.vuart_op = {.cmd = XEN_DOMCTL_VUART_OP_INIT,
                                           .type = XEN_DOMCTL_VUART_TYPE_VPL011,
                                           .gfn = dgm_gfn_number(gfn),
                                           .console_domid = 0}};
    const int result = dgm_domctl(&op, XEN_DOMCTL_vuart_op, domid);

    *port = op.u.vuart_op.evtchn;
    return result;
}

int dgm_domain_set_context(domid_t domid, const void *context)
{
    struct xen_domctl op = {.u.vcpucontext.vcpu = 0};

    set_xen_guest_handle(op.u.vcpucontext.ctxt, (void *)(uintptr_t)context);
    return dgm_domctl(&op, XEN_DOMCTL_setvcpucontext, domid);
}

int dgm_domain_unpause(domid_t domid)
{
    struct xen_domctl op = {0};

    return dgm_domctl(&op, XEN_DOMCTL_unpausedomain, domid);
}
