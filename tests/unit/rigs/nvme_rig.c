/* SPDX-License-Identifier: MIT */
/* nvme_rig: see nvme_rig.h. */
#include "nvme_rig.h"

struct nvme_rig nvme_rig;

struct dgm_blkdev *nvme_device(void)
{
    return &nvme_rig.nvme.device;
}

void nvme_pass(uint64_t ns)
{
    nvme_rig.now_ns += ns;
    dgm_sim_set_now_ns(nvme_rig.now_ns);
}

static uint64_t nvme_read(uintptr_t address, unsigned bytes)
{
    assert_in_range(address, MMIO, MMIO + MMIO_BYTES - bytes);
    nvme_rig.mmio_reads++;
    nvme_pass(10000);
    return dgm_simnvme_read(&nvme_rig.sim, address - MMIO, bytes);
}

static void nvme_write(uintptr_t address, uint64_t value, unsigned bytes)
{
    assert_in_range(address, MMIO, MMIO + MMIO_BYTES - bytes);
    nvme_pass(10000);
    dgm_simnvme_write(&nvme_rig.sim, address - MMIO, value, bytes);
}

static void nvme_cleaned(const void *va, size_t bytes)
{
    nvme_rig.cleaned += bytes;
}

static void nvme_invalidated(const void *va, size_t bytes)
{
    nvme_rig.invalidated += bytes;
}

static dgm_bus_t nvme_bus(uint32_t data_frame)
{
    return (dgm_bus_t){BUS_BASE + (uint64_t)(QUEUE_FRAMES + data_frame) * 4096};
}

/* The memory from the device's view, and the rules for accesses. */
static void *nvme_memory(void *context, uint64_t bus, uint32_t bytes, bool write)
{
    assert_in_range(bus, BUS_BASE, BUS_BASE + (QUEUE_FRAMES + DATA_FRAMES) * 4096ull - bytes);
    assert_false(nvme_rig.cut);
    assert_true(nvme_rig.sim.csts & 1);

    const uint64_t frame = (bus - BUS_BASE) / 4096;

    if (frame >= QUEUE_FRAMES) {
        const struct nvme_job *owner = nvme_rig.owner[frame - QUEUE_FRAMES];

        if (!owner)
            fail_msg("DMA to a frame that no command in flight has");
        assert_int_equal(write, owner->command.op == DGM_BLK_READ);
    }
    return (char *)dgm_env_va(dgm_gfn(RAM + frame)) + bus % 4096;
}

static int nvme_bind(struct dgm_device_env *env, struct dgm_irq *irq)
{
    assert_ptr_equal(env, &nvme_rig.env);
    nvme_rig.irq = irq;
    return nvme_rig.bind_status;
}

static void nvme_stop_dma(struct dgm_device_env *env)
{
    assert_ptr_equal(env, &nvme_rig.env);
    nvme_rig.cut = true;
}

static int nvme_restore(struct dgm_device_env *env)
{
    assert_false(nvme_rig.cut);
    nvme_rig.restores++;
    if (nvme_rig.absent)
        return DGM_EAGAIN;
    if (nvme_rig.other)
        return DGM_ENODEV;
    if (nvme_rig.cleared)
        nvme_rig.cleared = nvme_rig.sim.gone = false;
    return DGM_OK;
}

bool nvme_reject(struct dgm_device_env *env)
{
    assert_ptr_equal(env, &nvme_rig.env);
    assert_int_equal(nvme_rig.sim.cc & 1, 0); /* it is disabled first */
    nvme_rig.rejects++;
    nvme_rig.absent = true;
    return true;
}

static bool nvme_irq_mask(struct dgm_device_env *env, bool mask)
{
    if (mask && !dgm_simnvme_line(&nvme_rig.sim))
        return false;
    nvme_rig.masked = mask;
    return mask;
}

static void nvme_changed(struct dgm_device_env *env)
{
    assert_true(nvme_device()->ready || nvme_device()->failed);
    nvme_rig.changes++;
}

static void nvme_woken(struct dgm_task *task)
{
    nvme_rig.woken++;
}

const struct dgm_simnvme_config nvme_plain = {
    .serial = "  X-17",
    .model = "A simulated disk",
    .nsid = 1,
    .blocks = 16384,
    .block_shift = 9,
    .write_cache = true,
};

