/* SPDX-License-Identifier: MIT */
/* hypercall: every hypercall is made and counted here. See dragoman/hyper/hypercall.h. */
#include <dragoman/base/check.h>
#include <dragoman/hyper/hypercall.h>

#include <port/arch.h>

uint64_t dgm_hypercall_count[DGM_HYPERCALLS];

long dgm_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
    dgm_assert(op < DGM_HYPERCALLS);
    dgm_hypercall_count[op]++;
    return dgm_arch_hypercall(op, a1, a2, a3, a4, a5);
}

uint64_t dgm_hypercall_total(void)
{
    uint64_t total = 0;

    for (unsigned op = 0; op < DGM_HYPERCALLS; op++)
        total += dgm_hypercall_count[op];
    return total;
}
