/* SPDX-License-Identifier: MIT */
/*
 * pauses: reads, writes and flushes in flight on a disk, until it has paused
 *
 *   pauses DISK DEPTH SECONDS
 *
 * In each round DEPTH blocks are written, the DEPTH blocks of the round before are read, and one
 * flush is requested, all in flight at the same time, by Linux's native AIO and O_DIRECT. Each must
 * succeed, and what is read must be what was written. After a round that took SECONDS one more
 * checks the data, and the program ends. Prints a line: the number of rounds, and the milliseconds
 * that the longest took.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX   64
#define BLOCK_BYTES 4096u
#define SPACING     5u /* blocks from one to the next, so that Linux merges none */

static uint64_t blocks[2][DEPTH_MAX][BLOCK_BYTES / sizeof(uint64_t)]
    __attribute__((aligned(BLOCK_BYTES))); /* written, read */
static struct iocb control[2 * DEPTH_MAX + 1];
static unsigned depth;

static _Noreturn void die(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t word_of(unsigned round, unsigned block, unsigned word)
{
    return (uint64_t)round << 32 | block << 16 | word;
}

/* Rounds use two areas of the disk in turn. */
static int64_t block_offset(unsigned round, unsigned block)
{
    return (int64_t)(((round & 1) * DEPTH_MAX + block) * SPACING) * BLOCK_BYTES;
}

static void check_read(unsigned round)
{
    for (unsigned block = 0; block < depth; block++)
        for (unsigned word = 0; word < BLOCK_BYTES / sizeof(uint64_t); word++)
            if (blocks[1][block][word] != word_of(round, block, word)) {
                printf("round %u: block %u is not what was written\n", round, block);
                exit(1);
            }
}

/* Prepares the round's transfers and its flush; returns their number. */
static long prepare_round(int disk, unsigned round)
{
    long count = 0;

    for (unsigned block = 0; block < depth; block++) {
        for (unsigned word = 0; word < BLOCK_BYTES / sizeof(uint64_t); word++)
            blocks[0][block][word] = word_of(round, block, word);
        for (unsigned reads = 0; reads < (round > 0 ? 2u : 1u); reads++)
            control[count++] = (struct iocb){
                .aio_lio_opcode = reads ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE,
                .aio_fildes = (uint32_t)disk,
                .aio_buf = (uintptr_t)blocks[reads][block],
                .aio_nbytes = BLOCK_BYTES,
                .aio_offset = block_offset(round - reads, block),
            };
    }
    control[count++] =
        (struct iocb){.aio_lio_opcode = IOCB_CMD_FDSYNC, .aio_fildes = (uint32_t)disk};
    return count;
}

static void run_round(aio_context_t context, int disk, unsigned round)
{
    struct io_event events[2 * DEPTH_MAX + 1];
    struct iocb *ready[2 * DEPTH_MAX + 1];
    const long count = prepare_round(disk, round);

    for (long i = 0; i < count; i++)
        ready[i] = &control[i];
    if (syscall(SYS_io_submit, context, count, ready) != count)
        die("io_submit");
    if (syscall(SYS_io_getevents, context, count, count, events, NULL) != count)
        die("io_getevents");
    for (long i = 0; i < count; i++) {
        const struct iocb *done = (const struct iocb *)(uintptr_t)events[i].obj;

        if (events[i].res != (int64_t)done->aio_nbytes) { /* 0 for the flush */
            errno = events[i].res < 0 ? (int)-events[i].res : EIO;
            die(done->aio_lio_opcode == IOCB_CMD_PREAD    ? "read"
                : done->aio_lio_opcode == IOCB_CMD_PWRITE ? "write"
                                                          : "flush");
        }
    }
    if (round > 0)
        check_read(round - 1);
}

int main(int argc, char **argv)
{
    aio_context_t context = 0;
    double longest_s = 0, wanted_s;
    unsigned round = 0;

    if (argc != 4 || (depth = (unsigned)strtoul(argv[2], NULL, 10)) < 1 || depth > DEPTH_MAX) {
        fprintf(stderr, "Usage: pauses DISK DEPTH SECONDS, DEPTH from 1 to %d\n", DEPTH_MAX);
        return 2;
    }
    wanted_s = strtod(argv[3], NULL);
    const int disk = open(argv[1], O_RDWR | O_DIRECT);

    if (disk < 0)
        die(argv[1]);
    if (syscall(SYS_io_setup, 2 * DEPTH_MAX + 1, &context) != 0)
        die("io_setup");
    while (longest_s < wanted_s) {
        const double start_s = now_s();

        run_round(context, disk, round++);
        if (now_s() - start_s > longest_s)
            longest_s = now_s() - start_s;
    }
    run_round(context, disk, round++);
    printf("%u %.0f\n", round, longest_s * 1000);
    return 0;
}
