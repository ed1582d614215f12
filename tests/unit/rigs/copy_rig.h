/* SPDX-License-Identifier: MIT */
/* copy_rig: a guest's frames and ours on the simulated Xen, for grant copies. */
#ifndef COPY_RIG_H
#define COPY_RIG_H

#include "unit.h"

#include <port/env.h>
#include <sim/hypervisor/hypervisor.h>

#define COPY_GUEST  3
#define COPY_LOCAL  0x40000u /* our first frame */
#define COPY_FRAMES 600u

/* cmocka's setup and teardown. */
int copy_rig_start(void **state);
int copy_rig_stop(void **state);

/* Our frame `i`. */
char *copy_rig_page(uint64_t i);

#endif
