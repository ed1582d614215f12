/* SPDX-License-Identifier: MIT */
/*
 * hypervisor/event: event channels, 2-level ABI, one vCPU
 *
 * The pending rules are Xen's (common/event_2l.c): an event for a pending bit has no effect, a
 * masked bit raises no interrupt, and the interrupt rises only when evtchn_upcall_pending goes from
 * 0 to
 * 1. Pending bits may be set from another thread, as real guests do from other CPUs.
 */
#include <sim/hypervisor/internal.h>

#include <assert.h>
#include <errno.h>

#define WORD_BITS 64u

struct shared_info *dgm_hv_shared_info(void)
{
    return hv.shared;
}

static bool test_and_set(xen_ulong_t *words, uint32_t bit)
{
    const xen_ulong_t mask = (xen_ulong_t)1 << (bit % WORD_BITS);

    return __atomic_fetch_or(&words[bit / WORD_BITS], mask, __ATOMIC_SEQ_CST) & mask;
}

static void raise_pending(uint32_t port)
{
    struct vcpu_info *vcpu = &hv.shared->vcpu_info[0];

    if (test_and_set(&vcpu->evtchn_pending_sel, port / WORD_BITS))
        return;
    if (!__atomic_exchange_n(&vcpu->evtchn_upcall_pending, 1, __ATOMIC_SEQ_CST))
        __atomic_store_n(&hv.interrupt, true, __ATOMIC_SEQ_CST);
}

void hv_pending(uint32_t port)
{
    const xen_ulong_t *const mask = &hv.shared->evtchn_mask[port / WORD_BITS];

    if (!test_and_set(hv.shared->evtchn_pending, port) &&
        !(__atomic_load_n(mask, __ATOMIC_SEQ_CST) >> (port % WORD_BITS) & 1))
        raise_pending(port);
}

void dgm_hv_set_pending(evtchn_port_t port)
{
    assert(port < DGM_HV_PORTS);
    hv_pending(port);
}

bool dgm_hv_interrupt(void)
{
    return __atomic_exchange_n(&hv.interrupt, false, __ATOMIC_SEQ_CST);
}

static uint32_t port_free(const struct hv_port *ports)
{
    uint32_t port = 1;

    while (port < DGM_HV_PORTS && ports[port].state != HV_PORT_FREE)
        port++;
    return port;
}

evtchn_port_t dgm_hv_guest_port(domid_t domid)
{
    struct hv_domain *domain = hv_domain_or_die(domid);
    const uint32_t port = port_free(domain->ports);

    assert(port < DGM_HV_PORTS);
    domain->ports[port].state = HV_PORT_UNBOUND;
    return port;
}

bool dgm_hv_guest_send(domid_t domid, evtchn_port_t port)
{
    const struct hv_port *from = &hv_domain_or_die(domid)->ports[port];

    assert(port < DGM_HV_PORTS);
    if (from->state != HV_PORT_INTERDOMAIN)
        return false;
    hv_pending(from->peer);
    return true;
}

uint64_t dgm_hv_guest_events(domid_t domid, evtchn_port_t port)
{
    struct hv_port *to = &hv_domain_or_die(domid)->ports[port];
    const uint64_t events = to->events;

    to->events = 0;
    return events;
}

void dgm_hv_guest_close(domid_t domid, evtchn_port_t port)
{
    struct hv_port *gone = &hv_domain_or_die(domid)->ports[port];

    if (gone->state == HV_PORT_INTERDOMAIN)
        hv.ports[gone->peer].state = HV_PORT_UNBOUND;
    *gone = (struct hv_port){.state = HV_PORT_FREE};
}

void hv_ports_of_dead(struct hv_domain *domain)
{
    for (uint32_t i = 0; i < DGM_HV_PORTS; i++)
        if (hv.ports[i].state == HV_PORT_INTERDOMAIN && hv.ports[i].remote == domain)
            hv.ports[i].state = HV_PORT_UNBOUND;
}

