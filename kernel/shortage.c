/* SPDX-License-Identifier: MIT */
/* shortage: see shortage.h. */
#include "shortage.h"

#include <port/env.h>

#include <stdio.h>

#define MIB 0x100000ull

static uint64_t ram_bytes;
static char text[200];

void shortage_ram(uint64_t bytes)
{
    ram_bytes = bytes;
}

/* Runs are taken from the front of a few ranges, so what is left may be in pieces: it is not
 * counted on. */
_Noreturn void shortage(const struct dgm_frames *frames, uint64_t bytes, const char *what)
{
    const unsigned long long left_kib = dgm_frames_available(frames) * (DGM_FRAME_BYTES >> 10);
    const unsigned long long enough_mib = (ram_bytes + bytes) / MIB + 2;

    if (bytes)
        snprintf(
            text, sizeof text,
            "too little memory: %s needs %llu KiB in one piece; %llu KiB of Dom0's %llu MiB are "
            "left, in pieces: give Xen dom0_mem=%lluM or more",
            what, (unsigned long long)(bytes + 1023) >> 10, left_kib,
            (unsigned long long)(ram_bytes / MIB), enough_mib);
    else
        snprintf(text, sizeof text,
                 "too little memory: %s; %llu KiB of Dom0's %llu MiB are left: give Xen "
                 "dom0_mem=%lluM or more",
                 what, left_kib, (unsigned long long)(ram_bytes / MIB), enough_mib);
    dgm_env_panic(__FILE__, __LINE__, text);
}
