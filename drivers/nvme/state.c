/* SPDX-License-Identifier: MIT */
/* nvme/state: the controller's state and its timer, which many files change. See control.c. */
#include <drivers/nvme/internal.h>

void dgm_nvme_enter(struct dgm_nvme *nvme, enum dgm_nvme_state state, uint64_t limit_ns)
{
    nvme->state = state;
    nvme->entered_ns = dgm_env_now_ns();
    nvme->deadline_ns =
        limit_ns < UINT64_MAX - nvme->entered_ns ? nvme->entered_ns + limit_ns : UINT64_MAX;
}

int dgm_nvme_refuse(struct dgm_nvme *nvme, int status, const char *cause)
{
    if (nvme->cause != cause)
        dgm_env_log("%s: NVMe: %s", nvme->device.name, cause);
    nvme->cause = cause;
    return status;
}

/* Only a disk that was in use has an identity that another one can lack. */
bool dgm_nvme_reject(struct dgm_nvme *nvme)
{
    if (!nvme->device.ready || !nvme->env->reject)
        return false;
    dgm_nvme_write(nvme, NVME_CC, 0);
    return nvme->env->reject(nvme->env);
}

void dgm_nvme_watch_arm(struct dgm_nvme *nvme, uint64_t now_ns)
{
    uint64_t at_ns = now_ns + nvme->poll_pause_ns;

    for (uint16_t i = 0; i < nvme->entry_count && nvme->sent < nvme->in_flight; i++) {
        const struct dgm_nvme_entry *entry = &nvme->entries[i];

        if (entry->command && entry->parked && entry->due_ns < at_ns)
            at_ns = entry->due_ns;
    }
    if (!nvme->timer.armed || at_ns < nvme->timer.deadline_ns)
        dgm_timer_arm(nvme->env->reactor, &nvme->timer, at_ns);
}
