/* SPDX-License-Identifier: MIT */
/*
 * nvme_rig: a machine with one NVMe controller (sim/nvme) for the driver's tests
 *
 * Our RAM's machine frames differ from its gfns, and the device's bus addresses from both, so a
 * driver that confuses any two of them reaches nothing. The first frames are for queues, the others
 * for data. The rig sees every DMA and fails the test when
 *   a data frame is touched that no command under way has, or in the wrong direction,
 *   anything is touched while the controller is disabled or after the bus was told to stop it.
 * Time passes with every register access (10 us), and by rig_pass().
 */
#ifndef NVME_RIG_H
#define NVME_RIG_H

#include "unit.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <dragoman/drivers/nvme.h>
#include <port/env.h>
#include <sim/devices/nvme.h>

#define RAM          0x40000ull
#define QUEUE_FRAMES 64u
#define DATA_FRAMES  1040u
#define COLOUR       0x1230ull /* mfn - gfn */
#define BUS_BASE     0x700000000ull
#define MMIO         0x80000000ull
#define MMIO_BYTES   0x100000u
#define COMMANDS     80u
#define SEGMENTS     258u
#define MS           1000000ull
#define SECOND       (1000 * MS)

struct rig_command {
    struct dgm_blk_command command;
    struct dgm_dma_segment segments[SEGMENTS];
    uint32_t frame, frames, offset; /* of its data, in the data area; pages in descending order */
    int status;                     /* 1: under way */
    unsigned ended;
    void (*then)(struct rig_command *command); /* called at the end of done */
};

static struct {
    struct dgm_p2m p2m;
    uint64_t p2m_memory[64];
    struct dgm_frames frames;
    struct dgm_reactor reactor;
    struct dgm_device_env env;
    struct dgm_simnvme sim;
    struct dgm_nvme nvme;
    uint8_t *disk;
    uint64_t now_ns, mmio_reads, messages_seen;
    struct dgm_irq *irq;
    int bind_status;
    bool cut; /* dma_stop was called */
    struct rig_command commands[COMMANDS];
    struct rig_command *owner[DATA_FRAMES];
    struct dgm_task waiter;
    unsigned woken, under_way, ended;
    uint64_t cleaned, invalidated; /* bytes */
} rig;

static inline struct dgm_blkdev *rig_device(void)
{
    return &rig.nvme.device;
}

static inline void rig_pass(uint64_t ns)
{
    rig.now_ns += ns;
    dgm_sim_set_now_ns(rig.now_ns);
}

static inline uint64_t rig_read(uintptr_t address, unsigned bytes)
{
    assert_in_range(address, MMIO, MMIO + MMIO_BYTES - bytes);
    rig.mmio_reads++;
    rig_pass(10000);
    return dgm_simnvme_read(&rig.sim, address - MMIO, bytes);
}

static inline void rig_write(uintptr_t address, uint64_t value, unsigned bytes)
{
    assert_in_range(address, MMIO, MMIO + MMIO_BYTES - bytes);
    rig_pass(10000);
    dgm_simnvme_write(&rig.sim, address - MMIO, value, bytes);
}

static inline void rig_cleaned(const void *va, size_t bytes)
{
    rig.cleaned += bytes;
}

static inline void rig_invalidated(const void *va, size_t bytes)
{
    rig.invalidated += bytes;
}

static inline dgm_bus_t rig_bus(uint32_t data_frame)
{
    return (dgm_bus_t){BUS_BASE + (uint64_t)(QUEUE_FRAMES + data_frame) * 4096};
}

/* The memory as the device sees it, and the rules for touching it. */
static inline void *rig_memory(void *context, uint64_t bus, uint32_t bytes, bool write)
{
    assert_in_range(bus, BUS_BASE, BUS_BASE + (QUEUE_FRAMES + DATA_FRAMES) * 4096ull - bytes);
    assert_false(rig.cut);
    assert_true(rig.sim.csts & 1);

    const uint64_t frame = (bus - BUS_BASE) / 4096;

    if (frame >= QUEUE_FRAMES) {
        const struct rig_command *owner = rig.owner[frame - QUEUE_FRAMES];

        if (!owner)
            fail_msg("DMA to a frame that no command under way has");
        assert_int_equal(write, owner->command.op == DGM_BLK_READ);
    }
    return (char *)dgm_env_va(dgm_gfn(RAM + frame)) + bus % 4096;
}

