/* SPDX-License-Identifier: MIT */
/*
 * disk: what the targets of disk drivers share: the driver's environment, and commands that the
 * input makes
 */
#ifndef FUZZ_LIB_DISK_H
#define FUZZ_LIB_DISK_H

#include "feed.h"

#include <dragoman/drivers/blkdev.h>
#include <dragoman/drivers/device_env.h>

#define JOBS_MAX     80u
#define SEGMENTS_MAX 6u
#define SECOND       1000000000ull

struct job {
    struct dgm_blk_command command; /* the first member */
    struct dgm_dma_segment segments[SEGMENTS_MAX];
    bool live;      /* the driver has it */
    bool announced; /* for the target */
};

extern struct fuzz_disk {
    struct dgm_reactor reactor;
    struct dgm_frames frames;
    struct dgm_p2m p2m;
    uint64_t p2m_memory[64];
    struct dgm_device_env env;
    struct dgm_irq *irq; /* the driver's, when it is bound */
    struct job jobs[JOBS_MAX];
} fuzz_disk;

struct fuzz_disk_hardware {
    const struct dgm_sim_machine *machine; /* its registers */
    uintptr_t registers;
    size_t bytes;             /* of the registers */
    struct dgm_gfn_range ram; /* the memory that it reaches */
    void (*dma_stop)(struct dgm_device_env *env);
};

/* Makes the environment, at the time 0. */
void fuzz_disk_start(const struct fuzz_disk_hardware *hardware);
void fuzz_disk_stop(void);

/* Lets `ns` pass, and runs the driver. */
void fuzz_disk_pass_time(uint64_t ns);

struct fuzz_disk_submission {
    struct dgm_blkdev *device;
    unsigned jobs;         /* the most that are live; at most JOBS_MAX */
    uint64_t blocks_max;   /* of a command */
    unsigned blocks_bytes; /* of the input, for the number of blocks */
    void (*segments)(struct job *job, uint32_t bytes);
    void (*done)(struct dgm_blk_command *command, int status);
};

/* Submits a command of the input, unless all jobs are live. */
void fuzz_disk_submit(struct feed *feed, const struct fuzz_disk_submission *submission);

bool fuzz_disk_any_live(void);

#endif
