/* SPDX-License-Identifier: MIT */
/*
 * env: what an embedder implements for the library
 *
 * kernel/ implements it for the domain, the simulator and the unit tests theirs. Nothing here may
 * call back into the library.
 */
#ifndef PORT_ENV_H
#define PORT_ENV_H

#include <dragoman/addr.h>

/* Monotonic time in nanoseconds since some start. Never goes back. */
uint64_t dgm_env_now_ns(void);

/*
 * Where the CPU finds a frame of ours, mapped cacheable: a local frame or a slot. Valid for that
 * one frame; neighbouring gfns need not be neighbours here.
 */
void *dgm_env_va(dgm_gfn_t gfn);

/* The local frame that holds `va`; only for memory of our own RAM. */
dgm_gfn_t dgm_env_gfn(const void *va);

/* One line for the operator, without a newline at the end. printf's conversions. */
void dgm_env_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A programmer error: says so and stops the domain as crashed. */
_Noreturn void dgm_env_panic(const char *file, int line, const char *what);

#endif
