/* SPDX-License-Identifier: MIT */
/*
 * p2m_race: lookups while a writer runs, ours and the twin's
 *
 * One thread publishes and unpublishes, one or two look up, each on a window of which 10,000 slots
 * are live. The machine may be busy with other work, so absolute times mean nothing: both are
 * measured in turns, and the median of the rounds' ratios is reported.
 */
#include "p2m_rig.h"

#include <pages/internal.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LIVE     10000u
#define CHANGING 1000u /* further slots, which the writer publishes and unpublishes */
#define ROUNDS   9
#define ROUND_MS 100
#define IDLE     1000 /* steps of a writer between two changes, a microsecond or so */

struct side {
    void (*publish)(uint64_t gfn);
    void (*unpublish)(uint64_t gfn);
    uint64_t (*lookup)(uint64_t gfn); /* gfn itself or UINT64_MAX: no entry */
};

static void ours_publish(uint64_t gfn)
{
    dgm_p2m_publish(&p2m, dgm_gfn(gfn), dgm_mfn(MFN_OF(gfn)));
}

static void ours_unpublish(uint64_t gfn)
{
    dgm_p2m_unpublish(&p2m, dgm_gfn(gfn));
}

static uint64_t ours_lookup(uint64_t gfn)
{
    return dgm_mfn_number(dgm_p2m_lookup(&p2m, dgm_gfn(gfn)));
}

static void theirs_publish(uint64_t gfn)
{
    treemap_publish(gfn, MFN_OF(gfn));
}

static const struct side ours = {ours_publish, ours_unpublish, ours_lookup};
static const struct side theirs = {theirs_publish, treemap_unpublish, treemap_lookup};

static atomic_bool stop;

struct worker {
    pthread_t thread;
    const struct side *side;
    uint64_t seed;
    uint64_t done; /* operations */
    uint64_t wrong;
};

static void *read_all(void *argument)
{
    struct worker *worker = argument;
    uint64_t x = worker->seed, done = 0, wrong = 0;

    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        for (int i = 0; i < 64; i++) {
            const uint64_t n = x % (LIVE + CHANGING);
            const uint64_t mfn = worker->side->lookup(slot[n]);

            x = x * 6364136223846793005u + 1442695040888963407u;
            x ^= x >> 33;
            /* A slot that the writer changes may have its frame or none; no other result is
             * valid. */
            if (mfn != MFN_OF(slot[n]) && (n < LIVE || (mfn != slot[n] && mfn != UINT64_MAX)))
                wrong++;
        }
        done += 64;
    }
    worker->done = done;
    worker->wrong = wrong;
    return NULL;
}

/* Simulates a backend's other work between two changes. Without it a writer that takes the lock
 * again immediately starves the readers, and the ratio is meaningless. */
static void do_other_work(void)
{
    for (volatile int i = 0; i < IDLE; i++)
        ;
}

static void *write_all(void *argument)
{
    struct worker *worker = argument;
    uint64_t done = 0;

    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        const uint64_t gfn = slot[LIVE + done % CHANGING];

        worker->side->publish(gfn);
        do_other_work();
        worker->side->unpublish(gfn);
        do_other_work();
        done++;
    }
    worker->done = done;
    return NULL;
}

/* One round: lookups in *reads, changes in *writes. */
static void run_round(const struct side *side, unsigned readers, double *reads, double *writes)
{
    const struct timespec time = {.tv_nsec = ROUND_MS * 1000000L};
    struct worker worker[3] = {0};

    atomic_store(&stop, false);
    for (unsigned i = 0; i <= readers; i++) {
        worker[i].side = side;
        worker[i].seed = i + 1;
        if (pthread_create(&worker[i].thread, NULL, i ? read_all : write_all, &worker[i]) != 0)
            abort();
    }
    nanosleep(&time, NULL);
    atomic_store(&stop, true);
    *reads = 0;
    for (unsigned i = 0; i <= readers; i++) {
        pthread_join(worker[i].thread, NULL);
        *reads += i ? (double)worker[i].done : 0;
        if (worker[i].wrong) {
            fprintf(stderr, "p2m_race: %llu lookups gave a frame that was never there\n",
                    (unsigned long long)worker[i].wrong);
            exit(1);
        }
    }
    *writes = (double)worker[0].done;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void compare_lookups(unsigned readers)
{
    double read_ratio[ROUNDS], write_ratio[ROUNDS];

    for (int round = 0; round < ROUNDS; round++) {
        double reads[2], writes[2];

        run_round(&ours, readers, &reads[0], &writes[0]);
        run_round(&theirs, readers, &reads[1], &writes[1]);
        read_ratio[round] = reads[0] / (reads[1] > 0 ? reads[1] : 1);
        write_ratio[round] = writes[0] / (writes[1] > 0 ? writes[1] : 1);
    }
    qsort(read_ratio, ROUNDS, sizeof read_ratio[0], ascending);
    qsort(write_ratio, ROUNDS, sizeof write_ratio[0], ascending);
    printf("# measure: %u reader%s and 1 writer, ours/tree, median of %d rounds (least, most): "
           "lookups %.1f (%.1f, %.1f), changes %.1f (%.1f, %.1f)\n",
           readers, readers == 1 ? "" : "s", ROUNDS, read_ratio[ROUNDS / 2], read_ratio[0],
           read_ratio[ROUNDS - 1], write_ratio[ROUNDS / 2], write_ratio[0],
           write_ratio[ROUNDS - 1]);
}

int main(void)
{
    rig_start();
    for (uint64_t i = 0; i < LIVE; i++) {
        ours_publish(slot[i]);
        theirs_publish(slot[i]);
    }
    compare_lookups(1);
    compare_lookups(2);
    return 0;
}
