/* SPDX-License-Identifier: MIT */
/*
 * builder: if these fail, a guest that starts again gets other bytes than its kernel, its ramdisk
 * and its tree; a failed build leaves a domain or slots behind; or building one stops the others'
 * disks.
 *
 * kernel/builder.c and builder_tree.c as they ship, with stand-ins for what they call of Xen.
 */
#include "unit.h"

#include <dragoman/base/status.h>
#include <dragoman/hyper/create.h>
#include <dragoman/hyper/domain.h>
#include <dragoman/pages/foreign.h>
#include <kernel/builder.h>
#include <kernel/images.h>
#include <kernel/arm64/vcpu.h>

#include <libfdt.h>

#define MIB          0x100000ull
#define KERNEL_BYTES (3 * MIB + 1234)
#define IMAGE_BYTES  (5 * MIB) /* with its .bss */
#define RAMDISK      (MIB + 77)
#define RAM_MIB      64ull
#define NEVER        1000u

static struct {
    struct dgm_reactor reactor;
    struct builder builder;
    struct config_guest guest;
    unsigned done, destroyed, calls, fail_at, slots_taken, registers, unmapped;
    int done_result, failure, destroy_again;
    bool exists, in_64_bit, no_large;
    uint64_t frames_max, populated, console_frames;
    struct vcpu_start start;
    dgm_gfn_t mapped[DGM_FOREIGN_BATCH_MAX]; /* the guest's frames at our slots */
} rig;

static char kernel[KERNEL_BYTES] __attribute__((aligned(4096)));
static char ramdisk[RAMDISK] __attribute__((aligned(4096)));
static char ram[RAM_MIB * MIB], console[DGM_FRAME_BYTES];

static int call(void)
{
    return rig.calls++ == rig.fail_at ? rig.failure : DGM_OK;
}

static int fake_create(void)
{
    const int result = call();

    rig.exists = result == DGM_OK;
    return result;
}

static int fake_populate(dgm_gfn_t gfn, unsigned order)
{
    const int result = call();
    const uint64_t number = dgm_gfn_number(gfn);

    assert_true(rig.in_64_bit);
    if (result != DGM_OK)
        return result == DGM_ENOMEM ? 0 : result;
    if (order && rig.no_large)
        return 0;
    if (number == GUEST_VUART_GFN) {
        rig.console_frames++;
        return 1;
    }
    assert_int_equal(number, (GUEST_BANK0_BASE >> DGM_FRAME_SHIFT) + rig.populated);
    assert_int_equal(number % (1ull << order), 0);
    rig.populated += 1ull << order;
    assert_true(rig.populated <= rig.frames_max);
    return 1;
}

static int fake_map_at(struct dgm_foreign_run run, uint32_t *mapped)
{
    const int result = call();

    assert_true(run.count >= 1 && run.count <= DGM_FOREIGN_BATCH_MAX);
    for (unsigned i = 0; i < run.count && (result == DGM_OK || i < run.count / 2); i++) {
        rig.mapped[i] = dgm_gfn_add(run.first, i);
        *mapped |= 1u << i;
    }
    return result;
}

/* The guest's frame that is mapped at a slot. */
static void *fake_va(dgm_gfn_t slot)
{
    const uint64_t number = dgm_gfn_number(rig.mapped[dgm_gfn_number(slot)]);

    if (number == GUEST_VUART_GFN)
        return console;
    assert_true(number >= GUEST_BANK0_BASE >> DGM_FRAME_SHIFT);
    assert_true(number < (GUEST_BANK0_BASE + RAM_MIB * MIB) >> DGM_FRAME_SHIFT);
    return ram + (number << DGM_FRAME_SHIFT) - GUEST_BANK0_BASE;
}

static int fake_destroy(void)
{
    if (rig.destroy_again-- > 0)
        return DGM_EAGAIN;
    rig.destroyed++;
    rig.exists = false;
    return DGM_OK;
}

int vcpu_set_start(domid_t domid, struct vcpu_start start)
{
    rig.start = start;
    rig.registers++;
    return call();
}

bool image_read(const void *image, uint64_t bytes, struct image_header *header)
{
    *header = (struct image_header){.bytes = IMAGE_BYTES};
    return true;
}

