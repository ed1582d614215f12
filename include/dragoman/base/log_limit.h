/* SPDX-License-Identifier: MIT */
/*
 * log_limit: a limit on the log lines that one source can cause
 *
 * A line of the log costs time on a slow serial port, which all guests share. A line that a guest
 * or a device can cause again and again is written through the limit of its source (one guest with
 * all its devices, one disk). The limit allows DGM_LOG_LIMIT_BURST lines in a row, then one each
 * DGM_LOG_LIMIT_REFILL_NS. Further lines are suppressed and counted; the count is logged before the
 * next line that is allowed.
 *
 * A zeroed limit is ready for use. The owner may read its counters.
 */
#ifndef DRAGOMAN_BASE_LOG_LIMIT_H
#define DRAGOMAN_BASE_LOG_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_LOG_LIMIT_BURST     5
#define DGM_LOG_LIMIT_REFILL_NS 10000000000u

/* All of it is base's own. */
struct dgm_log_limit {
    uint64_t since_ns;         /* `spent` counts from here */
    uint64_t suppressed_total; /* lines */
    uint32_t suppressed;       /* lines since the last one that was allowed */
    uint32_t spent;            /* of the burst, not yet refilled */
};

/* Counts a line: true if the caller may write it. Logs how many were suppressed before it. */
bool dgm_log_limit_take(struct dgm_log_limit *limit);

/* dgm_env_log() within a limit; needs <port/env.h>. */
#define dgm_log_limited(limit, ...) (dgm_log_limit_take(limit) ? dgm_env_log(__VA_ARGS__) : (void)0)

#ifdef __cplusplus
}
#endif

#endif
