/* SPDX-License-Identifier: MIT */
/*
 * sim: the machine of hosted builds
 *
 * Tests and the simulator install handlers for hypercalls, MMIO and caches here, and set the clock.
 * Local frames (memory.c) are one arena of ordinary memory: gfn g lies at arena + (g - first) *
 * 4096. Any gfn can be made to show other memory, or none, as Xen does when it maps a foreign frame
 * or takes one of ours away. Adjacent gfns are then not adjacent in memory, which exposes code that
 * steps from frame to frame by address.
 *
 * memory.c implements dgm_env_va() and dgm_env_gfn(), env.c the rest of port/env.h for tests. A
 * program may have its own clock, log and panic (examples/embed/env.c): if all names of env.c are
 * defined before the linker reaches the library's archive, it omits env.c.
 *
 * sim/hypervisor/hypervisor.h is the Xen behind this port. A test that needs only memory does not
 * use it.
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
 * Makes gfns [first, first + frames) the local frames, zeroed. Replaces the previous arena; 0
 * frames frees it.
 */
void dgm_sim_memory(dgm_gfn_t first, uint64_t frames);

/*
 * Sets what dgm_env_va(gfn) returns from now on, inside the arena or not. dgm_sim_alias(): `va`, a
 * frame of the caller that stays valid. dgm_sim_hole(): no memory; dgm_env_va() asserts, as access
 * to a frame that Xen does not map would fault. dgm_sim_plain() undoes either.
 */
void dgm_sim_alias(dgm_gfn_t gfn, void *va);
void dgm_sim_hole(dgm_gfn_t gfn);
void dgm_sim_plain(dgm_gfn_t gfn);

/*
 * The hook runs after each full barrier and each atomic of the code under test. It simulates other
 * CPUs at these points: a guest that writes to its ring, or sends an event, at the worst moment. So
 * a test runs the relevant interleavings one by one, without threads. NULL: no hook. The hook may
 * send events and write to guests' memory.
 */
void dgm_sim_at_barrier(void (*hook)(void));

/* --- the environment of tests: env.c --- */

/*
 * Called on a panic, instead of aborting the process; must not return (longjmp). NULL: abort. For
 * tests that check an assertion.
 */
void dgm_sim_on_panic(void (*handler)(const char *what));

/* Sets the clock of dgm_env_now_ns(), which does not advance otherwise. */
void dgm_sim_set_now_ns(uint64_t now_ns);

/* Whether dgm_env_log() prints to stderr. Default: if DRAGOMAN_LOG is set in the environment. */
void dgm_sim_log(bool on);

/* The last line that was logged. */
const char *dgm_sim_last_log(void);
/* How many lines were logged, printed or not. */
uint64_t dgm_sim_log_lines(void);
/* How often `text` was logged since dgm_sim_log_clear(). */
unsigned dgm_sim_logged(const char *text);
void dgm_sim_log_clear(void);

#endif
