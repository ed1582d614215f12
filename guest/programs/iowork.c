/* SPDX-License-Identifier: MIT */
/*
 * iowork: a measured amount of block I/O on a raw disk, in the guest
 *
 *   iowork DISK read|write BYTES DEPTH COUNT
 *
 * COUNT transfers of BYTES bytes, DEPTH of them in flight, O_DIRECT, by Linux's native AIO. Blocks
 * of 4 KiB are chosen at random over the disk, larger ones are sequential. A tenth of COUNT runs
 * before as a warm-up. The measured part and each operation are marked by instructions without
 * effect (bench/machine/count.c), so measuring costs neither a trap nor output. Prints one line:
 * the number of measured operations.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEPTH_MAX 256

static int disk;
static int write_it;
static unsigned long bytes, depth;
static uint64_t blocks, position;
static aio_context_t context;
static struct iocb control[DEPTH_MAX];
static uint64_t state = 0x9e3779b97f4a7c15;

static void die(const char *what)
{
    printf("iowork: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t next_block(void)
{
    if (bytes > 4096)
        return position++ % blocks;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 16) % blocks;
}

static void submit_all(struct iocb **ready, long count)
{
    for (long i = 0; i < count; i++)
        ready[i]->aio_offset = (int64_t)(next_block() * bytes);
    if (syscall(SYS_io_submit, context, count, ready) != count)
        die("io_submit");
}

/* Makes `count` transfers, from an idle queue to an idle queue. */
static void run_requests(unsigned long count)
{
    static struct io_event events[DEPTH_MAX];
    struct iocb *ready[DEPTH_MAX];
    unsigned long started = depth < count ? depth : count, done = 0;

    for (unsigned long i = 0; i < started; i++)
        ready[i] = &control[i];
    submit_all(ready, (long)started);
    while (done < count) {
        const long got = syscall(SYS_io_getevents, context, 1L, (long)depth, events, NULL);
        long again = 0;

        if (got < 1)
            die("io_getevents");
        for (long i = 0; i < got; i++) {
            if (events[i].res != (int64_t)bytes) {
                errno = events[i].res < 0 ? (int)-events[i].res : EIO;
                die("transfer");
            }
            __asm__ volatile("orr x11, x11, x11" ::: "memory");
            if (started + (unsigned long)again < count)
                ready[again++] = (struct iocb *)(uintptr_t)events[i].obj;
        }
        done += (unsigned long)got;
        started += (unsigned long)again;
        if (again)
            submit_all(ready, again);
    }
}

int main(int argc, char **argv)
{
    uint64_t disk_bytes, seed;
    unsigned long count;
    char *memory;

    if (argc != 6) {
        fprintf(stderr, "Usage: iowork DISK read|write BYTES DEPTH COUNT\n");
        return 2;
    }
    write_it = strcmp(argv[2], "write") == 0;
    bytes = strtoul(argv[3], NULL, 10);
    depth = strtoul(argv[4], NULL, 10);
    count = strtoul(argv[5], NULL, 10);
    if (bytes < 512 || depth < 1 || depth > DEPTH_MAX || count < 10) {
        fprintf(stderr, "iowork: BYTES from 512, DEPTH 1 to %d, COUNT from 10\n", DEPTH_MAX);
        return 2;
    }
    /* Before the measurement: an unseeded pool makes some system calls slow. */
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        die("getrandom");
    disk = open(argv[1], (write_it ? O_RDWR : O_RDONLY) | O_DIRECT);
    if (disk < 0)
        die(argv[1]);
    if (ioctl(disk, BLKGETSIZE64, &disk_bytes) != 0)
        die("BLKGETSIZE64");
    blocks = disk_bytes / bytes;
    if (posix_memalign((void **)&memory, 4096, depth * bytes) != 0)
        die("memory");
    memset(memory, 0x5a, depth * bytes);
    if (syscall(SYS_io_setup, depth, &context) != 0)
        die("io_setup");
    for (unsigned long i = 0; i < depth; i++)
        control[i] = (struct iocb){.aio_lio_opcode = write_it ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
                                   .aio_fildes = (uint32_t)disk,
                                   .aio_buf = (uintptr_t)(memory + i * bytes),
                                   .aio_nbytes = bytes};

    run_requests(count / 10);
    __asm__ volatile("orr x9, x9, x9" ::: "memory");
    run_requests(count);
    __asm__ volatile("orr x10, x10, x10" ::: "memory");
    printf("%lu\n", count);
    return 0;
}
