/* SPDX-License-Identifier: MIT */
/*
 * nvme/internal: the declarations that the files of the NVMe driver share, and the layouts of the
 * specification
 *
 * Section numbers are those of the NVM Express Base Specification 1.4 (registers: 3.1, commands:
 * 4.2, completions: 4.6, admin commands: 5, NVM commands: 6). All fields are little-endian, and so
 * is every CPU that Xen runs on with this port.
 *
 *   start.c      all memory, and the start
 *   close.c      the shutdown before the machine is switched off
 *   control.c    the controller's states, at the start and through a reset: one state machine
 *   configure.c  the admin commands that initialise it, in order
 *   watch.c      supervision: stalls, lost interrupts, commands that are sent again
 *   complete.c   completions, and the effect of an error or a failure on commands
 *   adopt.c      the controller's limits, and its description as a disk
 *   nvme.c       the I/O path: entries, submit, kick
 *   state.c      the controller's state and its timer
 *   identify.c   the data that the controller reports about itself and its namespace: pure parsing
 *   status.c     the meaning of each status code: a table
 *   queue.c      registers and queues
 *   prp.c        bus segments -> PRP entries: pure arithmetic
 *
 * Each file calls only files below it in this list.
 */
#ifndef DRIVERS_NVME_INTERNAL_H
#define DRIVERS_NVME_INTERNAL_H

#include <drivers/nvme/nvme.h>

#include <port/arch.h>

/* 3.1: registers, byte offsets */
#define NVME_CAP       0x00u /* 64 bits */
#define NVME_VS        0x08u
#define NVME_CC        0x14u
#define NVME_CSTS      0x1cu
#define NVME_AQA       0x24u
#define NVME_ASQ       0x28u /* 64 bits */
#define NVME_ACQ       0x30u /* 64 bits */
#define NVME_DOORBELLS 0x1000u

#define NVME_CC_ENABLE     (1u << 0)
#define NVME_CC_SHN        (3u << 14)
#define NVME_CC_SHN_NORMAL (1u << 14)
#define NVME_CC_IOSQES     (6u << 16) /* submission entries of 2^6 bytes */
#define NVME_CC_IOCQES     (4u << 20) /* completion entries of 2^4 bytes */

#define NVME_ADMIN_DEPTH 16u

#define NVME_CSTS_READY     (1u << 0)
#define NVME_CSTS_FATAL     (1u << 1)
#define NVME_CSTS_SHST      (3u << 2)
#define NVME_CSTS_SHST_DONE (2u << 2)
#define NVME_CSTS_GONE      UINT32_MAX /* the value read from a device that left the bus */

/* 5: admin opcodes */
#define NVME_CREATE_SQ    0x01u
#define NVME_GET_LOG_PAGE 0x02u
#define NVME_CREATE_CQ    0x05u
#define NVME_IDENTIFY     0x06u
#define NVME_SET_FEATURES 0x09u

#define NVME_FEATURE_QUEUES      0x07u
#define NVME_IDENTIFY_NAMESPACE  0x00u /* CNS */
#define NVME_IDENTIFY_CONTROLLER 0x01u
#define NVME_IDENTIFY_LIST       0x02u

/* 5.14.1.2: SMART and health information */
#define NVME_HEALTH              0x02u
#define NVME_HEALTH_BYTES        512u
#define NVME_HEALTH_POWER_CYCLES 112u /* 16 bytes, of which 8 are used */

/* 6: NVM opcodes */
#define NVME_FLUSH 0x00u
#define NVME_WRITE 0x01u
#define NVME_READ  0x02u

