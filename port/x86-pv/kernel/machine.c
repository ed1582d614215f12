/* SPDX-License-Identifier: MIT */
/*
 * machine: see machine.h. Page table entries are changed by update_va_mapping in multicalls of 64:
 * Xen does the accounting, and no page table is written directly. xen/xen.h, xen/arch-x86/xen.h.
 */
#include "machine.h"
#include "console.h"

#include <dragoman/hyper/hypercall.h>
#include <dragoman/base/status.h>
#include <port/arch.h>
#include <port/env.h>

#include <xen/sched.h>

#define PAGE_FLAGS  0x63ull /* present, writable, accessed, dirty */
#define CALLS       64u
#define P2M_INVALID (~0ul)

uint8_t region[FRAMES_MAX][DGM_FRAME_BYTES] __attribute__((aligned(4096)));
dgm_gfn_t machine_left_mapped = DGM_GFN_NONE;
unsigned machine_remap_failures;

static unsigned long *p2m;
static uint64_t p2m_frames;
static struct multicall_entry calls[CALLS];

void *dgm_env_va(dgm_gfn_t gfn)
{
    return (void *)(VIRT_BASE + dgm_gfn_address(gfn));
}

dgm_gfn_t dgm_env_gfn(const void *va)
{
    return dgm_gfn(((uintptr_t)va - VIRT_BASE) / DGM_FRAME_BYTES);
}

struct dgm_gfn_range region_part(uint64_t first, uint64_t count)
{
    return (struct dgm_gfn_range){dgm_env_gfn(region[first]), count};
}

_Noreturn void machine_end(void)
{
    struct sched_shutdown end = {.reason = SHUTDOWN_reboot};

    dgm_sched_op(SCHEDOP_shutdown, &end);
    for (;;)
        __asm__ volatile("" ::: "memory");
}

void machine_start(struct start_info *info)
{
    p2m = (unsigned long *)info->mfn_list;
    p2m_frames = info->nr_pages;
}

/* --- page tables --- */

static long flush_calls(unsigned count)
{
    const long result = dgm_hypercall(__HYPERVISOR_multicall, (uintptr_t)calls, count, 0, 0, 0);

    if (result)
        return result;
    for (unsigned i = 0; i < count; i++)
        if ((long)calls[i].result)
            return (long)calls[i].result;
    return 0;
}

/* Maps every frame of `range` to mfn[i], or unmaps it if mfn is NULL. */
static int set_range(struct dgm_gfn_range range, const dgm_mfn_t *mfn)
{
    for (uint64_t done = 0; done < range.count;) {
        unsigned count = 0;
        long result;

        for (; count < CALLS && done < range.count; done++) {
            const dgm_gfn_t gfn = dgm_gfn_add(range.first, done);

            if (!mfn && dgm_gfn_equal(gfn, machine_left_mapped))
                continue;
            calls[count++] = (struct multicall_entry){
                .op = __HYPERVISOR_update_va_mapping,
                .args = {(uintptr_t)dgm_env_va(gfn),
                         mfn ? dgm_mfn_address(mfn[done]) | PAGE_FLAGS : 0, UVMF_NONE},
            };
            p2m[dgm_gfn_number(gfn)] = mfn ? dgm_mfn_number(mfn[done]) : P2M_INVALID;
        }
        if (count == 0)
            continue;
        /* One flush for all of them, with the last. */
        calls[count - 1].args[2] = UVMF_TLB_FLUSH | UVMF_ALL;
        result = flush_calls(count);
        if (result)
            return (int)result;
    }
    return 0;
}

static dgm_mfn_t port_mfn(void *context, dgm_gfn_t gfn)
{
    const uint64_t number = dgm_gfn_number(gfn);

    return number < p2m_frames && p2m[number] != P2M_INVALID ? dgm_mfn(p2m[number]) : DGM_MFN_NONE;
}

static int port_unmap(void *context, struct dgm_gfn_range range)
{
    return set_range(range, NULL);
}

static int port_remap(void *context, struct dgm_gfn_range range, const dgm_mfn_t *mfn)
{
    if (machine_remap_failures) {
        machine_remap_failures--;
        return DGM_ENOMEM;
    }
    return set_range(range, mfn);
}

const struct dgm_contig_port machine_contig_port = {
    .mfn = port_mfn, .unmap = port_unmap, .remap = port_remap};

uint64_t machine_mfn(const void *va)
{
    return p2m[dgm_gfn_number(dgm_env_gfn(va))];
}

long machine_show(void *va, uint64_t address, uint64_t flags)
{
    return dgm_hypercall(__HYPERVISOR_update_va_mapping, (uintptr_t)va,
                         (address & ~0xfffull) | PAGE_FLAGS | flags, UVMF_INVLPG | UVMF_ALL, 0, 0);
}

long machine_hide(void *va)
{
    return dgm_hypercall(__HYPERVISOR_update_va_mapping, (uintptr_t)va, 0, UVMF_INVLPG | UVMF_ALL,
                         0, 0);
}

/* --- where the frames are --- */

void machine_scatter(struct dgm_gfn_range range)
{
    const uint64_t first = dgm_gfn_number(range.first);
    static dgm_mfn_t old[FRAMES_MAX], mixed[FRAMES_MAX];
    unsigned bits = 0;

    while (1ull << bits < range.count)
        bits++;
    for (uint64_t i = 0; i < range.count; i++)
        old[i] = dgm_mfn(p2m[first + i]);
    /* Bit-reversed: neighbours end up half the range apart. */
    for (uint64_t i = 0; i < range.count; i++) {
        uint64_t from = 0;

        for (unsigned bit = 0; bit < bits; bit++)
            from |= (i >> bit & 1) << (bits - 1 - bit);
        mixed[i] = old[from];
    }
    check("scatter_unmaps", set_range(range, NULL) == 0);
    check("scatter_maps", set_range(range, mixed) == 0);
    /* Without an exchange Xen does not update its m2p: the guest does, entry by entry. */
    for (uint64_t i = 0; i < range.count; i++) {
        struct mmu_update update = {.ptr = dgm_mfn_address(mixed[i]) | MMU_MACHPHYS_UPDATE,
                                    .val = first + i};

        dgm_hypercall(__HYPERVISOR_mmu_update, (uintptr_t)&update, 1, 0, DOMID_SELF, 0);
    }
}

uint64_t machine_runs(struct dgm_gfn_range range)
{
    const uint64_t first = dgm_gfn_number(range.first);
    uint64_t runs = 1;

    for (uint64_t i = 1; i < range.count; i++)
        runs += p2m[first + i] != p2m[first + i - 1] + 1;
    return runs;
}

uint64_t machine_m2p_wrong(struct dgm_gfn_range range)
{
    const uint64_t first = dgm_gfn_number(range.first);
    uint64_t wrong = 0;

    for (uint64_t i = 0; i < range.count; i++)
        wrong += machine_to_phys_mapping[p2m[first + i]] != first + i;
    return wrong;
}

uint64_t machine_above(struct dgm_gfn_range range, unsigned bits)
{
    const uint64_t first = dgm_gfn_number(range.first);
    uint64_t above = 0;

    for (uint64_t i = 0; i < range.count; i++)
        above += (uint64_t)p2m[first + i] << 12 >> bits != 0;
    return above;
}
