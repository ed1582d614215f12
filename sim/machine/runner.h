/* SPDX-License-Identifier: MIT */
/*
 * runner: runs each seed in its own process, several at a time
 *
 * So no static variable of the library carries state from one seed to the next, and a crash ends
 * only its own seed. A child's output is shown only if it fails.
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
    FILE *output;
};

extern unsigned runner_jobs; /* processes at a time */

/* runner.c: each prints its results and returns 0 if nothing failed. */
int run_seeds(struct sim_options options, uint64_t to, double until, bool shrinking);
int run_nth(struct sim_options options);
/* The victim with 1, 15 and 31 neighbours of each kind whose name contains `text`. */
int run_fairness(struct sim_options options, const char *text);
double clock_s(void);
void start_child(struct child *child, const struct sim_options *options);
/* Waits until one ends; NULL: none is running. `ok`: it passed, and `result` is filled in. */
struct child *finish_child(bool *ok, struct sim_result *result);
struct child *idle_child(void);
void print_output(FILE *output);
void print_command(const struct sim_options *options);

/* shrink.c: searches a smaller run that fails too, and prints it. */
void shrink_run(struct sim_options options);

#endif
