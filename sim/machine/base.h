/* SPDX-License-Identifier: MIT */
/*
 * base: random numbers, time, the trace and failures, for all parts of the simulated machine
 *
 * Random numbers come from streams, one for each purpose and all from the seed, so that without one
 * kind of fault the draws for the others stay the same (--shrink relies on this). Time is virtual
 * and advances only from event to event. The trace has the last hundred notes; a note is recorded
 * as numbers, and formatted only after a failure.
 */
#ifndef SIM_MACHINE_BASE_H
#define SIM_MACHINE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- random numbers --- */

struct rng {
    uint64_t state;
};

struct rng rng_of(uint64_t seed, const char *purpose);
uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t bound);              /* 0 to bound - 1 */
uint64_t rng_range(struct rng *rng, uint64_t low, uint64_t high); /* both inclusive */
bool rng_chance(struct rng *rng, uint32_t per_million);
void rng_fill(struct rng *rng, void *bytes, size_t count);

static inline uint64_t mix64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The argument for which mix64() returned `y`. */
static inline uint64_t unmix64(uint64_t y)
{
    y = (y ^ (y >> 31) ^ (y >> 62)) * 0x319642b2d24d8ec3u;
    y = (y ^ (y >> 27) ^ (y >> 54)) * 0x96de1b173f119089u;
    return (y ^ (y >> 30) ^ (y >> 60)) - 0x9e3779b97f4a7c15u;
}

/* --- time --- */

#define US     1000ull
#define MS     1000000ull
#define SECOND 1000000000ull

uint64_t sim_now(void); /* ns */
void sim_pass(uint64_t ns);
/* Runs `act` at `delay_ns` from now. Events of one moment run in the order of these calls. */
void sim_later(uint64_t delay_ns, void (*act)(void *context, uint64_t argument), void *context,
               uint64_t argument);
/* Removes such an event, if there is one. */
void sim_forget(void (*act)(void *context, uint64_t argument), void *context, uint64_t argument);
uint64_t sim_next_event(void); /* its time; UINT64_MAX: none */
void sim_run_due(void);        /* runs every event that is due */

/* --- what happened --- */

extern uint64_t sim_step; /* turns of the library's loop so far */

/* One line of the trace. `format` takes up to six unsigned long long. */
void sim_note(const char *format, const uint64_t values[6]);
#define NOTE(format, ...) sim_note(format, (const uint64_t[6]){__VA_ARGS__})

uint64_t sim_digest(void); /* of all notes: equal in two runs of one seed */

/* Prints the failure, with seed, step and trace, and ends the process. */
_Noreturn void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void sim_base_start(uint64_t seed, bool aloud); /* aloud: every note is printed immediately */
void sim_print_trace(void);

#define SIM_CHECK(condition, ...) ((condition) ? (void)0 : sim_fail(__VA_ARGS__))

#endif
