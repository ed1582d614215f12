/* SPDX-License-Identifier: MIT */
/*
 * sim: what stands behind the hosted port
 *
 * port/sim is the library's machine in hosted builds. Tests and the simulator put handlers here,
 * and set the clock. Local frames (memory.c) are one arena of ordinary memory: gfn g lies at arena
 * + (g - first) * 4096. Any gfn can be made to show other memory, or none, as Xen does when it maps
 * a foreign frame or takes one of ours away. Neighbouring gfns are then no neighbours in memory, so
 * code that steps from frame to frame by address is found out.
 *
 * env.c is the environment of tests. A program may have one of its own (examples/embed/env.c):
 * where all names of port/env.h are found before the library's archive, env.c is not linked.
 *
 * sim/hypervisor/hypervisor.h is the Xen that goes behind it; a test that only needs memory can do
 * without.
 */
#ifndef PORT_SIM_SIM_H
#define PORT_SIM_SIM_H

#include <dragoman/base/addr.h>

struct dgm_sim_machine {
    long (*hypercall)(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);
    uint64_t (*mmio_read)(uintptr_t address, unsigned bytes);
    void (*mmio_write)(uintptr_t address, uint64_t value, unsigned bytes);
    void (*cache_clean)(const void *va, size_t bytes);
    void (*cache_clean_invalidate)(const void *va, size_t bytes);
};

/* NULL detaches. */
void dgm_sim_attach(const struct dgm_sim_machine *handlers);

/*
 * Makes gfns [first, first + frames) real: zeroed memory that dgm_sim_va() finds. Replaces what was
 * there before; 0 frames frees it.
 */
void dgm_sim_memory(dgm_gfn_t first, uint64_t frames);

/* What dgm_env_va() and dgm_env_gfn() answer here. Assert: the frame is there to be looked at; `va`
 * lies in the arena. */
void *dgm_sim_va(dgm_gfn_t gfn);
dgm_gfn_t dgm_sim_gfn(const void *va);

/*
 * What dgm_sim_va(gfn) shows from now on, inside the arena or not: `va` is a frame of the caller's
 * that outlives it. Shown as a hole (dgm_sim_hole) it is a programmer error to look at, as a frame
 * that Xen does not map would be. dgm_sim_plain() forgets either.
 */
void dgm_sim_alias(dgm_gfn_t gfn, void *va);
void dgm_sim_hole(dgm_gfn_t gfn);
void dgm_sim_plain(dgm_gfn_t gfn);

/*
 * What the rest of the world does at each full barrier and atomic of the code under test: a guest
 * that writes to its ring, or kicks, at the worst moment. Runs the interleavings that matter one by
 * one, without threads. NULL: nothing. The hook may send events and write guests' memory.
 */
void dgm_sim_at_barrier(void (*hook)(void));

/* --- the environment of tests: env.c --- */

/*
 * Told of a panic instead of the process being aborted; must not return (longjmp). NULL: abort
 * again. For tests that show an assertion does its work.
 */
void dgm_sim_on_panic(void (*handler)(const char *what));

/* The clock of dgm_env_now_ns(); it moves only by this. */
void dgm_sim_set_now_ns(uint64_t now_ns);

/* dgm_env_log() prints to stderr when true (default: only when DRAGOMAN_LOG is set in the
 * environment). */
void dgm_sim_log(bool on);

/* The last line that was logged, for tests that look for a message. */
const char *dgm_sim_last_log(void);
/* How many lines were logged, printed or not. */
uint64_t dgm_sim_log_lines(void);

#endif
