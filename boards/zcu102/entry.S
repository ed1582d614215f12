/* SPDX-License-Identifier: MIT */
/*
 * zcu102/entry: what QEMU's xlnx-zcu102 starts in place of a boot loader
 *
 * QEMU takes the tree that it is given and overwrites its /memory with one range from 0 on, which
 * is wrong above 2 GiB, where the board's second bank is at 0x8_0000_0000. So Xen and the tree
 * that it reads are loaded separately (tools/run.sh has the addresses), and this jumps there, by
 * the arm64 boot protocol: the tree in x0, x1 to x3 zero.
 */
    ldr x0, =0x07000000
    mov x1, xzr
    mov x2, xzr
    mov x3, xzr
    ldr x4, =0x00200000
    br  x4
