/* SPDX-License-Identifier: MIT */
/*
 * nic_rig: the machine and the client of a network card's driver; one for all cards
 *
 * Our RAM's machine frames differ from its gfns, and bus addresses from both. The card may access a
 * buffer only while it is lent.
 */
#ifndef TESTS_NIC_RIG_H
#define TESTS_NIC_RIG_H

#include "unit.h"

#include <dragoman/base/status.h>
#include <dragoman/drivers/device_env.h>
#include <dragoman/drivers/nicdev.h>
#include <port/env.h>
#include <port/sim/sim.h>

#define NIC_RAM    0x40000ull
#define NIC_FRAMES 600u
#define NIC_QUEUES 8u   /* frames for queues; the others are buffers */
#define NIC_SEND   200u /* the first buffer to send */
#define NIC_MMIO   0x80000000ull
#define NIC_MS     1000000ull

struct nic_rig {
    struct dgm_p2m p2m;
    uint64_t p2m_memory[64];
    struct dgm_frames frames;
    struct dgm_reactor reactor;
    struct dgm_device_env env;
    struct dgm_nicdev *nic;
    void (*check)(void); /* asserts the driver's invariants */
    struct dgm_nic_client client;
    struct dgm_irq *irq;
    uint64_t now_ns;
    struct dgm_nic_frame buffers[NIC_FRAMES];
    bool lent[NIC_FRAMES];
    unsigned sent, received, damaged, changes, on_wire, last_bytes;
    uint8_t last_byte, wire[65536];
    bool cut, resupply, irq_masked;
    uint32_t received_work; /* that the client adds for each packet received */
    bool lies;              /* the card may use what was not lent to it: it gets other memory */
    /* The card on its bus. Its registers read as ones while it is away or not restored. */
    bool away, cleared;
    unsigned restores, rejects; /* calls; a test may set env.reject to nic_reject */
    unsigned writes_lost;       /* to its registers, while it did not respond */
};

extern struct nic_rig nic_rig;

/* Makes machine and environment, the latter without the ways to the card's registers and without
 * irq_mask. The driver is not started. */
void nic_rig_start(struct dgm_nicdev *nic, const struct dgm_sim_machine *machine);
/* Asserts that the driver has a record of each lent buffer: it has `known`. */
void nic_rig_stop(unsigned known);

/* The memory() of a simulated card. */
void *nic_rig_memory(void *context, uint64_t bus, uint32_t bytes, bool write);
/* A packet reached the wire. */
void nic_rig_on_wire(const void *packet, uint32_t bytes);
/* Lets time pass; nothing runs. */
void nic_rig_advance_ms(unsigned ms);

/* The test's ways to its card, for the checks that hold for all cards. */
struct nic_ways {
    void (*send_one)(unsigned index);
    void (*receive_one)(void);
    void (*turn)(void); /* of card and driver */
    void (*wait_ms)(unsigned ms);
    void (*power_off)(uint64_t mac); /* and on again, as the card of that address */
};

/* The client adds work for each of 100 packets: a run ends when it is spent, and further runs
 * collect the rest. */
void nic_rig_check_run(const struct nic_ways *ways);
/* The card leaves its bus for 10 ms to ten minutes, with a packet to send: it is waited for. */
void nic_rig_check_loss(const struct nic_ways *ways);
/* A machine that is paused for a minute counts as no silence of the card. */
void nic_rig_check_jump(const struct nic_ways *ways);
/* Another card takes its place, first where there is another slot, then where there is none. */
void nic_rig_check_another(const struct nic_ways *ways);

/* Lends a buffer, and returns the driver's result. */
int nic_lend(struct dgm_nic_frame *frame, bool transmit);
/* For env.reject: the card is away then. */
bool nic_reject(struct dgm_device_env *env);
/* Whether the card's registers can be used. */
bool nic_responds(void);

/* A buffer to send, filled with its index. */
struct dgm_nic_frame *nic_to_send(unsigned index, uint16_t bytes);

#endif