#define dgm_domain_create(domid, vcpus)          fake_create()
#define dgm_domain_make_vcpus(domid, vcpus)      call()
#define dgm_domain_set_pages_max(domid, pages)   (rig.frames_max = (pages), call())
#define dgm_domain_set_table_pool(domid, bytes)  (assert_int_equal((bytes) % 4096, 0), call())
#define dgm_domain_set_64_bit(domid)             (rig.in_64_bit = true, call())
#define dgm_domain_alloc_channel(domid, port)    (*(port) = 1, call())
#define dgm_domain_set_param(param, value)       ((void)(param), call())
#define dgm_domain_populate(domid, gfn, order)   fake_populate(gfn, order)
#define dgm_domain_start_vuart(domid, gfn, port) (*(port) = 7, call())
#define dgm_domain_destroy(domid)                fake_destroy()
#define dgm_foreign_map_at(slots, run, mapped)   fake_map_at(run, mapped)
#define dgm_foreign_unmap(cache, slot)           ((void)(slot), rig.unmapped++, (void)rig.slots_taken--)
#define dgm_slot_reserve(cache, quota, count)    DGM_OK
#define dgm_slot_take(cache)                     dgm_gfn(rig.slots_taken++)
#define dgm_slot_give(cache, quota, slot)        ((void)(slot), (void)rig.slots_taken--)
#define dgm_env_va(gfn)                          fake_va(gfn)
#include <kernel/builder.c>
#include <kernel/builder_tree.c>

static void on_done(struct builder *builder, int result)
{
    assert_true(builder_is_idle(builder));
    rig.done++;
    rig.done_result = result;
}

static void build(void)
{
    assert_int_equal(builder_start(&rig.builder, &rig.guest), DGM_OK);
    while (dgm_reactor_turn(&rig.reactor))
        ;
    assert_int_equal(rig.done, 1);
    assert_int_equal(rig.slots_taken, 0);
}

static int set_up(void **state)
{
    memset(&rig, 0, sizeof rig);
    memset(ram, 0, sizeof ram);
    memset(console, 0x5a, sizeof console);
    for (size_t i = 0; i < sizeof kernel; i++)
        kernel[i] = (char)(i * 7 + i / 4096);
    for (size_t i = 0; i < sizeof ramdisk; i++)
        ramdisk[i] = (char)(i * 5 + i / 4096);
    dgm_sim_set_now_ns(0);
    dgm_reactor_init(&rig.reactor);
    builder_init(&rig.builder, &rig.reactor, NULL, 3);
    rig.builder.done = on_done;
    rig.fail_at = UINT32_MAX;
    rig.guest = (struct config_guest){
        .domid = 3,
        .name = "web",
        .can_build = true,
        .build = {.frames = RAM_MIB * 256,
                  .vcpus = 18,
                  .arguments = "console=ttyAMA0 a b",
                  .kernel = {(uintptr_t)kernel, sizeof kernel},
                  .ramdisk = {(uintptr_t)ramdisk, sizeof ramdisk}},
    };
    return 0;
}

static uint64_t number_of(const void *tree, const char *path, const char *name)
{
    const fdt64_t *value = fdt_getprop(tree, fdt_path_offset(tree, path), name, NULL);

    assert_non_null(value);
    return fdt64_ld(value);
}

/* Fails: Linux starts with another byte than in the files, or finds no memory, CPU or ramdisk. */
static void the_guest_gets_its_files(void **state)
{
    build();
    assert_int_equal(rig.done_result, DGM_OK);
    assert_true(rig.exists);
    assert_int_equal(rig.populated, RAM_MIB * 256);
    assert_int_equal(rig.console_frames, 1);
    assert_int_equal(rig.frames_max, RAM_MIB * 256 + 1);
    assert_int_equal(rig.registers, 1);
    assert_int_equal(rig.builder.console_port, 7);
    for (size_t i = 0; i < sizeof console; i++)
        assert_int_equal(console[i], 0);
    assert_int_equal(rig.start.kernel, GUEST_BANK0_BASE);
    assert_memory_equal(ram, kernel, sizeof kernel);

    const char *tree = ram + rig.start.tree - GUEST_BANK0_BASE;
    assert_int_equal(fdt_check_full(tree, BUILDER_TREE_BYTES), 0);
    const uint64_t start = number_of(tree, "/chosen", "linux,initrd-start");
    assert_int_equal(number_of(tree, "/chosen", "linux,initrd-end") - start, sizeof ramdisk);
    assert_memory_equal(ram + start - GUEST_BANK0_BASE, ramdisk, sizeof ramdisk);
    assert_true(start >= GUEST_BANK0_BASE + IMAGE_BYTES); /* beyond the kernel's .bss */
    assert_string_equal(fdt_getprop(tree, fdt_path_offset(tree, "/chosen"), "bootargs", NULL),
                        "console=ttyAMA0 a b");
    assert_int_equal(number_of(tree, "/memory@40000000", "reg"), GUEST_BANK0_BASE);
    assert_true(fdt_path_offset(tree, "/cpus/cpu@101") >= 0); /* the 18th vCPU */
    assert_true(fdt_path_offset(tree, "/cpus/cpu@102") < 0);
}

