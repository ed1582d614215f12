/* SPDX-License-Identifier: MIT */
/*
 * e1000e: a network card of Intel's 82574 kind, as far as the driver uses it
 *
 * Registers, two queues of legacy descriptors, interrupt causes and mask. It does nothing by
 * itself: the test calls dgm_sime1000e_send() to let it send what it was told to, and
 * dgm_sime1000e_receive() for a packet from the wire. Faults are members that a test sets.
 */
#ifndef SIM_DEVICES_E1000E_H
#define SIM_DEVICES_E1000E_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DGM_SIME1000E_BYTES 0x20000u

struct dgm_sime1000e {
    /* The test's. */
    void *(*memory)(void *context, uint64_t bus, uint32_t bytes, bool write);
    void (*sent)(void *context, const void *packet, uint32_t bytes);
    void *context;
    uint64_t mac;
    bool link;
    bool message; /* MSI-X: reading ICR clears nothing */
    /* faults */
    bool silent;          /* sends and completes nothing */
    bool never_ends;      /* a reset */
    uint8_t errors;       /* in the descriptors of received packets */
    uint16_t bytes_wrong; /* what a descriptor says of a received packet; 0: the truth */
    /* state */
    uint32_t registers[DGM_SIME1000E_BYTES / 4];
    uint64_t resets;
};

void dgm_sime1000e_init(struct dgm_sime1000e *card);
uint32_t dgm_sime1000e_read(struct dgm_sime1000e *card, uint32_t offset);
void dgm_sime1000e_write(struct dgm_sime1000e *card, uint32_t offset, uint32_t value);

/* Sends up to `most` packets. Returns how many. */
unsigned dgm_sime1000e_send(struct dgm_sime1000e *card, unsigned most);
/* A packet from the wire, in as many buffers as it needs. False: there is no buffer; counted. */
bool dgm_sime1000e_receive(struct dgm_sime1000e *card, const void *packet, uint32_t bytes);
void dgm_sime1000e_set_link(struct dgm_sime1000e *card, bool link);
/* It asks for an interrupt. */
bool dgm_sime1000e_line(const struct dgm_sime1000e *card);

#endif
