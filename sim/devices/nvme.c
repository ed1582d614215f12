/* SPDX-License-Identifier: MIT */
/* nvme: the simulated NVMe controller's registers and admin commands; see nvme.h. Sections are of
 * NVMe 1.4. */
#include <sim/devices/nvme_internal.h>

#include <assert.h>
#include <string.h>

#define STATUS_BAD_FIELD 0x4002u /* invalid field, do not retry */
#define STATUS_BAD_NSID  0x400bu

void dgm_simnvme_init(struct dgm_simnvme *nvme, const struct dgm_simnvme_config *config,
                      uint8_t *disk)
{
    memset(nvme, 0, sizeof *nvme);
    nvme->config = *config;
    nvme->disk = disk;
    if (nvme->config.cap == 0)
        nvme->config.cap = 63 | 1u << 16 | 2u << 24 | 1ull << 37;
    if (nvme->config.version == 0)
        nvme->config.version = 0x10400;
    nvme->status = 0x4281; /* unrecovered read error, do not retry */
}

/* --- admin commands (5.) --- */

static void put_text_field(uint8_t *to, size_t bytes, const char *from)
{
    memset(to, ' ', bytes);
    if (from)
        memcpy(to, from, strlen(from) < bytes ? strlen(from) : bytes);
}

static uint32_t admin_identify(struct dgm_simnvme *nvme, const uint32_t *command)
{
    const struct dgm_simnvme_config *config = &nvme->config;
    uint8_t data[PAGE] = {0};

    /* 1.0 has one bit of CNS, so it treats a request for the list as one for a namespace. */
    switch (command[10] & (config->version < 0x10100 ? 1 : 0xff)) {
    case 0:
        if (config->version >= 0x10100 && (command[1] != config->nsid || config->nsid == 0))
            return STATUS_BAD_NSID;
        memcpy(data, &config->blocks, 8);
        data[25] = 15;
        data[26] = config->format;
        data[99] = config->write_protected;
        memcpy(data + 104, config->nguid, sizeof config->nguid);
        for (unsigned i = 0; i < 16; i++)
            data[128 + 4 * i + 2] = 9;
        memcpy(data + 128 + 4 * (config->format & 15), &config->metadata_bytes, 2);
        data[128 + 4 * (config->format & 15) + 2] = config->block_shift;
        break;
    case 1:
        put_text_field(data + 4, 20, config->serial);
        put_text_field(data + 24, 40, config->model);
        data[77] = config->mdts;
        data[525] = config->write_cache;
        break;
    case 2:
        memcpy(data, &config->nsid, 4);
        memcpy(data + 4, &config->second_nsid, 4);
        break;
    default:
        return STATUS_BAD_FIELD;
    }
    simnvme_transfer(nvme, command, data, PAGE, true);
    return 0;
}

/* 5.14.1.2: health of the whole controller, one page. */
static uint32_t admin_get_health(struct dgm_simnvme *nvme, const uint32_t *command)
{
    uint8_t data[512] = {0};

    if (command[1] != UINT32_MAX || command[10] != ((sizeof data / 4 - 1) << 16 | 2))
        return STATUS_BAD_FIELD;
    memcpy(data + 112, &nvme->config.power_cycles, 8);
    simnvme_transfer(nvme, command, data, sizeof data, true);
    return 0;
}

/* 5.3, 5.4: queue 1 only, contiguous, in the order completion queue, submission queue. */
static uint32_t admin_create_queue(struct dgm_simnvme *nvme, const uint32_t *command,
                                   bool completion)
{
    struct dgm_simnvme_queue *queue = &nvme->queues[1];
    const uint32_t size = (command[10] >> 16) + 1;

    assert((command[10] & 0xffff) == 1 && size >= 2);
    assert(size <= (nvme->config.cap & 0xffff) + 1);
    assert(command[11] & 1);
    assert(PRP(command, 0) % PAGE == 0);
    if (completion) {
        assert(queue->cq == 0 && command[11] >> 16 == 0);
        queue->cq = PRP(command, 0);
        queue->cq_size = size;
        queue->phase = true;
        queue->interrupts = command[11] >> 1 & 1;
    } else {
        assert(queue->cq != 0 && queue->sq == 0 && command[11] >> 16 == 1);
        queue->sq = PRP(command, 0);
        queue->sq_size = size;
    }
    return 0;
}

static void run_admin_command(struct dgm_simnvme *nvme, const uint32_t *command)
{
    const uint8_t opcode = OPCODE(command);
    uint32_t status = 0;

    if (nvme->admin_silent && opcode == nvme->admin_silent)
        return;
    if (nvme->admin_error && opcode == nvme->admin_error)
        status = STATUS_BAD_FIELD;
    else if (opcode == 0x06)
        status = admin_identify(nvme, command);
    else if (opcode == 0x02)
        status = admin_get_health(nvme, command);
    else if (opcode == 0x05 || opcode == 0x01)
        status = admin_create_queue(nvme, command, opcode == 0x05);
    else
        assert(opcode == 0x09 && command[10] == 7);
    if (nvme->admin_bogus)
        simnvme_post(nvme, 0, CID(command) + 1, STATUS_BAD_FIELD);
    simnvme_post(nvme, 0, CID(command), status);
}

static void run_admin(struct dgm_simnvme *nvme)
{
    struct dgm_simnvme_queue *queue = &nvme->queues[0];

    while (queue->sq_head != queue->sq_tail) {
        uint32_t command[16];

        memcpy(command, simnvme_memory(nvme, queue->sq + 64u * queue->sq_head, 64, false), 64);
        queue->sq_head = (queue->sq_head + 1) % queue->sq_size;
        run_admin_command(nvme, command);
    }
}

