/* SPDX-License-Identifier: MIT */
/*
 * internal: the card's registers and descriptors, and the declarations that the driver's files
 * share
 *
 *   e1000e.c   start, reset, interrupts, link
 *   queue.c    registers; the two queues: lending buffers to the card, and collecting them
 */
#ifndef DRIVERS_E1000E_INTERNAL_H
#define DRIVERS_E1000E_INTERNAL_H

#include <drivers/e1000e/e1000e.h>

enum {
    REG_CTRL = 0x0000,
    REG_STATUS = 0x0008,
    REG_CTRL_EXT = 0x0018,
    REG_ICR = 0x00c0, /* causes; reading clears them in INTx mode, writing ones always */
    REG_ITR = 0x00c4,
    REG_IMS = 0x00d0,
    REG_IMC = 0x00d8,
    REG_IVAR = 0x00e4,
    REG_RCTL = 0x0100,
    REG_TCTL = 0x0400,
    REG_TIPG = 0x0410,
    REG_RDBAL = 0x2800,
    REG_TDBAL = 0x3800,
    /* from the base of each queue */
    QUEUE_BASE_HIGH = 0x04,
    QUEUE_BYTES = 0x08,
    QUEUE_HEAD = 0x10,
    QUEUE_TAIL = 0x18,
    REG_TXDCTL = 0x3828,
    REG_MPC = 0x4010, /* packets for which there was no buffer, since the last read */
    REG_RXCSUM = 0x5000,
    REG_RFCTL = 0x5008,
    REG_RAL = 0x5400,
    REG_RAH = 0x5404,
    REGISTERS_BYTES = 0x6000,

    CTRL_SLU = 1 << 6, /* set link up */
    CTRL_RST = 1 << 26,
    STATUS_LU = 1 << 1,
    RCTL_EN = 1 << 1,
    RCTL_UPE = 1 << 3,    /* all single addresses, */
    RCTL_MPE = 1 << 4,    /* all groups, */
    RCTL_BAM = 1 << 15,   /* and broadcasts; buffers of 2048 bytes, no long packets */
    RCTL_SECRC = 1 << 26, /* strip the FCS */
    TCTL_EN = 1 << 1,
    TCTL_PSP = 1 << 3, /* pad short packets */
    TCTL_CT = 0x0f << 4,
    TCTL_COLD = 0x40 << 12,
    TIPG_DEFAULT = 0x00602006,
    TXDCTL_FULL_WRITE_BACK = 0x01410000,

    ICR_TXDW = 1 << 0,
    ICR_LSC = 1 << 2,
    ICR_RXDMT0 = 1 << 4,
    ICR_RXO = 1 << 6,
    ICR_RXT0 = 1 << 7,
    ICR_RXQ0 = 1 << 20, /* these three only with MSI-X */
    ICR_TXQ0 = 1 << 22,
    ICR_OTHER = 1 << 24,
    ICR_ALL =
        ICR_TXDW | ICR_LSC | ICR_RXDMT0 | ICR_RXO | ICR_RXT0 | ICR_RXQ0 | ICR_TXQ0 | ICR_OTHER,
    IVAR_VECTOR_0 = 0x00080808, /* receive, transmit and other causes: valid, vector 0 */

    COMMAND_EOP = 1 << 0,
    COMMAND_IFCS = 1 << 1, /* insert the FCS */
    COMMAND_RS = 1 << 3,   /* report the status */
    STATUS_DD = 1 << 0,    /* descriptor done */
    STATUS_EOP = 1 << 1,
};

/* Legacy descriptors (sections 3.2.3 and 3.3.3 of the datasheet): little-endian, like the CPU. */
struct dgm_e1000e_descriptor {
    uint64_t address;
    uint16_t bytes;
    uint8_t checksum_offset, command; /* receive: a checksum */
    uint8_t status;
    uint8_t errors; /* transmit: checksum start */
    uint16_t special;
};

/* Fills the next entry. Results as in nicdev.h. */
int dgm_e1000e_lend(struct dgm_e1000e *card, struct dgm_e1000e_queue *queue,
                    struct dgm_nic_frame *frame);
/* Announces filled entries to the card by the doorbell. */
void dgm_e1000e_ring_doorbell(struct dgm_e1000e *card, struct dgm_e1000e_queue *queue);
/* Returns the buffers that the card has finished. True if there were any. */
bool dgm_e1000e_collect_sent(struct dgm_e1000e *card);
bool dgm_e1000e_collect_received(struct dgm_e1000e *card);
/* Called while the card does no DMA: returns all transmit buffers. Receive buffers are lent again,
 * or returned too. */
void dgm_e1000e_abandon(struct dgm_e1000e *card, bool keep_receive);

uint32_t dgm_e1000e_read(const struct dgm_e1000e *card, uint32_t offset);
void dgm_e1000e_write(struct dgm_e1000e *card, uint32_t offset, uint32_t value);

static inline uint32_t dgm_e1000e_queue_used(const struct dgm_e1000e_queue *queue)
{
    return (queue->next - queue->first) % DGM_E1000E_ENTRIES;
}

#endif
