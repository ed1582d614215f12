/* SPDX-License-Identifier: MIT */
/* builder: see builder.h. The order of the steps is that of Xen's tools; where it matters, the step
 * says why. */
#include "builder.h"
#include "images.h"

#include <kernel/arm64/vcpu.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <dragoman/hyper/create.h>
#include <dragoman/hyper/domain.h>
#include <port/arch.h>
#include <port/env.h>

#include <string.h>
#include <xen/hvm/params.h>

#define AGAIN        1 /* of a step: more of it in another turn */
#define MIB          0x100000ull
#define LARGE_ORDER  9u /* 2 MiB, which Xen maps by one entry */
#define LARGE_FRAMES (1ull << LARGE_ORDER)
#define SMALL_BATCH  16u

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) & ~(unit - 1);
}

/* --- where everything lies --- */

static void place_banks(struct builder *builder, uint64_t frames)
{
    const uint64_t bytes = frames << DGM_FRAME_SHIFT;
    const uint64_t low = bytes < GUEST_BANK0_BYTES ? bytes : GUEST_BANK0_BYTES;

    builder->banks[0] = (struct range){GUEST_BANK0_BASE, low};
    builder->banks[1] = (struct range){GUEST_BANK1_BASE, bytes - low};
}

/* The kernel at the bottom of the first bank; at its top the tree, and the ramdisk below that. */
static bool place_files(struct builder *builder, const struct config_build *build)
{
    const struct range bank = builder->banks[0];
    struct image_header header;
    uint64_t top = (bank.base + bank.bytes) & ~(2 * MIB - 1);

    if (!image_read((const void *)(uintptr_t)build->kernel.base, build->kernel.bytes, &header))
        return false;
    builder->kernel = (struct range){bank.base + header.text_offset, build->kernel.bytes};
    const uint64_t needed = round_up(header.text_offset + header.bytes, 2 * MIB) +
                            round_up(build->ramdisk.bytes, 2 * MIB) + 2 * MIB;

    if (needed > bank.bytes || needed > top - bank.base)
        return false;
    top -= 2 * MIB;
    builder->tree = (struct range){top, 0};
    top -= round_up(build->ramdisk.bytes, 2 * MIB);
    builder->ramdisk = (struct range){top, build->ramdisk.bytes};
    return true;
}

/* --- the steps --- */

static int make_domain(struct builder *builder)
{
    const int result = dgm_domain_create(builder->domid, builder->guest->build.vcpus);

    builder->made = result == DGM_OK;
    return result;
}

static int make_vcpus(struct builder *builder)
{
    return dgm_domain_make_vcpus(builder->domid, builder->guest->build.vcpus);
}

/* One frame more than its RAM: for the console's ring. */
static int limit_memory(struct builder *builder)
{
    return dgm_domain_set_pages_max(builder->domid, builder->guest->build.frames + 1);
}

/* As much as Xen gives a guest that it builds: domain_p2m_pages(). */
static int make_table_pool(struct builder *builder)
{
    const struct config_build *build = &builder->guest->build;
    const uint64_t mib = build->frames >> 8;

    return dgm_domain_set_table_pool(builder->domid,
                                     build->vcpus * MIB + round_up(mib * 4096, 4096) + 512 * 1024);
}

static int make_64_bit(struct builder *builder)
{
    return dgm_domain_set_64_bit(builder->domid);
}

/* A domain with this channel is one that xenstore serves (xenstore/dom0less.h), which makes the
 * page too. */
static int make_store_channel(struct builder *builder)
{
    const struct dgm_domain_param param = {.domid = builder->domid,
                                           .index = HVM_PARAM_STORE_EVTCHN};
    evtchn_port_t port;
    const int result = dgm_domain_alloc_channel(builder->domid, &port);

    if (result != DGM_OK)
        return result;
    return dgm_domain_set_param(param, port);
}

/* Frames [builder->at, ...) of the guest's RAM, counted over both banks. */
static dgm_gfn_t ram_gfn(const struct builder *builder, uint64_t frame)
{
    const uint64_t low = builder->banks[0].bytes >> DGM_FRAME_SHIFT;

    return frame < low ? dgm_gfn((GUEST_BANK0_BASE >> DGM_FRAME_SHIFT) + frame)
                       : dgm_gfn((GUEST_BANK1_BASE >> DGM_FRAME_SHIFT) + frame - low);
}

