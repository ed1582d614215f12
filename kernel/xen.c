/* SPDX-License-Identifier: MIT */
/* xen: see xen.h. */
#include "xen.h"

#include <dragoman/base/status.h>
#include <dragoman/hyper/domain.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/hyper/xen_status.h>
#include <port/env.h>

#include <stdio.h>
#include <xen/features.h>
#include <xen/memory.h>
#include <xen/version.h>

static const char *remedy_of(long error)
{
    switch (error) {
    case DGM_EPERM:
    case DGM_EACCES:
        return "a security policy of Xen denies it: boot Xen with flask=disabled, or allow it";
    case 0:
    case DGM_ENOMEM:
    case DGM_ENOSPC:
        return "leave Xen more memory: smaller guests, or a smaller dom0_mem=";
    case DGM_ENOSYS:
    case DGM_EOPNOTSUPP:
        return "this Xen does not have it: boot Xen 4.17 or newer";
    default:
        return "boot Xen with loglvl=all; its own lines name the cause";
    }
}

_Noreturn void xen_refuses(const char *call, long error)
{
    static char text[256]; /* outlives the stack */

    snprintf(text, sizeof text, "Xen refuses %s (error %ld): %s", call, error, remedy_of(error));
    dgm_env_panic(__FILE__, __LINE__, text);
}

static long version_op(unsigned command, void *argument)
{
    long result = DGM_EAGAIN;

    for (unsigned tries = 0; tries < DGM_XEN_TRIES; tries++) {
        result = dgm_hypercall(__HYPERVISOR_xen_version, command, (uintptr_t)argument, 0, 0, 0);
        if (dgm_xen_call_meaning(DGM_XEN_CALL_OWN, result) == DGM_XEN_OK)
            break;
    }
    return result;
}

void xen_version(char *text, size_t bytes)
{
    const long version = version_op(XENVER_version, NULL);

    if (version < 0)
        snprintf(text, bytes, "of unknown version (error %ld)", version);
    else
        snprintf(text, bytes, "%ld.%ld", version >> 16, version & 0xffff);
}

int xen_direct_mapped(bool *direct)
{
    struct xen_feature_info info = {.submap_idx = 0};
    const long result = version_op(XENVER_get_features, &info);

    *direct = result >= 0 && info.submap >> XENFEAT_direct_mapped & 1;
    return result < 0 ? (int)result : DGM_OK;
}

struct shared_info *xen_shared_info(dgm_gfn_t gfn)
{
    const int status = dgm_domain_map_own(XENMAPSPACE_shared_info, gfn);

    if (status != DGM_OK)
        xen_refuses("XENMEM_add_to_physmap of its shared page, without which no event arrives",
                    status);
    return dgm_env_va(gfn);
}
