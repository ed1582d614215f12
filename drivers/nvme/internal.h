/* SPDX-License-Identifier: MIT */
/*
 * nvme/internal: what the files of the NVMe driver share, and the layouts of the specification
 *
 * Section numbers are those of the NVM Express Base Specification 1.4 (registers: 3.1, commands:
 * 4.2, completions: 4.6, admin commands: 5, NVM commands: 6). All fields are little-endian, and so
 * is every CPU that Xen runs on with this port.
 *
 *   nvme.c          the I/O path: submit, kick, completions, the tick that notices what is late
 *   control.c  the controller's states, at boot and through a reset: one state machine
 *   start.c    the controller's limits, memory for its queues, and the way to live at boot
 *   identify.c what the controller says of itself and of its namespace: pure parsing
 *   prp.c      bus segments -> PRP entries: pure arithmetic
 */
#ifndef DRIVERS_NVME_INTERNAL_H
#define DRIVERS_NVME_INTERNAL_H

#include <dragoman/drivers/nvme.h>

/* 3.1: registers, byte offsets */
#define NVME_CAP       0x00u /* 64 bits */
#define NVME_VS        0x08u
#define NVME_CC        0x14u
#define NVME_CSTS      0x1cu
#define NVME_AQA       0x24u
#define NVME_ASQ       0x28u /* 64 bits */
#define NVME_ACQ       0x30u /* 64 bits */
#define NVME_DOORBELLS 0x1000u

#define NVME_CC_ENABLE (1u << 0)
#define NVME_CC_IOSQES (6u << 16) /* submission entries of 2^6 bytes */
#define NVME_CC_IOCQES (4u << 20) /* completion entries of 2^4 bytes */

#define NVME_ADMIN_DEPTH 16u

#define NVME_CSTS_READY (1u << 0)
#define NVME_CSTS_FATAL (1u << 1)
#define NVME_CSTS_GONE  UINT32_MAX /* what a device that left the bus reads as */

/* 5: admin opcodes */
#define NVME_CREATE_SQ    0x01u
#define NVME_CREATE_CQ    0x05u
#define NVME_IDENTIFY     0x06u
#define NVME_SET_FEATURES 0x09u

#define NVME_FEATURE_QUEUES      0x07u
#define NVME_IDENTIFY_NAMESPACE  0x00u /* CNS */
#define NVME_IDENTIFY_CONTROLLER 0x01u
#define NVME_IDENTIFY_LIST       0x02u

/* 6: NVM opcodes */
#define NVME_FLUSH 0x00u
#define NVME_WRITE 0x01u
#define NVME_READ  0x02u

/* 4.2: a submission queue entry */
struct nvme_command {
    uint8_t opcode;
    uint8_t flags; /* 0: PRPs, not fused */
    uint16_t cid;
    uint32_t nsid;
    uint32_t reserved[2];
    uint64_t metadata;
    uint64_t prp[2];
    uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};

/* 4.6: a completion queue entry. `status` carries the phase bit, so it is read first. */
struct nvme_completion {
    uint32_t result;
    uint32_t reserved;
    uint32_t queue;  /* 15:0 submission queue head, 31:16 submission queue id */
    uint32_t status; /* 15:0 cid, 16 phase, 24:17 code, 27:25 code type, 31 do not retry */
};

_Static_assert(sizeof(struct nvme_command) == 64, "4.2");
_Static_assert(sizeof(struct nvme_completion) == 16, "4.6");

#define NVME_STATUS_PHASE   (1u << 16)
#define NVME_STATUS(status) ((status) >> 17 & 0x7ffu) /* type and code; 0: success */

static inline uint16_t nvme_cid(const struct nvme_completion *completion)
{
    return (uint16_t)completion->status;
}

/* Access to registers: 32 bits at a time, which every controller takes (3.1). */
uint32_t dgm_nvme_read(const struct dgm_nvme *nvme, uint32_t offset);
void dgm_nvme_write(struct dgm_nvme *nvme, uint32_t offset, uint32_t value);

/*
 * The next completion of `queue`, copied out once and checked against nothing; false if there is
 * none. The caller rings the doorbell when it has taken what there is.
 */
bool dgm_nvme_take(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue,
                   struct nvme_completion *completion);

/* Puts `command` at the queue's tail. The caller knows that there is room. */
void dgm_nvme_put(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue,
                  const struct nvme_command *command);
void dgm_nvme_ring_sq(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue);
void dgm_nvme_ring_cq(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue);

#define NVME_PRP_ALIGNMENT 4u /* 4.3: dword aligned */

/* prp.c: writes down `segments`. Returns their bytes. Asserts that they obey the tag. */
uint64_t dgm_nvme_prp(const struct dgm_dma_segment *segments, uint32_t count, uint64_t *list,
                      uint32_t list_entries, dgm_bus_t list_bus, uint64_t prp[2],
                      uint32_t *list_used);

/* identify.c: `data` is 4096 bytes of a device's making. The last two say why they refuse. */
void dgm_nvme_identify_controller(struct dgm_nvme *nvme, const uint8_t *data);
uint32_t dgm_nvme_identify_first(const uint8_t *data); /* namespace id, or 0 */
int dgm_nvme_identify_namespace(struct dgm_nvme *nvme, const uint8_t *data);

/*
 * control.c. A step: goes on if the controller is ready to. DGM_EAGAIN: it is not yet;
 * anything else: it has failed, and a line said why. dgm_nvme_disable() is how it starts;
 * dgm_nvme_fail() how it ends in sorrow: the device is cut off for good *before* its commands end
 * and their memory is someone else's.
 */
int dgm_nvme_step(struct dgm_nvme *nvme);
void dgm_nvme_disable(struct dgm_nvme *nvme);
void dgm_nvme_fail(struct dgm_nvme *nvme);

/* Starts a reset, for `cause`; goes on with it, as far as it goes without waiting. */
void dgm_nvme_reset(struct dgm_nvme *nvme, const char *cause);
void dgm_nvme_advance(struct dgm_nvme *nvme);
void dgm_nvme_timer(struct dgm_timer *timer);
void dgm_nvme_irq(struct dgm_irq *irq);

/* Says why something is not used, and returns `status`. */
int dgm_nvme_refuse(const struct dgm_nvme *nvme, int status, const char *cause);

/* nvme.c: gets the I/O path ready, before the controller is enabled; ends every command that is
 * under way (only while the controller cannot reach memory); one tick of the clock. */
void dgm_nvme_io_init(struct dgm_nvme *nvme);
void dgm_nvme_io_end(struct dgm_nvme *nvme, int status);
void dgm_nvme_io_tick(struct dgm_nvme *nvme);
void dgm_nvme_io_interrupt(struct dgm_nvme *nvme);
unsigned dgm_nvme_io_drain(struct dgm_nvme *nvme); /* completions that were there */
extern const struct dgm_blkdev_ops dgm_nvme_ops;

#endif
