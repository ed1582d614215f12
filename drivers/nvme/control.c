/* SPDX-License-Identifier: MIT */
/*
 * nvme/control: bringing a controller up, at boot and after a reset
 *
 * One state machine for both (NVMe 1.4, 7.3 and 7.6.1):
 *
 *   DISABLING     CC.EN = 0, until CSTS.RDY = 0: now the controller reaches no memory
 *   ENABLING      admin queue told, CC.EN = 1, until CSTS.RDY = 1
 *   CONFIGURING   admin commands, one at a time: identify (at boot only), number of queues,
 *                 create the completion queue, create the submission queue
 *   LIVE          commands are taken
 *   FAILED        a step was refused or took too long; for good
 *
 * dgm_nvme_start() calls dgm_nvme_step() in a loop; a reset calls it from the timer every
 * millisecond and from the interrupt, so the reactor never waits. Each state has a deadline: CAP.TO
 * for the two that wait for RDY, five seconds for an admin command.
 *
 * The commands that were under way when a reset began end between DISABLING and ENABLING, when no
 * DMA can touch their memory any more. If the controller cannot even be disabled, env->dma_stop
 * cuts it off from memory before they end.
 */
#include <drivers/nvme/internal.h>

#include <dragoman/base/check.h>
#include <port/arch.h>

#include <string.h>

#define ADMIN_TIMEOUT_NS 5000000000u
#define LOOK_NS          1000000u /* between two looks while resetting */

/* Steps of CONFIGURING. After a reset it starts at STEP_QUEUES. */
enum {
    STEP_CONTROLLER,
    STEP_LIST,
    STEP_NAMESPACE,
    STEP_QUEUES,
    STEP_CREATE_CQ,
    STEP_CREATE_SQ,
    STEP_END,
};

static const char *const step_names[] = {
    "identify controller", "list namespaces",         "identify namespace",
    "set queue count",     "create completion queue", "create submission queue",
};

int dgm_nvme_refuse(const struct dgm_nvme *nvme, int status, const char *cause)
{
    dgm_env_log("%s: NVMe: %s", nvme->device.name, cause);
    return status;
}

/* --- the queues' memory --- */

/* Zeroes a frame and takes it out of the caches, for the device to read and write. */
static void clear_frame(struct dgm_nvme *nvme, void *va)
{
    memset(va, 0, DGM_FRAME_BYTES);
    if (!nvme->device.tag.coherent)
        dgm_arch_cache_clean_invalidate(va, DGM_FRAME_BYTES);
}

static void queue_clear(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue)
{
    clear_frame(nvme, queue->sq);
    clear_frame(nvme, queue->cq);
    queue->tail = queue->tail_told = queue->head = 0;
    queue->phase = true;
}

/* --- configuring --- */

/* Identify data lands in the frame that becomes the I/O completion queue afterwards. */
static uint8_t *identify_data(struct dgm_nvme *nvme)
{
    return nvme->io.cq;
}

static void configure(struct dgm_nvme *nvme, uint8_t step)
{
    const uint32_t io_size = (nvme->io.depth - 1u) << 16;
    struct nvme_command command = {.cid = ++nvme->admin_cid};

    switch (step) {
    case STEP_CONTROLLER:
    case STEP_LIST:
    case STEP_NAMESPACE:
        clear_frame(nvme, identify_data(nvme));
        command.opcode = NVME_IDENTIFY;
        command.nsid = step == STEP_NAMESPACE ? nvme->nsid : 0;
        command.prp[0] = nvme->io.cq_bus.n;
        command.cdw10 = step == STEP_CONTROLLER ? NVME_IDENTIFY_CONTROLLER
                        : step == STEP_LIST     ? NVME_IDENTIFY_LIST
                                                : NVME_IDENTIFY_NAMESPACE;
        break;
    case STEP_QUEUES:
        command.opcode = NVME_SET_FEATURES;
        command.cdw10 = NVME_FEATURE_QUEUES;
        command.cdw11 = 0; /* one of each, less one */
        break;
    case STEP_CREATE_CQ:
        queue_clear(nvme, &nvme->io);
        command.opcode = NVME_CREATE_CQ;
        command.prp[0] = nvme->io.cq_bus.n;
        command.cdw10 = io_size | 1;
        command.cdw11 = 3; /* contiguous, interrupts on, vector 0 */
        break;
    default:
        command.opcode = NVME_CREATE_SQ;
        command.prp[0] = nvme->io.sq_bus.n;
        command.cdw10 = io_size | 1;
        command.cdw11 = 1u << 16 | 1; /* completes to queue 1; contiguous */
        break;
    }

    nvme->step = step;
    nvme->state = DGM_NVME_CONFIGURING;
    nvme->deadline_ns = dgm_env_now_ns() + ADMIN_TIMEOUT_NS;
    dgm_nvme_put(nvme, &nvme->admin, &command);
    dgm_nvme_ring_sq(nvme, &nvme->admin);
}

