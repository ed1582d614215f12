/* SPDX-License-Identifier: MIT */
/* maptrack: see dragoman/hyper/maptrack.h. */
#include <dragoman/base/text.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/hyper/xen_status.h>
#include <dragoman/base/status.h>
#include <hyper/internal.h>

#include <port/env.h>
#include <xen/version.h>

#define ENTRIES_IN_FRAME 256u
#define FRAMES_DEFAULT   1024u
#define FRAMES_MAX       INT32_MAX /* Xen ignores a larger number */

static const char option[] = "gnttab_max_maptrack_frames=";

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

static uint64_t digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return (uint64_t)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (uint64_t)(c - 'a' + 10);
    return c >= 'A' && c <= 'F' ? (uint64_t)(c - 'A' + 10) : UINT64_MAX;
}

/* Reads a number as Xen does: decimal, 0x..., or octal. False: Xen ignores the option. */
static bool read_frames(const char *word, uint64_t *frames)
{
    uint64_t base = 10, number = 0;

    if (word[0] == '0' && (word[1] == 'x' || word[1] == 'X') && digit_of(word[2]) < 16) {
        base = 16;
        word += 2;
    } else if (word[0] == '0') {
        base = 8;
    }
    if (digit_of(*word) >= base)
        return false;
    for (; digit_of(*word) < base; word++) {
        number = number * base + digit_of(*word);
        if (number > FRAMES_MAX)
            return false;
    }
    *frames = number;
    return *word == 0 || is_space(*word);
}

uint64_t dgm_maptrack_by_arguments(const char *arguments)
{
    uint64_t frames = FRAMES_DEFAULT;

    while (*arguments) {
        uint64_t stated;

        while (is_space(*arguments))
            arguments++;
        if (dgm_text_starts(arguments, option) &&
            read_frames(arguments + sizeof option - 1, &stated))
            frames = stated; /* of several the last one counts */
        while (*arguments && !is_space(*arguments))
            arguments++;
    }
    return frames ? frames * ENTRIES_IN_FRAME - 1 : 0;
}

uint64_t dgm_maptrack_mappings(void)
{
    xen_commandline_t arguments = {0};
    long result = DGM_EAGAIN;

    for (unsigned tries = 0; tries < DGM_XEN_TRIES && result < 0; tries++)
        result = dgm_hypercall(__HYPERVISOR_xen_version, XENVER_commandline, (uintptr_t)&arguments,
                               0, 0, 0);
    if (result < 0) {
        dgm_env_log("Xen does not tell its arguments (error %ld): its default of grant mappings is "
                    "assumed",
                    result);
        arguments[0] = 0;
    }
    arguments[sizeof arguments - 1] = 0;
    return dgm_maptrack_by_arguments(arguments);
}
