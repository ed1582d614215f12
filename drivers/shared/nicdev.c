/* SPDX-License-Identifier: MIT */
/* nicdev: what drivers of network cards share. See dragoman/drivers/nicdev.h. */
#include <dragoman/drivers/nicdev.h>

#include <dragoman/base/status.h>
#include <port/env.h>

bool dgm_nicdev_line_unserved(const struct dgm_nicdev *nic, struct dgm_device_line *line,
                              struct dgm_device_env *env)
{
    if (!dgm_device_line_unserved(line, env))
        return false;
    dgm_env_log("%s: %s keeps its interrupt line asserted without a cause: masked, and polled",
                env->name, nic->name);
    return true;
}

int dgm_nicdev_fail(struct dgm_nicdev *nic, struct dgm_device_env *env, int status, const char *why)
{
    dgm_env_log("%s: %s cannot be used: %s", env->name, nic->name[0] ? nic->name : "network card",
                why);
    if (env->dma_stop)
        env->dma_stop(env);
    nic->failed = true;
    nic->link = false;
    return status;
}

/* --- a card that was lost --- */

void dgm_nicdev_lose(struct dgm_nicdev *nic, struct dgm_device_env *env,
                     struct dgm_nicdev_loss *loss, const char *why)
{
    if (loss->why != why)
        dgm_env_log("%s: %s %s; it is waited for", env->name, nic->name, why);
    loss->why = why;
    nic->link = false;
    if (env->dma_stop)
        env->dma_stop(env);
}

bool dgm_nicdev_find(struct dgm_device_env *env, struct dgm_nicdev_loss *loss)
{
    if (!env->restore || env->restore(env) == DGM_OK)
        return true;
    loss->give_up_ns = 0; /* only the attempts of a card that is there count */
    return false;
}

bool dgm_nicdev_may_retry(const struct dgm_device_env *env, struct dgm_nicdev_loss *loss)
{
    const uint64_t now_ns = dgm_env_now_ns();

    if (loss->give_up_ns == 0)
        loss->give_up_ns = now_ns + dgm_device_times(&env->times).lost_ns;
    return now_ns < loss->give_up_ns;
}

void dgm_nicdev_works(const struct dgm_nicdev *nic, const struct dgm_device_env *env,
                      struct dgm_nicdev_loss *loss)
{
    if (loss->why)
        dgm_env_log("%s: %s works again", env->name, nic->name);
    *loss = (struct dgm_nicdev_loss){0};
}

bool dgm_nicdev_reject(const struct dgm_nicdev *nic, struct dgm_device_env *env)
{
    return nic->ready && env->reject && env->reject(env);
}
