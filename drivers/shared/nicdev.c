/* SPDX-License-Identifier: MIT */
/* nicdev: what drivers of network cards share. See dragoman/drivers/nicdev.h. */
#include <dragoman/drivers/nicdev.h>

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
