/* SPDX-License-Identifier: MIT */
/* vcpu: see vcpu.h. struct vcpu_guest_context of xen/arch-arm.h. */
#include "vcpu.h"

#include <dragoman/hyper/create.h>

int vcpu_set_start(domid_t domid, struct vcpu_start start)
{
    static struct vcpu_guest_context context; /* in memory that Xen reads */

    context = (struct vcpu_guest_context){
        .flags = VGCF_online,
        .user_regs = {.pc64 = start.kernel, .x0 = start.tree, .cpsr = PSR_GUEST64_INIT},
        .sctlr = SCTLR_GUEST_INIT,
    };
    return dgm_domain_set_context(domid, &context);
}
