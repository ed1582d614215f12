/* SPDX-License-Identifier: MIT */
/*
 * hypercall: the hypercalls that the library makes, typed and counted
 *
 * Layouts are those of Xen's public headers. Every call goes through dgm_hypercall(), which counts
 * calls by number, so that reports show what an I/O costs. Results are Xen's: 0, a positive number,
 * or a negative errno. The caller reads the status of each operation inside the arguments.
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
 * dgm_hypercall(). All reactors share the counters without atomics: with more than one reactor a
 * few calls may be missing. */
extern uint64_t dgm_hypercall_count[DGM_HYPERCALLS];

/* The sum of dgm_hypercall_count. */
uint64_t dgm_hypercall_total(void);

/*
 * Makes one hypercall and counts it. `op` is a number of xen.h (__HYPERVISOR_*); arguments and
 * result are those of dgm_arch_hypercall() (port/arch.h). The functions below call it for one
 * hypercall each: `command` is the operation's own number, `ops` and `argument` are structures of
 * Xen's headers in our own RAM.
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