/* 2 MiB a turn where Xen has them in one piece. Where it has not, that much is made of single
 * frames, a few a turn. */
static int populate_ram(struct builder *builder)
{
    const uint64_t frames = builder->guest->build.frames;
    int made = 0;

    if (builder->at % LARGE_FRAMES == 0 && frames - builder->at >= LARGE_FRAMES) {
        made = dgm_domain_populate(builder->domid, ram_gfn(builder, builder->at), LARGE_ORDER);
        builder->at += made == 1 ? LARGE_FRAMES : 0;
    }
    for (unsigned i = 0; made == 0 && i < SMALL_BATCH && builder->at < frames; i++) {
        const int one = dgm_domain_populate(builder->domid, ram_gfn(builder, builder->at), 0);

        if (one != 1)
            return one < 0 ? one : DGM_ENOMEM;
        builder->at++;
        if (builder->at % LARGE_FRAMES == 0)
            break;
    }
    if (made < 0)
        return made;
    return builder->at < frames ? AGAIN : DGM_OK;
}

static int populate_console(struct builder *builder)
{
    const int made = dgm_domain_populate(builder->domid, dgm_gfn(GUEST_VUART_GFN), 0);

    return made == 1 ? DGM_OK : made < 0 ? made : DGM_ENOMEM;
}

static int start_console(struct builder *builder)
{
    return dgm_domain_start_vuart(builder->domid, dgm_gfn(GUEST_VUART_GFN), &builder->console_port);
}

/* Copies the next frames of `bytes` bytes at `from` to the guest's address `to`, a multiple of a
 * frame. The guest starts with its caches off, so they are cleaned. */
static int load(struct builder *builder, uint64_t to, const char *from, uint64_t bytes)
{
    const uint64_t left = bytes - builder->at;
    struct dgm_foreign_run run = {
        .domid = builder->domid,
        .first = dgm_gfn((to + builder->at) >> DGM_FRAME_SHIFT),
        .count = left > DGM_FOREIGN_BATCH_MAX * DGM_FRAME_BYTES
                     ? DGM_FOREIGN_BATCH_MAX
                     : (unsigned)(round_up(left, DGM_FRAME_BYTES) >> DGM_FRAME_SHIFT)};
    int result;

    if (left == 0)
        return DGM_OK;
    result = dgm_foreign_map_at(builder->slot, run, &builder->mapped);
    if (result != DGM_OK)
        return result;
    for (unsigned i = 0; i < run.count; i++) {
        char *page = dgm_env_va(builder->slot[i]);
        const uint64_t rest = bytes - builder->at;
        const size_t part = rest < DGM_FRAME_BYTES ? (size_t)rest : DGM_FRAME_BYTES;

        memcpy(page, from + builder->at, part);
        memset(page + part, 0, DGM_FRAME_BYTES - part);
        dgm_arch_cache_clean(page, DGM_FRAME_BYTES);
        builder->at += part;
    }
    builder->copied += run.count * DGM_FRAME_BYTES;
    return builder->at < bytes ? AGAIN : DGM_OK;
}

static int clear_console(struct builder *builder)
{
    memset(builder->buffer, 0, DGM_FRAME_BYTES);
    return load(builder, GUEST_VUART_GFN << DGM_FRAME_SHIFT, builder->buffer, DGM_FRAME_BYTES);
}

static int load_kernel(struct builder *builder)
{
    const struct range from = builder->guest->build.kernel;

    return load(builder, builder->kernel.base, (const char *)(uintptr_t)from.base, from.bytes);
}

static int load_ramdisk(struct builder *builder)
{
    const struct range from = builder->guest->build.ramdisk;

    return load(builder, builder->ramdisk.base, (const char *)(uintptr_t)from.base, from.bytes);
}

static int write_tree(struct builder *builder)
{
    const struct builder_tree of = {.build = &builder->guest->build,
                                    .gic_version = builder->gic_version,
                                    .banks = {builder->banks[0], builder->banks[1]},
                                    .ramdisk = builder->ramdisk};

    builder->tree.bytes = builder_tree_write(builder->buffer, &of);
    return builder->tree.bytes ? DGM_OK : DGM_ENOSPC;
}

static int load_tree(struct builder *builder)
{
    return load(builder, builder->tree.base, builder->buffer, builder->tree.bytes);
}

static int set_registers(struct builder *builder)
{
    return vcpu_set_start(builder->domid, (struct vcpu_start){.kernel = builder->kernel.base,
                                                              .tree = builder->tree.base});
}

