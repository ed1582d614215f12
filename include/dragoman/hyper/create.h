/* SPDX-License-Identifier: MIT */
/*
 * create: the hardware domain's operations that make a domain
 *
 * In the order of their use: dgm_domain_create() makes it, paused; then its vCPUs, its memory limit
 * (dgm_domain_set_pages_max()), the pool of its page tables, its width (before any memory), its
 * event channels, its memory, its console, its first vCPU's registers; dgm_domain_unpause() starts
 * it. dgm_domain_destroy() undoes whatever was done.
 *
 * Layouts are the same from Xen 4.17 to 4.22 but for createdomain, whose tail moved in 4.19. Each
 * function returns DGM_OK or Xen's negative error. Source: xen/domctl.h, xen/memory.h,
 * xen/event_channel.h.
 */
#ifndef DRAGOMAN_HYPER_CREATE_H
#define DRAGOMAN_HYPER_CREATE_H

#include <dragoman/base/addr.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/event_channel.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Makes the paused domain `domid`, for at most `vcpus` vCPUs and with the machine's own kind of
 * GIC. DGM_EEXIST: Xen has a domain of that number, alive or a zombie. */
int dgm_domain_create(domid_t domid, uint32_t vcpus);
/* Makes the vCPUs: as many as dgm_domain_create() was told. */
int dgm_domain_make_vcpus(domid_t domid, uint32_t vcpus);
/* The memory of its page tables, in bytes, a multiple of 4 KiB. */
int dgm_domain_set_table_pool(domid_t domid, uint64_t bytes);
/* Without this call it is a 32-bit domain. */
int dgm_domain_set_64_bit(domid_t domid);
/* An event channel of the domain to us. `*port` is the domain's end. */
int dgm_domain_alloc_channel(domid_t domid, evtchn_port_t *port);
/* Gives it an emulated PL011 (vpl011), whose ring of characters lies in its frame `gfn`; we serve
 * it. `*port` is the domain's end of its event channel. */
int dgm_domain_start_vuart(domid_t domid, dgm_gfn_t gfn, evtchn_port_t *port);
/* `context` is the struct vcpu_guest_context of vCPU 0. */
int dgm_domain_set_context(domid_t domid, const void *context);
int dgm_domain_unpause(domid_t domid);

#ifdef __cplusplus
}
#endif

#endif
