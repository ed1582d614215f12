/* SPDX-License-Identifier: MIT */
/* guest_console: see guest_console.h. struct xencons_interface of xen/io/console.h. */
#include "guest_console.h"
#include "builder_tree.h"
#include "console.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <dragoman/pages/foreign.h>
#include <port/arch.h>
#include <port/env.h>

#include <string.h>
#include <xen/io/console.h>

#define RUN_BYTES    128u   /* that one run prints */
#define BURST_BYTES  32768u /* a Linux guest's start, printed at once */
#define BYTES_PER_MS 8u     /* after that */
#define PAUSE_NS     16000000ull

static void print(struct guest_console *console)
{
    console_line("DOM%u: %.*s", console->domid, (int)console->length, console->line);
    console->length = 0;
}

/* A guest's byte may not move the terminal's cursor over other lines. */
static void take_byte(struct guest_console *console, char byte)
{
    if (byte == '\n') {
        print(console);
        return;
    }
    if ((byte >= ' ' && byte <= '~') || byte == '\t')
        console->line[console->length++] = byte;
    if (console->length == sizeof console->line)
        print(console);
}

static void refill(struct guest_console *console)
{
    const uint64_t now_ns = dgm_env_now_ns();
    const uint64_t more = (now_ns - console->refilled_ns) / 1000000 * BYTES_PER_MS;

    if (more == 0)
        return;
    console->share =
        more >= BURST_BYTES - console->share ? BURST_BYTES : console->share + (uint32_t)more;
    console->refilled_ns = now_ns;
}

/* Takes up to `max` bytes out of the ring. Returns how many it had. */
static uint32_t take_bytes(struct guest_console *console, uint32_t max)
{
    struct xencons_interface *ring = dgm_env_va(console->page);
    const XENCONS_RING_IDX written = *(volatile XENCONS_RING_IDX *)&ring->out_prod;
    XENCONS_RING_IDX taken = *(volatile XENCONS_RING_IDX *)&ring->out_cons;
    uint32_t count = written - taken;

    if (count > sizeof ring->out) { /* the guest wrote nonsense: begin anew */
        taken = written;
        count = 0;
    }
    dgm_arch_rmb();
    for (uint32_t i = 0; i < count && i < max; i++)
        take_byte(console, *(volatile char *)&ring->out[MASK_XENCONS_IDX(taken++, ring->out)]);
    dgm_arch_mb();
    *(volatile XENCONS_RING_IDX *)&ring->out_cons = taken;
    return count;
}

static void run(struct dgm_task *task)
{
    struct guest_console *console = dgm_container(task, struct guest_console, task);
    uint32_t count;

    refill(console);
    if (console->share < RUN_BYTES) {
        dgm_timer_arm(console->reactor, &console->timer, dgm_env_now_ns() + PAUSE_NS);
        return;
    }
    count = take_bytes(console, RUN_BYTES);
    if (count == 0)
        return;
    const uint32_t taken = count < RUN_BYTES ? count : RUN_BYTES;

    console->share -= taken;
    dgm_reactor_work(console->reactor, 1 + taken / 16);
    dgm_evtchn_send(console->evtchn, console->port); /* there is room again */
    if (count > RUN_BYTES)
        dgm_reactor_post(console->reactor, &console->task);
}

static void on_timer(struct dgm_timer *timer)
{
    struct guest_console *console = dgm_container(timer, struct guest_console, timer);

    dgm_reactor_post(console->reactor, &console->task);
}

void guest_console_open(struct guest_console *console, const struct guest_console_env *env,
                        struct dgm_evtchn_remote remote)
{
    int result;

    *console = (struct guest_console){.reactor = env->reactor,
                                      .evtchn = env->evtchn,
                                      .slots = env->slots,
                                      .domid = remote.domid,
                                      .task.run = run,
                                      .timer.fire = on_timer,
                                      .refilled_ns = dgm_env_now_ns(),
                                      .share = BURST_BYTES};
    result = dgm_foreign_map(env->slots, remote.domid, dgm_gfn(GUEST_VUART_GFN), &console->page);
    if (result == DGM_OK) {
        result = dgm_evtchn_bind_interdomain(env->evtchn, remote, &console->task);
        if (result < 0)
            dgm_foreign_unmap(env->slots, console->page);
    }
    if (result < 0)
        dgm_env_log("guest %u: its console cannot be opened (error %d)", remote.domid, result);
    else
        console->port = (evtchn_port_t)result;
}

void guest_console_close(struct guest_console *console)
{
    if (!console->port)
        return;
    (void)take_bytes(console, sizeof((struct xencons_interface *)NULL)->out);
    if (console->length)
        print(console);
    dgm_timer_disarm(console->reactor, &console->timer);
    dgm_evtchn_close(console->evtchn, console->port);
    dgm_foreign_unmap(console->slots, console->page);
    console->port = 0;
}
