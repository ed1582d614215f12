/* SPDX-License-Identifier: MIT */
/* no_builder: the simulated Xen makes no domains, so no simulated guest starts again: stand-ins for
 * kernel/builder.c and kernel/guest_console.c, which nothing calls. */
#include <dragoman/base/status.h>
#include <kernel/builder.h>
#include <kernel/guest_console.h>

int builder_start(struct builder *builder, const struct config_guest *guest)
{
    return DGM_ENOSYS;
}

void guest_console_open(struct guest_console *console, const struct guest_console_env *env,
                        struct dgm_evtchn_remote remote)
{
}

void guest_console_close(struct guest_console *console)
{
}
