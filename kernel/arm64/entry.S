/* SPDX-License-Identifier: MIT */
/*
 * entry: from Xen's jump to C
 *
 * Xen loads the raw image at the start of Dom0's first RAM bank and jumps to its first byte: EL1h, MMU and caches
 * off, interrupts masked, x0 = device tree (xen-arm64 facts, section 1). Steps:
 *   1. apply the image's R_AARCH64_RELATIVE relocations: it is linked at 0 and runs anywhere;
 *   2. two stacks: SP_EL1 for exceptions, SP_EL0 for everything else, so that a stack overflow, caught by the
 *      guard page, still has a stack to be reported on;
 *   3. mmu_prepare() (C, no caches yet) builds the first page tables;
 *   4. drop the cache lines of everything that was written uncached, turn MMU and caches on;
 *   5. main().
 */
    .section .head, "ax"
    .global image_start
image_start:
    b       start
    .long   0
    .quad   0                           /* text_offset: the only field that Xen reads */
    /* link.ld puts the image's size here */
    .section .head.rest, "ax"
    .quad   0xa                         /* little endian, 4 KiB, anywhere */
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

start:
    mov     x19, x0
    mrs     x22, cntvct_el0             /* the first instant of our own */
    mov     x0, #(3 << 20)              /* FP and SIMD: the C library's mem* use them */
    msr     cpacr_el1, x0
    isb

    adrp    x20, image_start
    add     x20, x20, :lo12:image_start
    adrp    x1, rela_start
    add     x1, x1, :lo12:rela_start
    adrp    x2, rela_end
    add     x2, x2, :lo12:rela_end
1:  cmp     x1, x2
    b.hs    2f
    ldp     x3, x4, [x1]                /* r_offset, r_info */
    ldr     x5, [x1, #16]               /* r_addend */
    add     x1, x1, #24
    cmp     w4, #1027                   /* R_AARCH64_RELATIVE; link.ld leaves no other kind */
    b.ne    1b
    add     x5, x5, x20
    str     x5, [x20, x3]
    b       1b

2:  adrp    x0, vectors
    add     x0, x0, :lo12:vectors
    msr     vbar_el1, x0
    msr     spsel, #1
    adrp    x0, exception_stack_top
    add     x0, x0, :lo12:exception_stack_top
    mov     sp, x0
    msr     spsel, #0
    adrp    x0, stack_top
    add     x0, x0, :lo12:stack_top
    mov     sp, x0
    adrp    x0, thread_block
    add     x0, x0, :lo12:thread_block
    msr     tpidr_el0, x0
    mov     x29, #0
    mov     x30, #0

    mov     x0, x19
    bl      mmu_prepare                 /* -> x0: translation table root */
    mov     x21, x0

    /* Lines that Xen's copy left in the caches, clean but now stale. */
    mrs     x1, ctr_el0
    ubfx    x1, x1, #16, #4
    mov     x2, #4
    lsl     x2, x2, x1                  /* bytes per line */
    mov     x0, x20
    adrp    x3, image_end
    add     x3, x3, :lo12:image_end
3:  dc      ivac, x0
    add     x0, x0, x2
    cmp     x0, x3
    b.lo    3b
    dsb     sy

    mov     x0, x21
    bl      mmu_enable
    msr     daifclr, #4                 /* SErrors are exceptions from now on: Xen starts us with them masked */
    mov     x0, x19
    mov     x1, x22
    bl      kernel_main
    b       .

/* void mmu_enable(uint64_t root): see mmu.c for the attributes that MAIR names. */
    .text
mmu_enable:
    ldr     x1, =0x04ff                 /* 0: normal write-back; 1: device nGnRE */
    msr     mair_el1, x1
    mrs     x2, id_aa64mmfr0_el1
    and     x2, x2, #0xf                /* physical address range */
    cmp     x2, #5
    mov     x3, #5
    csel    x2, x2, x3, lo
    ldr     x1, =0x803510               /* T0SZ 16, inner/outer write-back, inner shareable, 4 KiB, EPD1 */
    orr     x1, x1, x2, lsl #32
    msr     tcr_el1, x1
    msr     ttbr0_el1, x0
    isb
    tlbi    vmalle1
    ic      iallu
    dsb     nsh
    isb
    mrs     x1, sctlr_el1
    orr     x1, x1, #(1 << 2)
    orr     x1, x1, #(1 << 0)
    orr     x1, x1, #(1 << 3)
    orr     x1, x1, #(1 << 12)
    orr     x1, x1, #(1 << 19)
    msr     sctlr_el1, x1
    isb
    ret

/*
 * bool mmu_probe(uint64_t address): reads a register. False: the read was aborted, as vector 0 finds, or, where the bus
 * reports that later, vector 3 (SError): no device responds there. The barriers keep another access's abort from being
 * taken for this one's: an earlier one's arrives before the read, this one's before probe_done.
 */
    .global mmu_probe
mmu_probe:
    dsb     sy
probe_read:
    ldr     w1, [x0]
    dsb     sy
    isb
    nop
probe_done:
    mov     w0, #1
    ret
probe_aborted:
    mov     w0, #0
    ret

/* Sixteen vectors; none returns but for mmu_probe(): Dragoman polls its interrupts, so every other exception is the
 * end. */
    .macro  vector index
    .balign 128
    sub     sp, sp, #288
    stp     x0, x1, [sp, #0]
    mov     x0, #\index
    b       exception
    .endm

    /* A section of its own, so that its alignment is no other code's. */
    .section .text.vectors, "ax"
    .balign 2048
    .global vectors
vectors:
    .irp    index, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    vector  \index
    .endr

exception:
    stp     x2, x3, [sp, #16]
    mrs     x2, elr_el1
    adr     x3, probe_read
    cbz     x0, 2f                      /* 0: synchronous, with SP_EL0 */
    cmp     x0, #3                      /* 3: SError, with SP_EL0 */
    b.ne    1f
    cmp     x2, x3                      /* at the read: of an earlier access */
    b.ls    1f
    adr     x3, probe_done
    cmp     x2, x3
    b.hi    1f
    b       3f
2:  cmp     x2, x3
    b.ne    1f
3:  adr     x3, probe_aborted
    msr     elr_el1, x3
    ldp     x2, x3, [sp, #16]
    ldp     x0, x1, [sp]
    add     sp, sp, #288
    eret
1:
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    mrs     x1, sp_el0
    stp     x30, x1, [sp, #240]
    mrs     x1, elr_el1
    mrs     x2, spsr_el1
    stp     x1, x2, [sp, #256]
    mrs     x1, esr_el1
    mrs     x2, far_el1
    stp     x1, x2, [sp, #272]
    mov     x1, x0
    mov     x0, sp
    bl      exception_report
    b       .

    .bss
    .balign 16
thread_block:                           /* the C library's thread-local storage: errno */
    .skip   256