/* 4.2: a submission queue entry */
struct nvme_command {
    _Alignas(16) uint8_t opcode; /* as in a queue; so it is copied by the widest loads and stores */
    uint8_t flags;               /* 0: PRPs, not fused */
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

#define NVME_STATUS_PHASE        (1u << 16)
#define NVME_STATUS_DO_NOT_RETRY (1u << 31)
#define NVME_STATUS(status)      ((status) >> 17 & 0x7ffu) /* type and code; 0: success */
#define NVME_STATUS_TYPE(status) (NVME_STATUS(status) >> 8)
#define NVME_STATUS_CODE(status) (NVME_STATUS(status) & 0xffu)

static inline uint16_t nvme_cid(const struct nvme_completion *completion)
{
    return (uint16_t)completion->status;
}

/* --- queue.c --- */

/* Access to registers: 32 bits at a time, which every controller supports (3.1). */
uint32_t dgm_nvme_read(const struct dgm_nvme *nvme, uint32_t offset);
void dgm_nvme_write(struct dgm_nvme *nvme, uint32_t offset, uint32_t value);

/* Zeroes a frame and removes it from the caches, for access by the device. */
void dgm_nvme_frame_clear(struct dgm_nvme *nvme, void *va);
void dgm_nvme_queue_clear(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue);

/* What lies where the next completion comes. */
static inline const volatile struct nvme_completion *
dgm_nvme_completion_at_head(const struct dgm_nvme *nvme, const struct dgm_nvme_queue *queue)
{
    const volatile struct nvme_completion *shared =
        (const volatile struct nvme_completion *)queue->cq + queue->head;

    if (!nvme->device.tag.coherent)
        dgm_arch_cache_clean_invalidate((const void *)(uintptr_t)shared, sizeof *shared);
    return shared;
}

/* Whether there is a completion that was not taken. */
bool dgm_nvme_completion_waits(const struct dgm_nvme *nvme, const struct dgm_nvme_queue *queue);
/*
 * Takes the next completion of `queue`: it is copied out once and not checked. False: there is
 * none. The caller rings the doorbell after the last one. Inline, as the functions below: for each
 * command.
 */
static inline bool dgm_nvme_completion_take(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue,
                                            struct nvme_completion *completion)
{
    const volatile struct nvme_completion *shared = dgm_nvme_completion_at_head(nvme, queue);

    completion->status = shared->status;
    if (!!(completion->status & NVME_STATUS_PHASE) != queue->phase)
        return false;
    dgm_arch_dma_rmb(); /* the phase bit is written last: the rest is valid */
    completion->result = shared->result;
    completion->queue = shared->queue;

