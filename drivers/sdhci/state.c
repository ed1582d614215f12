/* SPDX-License-Identifier: MIT */
/* sdhci/state: the controller's state, which many files change. See control.c. */
#include <drivers/sdhci/internal.h>

void dgm_sdhci_enter(struct dgm_sdhci *sdhci, enum dgm_sdhci_state state, uint64_t limit_ns)
{
    sdhci->state = state;
    sdhci->entered_ns = dgm_env_now_ns();
    sdhci->deadline_ns =
        limit_ns < UINT64_MAX - sdhci->entered_ns ? sdhci->entered_ns + limit_ns : UINT64_MAX;
}

int dgm_sdhci_refuse(struct dgm_sdhci *sdhci, int status, const char *cause)
{
    if (sdhci->cause != cause)
        dgm_env_log("%s: SD: %s", sdhci->device.name, cause);
    sdhci->cause = cause;
    return status;
}
