/* SPDX-License-Identifier: MIT */
/* arch for arm64 under Xen: see port/arch.h. */
#include <port/arch.h>

/*
 * xen/arch-arm.h: number in x16, arguments from x0, result in x0. Xen may rewrite all of them and
 * run the instruction again (continuations), so all six are clobbered.
 */
long dgm_arch_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                        uint64_t a5)
{
    register uint64_t x0 __asm__("x0") = a1;
    register uint64_t x1 __asm__("x1") = a2;
    register uint64_t x2 __asm__("x2") = a3;
    register uint64_t x3 __asm__("x3") = a4;
    register uint64_t x4 __asm__("x4") = a5;
    register uint64_t x16 __asm__("x16") = op;

    __asm__ volatile("hvc #0xea1"
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x16)
                     :
                     : "memory");
    return (long)x0;
}

size_t dgm_arch_cache_line(void)
{
    uint64_t type;

    __asm__("mrs %0, ctr_el0" : "=r"(type));
    return (size_t)4 << (type >> 16 & 0xf);
}

#define FOR_EACH_LINE(instruction)                                                                 \
    do {                                                                                           \
        const size_t line = dgm_arch_cache_line();                                                 \
        uintptr_t at = (uintptr_t)va & ~(line - 1);                                                \
                                                                                                   \
        for (; at < (uintptr_t)va + bytes; at += line)                                             \
            __asm__ volatile(instruction ", %0" ::"r"(at) : "memory");                             \
        __asm__ volatile("dsb sy" ::: "memory");                                                   \
    } while (0)

void dgm_arch_cache_clean(const void *va, size_t bytes)
{
    FOR_EACH_LINE("dc cvac");
}

void dgm_arch_cache_clean_invalidate(const void *va, size_t bytes)
{
    FOR_EACH_LINE("dc civac");
}
