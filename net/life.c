/* SPDX-License-Identifier: MIT */
/*
 * life: a vif's only task, the end of a connection, creation and destruction
 *
 * The task runs after an event of the guest, a packet for it, or the return of a packet by a card.
 * It first delivers the packets that are queued for the guest, then takes those that the guest
 * sends. Between two runs only the rings' pages of the guest are held, so a connection ends without
 * waiting.
 */
#include <net/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <dragoman/base/text.h>

#include <string.h>

static void end_connection(struct dgm_netback *netback)
{
    dgm_netback_wait_end(&netback->transmit_wait);
    dgm_netback_wait_end(&netback->receive_wait);
    dgm_netback_drop_queue(netback);
    dgm_evtchn_close(netback->env.evtchn, netback->ports[0]);
    if (netback->ports[1] != netback->ports[0])
        dgm_evtchn_close(netback->env.evtchn, netback->ports[1]);
    netback->connected = netback->disconnecting = false;
    if (!dgm_netback_unmap_pages(netback))
        dgm_netback_retry_later(netback);
    dgm_xenbus_released(&netback->xenbus);
}

/* Makes responses visible, and sends the events that the guest requested. */
static void publish_rings(struct dgm_netback *netback)
{
    const bool transmit = dgm_ring_publish(&netback->transmit);
    const bool receive = dgm_ring_publish(&netback->receive);
    const bool common = netback->ports[0] == netback->ports[1];

    if (transmit || (receive && common)) {
        netback->counters.events_sent++;
        dgm_evtchn_send(netback->env.evtchn, netback->ports[0]);
    }
    if (receive && !common) {
        netback->counters.events_sent++;
        dgm_evtchn_send(netback->env.evtchn, netback->ports[1]);
    }
}

/* Connecting failed, or the frontend left meanwhile. */
static void undo_connect(struct dgm_netback *netback)
{
    dgm_evtchn_binder_cancel(&netback->binder);
    if (!dgm_netback_unmap_pages(netback))
        dgm_netback_retry_later(netback);
}

static void run_vif(struct dgm_task *task)
{
    struct dgm_netback *netback = dgm_container(task, struct dgm_netback, task);
    int status;

    if (netback->connect_pending) {
        netback->connect_pending = false;
        dgm_xenbus_update(&netback->xenbus);
    }
    if (!netback->connected) {
        if (!netback->connect_pending)
            undo_connect(netback);
        return;
    }
    if (netback->disconnecting) {
        end_connection(netback);
        return;
    }
    status = dgm_netback_take_posted(netback);
    if (status == DGM_OK) {
        dgm_netback_receive(netback);
        status = dgm_netback_transmit(netback);
    }
    publish_rings(netback);
    if (status != DGM_OK) {
        netback->counters.ring_errors++;
        dgm_xenbus_fail(&netback->xenbus, status, "its rings have impossible indices or entries");
    }
}

static void on_retry(struct dgm_timer *timer)
{
    struct dgm_netback *netback = dgm_container(timer, struct dgm_netback, retry);

    dgm_reactor_post(netback->env.reactor, &netback->task);
}

static void on_refill(struct dgm_timer *timer)
{
    struct dgm_netback *netback = dgm_container(timer, struct dgm_netback, refill);

    dgm_reactor_post(netback->env.reactor, &netback->task);
}

static void on_port_discharged(struct dgm_switch_port *port)
{
    struct dgm_netback *netback = dgm_container(port, struct dgm_netback, port);

    if (!netback->waits_for_card || port->charged >= netback->env.card_frames)
        return;
    netback->waits_for_card = false;
    dgm_reactor_post(netback->env.reactor, &netback->task);
}

/* --- create and destroy --- */

static void write_mac(char *text, uint64_t mac)
{
    static const char digits[] = "0123456789abcdef";

    for (unsigned i = 0; i < 6; i++) {
        const unsigned byte = (unsigned)(mac >> 8 * (5 - i)) & 0xff;

        text[3 * i] = digits[byte >> 4];
        text[3 * i + 1] = digits[byte & 15];
        text[3 * i + 2] = i < 5 ? ':' : 0;
    }
}

