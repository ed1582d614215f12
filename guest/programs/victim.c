/* SPDX-License-Identifier: MIT */
/*
 * victim: measures how fast a guest's disk is while other guests run
 *
 *   victim DISK
 *
 * Reads 4 KiB at a time, one after the other, and prints `window READS` each tenth of a second of
 * this guest's clock, until the guest is ended from outside.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BYTES     4096
#define BLOCKS    4096 /* of the disk: 16 MiB */
#define WINDOW_NS 100000000u

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(int count, char **arguments)
{
    static _Alignas(BYTES) char block[BYTES];
    const int disk = count == 2 ? open(arguments[1], O_RDONLY | O_DIRECT) : -1;
    uint64_t start = now_ns();
    unsigned long reads = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (;;) {
        const off_t at = (off_t)(reads * 7 % BLOCKS) * BYTES;

        if (pread(disk, block, BYTES, at) != BYTES) {
            printf("fail victim: a read fails\n");
            return 1;
        }
        reads++;
        if (now_ns() - start >= WINDOW_NS) {
            printf("window %lu\n", reads);
            start = now_ns();
            reads = 0;
        }
    }
}
