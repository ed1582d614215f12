/* SPDX-License-Identifier: MIT */
/*
 * runner: seeds in processes of their own, side by side on all CPUs
 *
 * A process for each seed keeps what is static in the library from one seed out of the next, and a
 * crash within its seed. What a child prints is shown only if it fails.
 */
#ifndef SIM_MACHINE_RUNNER_H
#define SIM_MACHINE_RUNNER_H

#include <sim/machine/machine.h>

#include <stdio.h>
#include <sys/types.h>

#define CHILDREN_MAX 64

struct child {
    pid_t pid;
    struct sim_options options;
    int result;
    FILE *said;
};

extern unsigned runner_jobs; /* how many at a time */

/* runner.c: each prints what there is to say; 0: nothing failed. */
int run_seeds(struct sim_options options, uint64_t to, double until, bool shrinking);
int run_nth(struct sim_options options);
double seconds(void);
void start(struct child *child, const struct sim_options *options);
/* Waits for one; NULL: none is running. `ok`: it passed, and `result` is filled in. */
struct child *finish(bool *ok, struct sim_result *result);
struct child *idle_child(void);
void show(FILE *said);
void print_command(const struct sim_options *options);

/* shrink.c: looks for a smaller run that fails too, and prints it. */
void shrink(struct sim_options options);

#endif
