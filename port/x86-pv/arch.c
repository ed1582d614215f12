/* SPDX-License-Identifier: MIT */
/* arch for x86-64 under Xen, PV and PVH: see port/arch.h. */
#include <port/arch.h>

/*
 * xen/arch-x86/xen-x86_64.h: one stub of 32 bytes per number in the hypercall page, which Xen fills
 * with the instruction for this kind of guest. Arguments in rdi, rsi, rdx, r10, r8; result in
 * rax; `syscall` overwrites rcx and r11.
 */
extern char hypercall_page[];

long dgm_arch_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                        uint64_t a5)
{
    register uint64_t r10 __asm__("r10") = a4;
    register uint64_t r8 __asm__("r8") = a5;
    uint64_t result = (uintptr_t)hypercall_page + 32ull * op;

    __asm__ volatile("call *%%rax"
                     : "+a"(result), "+D"(a1), "+S"(a2), "+d"(a3), "+r"(r10), "+r"(r8)
                     :
                     : "rcx", "r9", "r11", "memory", "cc");
    return (long)result;
}

size_t dgm_arch_cache_line(void)
{
    uint32_t a = 1, b, c = 0, d;

    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (size_t)(b >> 8 & 0xff) * 8;
}

void dgm_arch_cache_clean_invalidate(const void *va, size_t bytes)
{
    const size_t line = dgm_arch_cache_line();
    uintptr_t at = (uintptr_t)va & ~(line - 1);

    for (; at < (uintptr_t)va + bytes; at += line)
        __asm__ volatile("clflush (%0)" ::"r"(at) : "memory");
    __asm__ volatile("mfence" ::: "memory");
}

/* clflush cleans too. clwb would keep the line in the cache, but not every CPU has it. */
void dgm_arch_cache_clean(const void *va, size_t bytes)
{
    dgm_arch_cache_clean_invalidate(va, bytes);
}
