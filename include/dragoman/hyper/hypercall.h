/* SPDX-License-Identifier: MIT */
/*
 * hypercall: the hypercalls that the library makes, typed and counted
 *
 * Layouts are those of Xen's public headers. Every call goes through dgm_hypercall(), which counts
 * by number, so that reports can say what an I/O costs. Results are Xen's: 0 or positive, or
 * negative errno. Per-operation statuses inside the arguments are the caller's to look at.
 */
#ifndef DRAGOMAN_HYPER_HYPERCALL_H
#define DRAGOMAN_HYPER_HYPERCALL_H

#include <stdint.h>
#include <xen/xen.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_HYPERCALLS 64 /* xen.h: numbers below NR_hypercalls */

/* Hypercalls made since start, by number (__HYPERVISOR_*). Read by reports; written by
 * dgm_hypercall(). Of all reactors, without atomics: with several some may not be counted. */
extern uint64_t dgm_hypercall_count[DGM_HYPERCALLS];

/* The sum of dgm_hypercall_count. */
uint64_t dgm_hypercall_total(void);

/*
 * One hypercall, `op` from xen.h (__HYPERVISOR_*), counted; arguments and result as with
 * dgm_arch_hypercall() (port/arch.h). The functions below are this with the arguments in place:
 * `command` is the operation's own number, `ops` and `argument` are structures of Xen's headers in
 * our own RAM.
 */
long dgm_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);

static inline long dgm_grant_table_op(unsigned command, void *ops, unsigned count)
{
    return dgm_hypercall(__HYPERVISOR_grant_table_op, command, (uintptr_t)ops, count, 0, 0);
}

static inline long dgm_memory_op(unsigned command, void *argument)
{
    return dgm_hypercall(__HYPERVISOR_memory_op, command, (uintptr_t)argument, 0, 0, 0);
}

static inline long dgm_event_channel_op(unsigned command, void *argument)
{
    return dgm_hypercall(__HYPERVISOR_event_channel_op, command, (uintptr_t)argument, 0, 0, 0);
}

static inline long dgm_hvm_op(unsigned command, void *argument)
{
    return dgm_hypercall(__HYPERVISOR_hvm_op, command, (uintptr_t)argument, 0, 0, 0);
}

static inline long dgm_sched_op(unsigned command, void *argument)
{
    return dgm_hypercall(__HYPERVISOR_sched_op, command, (uintptr_t)argument, 0, 0, 0);
}

#ifdef __cplusplus
}
#endif

#endif