    if (++queue->head == queue->depth) {
        queue->head = 0;
        queue->phase = !queue->phase;
    }
    return true;
}

/* The command at the queue's tail, which the caller writes whole and then puts. The caller knows
 * that there is room. */
static inline struct nvme_command *dgm_nvme_command_at_tail(const struct dgm_nvme_queue *queue)
{
    return (struct nvme_command *)queue->sq + queue->tail;
}

static inline void dgm_nvme_command_put(const struct dgm_nvme *nvme, struct dgm_nvme_queue *queue)
{
    if (!nvme->device.tag.coherent)
        dgm_arch_cache_clean(dgm_nvme_command_at_tail(queue), sizeof(struct nvme_command));
    if (++queue->tail == queue->depth)
        queue->tail = 0;
}

void dgm_nvme_sq_ring(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue);
void dgm_nvme_cq_ring(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue);

/* --- prp.c --- */

#define NVME_PRP_ALIGNMENT 4u /* 4.3: dword aligned */

struct nvme_prp {
    uint64_t *list; /* the command's list, of `list_entries` entries, ... */
    dgm_bus_t list_bus;
    uint32_t list_entries;
    uint64_t prp[2]; /* out: for the command */
    uint32_t list_used;
    uint64_t bytes;
};

/* Describes `segments`. Asserts that they obey the tag. */
void dgm_nvme_prp_many(struct nvme_prp *prp, const struct dgm_dma_segment *segments,
                       uint32_t count);

/* The same; a single segment within a page, the most common description, needs no list. */
static inline void dgm_nvme_prp(struct nvme_prp *prp, const struct dgm_dma_segment *segments,
                                uint32_t count)
{
    const uint64_t start = dgm_bus_address(segments[0].bus);

    if (count != 1 || segments[0].bytes > DGM_FRAME_BYTES - start % DGM_FRAME_BYTES) {
        dgm_nvme_prp_many(prp, segments, count);
        return;
    }
    dgm_assert(segments[0].bytes > 0 && start % NVME_PRP_ALIGNMENT == 0);
    prp->prp[0] = start;
    prp->prp[1] = 0;
    prp->list_used = 0;
    prp->bytes = segments[0].bytes;
}

/* --- status.c --- */

enum nvme_verdict {
    NVME_SUCCESS,
    NVME_PASSING, /* temporary: tried again for times.retry_ns */
    NVME_MEDIA,   /* the medium: a few tries */
    NVME_REFUSED, /* the command itself is refused: no further try */
    NVME_UNKNOWN, /* a few tries */
};

/* `status`: the word of a completion. `text` is its meaning. */
enum nvme_verdict dgm_nvme_verdict(uint32_t status, const char **text);

/* --- identify.c: `data` is 4096 bytes that the device wrote --- */

void dgm_nvme_identify_controller(struct dgm_nvme_identity *identity, const uint8_t *data);
void dgm_nvme_identify_list(struct dgm_nvme_identity *identity, const uint8_t *data);
/* DGM_ENODEV, DGM_EOPNOTSUPP: not usable; the cause is logged in a line that begins with `name`. */
int dgm_nvme_identify_namespace(struct dgm_nvme_identity *identity, const uint8_t *data,
                                const char *name);
/* A text for the difference, or NULL: it is the same disk. */
const char *dgm_nvme_identity_differs(const struct dgm_nvme_identity *identity,
                                      const struct dgm_blkdev *device);

/* --- state.c --- */

void dgm_nvme_enter(struct dgm_nvme *nvme, enum dgm_nvme_state state, uint64_t limit_ns);
/* Logs why an attempt fails, unless the one before failed for the same cause. Returns `status`. */
int dgm_nvme_refuse(struct dgm_nvme *nvme, int status, const char *cause);
/* The controller is that of another disk than before. True: its driver is to look for the right one
 * again; false: there is no other place. */
bool dgm_nvme_reject(struct dgm_nvme *nvme);
/* Arms the timer of a live controller for the next poll, or for the first parked command. */
void dgm_nvme_watch_arm(struct dgm_nvme *nvme, uint64_t now_ns);

/* --- adopt.c --- */

/* Reads the controller's limits (CAP). After an error it cannot be used; the cause is logged. */
int dgm_nvme_limits(struct dgm_nvme *nvme);
/* At the first identification `found` becomes the disk. Its name is set first, so that a disk that
 * cannot be used is identified nevertheless. */
void dgm_nvme_adopt_name(struct dgm_nvme *nvme);
void dgm_nvme_adopt(struct dgm_nvme *nvme);

/* --- configure.c --- */

/* Sends the first admin command; the state is then CONFIGURING. */
void dgm_nvme_configure_start(struct dgm_nvme *nvme);
/* DGM_OK: one command further, or LIVE. DGM_EAGAIN: no completion yet. Otherwise it failed, which
 * was logged. */
int dgm_nvme_configure(struct dgm_nvme *nvme);

/* --- control.c --- */

/* Takes the steps towards LIVE that are possible without waiting. */
void dgm_nvme_advance(struct dgm_nvme *nvme);
/* Watches a live controller (watch.c), and resets it if there is a cause. */
void dgm_nvme_supervise(struct dgm_nvme *nvme);
void dgm_nvme_timer(struct dgm_timer *timer);
void dgm_nvme_irq(struct dgm_irq *irq);

/* --- nvme.c: the I/O path --- */

/* The operations of a disk: blkdev.h. */
int dgm_nvme_submit(struct dgm_blkdev *device, struct dgm_blk_command *command);
void dgm_nvme_kick(struct dgm_blkdev *device);

void dgm_nvme_io_init(struct dgm_nvme *nvme);
/* Takes an entry for `command` and sends it; NULL: the queue is full. */
struct dgm_nvme_entry *dgm_nvme_entry_submit(struct dgm_nvme *nvme,
                                             struct dgm_blk_command *command);
/* Sends the command of a parked entry again. */
void dgm_nvme_entry_send(struct dgm_nvme *nvme, struct dgm_nvme_entry *entry);
void dgm_nvme_entry_park(struct dgm_nvme *nvme, struct dgm_nvme_entry *entry, uint64_t due_ns);
/* Frees the entry, then calls done(). */
void dgm_nvme_entry_end(struct dgm_nvme *nvme, struct dgm_nvme_entry *entry, int status);
/* Rings the doorbell for the commands that were sent. */
void dgm_nvme_io_ring(struct dgm_nvme *nvme);

/* --- complete.c --- */

/* Takes the posted completions, at most a full queue. Returns their number. */
unsigned dgm_nvme_drain(struct dgm_nvme *nvme);
/*
 * Called when the controller is disabled and reaches no memory: parks its commands, which are sent
 * again when it is live. False: a flush has failed permanently, so the device must fail.
 */
bool dgm_nvme_io_stopped(struct dgm_nvme *nvme);
/* Fails the device permanently: it is cut off *before* its commands end and their memory is
 * reused. */
void dgm_nvme_fail(struct dgm_nvme *nvme);

/* --- watch.c --- */

#define NVME_POLL_MIN_NS 1000000ull
#define NVME_POLL_MAX_NS 1000000000ull

/* Polls a live controller, and sends again the parked commands that are due. Returns why the
 * controller must be reset, or NULL. */
const char *dgm_nvme_watch(struct dgm_nvme *nvme);
/* Called when the controller became live: sends the parked commands. */
void dgm_nvme_watch_start(struct dgm_nvme *nvme);
/* Called after an interrupt without a completion. */
void dgm_nvme_interrupt_idle(struct dgm_nvme *nvme);

/* --- close.c --- */

bool dgm_nvme_close(struct dgm_blkdev *device, uint64_t deadline_ns);

#endif
