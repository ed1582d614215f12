/* SPDX-License-Identifier: MIT */
/*
 * kernel_image.h: the header of an arm64 Image, for kernels of guests and for Dragoman.
 *
 * Xen starts an arm64 Image (Linux, Documentation/arch/arm64/booting.rst), plain or gzipped. It
 * checks little: any other file, or a truncated one, stops the boot of the whole machine or makes a
 * guest crash without a message. A gzipped one is unpacked here by gzip(1), which also checks it.
 */
#ifndef DRAGOMAN_TOOLS_KERNEL_IMAGE_H
#define DRAGOMAN_TOOLS_KERNEL_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

struct kernel_image {
    bool gzipped;
    uint64_t packed_bytes; /* of the file as it is */
    uint64_t file_bytes;   /* of the Image, unpacked */
    uint64_t memory_bytes; /* that it takes when it runs: image_size of the header, or the file */
};

/*
 * Reads and checks the file. Returns NULL, or a text for the error that follows the file's name
 * ("is not an arm64 Image...").
 */
const char *kernel_image_read(struct kernel_image *image, const char *path);

#endif