static inline int rig_bind(struct dgm_device_env *env, struct dgm_irq *irq)
{
    assert_ptr_equal(env, &rig.env);
    rig.irq = irq;
    return rig.bind_status;
}

static inline void rig_stop_dma(struct dgm_device_env *env)
{
    assert_ptr_equal(env, &rig.env);
    rig.cut = true;
}

static inline void rig_woken(struct dgm_task *task)
{
    rig.woken++;
}

/* What most tests have: 512-byte blocks, 8 MiB. */
static const struct dgm_simnvme_config rig_plain = {
    .serial = "  X-17",
    .model = "A simulated disk",
    .nsid = 1,
    .blocks = 16384,
    .block_shift = 9,
    .write_cache = true,
};

/* The machine, not yet attached. */
static inline void rig_start(const struct dgm_simnvme_config *config)
{
    const struct dgm_ram_bank bank = {{RAM}, {RAM + COLOUR}, QUEUE_FRAMES + DATA_FRAMES, NULL};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{0x800000}, 16});
    static const struct dgm_sim_machine machine = {
        .mmio_read = rig_read,
        .mmio_write = rig_write,
        .cache_clean = rig_cleaned,
        .cache_clean_invalidate = rig_invalidated,
    };
    struct dgm_simnvme_config here = *config;

    memset(&rig, 0, sizeof rig);
    dgm_sim_attach(&machine);
    dgm_sim_memory(dgm_gfn(RAM), QUEUE_FRAMES + DATA_FRAMES);
    rig_pass(SECOND);
    assert_int_equal(dgm_p2m_init(&rig.p2m, &bank, 1, &window, rig.p2m_memory), 0);
    dgm_frames_init(&rig.frames);
    dgm_frames_add(&rig.frames, (struct dgm_gfn_range){{RAM}, QUEUE_FRAMES});
    dgm_reactor_init(&rig.reactor);
    here.memory = rig_memory;
    rig.disk = here.blocks < 1u << 20 && here.block_shift <= 12
                   ? calloc(here.blocks + 1, 1u << here.block_shift)
                   : NULL;
    dgm_simnvme_init(&rig.sim, &here, rig.disk);
    rig.waiter.run = rig_woken;
    rig.env = (struct dgm_device_env){
        .name = "pci 00:02.0",
        .mmio = (volatile void *)(uintptr_t)MMIO,
        .mmio_bytes = MMIO_BYTES,
        .tag = {.windows = {{(RAM + COLOUR) * 4096, BUS_BASE,
                             (QUEUE_FRAMES + DATA_FRAMES) * 4096ull}},
                .window_count = 1,
                .mask = UINT64_MAX,
                .coherent = true},
        .reactor = &rig.reactor,
        .frames = &rig.frames,
        .p2m = &rig.p2m,
        .irq_bind = rig_bind,
        .dma_stop = rig_stop_dma,
    };
}

static inline int rig_attach(void)
{
    return dgm_nvme_start(&rig.nvme, &rig.env);
}

static inline void rig_end(void)
{
    assert_int_equal(rig.under_way, 0);
    dgm_sim_attach(NULL);
    dgm_sim_memory(dgm_gfn(0), 0);
    free(rig.disk);
}

/* --- commands --- */

static inline void rig_own(struct rig_command *command, struct rig_command *owner)
{
    for (uint32_t i = 0; i < command->frames; i++)
        rig.owner[command->frame + i] = owner;
}

static inline void rig_done(struct dgm_blk_command *blk, int status)
{
    struct rig_command *command = dgm_container(blk, struct rig_command, command);

    assert_int_equal(command->status, 1); /* once */
    command->status = status;
    command->ended++;
    rig.under_way--;
    rig.ended++;
    rig_own(command, NULL);
    if (command->then)
        command->then(command);
}

