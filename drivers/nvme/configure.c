/* SPDX-License-Identifier: MIT */
/*
 * nvme/configure: the admin commands that initialise an enabled controller, one at a time
 *
 * Identify controller, list of namespaces, identify namespace, health, number of queues, create the
 * completion queue, create the submission queue (NVMe 1.4, 7.6.1). The same commands follow the
 * first enabling and every reset: after a reset another disk may be in the place (identify.c), or
 * the same one without what its cache held, if its power was off meanwhile.
 *
 * Data is written to the frame that becomes the I/O completion queue afterwards.
 */
#include <drivers/nvme/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/little_endian.h>
#include <dragoman/base/text.h>
#include <port/arch.h>

enum {
    STEP_CONTROLLER,
    STEP_LIST,
    STEP_NAMESPACE,
    STEP_HEALTH,
    STEP_QUEUES,
    STEP_CREATE_CQ,
    STEP_CREATE_SQ,
    STEP_END,
};

/* The messages for a step that the controller fails. */
static const char *const step_names[] = {
    "identify controller fails",     "list namespaces fails", "identify namespace fails",
    "get health information fails",  "set queue count fails", "create completion queue fails",
    "create submission queue fails",
};

static uint8_t *step_data(struct dgm_nvme *nvme)
{
    return nvme->io.cq;
}

static void fill_identify(struct dgm_nvme *nvme, struct nvme_command *command, uint8_t step)
{
    dgm_nvme_frame_clear(nvme, step_data(nvme));
    command->opcode = NVME_IDENTIFY;
    command->nsid = step == STEP_NAMESPACE ? nvme->found.nsid : 0;
    command->prp[0] = dgm_bus_address(nvme->io.cq_bus);
    command->cdw10 = step == STEP_CONTROLLER ? NVME_IDENTIFY_CONTROLLER
                     : step == STEP_LIST     ? NVME_IDENTIFY_LIST
                                             : NVME_IDENTIFY_NAMESPACE;
}

static void fill_get_health(struct dgm_nvme *nvme, struct nvme_command *command)
{
    dgm_nvme_frame_clear(nvme, step_data(nvme));
    command->opcode = NVME_GET_LOG_PAGE;
    command->nsid = UINT32_MAX; /* the whole controller */
    command->prp[0] = dgm_bus_address(nvme->io.cq_bus);
    command->cdw10 = (NVME_HEALTH_BYTES / 4 - 1) << 16 | NVME_HEALTH;
}

static void send_step(struct dgm_nvme *nvme, uint8_t step)
{
    const uint32_t io_size = (nvme->io.depth - 1u) << 16;
    struct nvme_command command = {.cid = ++nvme->admin_cid};

    switch (step) {
    case STEP_CONTROLLER:
    case STEP_LIST:
    case STEP_NAMESPACE:
        fill_identify(nvme, &command, step);
        break;
    case STEP_HEALTH:
        fill_get_health(nvme, &command);
        break;
    case STEP_QUEUES:
        command.opcode = NVME_SET_FEATURES;
        command.cdw10 = NVME_FEATURE_QUEUES;
        command.cdw11 = 0; /* one of each, less one */
        break;
    case STEP_CREATE_CQ:
        dgm_nvme_queue_clear(nvme, &nvme->io);
        command.opcode = NVME_CREATE_CQ;
        command.prp[0] = dgm_bus_address(nvme->io.cq_bus);
        command.cdw10 = io_size | 1;
        command.cdw11 = 3; /* contiguous, interrupts on, vector 0 */
        break;
    default:
        command.opcode = NVME_CREATE_SQ;
        command.prp[0] = dgm_bus_address(nvme->io.sq_bus);
        command.cdw10 = io_size | 1;
        command.cdw11 = 1u << 16 | 1; /* completes to queue 1; contiguous */
        break;
    }

    nvme->step = step;
    dgm_nvme_enter(nvme, DGM_NVME_CONFIGURING, nvme->times.stall_ns);
    *dgm_nvme_command_at_tail(&nvme->admin) = command;
    dgm_nvme_command_put(nvme, &nvme->admin);
    dgm_nvme_sq_ring(nvme, &nvme->admin);
}

void dgm_nvme_configure_start(struct dgm_nvme *nvme)
{
    nvme->found = (struct dgm_nvme_identity){.nsid = 1};
    send_step(nvme, STEP_CONTROLLER);
}