/* The admin command of this step was answered. */
static int configured(struct dgm_nvme *nvme, uint32_t status)
{
    uint8_t next = nvme->step + 1;
    int result = DGM_OK;

    if (NVME_STATUS(status) && nvme->step != STEP_LIST) {
        dgm_env_log("%s: NVMe: %s: status type %u code 0x%02x", nvme->device.name,
                    step_names[nvme->step], NVME_STATUS(status) >> 8, NVME_STATUS(status) & 0xff);
        return DGM_EIO;
    }

    if (nvme->step <= STEP_NAMESPACE && !nvme->device.tag.coherent)
        dgm_arch_cache_clean_invalidate(identify_data(nvme), DGM_FRAME_BYTES);
    switch (nvme->step) {
    case STEP_CONTROLLER:
        dgm_nvme_identify_controller(nvme, identify_data(nvme));
        nvme->nsid = 1;
        if (nvme->version < 0x10100) /* NVMe 1.0 knows no list, and numbers from 1 */
            next = STEP_NAMESPACE;
        break;
    case STEP_LIST:
        if (NVME_STATUS(status) == 0)
            nvme->nsid = dgm_nvme_identify_first(identify_data(nvme));
        if (nvme->nsid == 0)
            result = dgm_nvme_refuse(nvme, DGM_ENODEV, "no active namespace");
        break;
    case STEP_NAMESPACE:
        result = dgm_nvme_identify_namespace(nvme, identify_data(nvme));
        break;
    default:
        break;
    }

    if (result == DGM_OK && next < STEP_END)
        configure(nvme, next);
    else if (result == DGM_OK)
        nvme->state = DGM_NVME_LIVE;
    return result;
}

/* Looks for the answer to the admin command that is under way; others are counted and ignored. */
static int configuring(struct dgm_nvme *nvme)
{
    struct nvme_completion completion;
    unsigned taken = 0;
    bool answered = false;

    while (!answered && taken < NVME_ADMIN_DEPTH &&
           dgm_nvme_take(nvme, &nvme->admin, &completion)) {
        taken++;
        answered = completion.queue >> 16 == 0 && nvme_cid(&completion) == nvme->admin_cid;
        nvme->bogus += !answered;
    }
    if (taken)
        dgm_nvme_ring_cq(nvme, &nvme->admin);
    return answered ? configured(nvme, completion.status) : DGM_EAGAIN;
}

/* --- the states that wait for RDY --- */

void dgm_nvme_disable(struct dgm_nvme *nvme)
{
    nvme->state = DGM_NVME_DISABLING;
    nvme->deadline_ns = dgm_env_now_ns() + nvme->ready_ns;
    dgm_nvme_write(nvme, NVME_CC, dgm_nvme_read(nvme, NVME_CC) & ~NVME_CC_ENABLE);
}

static void write64(struct dgm_nvme *nvme, uint32_t offset, uint64_t value)
{
    dgm_nvme_write(nvme, offset, (uint32_t)value);
    dgm_nvme_write(nvme, offset + 4, (uint32_t)(value >> 32));
}

static void enable(struct dgm_nvme *nvme)
{
    queue_clear(nvme, &nvme->admin);
    queue_clear(nvme, &nvme->io);
    dgm_nvme_io_init(nvme);
    dgm_nvme_write(nvme, NVME_AQA, (NVME_ADMIN_DEPTH - 1) << 16 | (NVME_ADMIN_DEPTH - 1));
    write64(nvme, NVME_ASQ, nvme->admin.sq_bus.n);
    write64(nvme, NVME_ACQ, nvme->admin.cq_bus.n);
    dgm_arch_dma_wmb();

    /* NVM command set, pages of 4 KiB, round robin: all zero. */
    dgm_nvme_write(nvme, NVME_CC, NVME_CC_IOCQES | NVME_CC_IOSQES | NVME_CC_ENABLE);
    nvme->state = DGM_NVME_ENABLING;
    nvme->deadline_ns = dgm_env_now_ns() + nvme->ready_ns;
}

