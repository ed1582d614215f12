/* SPDX-License-Identifier: MIT */
/* e1000e_rig: the e1000e driver on a simulated card, in the machine of nic_rig.h */
#ifndef TESTS_E1000E_RIG_H
#define TESTS_E1000E_RIG_H

#include "nic_rig.h"

#include <drivers/e1000e/e1000e.h>
#include <sim/devices/e1000e.h>

struct e1000e_rig {
    struct dgm_sime1000e sim;
    struct dgm_e1000e card;
    /* Changes what the driver reads from a register; NULL: nothing does. */
    uint32_t (*change_read)(uint32_t offset, uint32_t value);
};

extern struct e1000e_rig e1000e_rig;

/* Makes machine, card and environment; the driver is not started. */
void e1000e_rig_start(void);
/* Asserts that the driver knows each buffer that it has. */
void e1000e_rig_stop(void);
/* The same, for cmocka. */
int e1000e_rig_setup(void **state);
int e1000e_rig_teardown(void **state);

/* Delivers interrupts and runs the reactor until it is idle. */
void e1000e_turn(void);
/* Lets time pass at once, then runs the reactor. */
void e1000e_pass_ms(unsigned ms);
/* Lets time pass, from one timer to the next. */
void e1000e_wait_ms(unsigned ms);

#endif