bool dgm_hv_raise_virq(uint32_t virq)
{
    for (uint32_t i = 0; i < DGM_HV_PORTS; i++) {
        if (hv.ports[i].state == HV_PORT_VIRQ && hv.ports[i].peer == virq) {
            hv_pending(i);
            return true;
        }
    }
    return false;
}

static long bind_interdomain(struct evtchn_bind_interdomain *bind)
{
    struct hv_domain *domain = hv_domain(bind->remote_dom);
    const uint32_t local = port_free(hv.ports);

    if (!domain)
        return -ESRCH;
    if (local >= DGM_HV_PORTS)
        return -ENOSPC;
    if (bind->remote_port >= DGM_HV_PORTS ||
        domain->ports[bind->remote_port].state != HV_PORT_UNBOUND)
        return -EINVAL;
    domain->ports[bind->remote_port] = (struct hv_port){HV_PORT_INTERDOMAIN, NULL, local, 0};
    hv.ports[local] = (struct hv_port){HV_PORT_INTERDOMAIN, domain, bind->remote_port, 0};
    bind->local_port = local;
    hv_pending(local); /* Xen always does, so that no early event is lost */
    return 0;
}

static long bind_virq(struct evtchn_bind_virq *bind)
{
    const uint32_t local = port_free(hv.ports);

    if (bind->vcpu != 0)
        return -ENOENT;
    for (uint32_t i = 0; i < DGM_HV_PORTS; i++)
        if (hv.ports[i].state == HV_PORT_VIRQ && hv.ports[i].peer == bind->virq)
            return -EEXIST;
    if (local >= DGM_HV_PORTS)
        return -ENOSPC;
    hv.ports[local] = (struct hv_port){HV_PORT_VIRQ, NULL, bind->virq, 0};
    bind->port = local;
    return 0;
}

static long close_port(const struct evtchn_close *gone)
{
    struct hv_port *port = &hv.ports[gone->port % DGM_HV_PORTS];

    if (gone->port >= DGM_HV_PORTS || port->state == HV_PORT_FREE)
        return -EINVAL;
    if (port->state == HV_PORT_INTERDOMAIN)
        port->remote->ports[port->peer].state = HV_PORT_UNBOUND;
    *port = (struct hv_port){.state = HV_PORT_FREE};
    hv.shared->evtchn_pending[gone->port / WORD_BITS] &=
        ~((xen_ulong_t)1 << (gone->port % WORD_BITS));
    return 0;
}

static long send_port(const struct evtchn_send *send)
{
    const struct hv_port *port = &hv.ports[send->port % DGM_HV_PORTS];

    if (send->port >= DGM_HV_PORTS)
        return -EINVAL;
    if (port->state == HV_PORT_INTERDOMAIN)
        port->remote->ports[port->peer].events++;
    else if (port->state != HV_PORT_UNBOUND) /* unbound: no effect */
        return -EINVAL;
    return 0;
}

static long unmask_port(const struct evtchn_unmask *unmask)
{
    const xen_ulong_t bit = (xen_ulong_t)1 << (unmask->port % WORD_BITS);
    const uint32_t word = unmask->port / WORD_BITS;

    if (unmask->port >= DGM_HV_PORTS)
        return -EINVAL;
    if (hv.shared->evtchn_mask[word] & bit) {
        hv.shared->evtchn_mask[word] &= ~bit;
        if (hv.shared->evtchn_pending[word] & bit)
            raise_pending(unmask->port);
    }
    return 0;
}

long hv_event_op(unsigned command, void *argument)
{
    switch (command) {
    case EVTCHNOP_bind_interdomain:
        return bind_interdomain(argument);
    case EVTCHNOP_bind_virq:
        return bind_virq(argument);
    case EVTCHNOP_close:
        return close_port(argument);
    case EVTCHNOP_send:
        return send_port(argument);
    case EVTCHNOP_unmask:
        return unmask_port(argument);
    default:
        return -ENOSYS;
    }
}
