/* SPDX-License-Identifier: MIT */
/* copy: the grant copies of a task, which all vifs share, and the wait for those that Xen did not
 * do. See internal.h. */
#include <net/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/pause.h>
#include <dragoman/base/status.h>

static const struct dgm_pauses retry_pauses = {.first_ns = 1000000, .last_ns = 256000000};

struct dgm_netback_shared *dgm_netback_shared_take(struct dgm_frames *frames)
{
    return dgm_frames_take_bytes(frames, sizeof(struct dgm_netback_shared));
}

void dgm_netback_copy_add(struct dgm_netback_shared *shared, const struct dgm_grantcopy_op *op)
{
    const size_t place = shared->copy.count;

    dgm_assert(dgm_grantcopy_room(&shared->copy) > 0);
    dgm_grantcopy_add(&shared->copy, op, &shared->status[place]);
}

void dgm_netback_copy_between(struct dgm_netback_shared *shared,
                              const struct dgm_grantcopy_between *op)
{
    const size_t place = shared->copy.count;

    dgm_assert(dgm_grantcopy_room(&shared->copy) > 0);
    dgm_grantcopy_add_between(&shared->copy, op, &shared->status[place]);
}

int dgm_netback_copy_status(const struct dgm_netback_shared *shared, uint32_t first, uint32_t count)
{
    int status = DGM_OK;

    for (uint32_t i = first; i < first + count; i++) {
        if (dgm_grantcopy_may_succeed(shared->status[i]))
            status = DGM_EAGAIN;
        else if (shared->status[i] != DGM_OK)
            return shared->status[i];
    }
    return status;
}

static void on_wait_over(struct dgm_timer *timer)
{
    struct dgm_netback *netback = dgm_container(timer, struct dgm_netback_wait, timer)->netback;

    dgm_reactor_post(netback->env.reactor, &netback->task);
}

void dgm_netback_wait_init(struct dgm_netback_wait *wait, struct dgm_netback *netback)
{
    *wait = (struct dgm_netback_wait){.netback = netback, .timer.fire = on_wait_over};
}

void dgm_netback_wait_end(struct dgm_netback_wait *wait)
{
    dgm_timer_disarm(wait->netback->env.reactor, &wait->timer);
    wait->pause_ns = 0;
    wait->patience = (struct dgm_xen_patience){0};
}

int dgm_netback_wait_judge(struct dgm_netback_wait *wait, int status)
{
    if (status != DGM_EAGAIN) {
        if (wait->pause_ns)
            dgm_netback_wait_end(wait);
        return status;
    }
    if (dgm_xen_patience_ends(&wait->patience)) {
        dgm_netback_wait_end(wait);
        return DGM_EPERM;
    }
    wait->pause_ns = dgm_pause_next_ns(retry_pauses, wait->pause_ns);
    dgm_timer_arm(wait->netback->env.reactor, &wait->timer, dgm_env_now_ns() + wait->pause_ns);
    return DGM_EAGAIN;
}

struct dgm_netback_copied dgm_netback_copied(const struct dgm_netback_shared *shared)
{
    return (struct dgm_netback_copied){.batches = shared->copy.batches,
                                       .bytes_in = shared->copy.bytes_in,
                                       .bytes_out = shared->copy.bytes_out,
                                       .bytes_between = shared->copy.bytes_between,
                                       .refused = shared->copy.refused};
}
