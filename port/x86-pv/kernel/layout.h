/* SPDX-License-Identifier: MIT */
/*
 * layout: the addresses of the test kernel, for C, assembly and the linker script
 *
 * Guest frame 0 is at VIRT_BASE, for PV (Xen's boot mapping) and PVH (entry.S) alike, so that a
 * guest frame and its address convert by one subtraction.
 */
#ifndef X86_PV_LAYOUT_H
#define X86_PV_LAYOUT_H

#define VIRT_BASE 0xffffffff80000000

#endif
