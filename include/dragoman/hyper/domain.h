/* SPDX-License-Identifier: MIT */
/*
 * domain: the few operations of the hardware domain on other domains, and one on itself
 *
 * Wrappers of domctl and HVM parameters. Layouts of the operations used are the same from Xen 4.17
 * to 4.22; the interface version differs (0x15 to 0x18), and the first call finds the right one. If
 * Xen accepts none of them, that is logged once, and every domctl returns DGM_EACCES. Source:
 * xen/domctl.h, xen/hvm/params.h.
 *
 * Unless said otherwise each function returns DGM_OK or Xen's negative error; the comments name the
 * errors to expect.
 */
#ifndef DRAGOMAN_HYPER_DOMAIN_H
#define DRAGOMAN_HYPER_DOMAIN_H

#include <dragoman/base/addr.h>
#include <stdbool.h>
#include <stdint.h>
#include <xen/xen.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dgm_domain_info {
    uint64_t pages, pages_max; /* frames allocated, allowed */
    uint32_t vcpus;
    bool dying, shut_down;
    uint8_t shutdown_reason; /* SHUTDOWN_* of xen/sched.h; valid when shut_down */
};

/* DGM_ESRCH: there is no such domain. No other error means that the domain has ended. */
int dgm_domain_info(domid_t domid, struct dgm_domain_info *info);

/* Sets the number of frames that the domain may have. */
int dgm_domain_set_pages_max(domid_t domid, uint64_t pages);

/* Destroys the domain. Xen frees each of its frames when no domain maps it any longer. DGM_EAGAIN:
 * Xen has not finished; call again later. */
int dgm_domain_destroy(domid_t domid);

/* A parameter of a domain. */
struct dgm_domain_param {
    domid_t domid;
    uint32_t index; /* HVM_PARAM_* */
};

/* DGM_ESRCH: there is no such domain. */
int dgm_domain_get_param(struct dgm_domain_param param, uint64_t *value);
int dgm_domain_set_param(struct dgm_domain_param param, uint64_t value);

/* Adds 2^`order` adjacent frames of RAM to `domid`, at `gfn` of its own guest-physical space, a
 * multiple of that. 1: done. 0: refused, because the domain is at its limit or Xen has no such
 * memory. */
int dgm_domain_populate(domid_t domid, dgm_gfn_t gfn, unsigned order);

/* Maps the first page of one of Xen's areas for us (XENMAPSPACE_*) at `gfn`. A refusal may pass, so
 * it is tried DGM_XEN_TRIES times, immediately. */
int dgm_domain_map_own(unsigned space, dgm_gfn_t gfn);

/* The text of a shutdown reason. */
const char *dgm_domain_reason(uint8_t shutdown_reason);

#ifdef __cplusplus
}
#endif

#endif