int dgm_nvme_step(struct dgm_nvme *nvme)
{
    const uint32_t csts = dgm_nvme_read(nvme, NVME_CSTS);
    int status = DGM_EAGAIN;

    if (csts == NVME_CSTS_GONE)
        return dgm_nvme_refuse(nvme, DGM_EIO, "the controller does not answer (removed?)");
    if ((csts & NVME_CSTS_FATAL) && nvme->state != DGM_NVME_DISABLING)
        return dgm_nvme_refuse(nvme, DGM_EIO, "the controller reports a fatal status");

    switch (nvme->state) {
    case DGM_NVME_DISABLING:
        if (!(csts & NVME_CSTS_READY)) {
            dgm_nvme_io_end(nvme, DGM_ETIMEDOUT);
            enable(nvme);
            status = DGM_OK;
        }
        break;
    case DGM_NVME_ENABLING:
        if (csts & NVME_CSTS_READY) {
            configure(nvme, nvme->attaching ? STEP_CONTROLLER : STEP_QUEUES);
            status = DGM_OK;
        }
        break;
    default:
        status = configuring(nvme);
        break;
    }
    if (status != DGM_EAGAIN || dgm_env_now_ns() <= nvme->deadline_ns)
        return status;
    return dgm_nvme_refuse(
        nvme, DGM_ETIMEDOUT,
        nvme->state == DGM_NVME_DISABLING  ? "the controller does not stop (CSTS.RDY)"
        : nvme->state == DGM_NVME_ENABLING ? "the controller does not start (CSTS.RDY)"
                                           : "the controller does not answer an admin command");
}

void dgm_nvme_fail(struct dgm_nvme *nvme)
{
    const unsigned under_way = nvme->under_way;

    nvme->state = DGM_NVME_FAILED;
    nvme->device.failed = true;
    dgm_timer_disarm(nvme->env->reactor, &nvme->timer);
    dgm_nvme_write(nvme, NVME_CC, 0);
    if (nvme->env->dma_stop)
        nvme->env->dma_stop(nvme->env);
    if (!nvme->attaching)
        dgm_env_log("%s: NVMe: given up; %u commands end with errors", nvme->device.name,
                    under_way);
    dgm_nvme_io_end(nvme, DGM_EIO);
    dgm_waiters_wake(&nvme->device.waiters, nvme->env->reactor);
}

/* --- resets --- */

void dgm_nvme_reset(struct dgm_nvme *nvme, const char *cause)
{
    dgm_env_log("%s: NVMe: %s (%u under way): reset", nvme->device.name, cause, nvme->under_way);
    nvme->resets++;
    /* What was answered was answered; and a controller that is disabled with completions not yet
     * taken may hold its interrupt line for ever (QEMU 7.2's does). */
    dgm_nvme_io_drain(nvme);
    dgm_nvme_disable(nvme);
    dgm_nvme_advance(nvme);
}

void dgm_nvme_advance(struct dgm_nvme *nvme)
{
    struct dgm_reactor *reactor = nvme->env->reactor;
    int status = DGM_OK;

    while (status == DGM_OK && nvme->state != DGM_NVME_LIVE)
        status = dgm_nvme_step(nvme);
    if (status == DGM_EAGAIN) {
        dgm_timer_arm(reactor, &nvme->timer, dgm_env_now_ns() + LOOK_NS);
    } else if (status == DGM_OK) {
        dgm_env_log("%s: NVMe: works again", nvme->device.name);
        dgm_timer_disarm(reactor, &nvme->timer);
        dgm_waiters_wake(&nvme->device.waiters, reactor);
    } else {
        dgm_nvme_fail(nvme);
    }
}

void dgm_nvme_timer(struct dgm_timer *timer)
{
    struct dgm_nvme *nvme = dgm_container(timer, struct dgm_nvme, timer);

    if (nvme->state == DGM_NVME_LIVE)
        dgm_nvme_io_tick(nvme);
    else if (nvme->state != DGM_NVME_FAILED)
        dgm_nvme_advance(nvme);
}

void dgm_nvme_irq(struct dgm_irq *irq)
{
    struct dgm_nvme *nvme = dgm_container(irq, struct dgm_nvme, irq);

    nvme->interrupts++;
    if (nvme->state == DGM_NVME_LIVE)
        dgm_nvme_io_interrupt(nvme);
    else if (nvme->state != DGM_NVME_FAILED)
        dgm_nvme_advance(nvme); /* an admin command was answered */
}
