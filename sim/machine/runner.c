/* SPDX-License-Identifier: MIT */
/* runner: see runner.h. */
#include <sim/machine/runner.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct {
    struct child child[CHILDREN_MAX];
    unsigned running;
    uint64_t passed, requests, failed, refused, resets;
    struct fair_result fair;
} runner;

static void keep_max(uint64_t *max, uint64_t value)
{
    if (value > *max)
        *max = value;
}

unsigned runner_jobs;

/* Ends a seed that hangs. The machine's load must not cause failures, so this is far more than any
 * seed takes. */
#define SEED_SECONDS_MAX 1800

static void run_child(const struct sim_options *options, int result_fd, FILE *output)
{
    struct sim_result result = {0};

    if (!options->verbose) {
        dup2(fileno(output), 1);
        dup2(fileno(output), 2);
    }
    alarm(SEED_SECONDS_MAX);
    sim_run(options, &result);
    if (write(result_fd, &result, sizeof result) != sizeof result)
        _exit(1);
    _exit(0);
}

void start_child(struct child *child, const struct sim_options *options)
{
    int pipes[2];

    child->options = *options;
    child->output = tmpfile();
    fflush(stdout);
    if (!child->output || pipe(pipes) != 0 || (child->pid = fork()) < 0) {
        perror("dragoman-sim");
        exit(2);
    }
    if (child->pid == 0) {
        close(pipes[0]);
        run_child(options, pipes[1], child->output);
    }
    close(pipes[1]);
    child->result = pipes[0];
    runner.running++;
}

struct child *finish_child(bool *ok, struct sim_result *result)
{
    int status;
    pid_t pid;

    if (runner.running == 0)
        return NULL;
    pid = wait(&status);
    for (unsigned i = 0; i < CHILDREN_MAX; i++) {
        struct child *child = &runner.child[i];

        if (child->pid != pid)
            continue;
        *ok = WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
              read(child->result, result, sizeof *result) == sizeof *result;
        close(child->result);
        child->pid = 0;
        runner.running--;
        if (WIFSIGNALED(status))
            fprintf(child->output, "\nseed %llu ended by signal %d%s\n",
                    (unsigned long long)child->options.seed, WTERMSIG(status),
                    WTERMSIG(status) == SIGALRM ? " (it ran too long)" : "");
        return child;
    }
    return finish_child(ok, result);
}

void print_output(FILE *output)
{
    char line[512];

    fflush(output);
    rewind(output);
    while (fgets(line, sizeof line, output))
        fputs(line, stdout);
}

void print_command(const struct sim_options *options)
{
    printf("to repeat: ./dragoman sim --seed %llu --requests %llu",
           (unsigned long long)options->seed, (unsigned long long)options->requests);
    if (options->guests)
        printf(" --guests %u", options->guests);
    if (options->mode != MODE_DRAWN)
        printf(" --mode %s", sim_mode_names[options->mode]);
    if (options->network)
        printf(" --network");
    if (options->power)
        printf(" --power");
    for (unsigned i = 0; i < SIM_FAULTS; i++)
        if (options->without >> i & 1)
            printf(" --without %s", sim_fault_names[i]);
    printf("\n");
}

/* --- many seeds --- */

double clock_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct child *idle_child(void)
{
    unsigned i = 0;

    while (runner.child[i].pid)
        i++;
    return &runner.child[i];
}

static void add_result(const struct sim_result *result)
{
    runner.passed++;
    runner.requests += result->requests;
    runner.failed += result->failed;
    runner.refused += result->refused;
    runner.resets += result->resets;
    keep_max(&runner.fair.turns_max, result->fair.turns_max);
    keep_max(&runner.fair.work_max, result->fair.work_max);
    keep_max(&runner.fair.turn_work_max, result->fair.turn_work_max);
    keep_max(&runner.fair.run_work_max, result->fair.run_work_max);
    keep_max(&runner.fair.wait_max, result->fair.wait_max);
}

static void print_progress(double began)
{
    static double shown_at;
    const double now = clock_s();

    if (!isatty(1) || now - shown_at < 1)
        return;
    shown_at = now;
    printf("\r%llu seeds, %llu requests, %.0f a second ", (unsigned long long)runner.passed,
           (unsigned long long)runner.requests, (double)runner.requests / (now - began));
    fflush(stdout);
}