/* The byte `at` of the command's data, as we see it. */
static inline uint8_t *rig_byte(const struct rig_command *command, uint32_t at)
{
    const uint32_t page = (command->offset + at) / 4096;

    return (uint8_t *)dgm_env_va(
               dgm_gfn(RAM + QUEUE_FRAMES + command->frame + command->frames - 1 - page)) +
           (command->offset + at) % 4096;
}

/*
 * Prepares command `index` with data from data frame `frame` on, `offset` bytes into its first
 * page; pages lie in descending order, so each is a segment.
 */
static inline struct rig_command *rig_prepare(unsigned index, enum dgm_blk_op op, uint64_t block,
                                              uint32_t blocks, uint32_t frame, uint32_t offset)
{
    struct rig_command *command = &rig.commands[index];
    uint32_t left = blocks * rig_device()->block_bytes;
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
                                                .done = rig_done};
    for (uint32_t page = 0; left > 0; page++) {
        const uint32_t skip = page == 0 ? offset : 0;
        const uint32_t bytes = left < 4096 - skip ? left : 4096 - skip;

        assert_true(count < SEGMENTS);
        command->segments[count].bus.n = rig_bus(frame + command->frames - 1 - page).n + skip;
        command->segments[count++].bytes = bytes;
        left -= bytes;
    }
    assert_true(frame + command->frames <= DATA_FRAMES);
    command->command.segment_count = count;
    return command;
}

static inline int rig_submit(struct rig_command *command)
{
    const int result = rig_device()->ops->submit(rig_device(), &command->command);

    if (result == DGM_OK) {
        command->status = 1;
        rig.under_way++;
        rig_own(command, command);
    }
    dgm_nvme_check(&rig.nvme);
    return result;
}

static inline void rig_kick(void)
{
    rig_device()->ops->kick(rig_device());
}

/* Delivers the interrupt if there is one, and what is due. */
static inline void rig_turn(void)
{
    bool interrupt = dgm_simnvme_line(&rig.sim);

    if (rig.env.irq_message) {
        interrupt = rig.sim.messages != rig.messages_seen;
        rig.messages_seen = rig.sim.messages;
    }
    if (interrupt)
        rig.irq->handle(rig.irq);
    while (dgm_reactor_turn(&rig.reactor))
        ;
    if (rig.nvme.state == DGM_NVME_LIVE)
        dgm_nvme_check(&rig.nvme);
}

/* Lets the controller work, and time pass, until nothing is under way or `limit_ns` is over. */
static inline void rig_settle(uint64_t limit_ns)
{
    const uint64_t end_ns = rig.now_ns + limit_ns;

    do {
        if (!rig.cut)
            dgm_simnvme_run(&rig.sim, 1000);
        rig_turn();
        rig_pass(MS / 2);
    } while ((rig.under_way || rig.nvme.state < DGM_NVME_LIVE) && rig.now_ns < end_ns);
}

/* Submits one command and waits for its end. */
static inline int rig_do(struct rig_command *command)
{
    assert_int_equal(rig_submit(command), DGM_OK);
    rig_kick();
    rig_settle(60 * SECOND);
    assert_int_not_equal(command->status, 1);
    return command->status;
}

/* A write and a read of other memory come back with the same bytes. */
static inline void rig_works(void)
{
    const uint32_t blocks = 8192 / rig_device()->block_bytes;
    struct rig_command *write = rig_prepare(0, DGM_BLK_WRITE, 3, blocks, 0, 512);
    struct rig_command *read = rig_prepare(1, DGM_BLK_READ, 3, blocks, 10, 1024);

    for (uint32_t i = 0; i < 8192; i++) {
        *rig_byte(write, i) = (uint8_t)unit_random();
        *rig_byte(read, i) = 0xee;
    }
    assert_int_equal(rig_do(write), DGM_OK);
    assert_int_equal(rig_do(read), DGM_OK);
    for (uint32_t i = 0; i < 8192; i++)
        assert_int_equal(*rig_byte(write, i), *rig_byte(read, i));
}

#endif
