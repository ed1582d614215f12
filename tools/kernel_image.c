/* SPDX-License-Identifier: MIT */
/* kernel_image.c: see kernel_image.h. */
#include "kernel_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

enum {
    /* Enough for the header, the PE header after it, and the table of its sections. */
    HEAD_BYTES = 4096,
    HEADER_BYTES = 64,
    OFFSET_IMAGE_SIZE = 16,
    OFFSET_MAGIC = 56,
    OFFSET_PE = 60,
    PE_SECTION_COUNT = 6,   /* all from the PE signature on */
    PE_OPTIONAL_BYTES = 20, /* the size of the optional header */
    PE_OPTIONAL = 24,
    PE_SECTION_BYTES = 40,
    SECTION_RAW_BYTES = 16,
    SECTION_RAW_OFFSET = 20,
};

/* Little endian. */
static uint64_t read_number(const unsigned char *bytes, unsigned count)
{
    uint64_t value = 0;

    for (unsigned i = count; i > 0; i--)
        value = value << 8 | bytes[i - 1];
    return value;
}

/*
 * The least size of the file by the header of an EFI application, which a Linux Image is: the end
 * of its last section, or of what is missing of the headers before. 0: the file is no EFI
 * application.
 */
static uint64_t efi_file_bytes(const unsigned char *head, size_t count)
{
    const uint64_t pe = read_number(head + OFFSET_PE, 4);
    uint64_t end = pe + PE_OPTIONAL;

    if (pe == 0)
        return 0;
    if (end > count)
        return end;
    if (memcmp(head + pe, "PE\0\0", 4) != 0)
        return 0;
    const uint64_t sections = read_number(head + pe + PE_SECTION_COUNT, 2);
    uint64_t at = end + read_number(head + pe + PE_OPTIONAL_BYTES, 2);
    for (uint64_t i = 0; i < sections; i++, at += PE_SECTION_BYTES) {
        if (at + PE_SECTION_BYTES > count)
            return end > at + PE_SECTION_BYTES ? end : at + PE_SECTION_BYTES;
        uint64_t section_end = read_number(head + at + SECTION_RAW_OFFSET, 4) +
                               read_number(head + at + SECTION_RAW_BYTES, 4);
        end = section_end > end ? section_end : end;
    }
    return end;
}

/* A descriptor that delivers the unpacked file; *child is gzip. */
static int open_unpacked(const char *path, pid_t *child)
{
    int ends[2];

    if (pipe(ends) != 0)
        return -1;
    *child = fork();
    if (*child == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(ends[1], STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        execlp("gzip", "gzip", "-dc", "--", path, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    if (*child < 0) {
        close(ends[0]);
        return -1;
    }
    return ends[0];
}

/* Reads the file to its end; its first bytes into `head`, the number of all into *bytes. */
static bool read_all(int fd, unsigned char *head, size_t *head_count, uint64_t *bytes)
{
    static unsigned char buffer[65536];

    *head_count = 0;
    *bytes = 0;
    for (;;) {
        ssize_t count = read(fd, buffer, sizeof buffer);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count == 0;
        size_t keep = HEAD_BYTES - *head_count;
        if (keep > (size_t)count)
            keep = (size_t)count;
        memcpy(head + *head_count, buffer, keep);
        *head_count += keep;
        *bytes += (uint64_t)count;
    }
}

const char *kernel_image_read(struct kernel_image *image, const char *path)
{
    unsigned char head[HEAD_BYTES] = {0};
    size_t head_count;
    int status = 0, fd = open(path, O_RDONLY | O_CLOEXEC);

    *image = (struct kernel_image){0};
    if (fd < 0 || !read_all(fd, head, &head_count, &image->file_bytes)) {
        const char *cause = strerror(errno);
        if (fd >= 0)
            close(fd);
        return must_format("cannot be read: %s", cause);
    }
    close(fd);
    image->packed_bytes = image->file_bytes;
    image->gzipped = head_count >= 2 && head[0] == 0x1f && head[1] == 0x8b;
    if (image->gzipped) {
        pid_t child;
        fd = open_unpacked(path, &child);
        if (fd < 0)
            return "cannot be unpacked: gzip does not start";
        bool whole = read_all(fd, head, &head_count, &image->file_bytes);
        close(fd);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            continue;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
            return "is gzipped, and there is no gzip to check it with";
        if (!whole || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
            return "is gzipped, and damaged or cut: gzip cannot unpack it";
    }
    if (head_count < HEADER_BYTES || memcmp(head + OFFSET_MAGIC, "ARM\x64", 4) != 0)
        return image->gzipped ? "is gzipped, but holds no arm64 Image, so Xen would refuse it"
                              : "is not an arm64 Image (nor a gzipped one), so Xen would refuse it";
    image->memory_bytes = read_number(head + OFFSET_IMAGE_SIZE, 8);
    if (image->memory_bytes < image->file_bytes)
        image->memory_bytes = image->file_bytes;
    uint64_t least = efi_file_bytes(head, head_count);
    if (image->file_bytes < least)
        return must_format("is cut: its header says %llu bytes, and it has %llu; copy it again",
                           (unsigned long long)least, (unsigned long long)image->file_bytes);
    return NULL;
}
