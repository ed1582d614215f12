/* SPDX-License-Identifier: MIT */
/*
 * quota: a fixed maximum of one resource that one guest may hold at a time
 *
 * Used for slots and for copy buffers. The module that owns the resource charges the quota and
 * discharges it. A full quota is a shortage of that guest alone (DGM_EDQUOT); it delays no other
 * guest.
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
    uint64_t refusals; /* reservations that failed with DGM_EDQUOT */
};

#ifdef __cplusplus
}
#endif

#endif
