/* SPDX-License-Identifier: MIT */
/* hypervisor/version: XENVER_*, what Xen says of itself */
#include <sim/hypervisor/internal.h>

#include <errno.h>
#include <string.h>
#include <xen/features.h>
#include <xen/version.h>

long hv_version_op(unsigned command, void *argument)
{
    struct xen_feature_info *info = argument;

    switch (command) {
    case XENVER_version:
        return 4 << 16 | 20;
    case XENVER_commandline:
        memset(argument, 0, sizeof(xen_commandline_t));
        return 0;
    case XENVER_get_features:
        info->submap = hv.ram_mfn == dgm_gfn_number(hv.ram.first) && !hv.ram_at
                           ? 1u << XENFEAT_direct_mapped
                           : 0;
        return 0;
    default:
        return -ENOSYS;
    }
}