/* Runs seeds until `to`, until the time is over, or until one fails, which is then shown. */
int run_seeds(struct sim_options options, uint64_t to, double until, bool shrinking)
{
    const uint64_t from = options.seed;
    const double began = clock_s();
    struct sim_options bad = options;
    struct sim_result result = {0};
    uint64_t next = from;
    bool ok, good = true;

    for (;;) {
        while (good && runner.running < runner_jobs && next <= to && clock_s() < until) {
            options.seed = next++;
            start_child(idle_child(), &options);
        }
        struct child *child = finish_child(&ok, &result);

        if (!child)
            break;
        if (ok) {
            add_result(&result);
        } else if (good) {
            good = false;
            bad = child->options;
            print_output(child->output);
            print_command(&bad);
        }
        fclose(child->output);
        print_progress(began);
    }
    if (!good && shrinking)
        shrink_run(bad);
    printf("%s%llu seeds from %llu on, %llu requests (%llu failed by design, %llu refused), %llu "
           "resets; %.1f s, %.0f requests a second\n",
           isatty(1) ? "\r" : "", (unsigned long long)runner.passed, (unsigned long long)from,
           (unsigned long long)runner.requests, (unsigned long long)runner.failed,
           (unsigned long long)runner.refused, (unsigned long long)runner.resets, clock_s() - began,
           (double)runner.requests / (clock_s() - began));
    printf("a request on a healthy disk was outside of it for at most %llu turns, %llu loads and "
           "stores; a turn took at most %llu, a run of a vif or its card %llu; a disk completed at "
           "most %llu commands while a device "
           "waited for its queue\n",
           (unsigned long long)runner.fair.turns_max, (unsigned long long)runner.fair.work_max,
           (unsigned long long)runner.fair.turn_work_max,
           (unsigned long long)runner.fair.run_work_max, (unsigned long long)runner.fair.wait_max);
    if (runner.passed == 1 && from == to)
        printf("digest %016llx, %.6f s of its time\n", (unsigned long long)result.digest,
               (double)result.now_ns / 1e9);
    return good ? 0 : 1;
}

/* n = 1, 2, ... until a run ends before the n-th is reached. */
int run_nth(struct sim_options options)
{
    struct sim_result result;
    bool ok, good = true;
    uint64_t runs = 0;

    for (int ever = 0; ever < 2 && good; ever++) {
        bool clean = false;
        uint64_t next = 1;

        while (runner.running || (!clean && good)) {
            while (!clean && good && runner.running < runner_jobs) {
                options.nth = next++;
                options.permanently = ever;
                start_child(idle_child(), &options);
            }
            struct child *child = finish_child(&ok, &result);

            runs++;
            clean |= ok && result.nth_seen < child->options.nth;
            if (!ok && good) {
                print_output(child->output);
                printf("with the %llu-th failing %s\n", (unsigned long long)child->options.nth,
                       ever ? "permanently" : "once");
                good = false;
            }
            fclose(child->output);
        }
    }
    printf("%llu runs\n", (unsigned long long)runs);
    return good ? 0 : 1;
}

/* --- fairness: a victim and its neighbours --- */

static const unsigned neighbour_counts[] = {1, 15, SIM_GUESTS_MAX - 1};
#define NEIGHBOUR_COUNTS (sizeof neighbour_counts / sizeof neighbour_counts[0])

/* Sets the n-th measurement (from 0) of those whose neighbour's name contains `text`. False: there
 * are fewer. */
static bool set_nth_measurement(struct sim_options *options, const char *text, unsigned n)
{
    for (unsigned i = NEIGHBOUR_NONE; i < SIM_NEIGHBOURS; i++) {
        const unsigned first = i == NEIGHBOUR_MIXED; /* not with one guest */
        const unsigned count = i == NEIGHBOUR_NONE ? 1 : NEIGHBOUR_COUNTS - first;

        if (!strstr(sim_neighbour_names[i], text))
            continue;
        if (n < count) {
            options->neighbour = (enum sim_neighbour)i;
            options->neighbour_count = i == NEIGHBOUR_NONE ? 0 : neighbour_counts[first + n];
            options->neighbour_ns = options->neighbour_count > 1 ? 50 * MS : 250 * MS;
            return true;
        }
        n -= count;
    }
    return false;
}

static void print_measurement(const struct sim_options *options, const struct sim_result *result)
{
    printf(
        "# measure: %u x %s: %llu reads in %llu ms; at most %llu turns, %llu loads and "
        "stores; a turn at most %llu; a wait for a queue at most %llu commands; %llu units "
        "beyond xenstore's budget; %llu log lines\n",
        options->neighbour_count, sim_neighbour_names[options->neighbour],
        (unsigned long long)result->victim_reads, (unsigned long long)(options->neighbour_ns / MS),
        (unsigned long long)result->fair.turns_max, (unsigned long long)result->fair.work_max,
        (unsigned long long)result->fair.turn_work_max, (unsigned long long)result->fair.wait_max,
        (unsigned long long)result->fair.units_max, (unsigned long long)result->log_lines);
    fflush(stdout);
}

int run_fairness(struct sim_options options, const char *text)
{
    bool ok, good = true;
    unsigned next = 0;

    options.requests = 1u << 30; /* the run ends after a time */
    for (;;) {
        struct sim_result result = {0};

        while (good && runner.running < runner_jobs && set_nth_measurement(&options, text, next)) {
            next++;
            start_child(idle_child(), &options);
        }
        struct child *child = finish_child(&ok, &result);

        if (!child)
            return good ? 0 : 1;
        if (ok) {
            print_measurement(&child->options, &result);
        } else if (good) {
            good = false;
            print_output(child->output);
            printf("with %u x %s as neighbours\n", child->options.neighbour_count,
                   sim_neighbour_names[child->options.neighbour]);
        }
        fclose(child->output);
    }
}