static const struct {
    int (*run)(struct builder *builder);
    const char *what; /* what failed */
} steps[] = {
    {make_domain, "Xen makes no domain"},
    {make_vcpus, "Xen makes no vCPUs"},
    {limit_memory, "Xen sets no memory limit"},
    {make_table_pool, "Xen has no memory for its page tables"},
    {make_64_bit, "Xen makes it no 64-bit domain"}, /* refused once it has memory */
    {make_store_channel, "Xen makes no channel for its xenstore"},
    {populate_ram, "Xen has no memory for it"},
    {populate_console, "Xen has no memory for its console"},
    {clear_console, "the page of its console cannot be mapped"},
    {start_console, "Xen makes no console"},
    {load_kernel, "its kernel cannot be written"},
    {load_ramdisk, "its ramdisk cannot be written"},
    {write_tree, "its device tree is too large"},
    {load_tree, "its device tree cannot be written"},
    {set_registers, "Xen does not set its registers"},
};

#define STEPS (sizeof steps / sizeof steps[0])

/* --- from start to end --- */

static void unmap(struct builder *builder)
{
    for (unsigned i = 0; i < DGM_FOREIGN_BATCH_MAX; i++)
        if (builder->mapped >> i & 1)
            dgm_foreign_unmap(builder->slots, builder->slot[i]);
        else
            dgm_slot_give(builder->slots, NULL, builder->slot[i]);
    builder->mapped = 0;
}

static void finish(struct builder *builder, int result)
{
    builder->guest = NULL;
    builder->done(builder, result);
}

/* Undoes what was done, in as many turns as Xen needs. */
static void give_up(struct builder *builder)
{
    const int result = builder->made ? dgm_domain_destroy(builder->domid) : DGM_OK;

    if (result == DGM_EAGAIN)
        dgm_reactor_post(builder->reactor, &builder->task);
    else
        finish(builder, builder->failure);
}

static void end_failed(struct builder *builder, int result)
{
    const char *cure = result == DGM_ENOMEM ? ": give guests, or Dom0, less memory" : "";

    unmap(builder);
    builder->failure = result;
    if (result != DGM_EEXIST)
        dgm_env_log("guest %u (%s) cannot be built: %s (error %d)%s", builder->domid,
                    builder->guest->name, steps[builder->step].what, result, cure);
    give_up(builder);
}

static void run(struct dgm_task *task)
{
    struct builder *builder = dgm_container(task, struct builder, task);
    int result;

    if (builder->failure) {
        give_up(builder);
        return;
    }
    dgm_reactor_work(builder->reactor, DGM_RUN_WORK);
    result = steps[builder->step].run(builder);
    if (result < 0) {
        end_failed(builder, result);
        return;
    }
    if (result == DGM_OK) {
        builder->step++;
        builder->at = 0;
    }
    if (builder->step < STEPS) {
        dgm_reactor_post(builder->reactor, &builder->task);
        return;
    }
    unmap(builder);
    finish(builder, DGM_OK);
}

void builder_init(struct builder *builder, struct dgm_reactor *reactor,
                  struct dgm_slot_cache *slots, unsigned gic_version)
{
    builder->reactor = reactor;
    builder->slots = slots;
    builder->gic_version = gic_version;
    builder->task.run = run;
}

int builder_start(struct builder *builder, const struct config_guest *guest)
{
    dgm_assert(builder_is_idle(builder) && guest->can_build);
    place_banks(builder, guest->build.frames);
    if (!place_files(builder, &guest->build)) {
        dgm_env_log("guest %u (%s) cannot be built: its %llu MiB do not hold its kernel and its "
                    "ramdisk: give it more",
                    guest->domid, guest->name, (unsigned long long)guest->build.frames >> 8);
        return DGM_EINVAL;
    }
    if (dgm_slot_reserve(builder->slots, NULL, DGM_FOREIGN_BATCH_MAX) != DGM_OK)
        return DGM_EAGAIN;
    for (unsigned i = 0; i < DGM_FOREIGN_BATCH_MAX; i++)
        builder->slot[i] = dgm_slot_take(builder->slots);
    builder->guest = guest;
    builder->domid = guest->domid;
    builder->step = 0;
    builder->at = 0;
    builder->made = false;
    builder->failure = DGM_OK;
    dgm_reactor_post(builder->reactor, &builder->task);
    return DGM_OK;
}
