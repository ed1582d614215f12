/* SPDX-License-Identifier: MIT */
/*
 * direct: O_DIRECT with memory at odd addresses, on a raw disk, in the guest
 *
 *   direct DISK [ROUNDS]
 *
 * An NVMe disk cannot directly express segments of a block request that neither start nor end on
 * page boundaries. This program writes random ranges of the disk from vectors whose parts lie at
 * multiples of 512 bytes all over a buffer, reads them back through other vectors, and compares
 * both with a copy in memory; at the end the whole area is read in order and compared again.
 * Progress goes to standard error, ten lines in all. Exit status 0: everything was equal.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define AREA      (4u << 20) /* of the disk, from its start */
#define STEP      512u
#define BYTES_MAX (24u << 10)
#define PARTS     (BYTES_MAX / STEP)
#define TRANSFER  (64u << 10)

static uint8_t model[AREA], scratch[TRANSFER];
static uint64_t state = 0x9e3779b97f4a7c15;

static uint32_t random_below(uint32_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % bound;
}

static void die(const char *what)
{
    printf("direct: %s: %s\n", what, strerror(errno));
    exit(1);
}

/*
 * Cuts `bytes` into parts of whole sectors, up to 4096 bytes, each at a random multiple of 512 in a
 * page of its own: two pages per part, so parts never touch.
 */
static int scatter_over_parts(struct iovec *parts, uint8_t *memory, uint32_t bytes, uint32_t sector)
{
    int count = 0;

    while (bytes) {
        uint32_t part = sector * (1 + random_below(4096 / sector));

        if (part > bytes)
            part = bytes;
        parts[count].iov_base = memory + (size_t)count * 8192 + STEP * random_below(8);
        parts[count].iov_len = part;
        bytes -= part;
        count++;
    }
    return count;
}

static void gather_parts(const struct iovec *parts, int count, uint8_t *to)
{
    for (int i = 0; i < count; i++) {
        memcpy(to, parts[i].iov_base, parts[i].iov_len);
        to += parts[i].iov_len;
    }
}

static void fill_parts(const struct iovec *parts, int count, const uint8_t *from)
{
    for (int i = 0; i < count; i++) {
        memcpy(parts[i].iov_base, from, parts[i].iov_len);
        from += parts[i].iov_len;
    }
}

static void one_round(int disk, uint32_t sector, uint8_t *memory)
{
    struct iovec parts[PARTS];
    const uint32_t bytes = sector * (1 + random_below(BYTES_MAX / sector));
    const uint32_t offset = sector * random_below((AREA - bytes) / sector);
    int count = scatter_over_parts(parts, memory, bytes, sector);

    for (uint32_t i = 0; i < bytes; i++)
        model[offset + i] = (uint8_t)random_below(256);
    fill_parts(parts, count, model + offset);
    if (pwritev(disk, parts, count, offset) != (ssize_t)bytes)
        die("write");

    count = scatter_over_parts(parts, memory, bytes, sector);
    for (int i = 0; i < count; i++)
        memset(parts[i].iov_base, 0xee, parts[i].iov_len);
    if (preadv(disk, parts, count, offset) != (ssize_t)bytes)
        die("read");
    gather_parts(parts, count, scratch);
    if (memcmp(scratch, model + offset, bytes)) {
        printf("direct: %u bytes at %u differ\n", bytes, offset);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    const int rounds = argc > 2 ? atoi(argv[2]) : 400;
    int sector = 0;
    uint8_t *memory = aligned_alloc(4096, (size_t)PARTS * 8192 + (64u << 10));
    const int disk = open(argv[1], O_RDWR | O_DIRECT);

    if (disk < 0 || !memory || ioctl(disk, BLKSSZGET, &sector))
        die(argv[1]);
    memset(memory, 0, (size_t)PARTS * 8192 + (64u << 10));
    for (uint32_t at = 0; at < AREA; at += TRANSFER) {
        memcpy(memory, model + at, TRANSFER);
        if (pwrite(disk, memory, TRANSFER, at) != TRANSFER)
            die("first write");
    }
    for (int round = 0; round < rounds; round++) {
        one_round(disk, (uint32_t)sector, memory);
        if ((round + 1) * 10 / rounds != round * 10 / rounds)
            fprintf(stderr, "@dragoman progress %s: %d of %d rounds\n", argv[1], round + 1, rounds);
    }
    for (uint32_t at = 0; at < AREA; at += TRANSFER) {
        if (pread(disk, memory, TRANSFER, at) != TRANSFER)
            die("last read");
        if (memcmp(memory, model + at, TRANSFER)) {
            printf("direct: the area at %u differs at the end\n", at);
            return 1;
        }
    }
    printf("direct: %d rounds equal, sectors of %d bytes\n", rounds, sector);
    return 0;
}