/* The node `rate` is as netback of Linux reads it: bytes and microseconds. */
static void set_rate(struct dgm_netback *netback, const struct dgm_netback_options *options)
{
    struct dgm_text text = dgm_text(netback->rate_text, sizeof netback->rate_text);

    dgm_rate_init(&netback->rate, (struct dgm_rate){.amount = options->rate_bytes,
                                                    .period_ns = options->rate_us * 1000ull});
    if (options->rate_bytes == 0)
        return;
    dgm_text_add_number(&text, options->rate_bytes);
    dgm_text_add(&text, ",");
    dgm_text_add_number(&text, options->rate_us);
}

int dgm_netback_create(struct dgm_netback *netback, const struct dgm_netback_env *env,
                       struct dgm_guest_account *guest, struct dgm_switch *net,
                       const struct dgm_netback_options *options)
{
    struct dgm_text name;
    int status;

    dgm_assert(env->queue_frames >= DGM_PACKET_FRAMES_MAX && env->queue_frames <= 256);
    dgm_assert(env->card_frames >= 1);
    memset(netback, 0, sizeof *netback);
    netback->env = *env;
    netback->guest = guest;
    netback->bridge = options->bridge;
    write_mac(netback->mac, options->mac);
    name = dgm_text(netback->name, sizeof netback->name);
    dgm_text_add(&name, "vif");
    dgm_text_add_number(&name, guest->domid);
    dgm_text_add(&name, ".");
    dgm_text_add_number(&name, options->handle);
    netback->port.name = netback->name;
    netback->port.mac = options->mac;
    netback->port.spoofing_allowed = options->spoofing_allowed;
    netback->port.sources = options->sources;
    netback->port.vlans = options->vlans;
    netback->port.group = options->group;
    netback->port.mirror = options->mirror;
    netback->port.deliver = dgm_netback_deliver;
    netback->port.discharged = on_port_discharged;
    netback->task.run = run_vif;
    netback->retry.fire = on_retry;
    netback->refill.fire = on_refill;
    dgm_netback_wait_init(&netback->transmit_wait, netback);
    dgm_netback_wait_init(&netback->receive_wait, netback);
    set_rate(netback, options);
    dgm_evtchn_binder_init(&netback->binder, env->evtchn, &netback->task);
    dgm_reach_connection_init(&netback->connection, env->reach, guest, DGM_REACH_MODE_MAP, 0);
    status = dgm_switch_add(net, &netback->port);
    if (status != DGM_OK)
        return status;
    status = dgm_xenbus_create(
        &netback->xenbus, env->xs, &dgm_netback_ops,
        (struct dgm_xenbus_name){
            .type = "vif", .domid = guest->domid, .number = options->handle, .log = &guest->log});
    if (status != DGM_OK)
        dgm_switch_remove(&netback->port);
    return status;
}

void dgm_netback_unplug(struct dgm_netback *netback)
{
    netback->connect_pending = false;
    dgm_xenbus_unplug(&netback->xenbus);
    dgm_reactor_post(netback->env.reactor, &netback->task);
}

bool dgm_netback_unplugged(const struct dgm_netback *netback)
{
    return dgm_xenbus_unplugged(&netback->xenbus) && dgm_netback_idle(netback);
}

void dgm_netback_guest_gone(struct dgm_netback *netback)
{
    netback->connect_pending = false;
    dgm_xenbus_guest_gone(&netback->xenbus);
    dgm_reactor_post(netback->env.reactor, &netback->task);
}

bool dgm_netback_idle(const struct dgm_netback *netback)
{
    return dgm_xenbus_idle(&netback->xenbus) && !netback->connected &&
           netback->pages[0].held == DGM_REACH_NOT_HELD &&
           netback->pages[1].held == DGM_REACH_NOT_HELD && netback->port.charged == 0;
}

void dgm_netback_destroy(struct dgm_netback *netback)
{
    dgm_assert(dgm_netback_idle(netback));
    dgm_timer_disarm(netback->env.reactor, &netback->retry);
    dgm_timer_disarm(netback->env.reactor, &netback->refill);
    dgm_evtchn_binder_cancel(&netback->binder);
    dgm_reactor_withdraw(netback->env.reactor, &netback->task);
    dgm_xenbus_destroy(&netback->xenbus);
    dgm_switch_remove(&netback->port);
}
