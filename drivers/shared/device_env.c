/* SPDX-License-Identifier: MIT */
/* device_env: what drivers share. See dragoman/drivers/device_env.h. */
#include <dragoman/drivers/device_env.h>

#include <dragoman/base/status.h>
#include <port/env.h>

#define IDLE_RUN_MAX     100u
#define UNMASK_AFTER_MAX 4095u

bool dgm_device_line_unserved(struct dgm_device_line *line, struct dgm_device_env *env)
{
    if (line->masked || ++line->idle_run < IDLE_RUN_MAX)
        return false;
    line->idle_run = 0;
    line->masked = env->irq_mask && env->irq_mask(env, true);
    line->polled = 0;
    line->maskings += line->masked;
    return line->masked;
}

void dgm_device_line_polled(struct dgm_device_line *line, struct dgm_device_env *env)
{
    if (!line->masked || line->polled++ < line->unmask_after)
        return;
    line->masked = false;
    if (line->unmask_after < UNMASK_AFTER_MAX)
        line->unmask_after = 2 * line->unmask_after + 1;
    env->irq_mask(env, false);
}

int dgm_device_queue_frame(const struct dgm_device_env *env, const struct dgm_dma_tag *tag,
                           struct dgm_device_frame *frame, const char **why)
{
    frame->va = dgm_frames_take_bytes(env->frames, DGM_FRAME_BYTES);
    if (!frame->va) {
        *why = "no frames for its queues";
        return DGM_ENOMEM;
    }
    if (dgm_dma_local(env->p2m, tag, dgm_env_gfn(frame->va), &frame->bus) != DGM_OK) {
        *why = "its queues are out of its reach";
        return DGM_ERANGE;
    }
    return DGM_OK;
}
