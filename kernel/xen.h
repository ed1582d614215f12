/* SPDX-License-Identifier: MIT */
/*
 * xen: what Dragoman needs to know and get from Xen before anything else, and the report of a
 * hypercall without which it cannot start
 *
 * A refusal may pass, so each call is made DGM_XEN_TRIES times. If Xen still refuses what the start
 * can do without, the caller logs that and goes on.
 */
#ifndef KERNEL_XEN_H
#define KERNEL_XEN_H

#include <dragoman/base/addr.h>

#include <stdbool.h>
#include <stddef.h>
#include <xen/xen.h>

/* Ends the start. `call` is the hypercall, with what it is for; `error` is Xen's result: a negative
 * errno, or 0 if Xen did nothing of what was wanted. The message also names the remedy. */
_Noreturn void xen_refuses(const char *call, long error);

/* Xen's version as text: "4.20", or "of unknown version (error -1)". */
void xen_version(char *text, size_t bytes);

/* Whether Dom0's memory is mapped 1:1, so that every mfn of ours equals its gfn. DGM_OK, or Xen's
 * error: then it is not known. */
int xen_direct_mapped(bool *direct);

/* Maps Xen's shared page at `gfn`, which is mapped for us, or ends the start. */
struct shared_info *xen_shared_info(dgm_gfn_t gfn);

#endif
