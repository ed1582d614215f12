/* SPDX-License-Identifier: MIT */
/* binder: see dragoman/hyper/binder.h. */
#include <dragoman/base/check.h>
#include <dragoman/base/pause.h>
#include <dragoman/base/status.h>
#include <dragoman/hyper/binder.h>
#include <dragoman/hyper/xen_status.h>

#include <port/env.h>

static const struct dgm_pauses bind_pauses = {.first_ns = 10000000, .last_ns = 1280000000};

static void post_binding(struct dgm_timer *timer)
{
    struct dgm_evtchn_binder *binder = dgm_container(timer, struct dgm_evtchn_binder, timer);

    dgm_reactor_post(binder->evtchn->reactor, binder->task);
}

void dgm_evtchn_binder_init(struct dgm_evtchn_binder *binder, struct dgm_evtchn *evtchn,
                            struct dgm_task *task)
{
    *binder = (struct dgm_evtchn_binder){
        .timer.fire = post_binding,
        .evtchn = evtchn,
        .task = task,
    };
}

static int bind_ports(struct dgm_evtchn_binder *binder, const struct dgm_evtchn_remote *remote,
                      evtchn_port_t *port, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const int result = dgm_evtchn_bind_interdomain(binder->evtchn, remote[i], binder->task);

        if (result < 0) {
            while (i > 0)
                dgm_evtchn_close(binder->evtchn, port[--i]);
            return result;
        }
        port[i] = (evtchn_port_t)result;
    }
    return DGM_OK;
}

/* OK, the frontend's fault, or the end of its domain. */
static bool is_final(int result)
{
    const enum dgm_xen_meaning meaning = dgm_xen_call_meaning(DGM_XEN_CALL_BIND, result);

    return meaning == DGM_XEN_OK || meaning == DGM_XEN_REFUSED || meaning == DGM_XEN_NO_DOMAIN;
}

static void bind_later(struct dgm_evtchn_binder *binder)
{
    binder->pause_ns = dgm_pause_next_ns(bind_pauses, binder->pause_ns);
    dgm_timer_arm(binder->evtchn->reactor, &binder->timer, dgm_env_now_ns() + binder->pause_ns);
}

int dgm_evtchn_binder_bind(struct dgm_evtchn_binder *binder, const struct dgm_evtchn_remote *remote,
                           evtchn_port_t *port, unsigned count, struct dgm_log_limit *log)
{
    int result;

    if (binder->timer.armed)
        return DGM_EAGAIN;
    result = bind_ports(binder, remote, port, count);
    if (is_final(result)) {
        binder->pause_ns = 0;
        return result;
    }
    if (binder->pause_ns == 0)
        dgm_log_limited(log, "guest %u: Xen binds no event channel (error %d); it is retried",
                        remote->domid, result);
    bind_later(binder);
    return DGM_EAGAIN;
}

void dgm_evtchn_binder_cancel(struct dgm_evtchn_binder *binder)
{
    dgm_timer_disarm(binder->evtchn->reactor, &binder->timer);
    binder->pause_ns = 0;
}