void nvme_start(const struct dgm_simnvme_config *config)
{
    const struct dgm_ram_bank bank = {{RAM}, {RAM + COLOUR}, QUEUE_FRAMES + DATA_FRAMES, NULL};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{0x800000}, 16});
    static const struct dgm_sim_machine machine = {
        .mmio_read = nvme_read,
        .mmio_write = nvme_write,
        .cache_clean = nvme_cleaned,
        .cache_clean_invalidate = nvme_invalidated,
    };
    struct dgm_simnvme_config here = *config;

    memset(&nvme_rig, 0, sizeof nvme_rig);
    dgm_sim_attach(&machine);
    dgm_sim_log_clear();
    dgm_sim_memory(dgm_gfn(RAM), QUEUE_FRAMES + DATA_FRAMES);
    nvme_pass(SECOND);
    assert_int_equal(dgm_p2m_init(&nvme_rig.p2m, &bank, 1, &window, nvme_rig.p2m_memory), 0);
    dgm_frames_init(&nvme_rig.frames);
    dgm_frames_add(&nvme_rig.frames, (struct dgm_gfn_range){{RAM}, QUEUE_FRAMES});
    dgm_reactor_init(&nvme_rig.reactor);
    here.memory = nvme_memory;
    nvme_rig.disk = here.blocks < 1u << 20 && here.block_shift <= 12
                        ? calloc(here.blocks + 1, 1u << here.block_shift)
                        : NULL;
    dgm_simnvme_init(&nvme_rig.sim, &here, nvme_rig.disk);
    nvme_rig.waiter.run = nvme_woken;
    nvme_rig.env = (struct dgm_device_env){
        .name = "pci 00:02.0",
        .mmio = (volatile void *)(uintptr_t)MMIO,
        .mmio_bytes = MMIO_BYTES,
        .tag = {.windows = {{(RAM + COLOUR) * 4096, BUS_BASE,
                             (QUEUE_FRAMES + DATA_FRAMES) * 4096ull}},
                .window_count = 1,
                .mask = UINT64_MAX,
                .coherent = true},
        .reactor = &nvme_rig.reactor,
        .frames = &nvme_rig.frames,
        .p2m = &nvme_rig.p2m,
        .irq_bind = nvme_bind,
        .dma_stop = nvme_stop_dma,
        .restore = nvme_restore,
        .irq_mask = nvme_irq_mask,
        .changed = nvme_changed,
    };
}

int nvme_attach(void)
{
    const int status = dgm_nvme_start(&nvme_rig.nvme, &nvme_rig.env);

    while (status == DGM_OK && !nvme_device()->ready && !nvme_device()->failed) {
        nvme_turn();
        nvme_pass(MS / 2);
    }
    return status ? status : nvme_device()->failed ? DGM_EIO : DGM_OK;
}

void nvme_attach_plain(void)
{
    unit_seed();
    nvme_start(&nvme_plain);
    assert_int_equal(nvme_attach(), DGM_OK);
}

void nvme_end(void)
{
    assert_int_equal(nvme_rig.in_flight, 0);
    dgm_sim_attach(NULL);
    dgm_sim_memory(dgm_gfn(0), 0);
    free(nvme_rig.disk);
}

/* --- commands --- */

static void nvme_own(struct nvme_job *command, struct nvme_job *owner)
{
    for (uint32_t i = 0; i < command->frames; i++)
        nvme_rig.owner[command->frame + i] = owner;
}

static void nvme_done(struct dgm_blk_command *blk, int status)
{
    struct nvme_job *command = dgm_container(blk, struct nvme_job, command);

    assert_int_equal(command->status, 1); /* once */
    command->status = status;
    command->ended++;
    nvme_rig.in_flight--;
    nvme_rig.ended++;
    nvme_own(command, NULL);
    if (command->then)
        command->then(command);
}

uint8_t *nvme_byte(const struct nvme_job *command, uint32_t at)
{
    const uint32_t page = (command->offset + at) / 4096;

    return (uint8_t *)dgm_env_va(
               dgm_gfn(RAM + QUEUE_FRAMES + command->frame + command->frames - 1 - page)) +
           (command->offset + at) % 4096;
}

struct nvme_job *nvme_prepare(unsigned index, enum dgm_blk_op op, uint64_t block, uint32_t blocks,
                              uint32_t frame, uint32_t offset)
{
    struct nvme_job *command = &nvme_rig.commands[index];
    uint32_t left = blocks * nvme_device()->block_bytes;
    uint32_t count = 0;

    assert_true(index < COMMANDS && command->status != 1);
    memset(command, 0, sizeof *command);
    command->frame = frame;
    command->frames = (offset + left + 4095) / 4096;
    command->offset = offset;
    command->command = (struct dgm_blk_command){.op = op,
                                                .block = block,
                                                .blocks = blocks,
                                                .segments = command->segments,
                                                .done = nvme_done};
    for (uint32_t page = 0; left > 0; page++) {
        const uint32_t skip = page == 0 ? offset : 0;
        const uint32_t bytes = left < 4096 - skip ? left : 4096 - skip;

        assert_true(count < SEGMENTS);
        command->segments[count].bus =
            dgm_bus(dgm_bus_address(nvme_bus(frame + command->frames - 1 - page)) + skip);
        command->segments[count++].bytes = bytes;
        left -= bytes;
    }
    assert_true(frame + command->frames <= DATA_FRAMES);
    command->command.segment_count = count;
    return command;
}

