/* SPDX-License-Identifier: MIT */
/* device_env: what drivers share. See dragoman/drivers/device_env.h. */
#include <dragoman/drivers/device_env.h>

#include <dragoman/base/status.h>
#include <port/env.h>

#define IDLE_RUN_MAX     100u
#define UNMASK_AFTER_MAX 4095u
#define ABSENCE_MIN_NS   2000000000ull /* no timer of a reactor that runs is so late */

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

void dgm_device_notice_absence(struct dgm_timer *timer, bool fires, struct dgm_reactor *reactor,
                               void (*excuse)(struct dgm_timer *timer, uint64_t absence_ns))
{
    const bool armed = timer->armed;
    uint64_t now_ns;

    if (!fires && !armed)
        return;
    now_ns = dgm_env_now_ns();
    if (now_ns < timer->deadline_ns || now_ns - timer->deadline_ns < ABSENCE_MIN_NS)
        return;
    excuse(timer, now_ns - timer->deadline_ns);
    if (armed)
        dgm_timer_arm(reactor, timer, now_ns); /* it is no longer late */
}

void dgm_device_extend(uint64_t *limit_ns, uint64_t absence_ns)
{
    *limit_ns = absence_ns < UINT64_MAX - *limit_ns ? *limit_ns + absence_ns : UINT64_MAX;
}

void dgm_device_excuse(uint64_t *since_ns, uint64_t absence_ns)
{
    const uint64_t now_ns = dgm_env_now_ns();

    if (*since_ns)
        *since_ns = absence_ns < now_ns - *since_ns ? *since_ns + absence_ns : now_ns;
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
