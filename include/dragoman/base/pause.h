/* SPDX-License-Identifier: MIT */
/*
 * pause: pauses that double between the attempts of one thing, within two bounds
 *
 * The first pause is short, for causes that pass at once; the last bound keeps a cause that stays
 * from costing more than an attempt now and then. The caller keeps either the last pause or the
 * number of failures, and sets it to 0 after a success.
 */
#ifndef DRAGOMAN_BASE_PAUSE_H
#define DRAGOMAN_BASE_PAUSE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dgm_pauses {
    uint64_t first_ns, last_ns; /* first_ns > 0 */
};

/* The pause that follows one of `pause_ns`; 0: none was made yet. */
static inline uint64_t dgm_pause_next_ns(struct dgm_pauses pauses, uint64_t pause_ns)
{
    if (pause_ns == 0)
        return pauses.first_ns;
    return pause_ns < pauses.last_ns / 2 ? 2 * pause_ns : pauses.last_ns;
}

/* The pause after `failures` failures in a row, at least one. */
static inline uint64_t dgm_pause_after_ns(struct dgm_pauses pauses, uint32_t failures)
{
    uint64_t pause_ns = pauses.first_ns;

    for (uint32_t i = 1; i < failures && pause_ns < pauses.last_ns; i++)
        pause_ns = dgm_pause_next_ns(pauses, pause_ns);
    return pause_ns;
}

#ifdef __cplusplus
}
#endif

#endif