int nvme_submit(struct nvme_job *command)
{
    const int result = nvme_device()->ops->submit(nvme_device(), &command->command);

    if (result == DGM_OK) {
        command->status = 1;
        nvme_rig.in_flight++;
        nvme_own(command, command);
    }
    dgm_nvme_check(&nvme_rig.nvme);
    return result;
}

void nvme_kick(void)
{
    nvme_device()->ops->kick(nvme_device());
}

void nvme_turn(void)
{
    bool interrupt = dgm_simnvme_line(&nvme_rig.sim);

    if (nvme_rig.env.irq_message) {
        interrupt = nvme_rig.sim.messages != nvme_rig.messages_seen;
        nvme_rig.messages_seen = nvme_rig.sim.messages;
    }
    if (interrupt && nvme_rig.irq && !nvme_rig.masked)
        nvme_rig.irq->handle(nvme_rig.irq);
    while (dgm_reactor_turn(&nvme_rig.reactor))
        ;
    if (nvme_rig.nvme.state == DGM_NVME_LIVE)
        dgm_nvme_check(&nvme_rig.nvme);
}

void nvme_settle(uint64_t limit_ns)
{
    const uint64_t end_ns = nvme_rig.now_ns + limit_ns;

    do {
        if (!nvme_rig.cut)
            dgm_simnvme_run(&nvme_rig.sim, 1000);
        nvme_turn();
        nvme_pass(MS / 2);
    } while ((nvme_rig.in_flight || nvme_rig.nvme.state < DGM_NVME_LIVE) &&
             nvme_rig.now_ns < end_ns);
}

int nvme_do(struct nvme_job *command)
{
    assert_int_equal(nvme_submit(command), DGM_OK);
    nvme_kick();
    nvme_settle(60 * SECOND);
    assert_int_not_equal(command->status, 1);
    return command->status;
}

void nvme_works(void)
{
    const uint32_t blocks = 8192 / nvme_device()->block_bytes;
    struct nvme_job *write = nvme_prepare(0, DGM_BLK_WRITE, 3, blocks, 0, 512);
    struct nvme_job *read = nvme_prepare(1, DGM_BLK_READ, 3, blocks, 10, 1024);

    for (uint32_t i = 0; i < 8192; i++) {
        *nvme_byte(write, i) = (uint8_t)unit_random();
        *nvme_byte(read, i) = 0xee;
    }
    assert_int_equal(nvme_do(write), DGM_OK);
    assert_int_equal(nvme_do(read), DGM_OK);
    for (uint32_t i = 0; i < 8192; i++)
        assert_int_equal(*nvme_byte(write, i), *nvme_byte(read, i));
}

/* --- faults --- */

void nvme_fault(enum dgm_simnvme_fault kind, uint64_t count)
{
    nvme_rig.sim.fault = kind;
    nvme_rig.sim.fault_from = nvme_rig.sim.io_commands;
    nvme_rig.sim.fault_count = count;
}

void nvme_submit_many(unsigned first, unsigned count, enum dgm_blk_op op)
{
    for (unsigned i = first; i < first + count; i++)
        assert_int_equal(nvme_submit(nvme_prepare(i, op, i * 8, 8, i * 2, 512)), DGM_OK);
    nvme_kick();
}

unsigned nvme_count(unsigned first, unsigned count, int status)
{
    unsigned found = 0;

    for (unsigned i = first; i < first + count; i++)
        found += nvme_rig.commands[i].status == status;
    return found;
}

void nvme_drop_link(void)
{
    nvme_rig.cleared = nvme_rig.sim.gone = true;
}

void nvme_stays_failed(void)
{
    assert_int_equal(nvme_rig.nvme.state, DGM_NVME_FAILED);
    assert_true(nvme_device()->failed);
    assert_true(nvme_rig.cut);
    assert_int_equal(nvme_rig.in_flight, 0);
    assert_int_equal(nvme_submit(nvme_prepare(70, DGM_BLK_READ, 0, 8, 200, 0)), DGM_EIO);
    nvme_kick();
    nvme_pass(100 * SECOND);
    nvme_turn();
    assert_true(dgm_reactor_deadline_ns(&nvme_rig.reactor) == UINT64_MAX);
}
