/* SPDX-License-Identifier: MIT */
/*
 * main: the test kernel for pages/contig on real Xen
 *
 * Boots as PV or PVH Dom0, runs its tests, reboots (QEMU then ends). tests/x86/run.py starts it and
 * checks its output. Words on the command line: "broken" plants a bug, "costs" runs only the
 * measurements.
 */
#include "console.h"
#include "machine.h"
#include "tests.h"

#include <dragoman/hyper/hypercall.h>

#include <xen/version.h>

void kernel_main(struct start_info *info);
void trap_report(unsigned vector, const uint64_t *frame);
extern char trap_invalid_opcode[], trap_protection[], trap_page_fault[];

void trap_report(unsigned vector, const uint64_t *frame)
{
    /* rcx, r11, then the error code for all but vector 6, then rip. */
    const bool has_error = vector != 6;

    say("not ok exception # vector %u, error %lx, rip %lx", vector, has_error ? frame[2] : 0,
        frame[has_error ? 3 : 2]);
    machine_end();
}

static bool has_word(const int8_t *line, const char *word)
{
    for (; *line; line++) {
        unsigned i = 0;

        while (word[i] && line[i] == word[i])
            i++;
        if (!word[i])
            return true;
    }
    return false;
}

static void run_pv_tests(struct start_info *info)
{
    static struct trap_info traps[] = {
        {.vector = 6, .cs = FLAT_KERNEL_CS, .address = (uintptr_t)trap_invalid_opcode},
        {.vector = 13, .cs = FLAT_KERNEL_CS, .address = (uintptr_t)trap_protection},
        {.vector = 14, .cs = FLAT_KERNEL_CS, .address = (uintptr_t)trap_page_fault},
        {0},
    };

    check("trap_table",
          dgm_hypercall(__HYPERVISOR_set_trap_table, (uintptr_t)traps, 0, 0, 0, 0) == 0);
    machine_start(info);
    /* Under -icount the device's clock, 100 ms a copy, would take all the time. */
    if (has_word(info->cmd_line, "costs")) {
        test_large();
        return;
    }
    test_dma(has_word(info->cmd_line, "broken"));
    test_large();
    test_partial();
    test_refusals();
    test_grant();
}

void kernel_main(struct start_info *info)
{
    const long version = dgm_hypercall(__HYPERVISOR_xen_version, XENVER_version, 0, 0, 0, 0);

    say("on Xen %ld.%ld as %s", version >> 16, version & 0xffff, info ? "PV" : "PVH");
    if (info)
        run_pv_tests(info);
    else
        test_pvh();
    say("done");
    machine_end();
}