/* Fails: a machine whose memory is in pieces starts no guest again. */
static void memory_in_small_pieces(void **state)
{
    rig.no_large = true;
    build();
    assert_int_equal(rig.done_result, DGM_OK);
    assert_int_equal(rig.populated, RAM_MIB * 256);
    assert_memory_equal(ram, kernel, sizeof kernel);
}

/* Fails: while a guest is built, others' disks wait for longer than a run may take. */
static void each_turn_is_short(void **state)
{
    const uint64_t turns = rig.reactor.turns;
    uint64_t most = 0, copied = 0;

    assert_int_equal(builder_start(&rig.builder, &rig.guest), DGM_OK);
    while (dgm_reactor_turn(&rig.reactor)) {
        const uint64_t now = rig.builder.copied - copied;

        most = now > most ? now : most;
        copied = rig.builder.copied;
    }
    assert_true(most <= 65536);
    assert_true(rig.reactor.turns - turns >= (sizeof kernel + sizeof ramdisk) / 65536);
}

/* Fails: a call that Xen refuses leaves a domain, slots, or a builder that is never idle. Every
 * call of a build fails once, with each kind of error. */
static void every_call_may_fail(void **state)
{
    static const int errors[] = {DGM_ENOMEM, DGM_EINVAL, DGM_EEXIST, DGM_EPERM, DGM_EFAULT};
    unsigned calls;

    build();
    calls = rig.calls;
    for (unsigned e = 0; e < sizeof errors / sizeof errors[0]; e++)
        for (unsigned at = 0; at < calls; at += at < 12 || at + 60 > calls ? 1 : 7) {
            set_up(NULL);
            rig.fail_at = at;
            rig.failure = errors[e];
            rig.destroy_again = 2;
            build();
            if (rig.done_result == DGM_OK) { /* 2 MiB came in single frames instead */
                assert_int_equal(errors[e], DGM_ENOMEM);
                assert_true(rig.exists);
                continue;
            }
            assert_int_equal(rig.done_result, errors[e]);
            assert_false(rig.exists);
            assert_int_equal(rig.destroyed, at == 0 ? 0 : 1);
        }
}

/* Fails: files that do not fit overlap in the guest, or end Dragoman. */
static void too_little_memory_is_refused(void **state)
{
    for (uint64_t mib = 0; mib < 20; mib++) {
        const bool fits = mib >= 6 + 2 + 2; /* each in units of 2 MiB, and the tree */

        set_up(NULL);
        rig.guest.build.frames = mib * 256;
        if (fits) {
            build();
            assert_int_equal(rig.done_result, DGM_OK);
            continue;
        }
        assert_int_equal(builder_start(&rig.builder, &rig.guest), DGM_EINVAL);
        assert_true(builder_is_idle(&rig.builder));
        assert_int_equal(rig.calls + rig.slots_taken, 0);
    }
}

/* Fails: the tree of the largest guest does not fit its buffer, or a longer one is cut silently. */
static void the_largest_tree(void **state)
{
    static char buffer[BUILDER_TREE_BYTES], text[BUILDER_TREE_BYTES];
    struct config_build of = {.frames = 1 << 20, .vcpus = CONFIG_VCPUS_MAX, .arguments = text};
    const struct builder_tree tree = {
        .build = &of,
        .gic_version = 3,
        .banks = {{GUEST_BANK0_BASE, GUEST_BANK0_BYTES}, {GUEST_BANK1_BASE, MIB}}};

    memset(text, 'x', 1023);
    assert_true(builder_tree_write(buffer, &tree) > 1023);
    assert_int_equal(fdt_check_full(buffer, sizeof buffer), 0);
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(builder_tree_write(buffer, &tree), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_guest_gets_its_files, set_up),
        cmocka_unit_test_setup(memory_in_small_pieces, set_up),
        cmocka_unit_test_setup(each_turn_is_short, set_up),
        cmocka_unit_test_setup(every_call_may_fail, set_up),
        cmocka_unit_test_setup(too_little_memory_is_refused, set_up),
        cmocka_unit_test(the_largest_tree),
    };

    return cmocka_run_group_tests_name("builder", tests, NULL, NULL);
}
