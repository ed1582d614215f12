/* SPDX-License-Identifier: MIT */
/*
 * env: what an embedder implements for the library
 *
 * kernel/ implements it for the domain, port/sim for tests and the simulator, examples/embed for
 * itself. Nothing here may call back into the library, and nothing may fail. With several reactors
 * each may call at any time. docs/porting.md has the whole contract.
 */
#ifndef PORT_ENV_H
#define PORT_ENV_H

#include <dragoman/base/addr.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Monotonic time in nanoseconds since some start. Never goes back. Called about once a turn. */
uint64_t dgm_env_now_ns(void);

/*
 * Where the CPU finds a frame of ours, mapped cacheable: a local frame, a slot that holds a frame,
 * or a place where a frame is mapped at its mfn (identity.h). Valid for that one frame;
 * neighbouring gfns need not be neighbours here. Called for each frame that the CPU touches: it
 * should be cheap.
 */
void *dgm_env_va(dgm_gfn_t gfn);

/* The local frame that holds `va`; only for memory of our own RAM. */
dgm_gfn_t dgm_env_gfn(const void *va);

/* One line for the operator, without a newline at the end. Of printf's conversions those for
 * strings and whole numbers are used: %s %d %u %x %lu %llu, with width and leading zeros. */
void dgm_env_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A programmer error: says so and stops the domain as crashed. */
void dgm_env_panic(const char *file, int line, const char *what) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif

#endif
