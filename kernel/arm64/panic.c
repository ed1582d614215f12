/* SPDX-License-Identifier: MIT */
/*
 * panic: the end of the domain, reported so that its cause can be found
 *
 * Every exception ends here, and a failed assertion raises one (brk), so there is one report:
 * cause, registers, devices that they point to, backtrace with symbols, shutdown as crashed. Runs
 * on the exception stack; uses only the console.
 */
#include "image.h"
#include "symbols.h"
#include "registers.h"

#include <port/arch.h>
#include <port/env.h>
#include <stdbool.h>
#include <xen/xen.h>
#include <xen/sched.h>

static struct {
    const char *file, *what;
    int line;
} reason;
static bool reporting;

_Noreturn void dgm_env_panic(const char *file, int line, const char *what)
{
    reason.file = file;
    reason.line = line;
    reason.what = what;
    for (;;)
        __asm__ volatile("brk #0xd6a" ::: "memory");
}

/* The C library was built with stack protectors. */
uintptr_t __stack_chk_guard = 0x7d1c0de5a11e57ed;
_Noreturn void __stack_chk_fail(void);
_Noreturn void __stack_chk_fail(void)
{
    dgm_env_panic(__FILE__, __LINE__, "the stack was overwritten");
}

static _Noreturn void stop_as_crashed(void)
{
    struct sched_shutdown shutdown = {.reason = SHUTDOWN_crash};

    for (;;)
        dgm_arch_hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, (uintptr_t)&shutdown, 0, 0, 0);
}

static const char *exception_class(uint64_t esr)
{
    switch (esr >> 26) {
    case 0x0:
        return "unknown instruction";
    case 0x7:
        return "FP access trapped";
    case 0xe:
        return "illegal execution state";
    case 0x15:
        return "unexpected SVC";
    case 0x20:
    case 0x21:
        return "instruction abort";
    case 0x22:
        return "misaligned PC";
    case 0x24:
    case 0x25:
        return "data abort";
    case 0x26:
        return "misaligned stack";
    case 0x3c:
        return "breakpoint instruction";
    default:
        return "exception";
    }
}

/* A return address may be the first of the next function, if a call that never returns ends the
 * function: so the symbol is looked up `back` bytes before it. */
static void line_of(const char *label, uint64_t address, uint64_t back)
{
    uint64_t offset;
    const char *name = symbol_at(address - back, &offset);

    if (name)
        dgm_env_log("  %s %016llx %s+0x%llx", label, (unsigned long long)address, name,
                    (unsigned long long)(offset + back));
    else
        dgm_env_log("  %s %016llx", label, (unsigned long long)address);
}

static void line_at(uint64_t address)
{
    line_of("at  ", address, 0);
}

static void line_from(uint64_t address)
{
    line_of("from", address, 4);
}

/* Follows the frame records; each must lie on the stack, above the one before. */
static void print_backtrace(const struct exception_frame *frame)
{
    uint64_t record = frame->x[29], last = (uintptr_t)stack_guard;

    line_at(frame->pc);
    line_from(frame->x[30]);
    for (unsigned depth = 0; depth < 32; depth++) {
        if (record <= last || record > (uintptr_t)stack_top - 16 || record % 16)
            break;
        const uint64_t *at = (const uint64_t *)(uintptr_t)record;
        if (at[1] != frame->x[30] && at[1])
            line_from(at[1]);
        last = record;
        record = at[0];
    }
}

static bool is_serror(unsigned vector)
{
    return vector % 4 == 3;
}

/* Names the devices whose registers the CPU accesses, or has accessed: an access that is aborted at
 * once has its address in `far`, another one probably still in a register. */
static void print_devices(const struct exception_frame *frame, unsigned vector)
{
    uint64_t offset;
    const char *device = is_serror(vector) ? NULL : registers_find(frame->far, &offset);

    if (device)
        dgm_env_log("  far is register 0x%llx of %s", (unsigned long long)offset, device);
    for (unsigned i = 0; i < 31; i++) {
        device = registers_find(frame->x[i], &offset);
        if (device)
            dgm_env_log("  x%u is at register 0x%llx of %s", i, (unsigned long long)offset, device);
    }
}

static void print_cause(const struct exception_frame *frame, unsigned vector)
{
    if (reason.what)
        dgm_env_log("panic: %s (%s:%d)", reason.what, reason.file, reason.line);
    else if (is_serror(vector)) /* it may have left no class in esr */
        dgm_env_log("panic: SError, esr %08llx: a device or its bus answered one of the last "
                    "accesses with an error; is it powered, and its link up?",
                    (unsigned long long)frame->esr);
    else if (frame->far >= (uintptr_t)stack_guard && frame->far < (uintptr_t)stack_guard + 4096)
        dgm_env_log("panic: stack overflow");
    else
        dgm_env_log("panic: %s, vector %u, esr %08llx, far %016llx", exception_class(frame->esr),
                    vector, (unsigned long long)frame->esr, (unsigned long long)frame->far);
}

_Noreturn void exception_report(const struct exception_frame *frame, unsigned vector)
{
    if (reporting)
        stop_as_crashed();
    reporting = true;

    print_cause(frame, vector);
    for (unsigned i = 0; i < 30; i += 3)
        dgm_env_log("  x%-2u %016llx  x%-2u %016llx  x%-2u %016llx", i,
                    (unsigned long long)frame->x[i], i + 1, (unsigned long long)frame->x[i + 1],
                    i + 2, (unsigned long long)frame->x[i + 2]);
    dgm_env_log("  x30 %016llx  sp  %016llx  pc  %016llx  pstate %08llx",
                (unsigned long long)frame->x[30], (unsigned long long)frame->sp,
                (unsigned long long)frame->pc, (unsigned long long)frame->pstate);
    dgm_env_log("  image at %016llx", (unsigned long long)(uintptr_t)image_start);
    if (!reason.what)
        print_devices(frame, vector);
    print_backtrace(frame);
    dgm_env_log("end crash");
    stop_as_crashed();
}