/* Checks whether the identified disk can be used, and whether it is the same as before. */
static int judge_identity(struct dgm_nvme *nvme)
{
    const char *difference;
    int status = dgm_nvme_identify_namespace(&nvme->found, step_data(nvme), nvme->device.name);

    if (status == DGM_OK && nvme->device.ready) {
        difference = dgm_nvme_identity_differs(&nvme->found, &nvme->device);
        if (difference)
            status = dgm_nvme_refuse(nvme, DGM_ENODEV, difference);
        /* A cache that was off may be on after a reset: flushes matter from now on. */
        nvme->device.write_cache = nvme->device.write_cache || nvme->found.write_cache;
    }
    if (status != DGM_OK)
        nvme->permanent_failure |= !dgm_nvme_reject(nvme);
    return status;
}

/* Compares how often the disk was switched on. A disk that does not say so is taken for one that
 * keeps its power. One that was switched on fewer times than before cannot be believed: the highest
 * number counts. */
static void judge_health(struct dgm_nvme *nvme)
{
    const uint64_t cycles = dgm_le64(step_data(nvme) + NVME_HEALTH_POWER_CYCLES);

    if (cycles < nvme->power_cycles) {
        if (!nvme->power_doubted)
            dgm_env_log("%s: its number of power cycles went from %lu to %lu: it is not believed, "
                        "so a loss of power may go unnoticed",
                        nvme->device.name, (unsigned long)nvme->power_cycles,
                        (unsigned long)cycles);
        nvme->power_doubted = true;
        return;
    }
    if (nvme->device.ready && nvme->power_cycles != 0 && cycles != nvme->power_cycles) {
        dgm_env_log("%s: its power was off: what its cache held is lost", nvme->device.name);
        nvme->device.power_losses++;
    }
    nvme->power_cycles = cycles;
    nvme->power_doubted = false;
}

/* Evaluates the completion of this step's admin command. `error`: it has an error status. */
static int use_response(struct dgm_nvme *nvme, bool error)
{
    if (nvme->step <= STEP_HEALTH && !nvme->device.tag.coherent)
        dgm_arch_cache_clean_invalidate(step_data(nvme), DGM_FRAME_BYTES);
    switch (nvme->step) {
    case STEP_CONTROLLER:
        dgm_nvme_identify_controller(&nvme->found, step_data(nvme));
        if (!nvme->device.ready)
            dgm_nvme_adopt_name(nvme);
        else if (!dgm_text_equal(nvme->found.serial, nvme->device.serial) && dgm_nvme_reject(nvme))
            return dgm_nvme_refuse(nvme, DGM_ENODEV, "another disk is there");
        return DGM_OK;
    case STEP_LIST:
        if (!error)
            dgm_nvme_identify_list(&nvme->found, step_data(nvme));
        return nvme->found.nsid ? DGM_OK
                                : dgm_nvme_refuse(nvme, DGM_EIO, "no active namespace (yet)");
    case STEP_NAMESPACE:
        return judge_identity(nvme);
    case STEP_HEALTH:
        if (!error)
            judge_health(nvme);
        return DGM_OK;
    default:
        return DGM_OK;
    }
}

static int finish_step(struct dgm_nvme *nvme, uint32_t word)
{
    uint8_t next = nvme->step + 1;
    const bool error = NVME_STATUS(word) != 0;
    const char *text;
    int status;

    /* NVMe 1.0 knows no list, and numbers from 1; and a disk works without health information. */
    if (error && nvme->step != STEP_LIST && nvme->step != STEP_HEALTH) {
        dgm_nvme_verdict(word, &text);
        if (nvme->cause != step_names[nvme->step])
            dgm_env_log("%s: NVMe: status type %u code 0x%02x (%s)", nvme->device.name,
                        NVME_STATUS_TYPE(word), NVME_STATUS_CODE(word), text);
        return dgm_nvme_refuse(nvme, DGM_EIO, step_names[nvme->step]);
    }
    status = use_response(nvme, error);
    if (status != DGM_OK)
        return status;
    if (next == STEP_LIST && nvme->version < 0x10100)
        next = STEP_NAMESPACE;
    if (next == STEP_HEALTH && !nvme->found.write_cache)
        next = STEP_QUEUES; /* nothing is lost with its power */
    if (next < STEP_END)
        send_step(nvme, next);
    else
        nvme->state = DGM_NVME_LIVE;
    return DGM_OK;
}

/* Completions of other commands than the one in flight are counted and ignored. */
int dgm_nvme_configure(struct dgm_nvme *nvme)
{
    struct nvme_completion completion;
    unsigned taken = 0;
    bool completed = false;

    while (!completed && taken < NVME_ADMIN_DEPTH &&
           dgm_nvme_completion_take(nvme, &nvme->admin, &completion)) {
        taken++;
        completed = completion.queue >> 16 == 0 && nvme_cid(&completion) == nvme->admin_cid;
        nvme->bogus += !completed;
    }
    if (taken)
        dgm_nvme_cq_ring(nvme, &nvme->admin);
    return completed ? finish_step(nvme, completion.status) : DGM_EAGAIN;
}