/* --- registers (3.1) --- */

static void start_controller(struct dgm_simnvme *nvme)
{
    /* 7.3: correct entry sizes and pages, queues on page boundaries */
    assert(nvme->cc >> 16 == (4u << 4 | 6u) && (nvme->cc >> 4 & 0xfff) == 0);
    assert(nvme->asq && nvme->acq && nvme->asq % PAGE == 0 && nvme->acq % PAGE == 0);
    nvme->queues[0] = (struct dgm_simnvme_queue){
        .sq = nvme->asq,
        .cq = nvme->acq,
        .sq_size = (nvme->aqa & 0xfff) + 1,
        .cq_size = (nvme->aqa >> 16 & 0xfff) + 1,
        .phase = true,
        .interrupts = true,
    };
    nvme->queues[1] = (struct dgm_simnvme_queue){0};
    nvme->starting = nvme->ready_after + nvme->never_ready;
    nvme->csts = nvme->starting ? 0 : RDY;
}

/* 7.3.2: all queues are deleted, and all held commands with them. */
static void stop_controller(struct dgm_simnvme *nvme)
{
    const struct dgm_simnvme_queue *io = &nvme->queues[1];

    nvme->stuck_line |= nvme->keeps_line && io->interrupts && io->cq_head != io->cq_tail;
    nvme->csts = 0;
    nvme->held_count = 0;
    nvme->muted = nvme->overrun = false;
    nvme->resets++;
    memset(nvme->queues, 0, sizeof nvme->queues);
}

static uint32_t read_status(struct dgm_simnvme *nvme)
{
    if (nvme->stopping > 0 && !nvme->never_stops) {
        dgm_simnvme_late_dma(nvme);
        if (--nvme->stopping == 0)
            stop_controller(nvme);
    }
    if (nvme->starting > 0 && !nvme->never_ready && --nvme->starting == 0)
        nvme->csts = RDY;
    return nvme->csts;
}

uint64_t dgm_simnvme_read(struct dgm_simnvme *nvme, uint64_t offset, unsigned bytes)
{
    assert(bytes == 4 && offset % 4 == 0);
    if (nvme->gone)
        return UINT32_MAX;
    switch (offset) {
    case 0x00:
        return (uint32_t)nvme->config.cap;
    case 0x04:
        return nvme->config.cap >> 32;
    case 0x08:
        return nvme->config.version;
    case 0x14:
        return nvme->cc;
    case 0x1c:
        return read_status(nvme);
    default:
        assert(!"a register that no driver needs");
        return 0;
    }
}

static void write_control(struct dgm_simnvme *nvme, uint32_t value)
{
    const bool was = nvme->cc & CC_EN;
    const bool closes = was && (value & CC_EN) && !(nvme->cc & CC_SHN) && (value & CC_SHN);

    nvme->cc = value;
    if (closes && !nvme->never_closes) { /* 7.6.2 */
        nvme->closings++;
        nvme->csts |= SHST_DONE;
    }
    if (!was && (value & CC_EN)) {
        assert(!(nvme->csts & RDY)); /* 3.1.5: not before the driver has read that it is disabled */
        start_controller(nvme);
    } else if (was && !(value & CC_EN)) {
        nvme->starting = 0;
        nvme->stopping = nvme->stops_after;
        if (nvme->stopping == 0 && !nvme->never_stops)
            stop_controller(nvme);
    }
}

static void write_doorbell(struct dgm_simnvme *nvme, uint64_t offset, uint32_t value)
{
    const uint32_t stride = 4u << (nvme->config.cap >> 32 & 0xf);
    const uint64_t index = (offset - 0x1000) / stride;

    assert((offset - 0x1000) % stride == 0 && index < 4);
    assert(nvme->csts & RDY);

    struct dgm_simnvme_queue *queue = &nvme->queues[index / 2];

    nvme->doorbells++;
    if (index % 2) {
        const uint32_t posted = (queue->cq_tail + queue->cq_size - queue->cq_head) % queue->cq_size;
        const uint32_t taken = (value + queue->cq_size - queue->cq_head) % queue->cq_size;

        assert(queue->cq && value < queue->cq_size);
        assert(taken <= posted || nvme->overrun);
        queue->cq_head = value;
        if (queue->cq_head == queue->cq_tail)
            nvme->muted = nvme->stuck_line = false;
    } else {
        const uint32_t queued = (queue->sq_tail + queue->sq_size - queue->sq_head) % queue->sq_size;
        const uint32_t added = (value + queue->sq_size - queue->sq_tail) % queue->sq_size;

        assert(queue->sq && value < queue->sq_size);
        assert(queued + added < queue->sq_size);
        queue->sq_tail = value;
        if (index == 0)
            run_admin(nvme);
    }
}

void dgm_simnvme_write(struct dgm_simnvme *nvme, uint64_t offset, uint64_t value, unsigned bytes)
{
    assert(bytes == 4 && offset % 4 == 0);
    if (nvme->gone)
        return;
    switch (offset) {
    case 0x14:
        write_control(nvme, (uint32_t)value);
        break;
    case 0x24:
        nvme->aqa = (uint32_t)value;
        break;
    case 0x28:
        nvme->asq = (nvme->asq & ~0xffffffffull) | value;
        break;
    case 0x2c:
        nvme->asq = (nvme->asq & 0xffffffffull) | value << 32;
        break;
    case 0x30:
        nvme->acq = (nvme->acq & ~0xffffffffull) | value;
        break;
    case 0x34:
        nvme->acq = (nvme->acq & 0xffffffffull) | value << 32;
        break;
    default:
        assert(offset >= 0x1000);
        write_doorbell(nvme, offset, (uint32_t)value);
        break;
    }
}
