/* SPDX-License-Identifier: MIT */
/*
 * env: what an embedder implements for the library
 *
 * kernel/ implements it for the domain, port/sim for tests and the simulator, examples/embed for
 * itself. None of these functions calls back into the library, and none fails. With several
 * reactors each reactor may call at any time. docs/porting.md has the whole contract.
 */
#ifndef PORT_ENV_H
#define PORT_ENV_H

#include <dragoman/base/addr.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Monotonic time in nanoseconds from any start. Called about once in a turn of the reactor. */
uint64_t dgm_env_now_ns(void);

/*
 * The address at which the CPU accesses a frame of ours, mapped cacheable: a local frame, a slot
 * that holds a foreign frame, or a place where one is mapped at its mfn (identity.h). Valid for
 * that one frame: adjacent gfns need not be adjacent here. Called for each frame that the CPU
 * accesses, so it should be cheap.
 */
void *dgm_env_va(dgm_gfn_t gfn);

/* The local frame that holds `va`, an address of our own RAM. */
dgm_gfn_t dgm_env_gfn(const void *va);

/* Logs one line for the operator; `format` ends without a newline. Of printf's conversions the
 * library uses %s %d %u %x %lu %llu, with widths and leading zeros. */
void dgm_env_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Reports a programmer error and stops the domain as crashed. */
void dgm_env_panic(const char *file, int line, const char *what) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif

#endif
