/* SPDX-License-Identifier: MIT */
/*
 * quota: the most that one guest may have of something at once
 *
 * Used for slots and for copy buffers. The module that owns the resource charges and discharges;
 * a quota that is full is the guest's own shortage (DGM_EDQUOT), never another guest's.
 */
#ifndef DRAGOMAN_BASE_QUOTA_H
#define DRAGOMAN_BASE_QUOTA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dgm_quota {
    uint64_t max;
    uint64_t used; /* reserved or taken */
    uint64_t used_max;
    uint64_t refusals; /* reservations answered with DGM_EDQUOT */
};

#ifdef __cplusplus
}
#endif

#endif
