/* SPDX-License-Identifier: MIT */
/* image: the symbols that link.ld and entry.S define. */
#ifndef KERNEL_ARM64_IMAGE_H
#define KERNEL_ARM64_IMAGE_H

#include <stdint.h>

extern char image_start[], rodata_start[], data_start[], image_end[];
extern char stack_guard[], stack_top[];

/* The drivers that registered themselves (dragoman/drivers/driver.h). */
struct dgm_disk_driver;
struct dgm_nic_driver;
extern const struct dgm_disk_driver *const disk_drivers[], *const disk_drivers_end[];
extern const struct dgm_nic_driver *const nic_drivers[], *const nic_drivers_end[];

/* Called by entry.S. */
uint64_t mmu_prepare(uint64_t device_tree);
_Noreturn void kernel_main(uint64_t device_tree, uint64_t entry_ticks);

struct exception_frame {
    uint64_t x[31];
    uint64_t sp, pc, pstate, esr, far;
};
_Noreturn void exception_report(const struct exception_frame *frame, unsigned vector);

#endif
