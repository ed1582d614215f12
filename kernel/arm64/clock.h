/* SPDX-License-Identifier: MIT */
/*
 * clock: the virtual counter and its timer (CNTV)
 *
 * dgm_env_now_ns() reads the counter. The timer serves one purpose: to end an idle WFI when the
 * reactor's soonest deadline comes.
 */
#ifndef KERNEL_ARM64_CLOCK_H
#define KERNEL_ARM64_CLOCK_H

#include <stdint.h>

void clock_init(void);
uint64_t clock_ticks_to_ns(uint64_t ticks);

/* The timer's interrupt is raised at `deadline_ns`; UINT64_MAX: never. */
void clock_alarm(uint64_t deadline_ns);

#endif
