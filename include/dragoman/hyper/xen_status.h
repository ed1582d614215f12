/* SPDX-License-Identifier: MIT */
/*
 * xen_status: what each status and error of Xen means for the operation that got it
 *
 * Each grant operation has a status (GNTST_*). A hypercall as a whole has a negative errno, whose
 * meaning depends on the hypercall. Every module that acts on one of them uses this table:
 *
 *   meaning        cause                                       the caller
 *   OK             the operation is done                       uses it
 *   RETRY          passes by itself (a page is paged in)       retries it with growing pauses, for
 *                                                              a bounded time
 *   SHORT          Xen is out of something that our own        retries it after each release of
 *                  releases return (maptrack, ports, memory)   ours; the guest waits, without error
 *   NO_DOMAIN      the domain does not exist                   ends what it does for that domain
 *   REFUSED        what the guest named cannot be used         refuses the guest's request
 *   UNKNOWN        anything else: our argument, a policy of    concludes nothing about any guest;
 *                  Xen (XSM), a number of a newer Xen          retries as after RETRY, or a few
 *                                                              times; logs it once
 *
 * Only NO_DOMAIN means that a guest has ended. The errors of a device are not Xen's: each driver
 * has its own table (drivers/NAME/status.c). Source: xen/grant_table.h, xen/errno.h, and Xen's
 * common/grant_table.c, common/event_channel.c, common/domctl.c, arch/arm/mm.c and arch/arm/hvm.c
 * for what causes which.
 */
#ifndef DRAGOMAN_HYPER_XEN_STATUS_H
#define DRAGOMAN_HYPER_XEN_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum dgm_xen_meaning {
    DGM_XEN_OK,
    DGM_XEN_RETRY,
    DGM_XEN_SHORT,
    DGM_XEN_NO_DOMAIN,
    DGM_XEN_REFUSED,
    DGM_XEN_UNKNOWN,
};

/* The kinds of hypercalls whose errors differ in meaning. */
enum dgm_xen_call {
    DGM_XEN_CALL_GRANT,   /* a batch as a whole: GNTTABOP_map_grant_ref, _unmap_grant_ref, _copy */
    DGM_XEN_CALL_BIND,    /* EVTCHNOP_bind_interdomain: the guest names the port */
    DGM_XEN_CALL_FOREIGN, /* XENMEM_add_to_physmap_batch of a guest's frame */
    DGM_XEN_CALL_DOMAIN,  /* domctl and HVM parameters: dragoman/hyper/domain.h */
    DGM_XEN_CALL_OWN,     /* names no guest: our own memory and ports, cache maintenance */
    DGM_XEN_CALLS
};

/* The meaning of the result of a whole hypercall: 0 or a count, or a negative errno. */
enum dgm_xen_meaning dgm_xen_call_meaning(enum dgm_xen_call call, long result);

/* Attempts, one immediately after the other, at a hypercall that needs nothing that could be short
 * and whose failure leaves something behind: an unmap, the closing of a port. */
#define DGM_XEN_TRIES 12u

/* An operation that may still succeed is retried for at least this time and DGM_XEN_TRIES times,
 * whichever ends later. (Linux retries GNTST_eagain for 32.6 s: gnttab_retry_eagain_gop().) */
#define DGM_XEN_PATIENCE_MS 40000u

/* The failed attempts at one operation; zeroed before the first. */
struct dgm_xen_patience {
    uint32_t first_ms; /* when the first attempt failed, modulo 2^32 */
    uint8_t tries;     /* failed attempts, up to DGM_XEN_TRIES */
};

/* Counts an attempt that failed now. True: the operation has been retried for long enough. */
bool dgm_xen_patience_ends(struct dgm_xen_patience *patience);

/* The status of a grant operation before the hypercall: Xen writes 0 or a negative number. */
#define DGM_XEN_NOT_WRITTEN INT16_MAX

/* What Xen reports for one operation of a batch. */
struct dgm_xen_outcome {
    int16_t status; /* of the operation */
    long result;    /* of the hypercall */
};

/*
 * An operation whose status Xen did not write was not done, so it is never OK; and since the result
 * of the hypercall says nothing about that operation's guest, it is never REFUSED or NO_DOMAIN.
 */
enum dgm_xen_meaning dgm_xen_op_meaning(struct dgm_xen_outcome outcome);

/* The statuses that have been logged, a bit for each; zeroed at first. */
struct dgm_xen_logged {
    uint32_t statuses;
};

/*
 * Logs an UNKNOWN meaning, once for each status and `logged`: "Xen: OPERATION: status -42". For an
 * operation whose status Xen did not write, the line names the hypercall's result.
 */
void dgm_xen_log_unknown(struct dgm_xen_logged *logged, const char *operation,
                         struct dgm_xen_outcome outcome);

#ifdef __cplusplus
}
#endif

#endif
