/* SPDX-License-Identifier: MIT */
/*
 * maptrack: how many grant mappings Xen lets us have at a time
 *
 * Xen keeps an entry of its maptrack table for each mapping. No hypercall reports the table's size,
 * but a privileged domain may read Xen's arguments, which set it. With no more slots than entries,
 * the quotas of slots are each guest's share of the table, too, and no guest's mappings can leave
 * another one without any. The number is an upper bound: Xen may also be short of memory for the
 * table, so a map may still find no room (grant.h).
 *
 * Source: Xen's docs/misc/xen-command-line.pandoc, gnttab_max_maptrack_frames;
 * common/grant_table.c: 256 entries in each frame, of which each vCPU that maps leaves one unused.
 */
#ifndef DRAGOMAN_HYPER_MAPTRACK_H
#define DRAGOMAN_HYPER_MAPTRACK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The number by the arguments of the Xen that we run on. If it does not show them: by none. */
uint64_t dgm_maptrack_mappings(void);

#ifdef __cplusplus
}
#endif

#endif
