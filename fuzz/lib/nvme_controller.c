/* SPDX-License-Identifier: MIT */
/* nvme_controller: see nvme_controller.h. */
#include "nvme_controller.h"

#include <drivers/nvme/internal.h>

#define READ_NS 20000000ull /* each read of a register takes time, so that waits end */

struct controller controller;

void *controller_memory(uint64_t bus)
{
    const uint64_t frame = bus >> DGM_FRAME_SHIFT;

    fuzz_check(frame >= CONTROLLER_RAM && frame < CONTROLLER_RAM + CONTROLLER_FRAMES);
    return (uint8_t *)dgm_env_va(dgm_gfn(frame)) + bus % DGM_FRAME_BYTES;
}

static bool behaves_wildly(void)
{
    return feed_chance(controller.feed, controller.wild);
}

void controller_post(struct queue *queue, uint16_t sq_id, uint16_t cid, uint32_t status)
{
    struct nvme_completion *entry;

    if (!queue->cq || controller.cut_off)
        return;
    entry = (struct nvme_completion *)controller_memory(queue->cq) + queue->tail;
    *entry = (struct nvme_completion){
        .result = 0,
        .queue = (uint32_t)sq_id << 16,
        .status = cid | (uint32_t)queue->phase << 16 | status << 17,
    };
    if (++queue->tail == queue->depth) {
        queue->tail = 0;
        queue->phase = !queue->phase;
    }
}

static void admin_identify(const struct nvme_command *command)
{
    uint8_t *const data = controller_memory(command->prp[0]);

    memset(data, 0, DGM_FRAME_BYTES);
    if (command->cdw10 == NVME_IDENTIFY_CONTROLLER) {
        memcpy(data + 4, "FUZZ0001            ", 20);
        data[77] = 5;
        data[512] = 0x66;
        data[513] = 0x44;
    } else if (command->cdw10 == NVME_IDENTIFY_LIST) {
        data[0] = 1;
    } else {
        data[1] = 0x10; /* 4096 blocks */
        data[130] = 9;
    }
    while (behaves_wildly()) {
        const uint8_t byte = (uint8_t)feed_take(controller.feed, 1);

        data[feed_below(controller.feed, 600)] = byte;
    }
}

static void admin_command(const struct nvme_command *command)
{
    if (command->opcode == NVME_IDENTIFY)
        admin_identify(command);
    if (command->opcode == NVME_CREATE_CQ)
        controller.io = (struct queue){
            .cq = command->prp[0], .depth = (command->cdw10 >> 16) + 1, .phase = true};
    if (command->opcode == NVME_CREATE_SQ)
        controller.io.sq = command->prp[0];
    if (behaves_wildly()) { /* a completion of no command */
        const uint16_t queue = (uint16_t)feed_take(controller.feed, 1);

        controller_post(&controller.admin, queue, (uint16_t)feed_take(controller.feed, 2), 0);
    }
    if (!behaves_wildly())
        controller_post(&controller.admin, 0, command->cid,
                        behaves_wildly() ? (uint32_t)feed_take(controller.feed, 2) & 0x7fff : 0);
}

static void take_commands(struct queue *queue, uint32_t tail)
{
    fuzz_check(queue->sq && tail < queue->depth);
    while (queue->head != tail) {
        const struct nvme_command *command =
            (struct nvme_command *)controller_memory(queue->sq) + queue->head;

        if (queue == &controller.admin) {
            admin_command(command);
        } else {
            controller.fetch(command->cid);
            if (controller.fetched_count < 64)
                controller.fetched[controller.fetched_count++] = command->cid;
        }
        queue->head = (queue->head + 1) % queue->depth;
    }
}

static void write_configuration(uint32_t value)
{
    const bool was = controller.cc & NVME_CC_ENABLE;

    controller.cc = value;
    if (!was && (value & NVME_CC_ENABLE)) {
        controller.admin.depth = NVME_ADMIN_DEPTH;
        controller.admin.head = controller.admin.tail = 0;
        controller.admin.phase = true;
        if (!behaves_wildly())
            controller.csts |= NVME_CSTS_READY;
    } else if (was && !(value & NVME_CC_ENABLE)) {
        controller.io = (struct queue){0};
        controller.fetched_count = 0;
        controller.forget();
        if (!behaves_wildly())
            controller.csts = 0;
    }
}

uint64_t controller_read(uintptr_t address, unsigned bytes)
{
    const uint64_t offset = address - CONTROLLER_BASE;
    uint32_t value = 0;

    fuzz_check(bytes == 4 && offset % 4 == 0 && offset + 4 <= controller.mmio_bytes);
    dgm_sim_set_now_ns(dgm_env_now_ns() + READ_NS);
    if (offset == NVME_CAP)
        value = (uint32_t)controller.cap;
    else if (offset == NVME_CAP + 4)
        value = (uint32_t)(controller.cap >> 32);
    else if (offset == NVME_VS)
        value = 0x10400;
    else if (offset == NVME_CC)
        value = controller.cc;
    else if (offset == NVME_CSTS)
        value = controller.csts_gone ? UINT32_MAX : controller.csts | controller.csts_or;
    if (behaves_wildly())
        value = (uint32_t)feed_take(controller.feed, 4);
    if (offset == NVME_CAP + 4 && ((value ^ controller.cap >> 32) & 0xf))
        controller.misled = true;
    if (offset == NVME_CSTS)
        controller.shown_ready = value & NVME_CSTS_READY;
    return value;
}

void controller_write(uintptr_t address, uint64_t value, unsigned bytes)
{
    const uint64_t offset = address - CONTROLLER_BASE;
    const uint32_t stride = 4u << (controller.cap >> 32 & 0xf);

    fuzz_check(bytes == 4 && offset % 4 == 0 && offset + 4 <= controller.mmio_bytes);
    if (offset == NVME_CC)
        write_configuration((uint32_t)value);
    else if (offset == NVME_ASQ)
        controller.admin.sq = (controller.admin.sq & ~(uint64_t)UINT32_MAX) | value;
    else if (offset == NVME_ACQ)
        controller.admin.cq = (controller.admin.cq & ~(uint64_t)UINT32_MAX) | value;
    else if (!(controller.cc & NVME_CC_ENABLE))
        return;
    else if (offset == NVME_DOORBELLS)
        take_commands(&controller.admin, (uint32_t)value);
    else if (offset == NVME_DOORBELLS + 2 * stride && controller.io.sq)
        take_commands(&controller.io, (uint32_t)value);
}
