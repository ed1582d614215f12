/* SPDX-License-Identifier: MIT */
/*
 * e1000e: the part of an Intel 82574 network card that the driver uses
 *
 * Registers, two queues of legacy descriptors, interrupt causes and mask. It acts only when it is
 * called: dgm_sime1000e_send() sends the packets of the transmit queue, dgm_sime1000e_receive()
 * delivers a packet from the wire. Faults are members that a test sets.
 */
#ifndef SIM_DEVICES_E1000E_H
#define SIM_DEVICES_E1000E_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DGM_SIME1000E_BYTES 0x20000u

struct dgm_sime1000e {
    /* Defined by the test. */
    void *(*memory)(void *context, uint64_t bus, uint32_t bytes, bool write);
    void (*sent)(void *context, const void *packet, uint32_t bytes);
    void *context;
    uint64_t mac;
    bool link;
    bool message; /* MSI-X: reading ICR clears nothing */
    /* faults */
    bool line_stuck;      /* its line is asserted, whatever its causes are */
    uint32_t causes_kept; /* that no read and no write clears */
    bool silent;          /* sends no packet and completes no descriptor */
    bool never_ends;      /* a reset */
    uint8_t errors;       /* in the descriptors of received packets */
    uint16_t bytes_wrong; /* the length in a descriptor of a received packet; 0: the real one */
    /* state */
    uint32_t registers[DGM_SIME1000E_BYTES / 4];
    uint64_t resets;
};

void dgm_sime1000e_init(struct dgm_sime1000e *card);
uint32_t dgm_sime1000e_read(struct dgm_sime1000e *card, uint32_t offset);
void dgm_sime1000e_write(struct dgm_sime1000e *card, uint32_t offset, uint32_t value);

/* Sends up to `most` packets. Returns how many. */
unsigned dgm_sime1000e_send(struct dgm_sime1000e *card, unsigned most);
/* Receives a packet from the wire, in as many buffers as it needs. False: there is no buffer;
 * counted. */
bool dgm_sime1000e_receive(struct dgm_sime1000e *card, const void *packet, uint32_t bytes);
void dgm_sime1000e_set_link(struct dgm_sime1000e *card, bool link);
/* Whether it asserts its interrupt line. */
bool dgm_sime1000e_line(const struct dgm_sime1000e *card);

#endif
