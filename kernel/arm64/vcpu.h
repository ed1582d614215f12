/* SPDX-License-Identifier: MIT */
/* vcpu: the registers with which a guest's first vCPU starts. */
#ifndef KERNEL_ARM64_VCPU_H
#define KERNEL_ARM64_VCPU_H

#include <stdint.h>
#include <xen/xen.h>

/* Guest-physical addresses. */
struct vcpu_start {
    uint64_t kernel; /* of its first instruction */
    uint64_t tree;   /* of the device tree */
};

/* Sets them as Linux's boot protocol wants: EL1, interrupts masked, MMU and caches off. Returns
 * DGM_OK or Xen's error. */
int vcpu_set_start(domid_t domid, struct vcpu_start start);

#endif
