/* SPDX-License-Identifier: MIT */
/* clock: see clock.h. Arm ARM D11: the generic timer; Xen passes CNTV through and traps CNTP. */
#include "clock.h"

#include <port/env.h>

#define NS_PER_S 1000000000ull

static uint64_t frequency_hz;

static uint64_t ticks_now(void)
{
    uint64_t ticks;

    __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks)::"memory");
    return ticks;
}

void clock_init(void)
{
    __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(frequency_hz));
    if (frequency_hz == 0)
        dgm_env_panic(__FILE__, __LINE__,
                      "firmware left the timer's frequency (CNTFRQ_EL0) at 0: update it");
    clock_alarm(UINT64_MAX);
}

/* Seconds and the rest are converted separately, so that no 64-bit product overflows. */
uint64_t clock_ticks_to_ns(uint64_t ticks)
{
    return ticks / frequency_hz * NS_PER_S + ticks % frequency_hz * NS_PER_S / frequency_hz;
}

uint64_t dgm_env_now_ns(void)
{
    return clock_ticks_to_ns(ticks_now());
}

void clock_alarm(uint64_t deadline_ns)
{
    static uint64_t programmed_ns;
    uint64_t control = 0; /* off */

    if (deadline_ns == programmed_ns)
        return;
    programmed_ns = deadline_ns;
    if (deadline_ns != UINT64_MAX) {
        const uint64_t ticks = deadline_ns / NS_PER_S * frequency_hz +
                               deadline_ns % NS_PER_S * frequency_hz / NS_PER_S + 1;

        __asm__ volatile("msr cntv_cval_el0, %0" ::"r"(ticks));
        control = 1;
    }
    __asm__ volatile("msr cntv_ctl_el0, %0\n\tisb" ::"r"(control));
}
