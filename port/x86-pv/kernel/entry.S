/* SPDX-License-Identifier: MIT */
/*
 * entry: from Xen's jump to C, twice
 *
 * One ELF is a PV and a PVH Dom0. As PV it is entered in 64-bit mode, in ring 3, paged by Xen, at
 * pv_start with rsi = start_info. As PVH it is entered in 32-bit mode without paging at pvh_start
 * with ebx = hvm_start_info; it makes the same addresses valid (tables below), and asks Xen for the
 * hypercall page by MSR. Both continue in kernel_main(start_info or NULL).
 */
#include "layout.h"
#define __ASSEMBLY__
#include <xen/elfnote.h>

    .macro  note type, value:vararg
    .section .note.Xen, "a", @note
    .balign 4
    .long   4, 8, \type
    .asciz  "Xen"
    .quad   \value
    .endm
    .macro  note_text type, text
    .section .note.Xen, "a", @note
    .balign 4
    .long   4, 9f - 8f, \type
    .asciz  "Xen"
8:  .asciz  "\text"
9:  .balign 4
    .endm

    note_text XEN_ELFNOTE_XEN_VERSION, "xen-3.0"
    note_text XEN_ELFNOTE_LOADER, "generic"
    note_text XEN_ELFNOTE_GUEST_OS, "dragoman-x86-pv"
    note    XEN_ELFNOTE_VIRT_BASE, VIRT_BASE
    note    XEN_ELFNOTE_PADDR_OFFSET, 0
    note    XEN_ELFNOTE_ENTRY, pv_start
    note    XEN_ELFNOTE_HYPERCALL_PAGE, hypercall_page
    note    XEN_ELFNOTE_PHYS32_ENTRY, (pvh_start - VIRT_BASE)

    .text
    .code64
    .global pv_start
pv_start:
    cld
    lea     stack_top(%rip), %rsp
    mov     %rsi, %rdi
    xor     %ebp, %ebp
    call    kernel_main
1:  jmp     1b

    .code32
    .global pvh_start
pvh_start:
    cld
    mov     $(pml4 - VIRT_BASE), %eax
    mov     %eax, %cr3
    mov     $0x20, %eax                 /* PAE */
    mov     %eax, %cr4
    mov     $0xc0000080, %ecx           /* EFER */
    rdmsr
    or      $0x100, %eax                /* long mode */
    wrmsr
    mov     %cr0, %eax
    or      $0x80000001, %eax           /* paging, protection */
    mov     %eax, %cr0
    lgdt    gdt_pointer - VIRT_BASE
    ljmp    $8, $(pvh_64 - VIRT_BASE)

    .code64
pvh_64:
    mov     $16, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    movabs  $pvh_high, %rax
    jmp     *%rax
pvh_high:
    lea     stack_top(%rip), %rsp
    mov     $0x40000002, %eax           /* Xen's leaf 2: ebx = the MSR */
    xor     %ecx, %ecx
    cpuid
    mov     %ebx, %ecx
    mov     $(hypercall_page - VIRT_BASE), %eax
    xor     %edx, %edx
    wrmsr
    xor     %edi, %edi
    xor     %ebp, %ebp
    call    kernel_main
2:  jmp     2b

/*
 * PV exceptions. Xen pushes rcx, r11, [error code], rip, cs, rflags, rsp, ss on the current stack.
 * None returns: void trap_report(unsigned vector, const uint64_t *frame).
 */
    .macro  trap name, vector
    .global \name
\name:
    mov     $\vector, %edi
    mov     %rsp, %rsi
    and     $-16, %rsp
    call    trap_report
    .endm
    trap    trap_invalid_opcode, 6
    trap    trap_protection, 13
    trap    trap_page_fault, 14

/* Xen writes all 4096 bytes: they must be there. */
    .balign 4096
    .global hypercall_page
hypercall_page:
    .space  4096

    .data
    .balign 4096
pml4:
    .quad   pdpt - VIRT_BASE + 3
    .fill   510, 8, 0
    .quad   pdpt - VIRT_BASE + 3
pdpt:                                   /* serves for 0 and for VIRT_BASE */
    .quad   pd - VIRT_BASE + 3
    .fill   509, 8, 0
    .quad   pd - VIRT_BASE + 3
    .quad   0
pd:
    .set    address, 0
    .rept   512
    .quad   address + 0x83              /* 2 MiB, writable */
    .set    address, address + 0x200000
    .endr
gdt:
    .quad   0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
    .word   23
    .long   gdt - VIRT_BASE

    .bss
    .balign 4096
    .space  32768
stack_top:
    .section .note.GNU-stack, "", @progbits
