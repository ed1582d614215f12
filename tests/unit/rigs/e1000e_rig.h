/* SPDX-License-Identifier: MIT */
/*
 * e1000e_rig: the e1000e driver on a simulated card
 *
 * Our RAM's machine frames differ from its gfns, and bus addresses from both. The card may access a
 * buffer only while it is lent.
 */
#ifndef TESTS_E1000E_RIG_H
#define TESTS_E1000E_RIG_H

#include "unit.h"

#include <dragoman/base/status.h>
#include <drivers/e1000e/e1000e.h>
#include <port/env.h>
#include <sim/devices/e1000e.h>

#define E1000E_RAM    0x40000ull
#define E1000E_FRAMES 600u
#define E1000E_QUEUES 8u   /* frames for queues; the others are buffers */
#define E1000E_SEND   200u /* the first buffer to send */
#define E1000E_MMIO   0x80000000ull
#define E1000E_MS     1000000ull

struct e1000e_rig {
    struct dgm_p2m p2m;
    uint64_t p2m_memory[64];
    struct dgm_frames frames;
    struct dgm_reactor reactor;
    struct dgm_device_env env;
    struct dgm_sime1000e sim;
    struct dgm_e1000e card;
    struct dgm_nic_client client;
    struct dgm_irq *irq;
    uint64_t now_ns;
    struct dgm_nic_frame buffers[E1000E_FRAMES];
    bool lent[E1000E_FRAMES];
    unsigned sent, received, damaged, changes, on_wire, last_bytes;
    uint8_t last_byte, wire[65536];
    bool cut, resupply, irq_masked;
    bool lies; /* the card may use what was not lent to it: it gets other memory */
    /* Changes what the driver reads from a register; NULL: nothing does. */
    uint32_t (*change_read)(uint32_t offset, uint32_t value);
};

extern struct e1000e_rig e1000e_rig;

struct dgm_nicdev *e1000e_nic(void);

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

/* Lends a buffer, and returns the driver's result. */
int e1000e_lend(struct dgm_nic_frame *frame, bool transmit);
/* A buffer to send, filled with its index. */
struct dgm_nic_frame *e1000e_to_send(unsigned index, uint16_t bytes);

#endif
