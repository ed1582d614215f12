/* SPDX-License-Identifier: MIT */
/*
 * life: a vif's only task, the end of a connection, creation and destruction
 *
 * The task runs after an event of the guest, a packet for it, or the return of a packet by a card.
 * It serves one queue that has work: it delivers the packets that are queued for the guest, and
 * takes those that the guest sends, until the work of a run is spent for both; they have precedence
 * in turn. The next run begins at the next queue, so no queue starves another. Between two runs
 * only the rings' pages of the guest are held, so a connection ends without waiting.
 */
#include <net/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <dragoman/base/text.h>

#include <string.h>

static void end_queue(struct dgm_netback_queue *queue)
{
    struct dgm_evtchn *evtchn = queue->netback->env.evtchn;

    dgm_netback_wait_end(&queue->transmit_wait);
    dgm_netback_wait_end(&queue->receive_wait);
    dgm_netback_drop_waiting(queue);
    dgm_evtchn_close(evtchn, queue->ports[0]);
    if (queue->ports[1] != queue->ports[0])
        dgm_evtchn_close(evtchn, queue->ports[1]);
}

static void end_connection(struct dgm_netback *netback)
{
    for (unsigned i = 0; i < netback->queue_count; i++)
        end_queue(&netback->queues[i]);
    netback->queue_count = 0;
    netback->connected = netback->disconnecting = false;
    if (!dgm_netback_unmap_pages(netback))
        dgm_netback_retry_later(netback);
    dgm_xenbus_released(&netback->xenbus);
}

void dgm_netback_publish(struct dgm_netback_queue *queue)
{
    struct dgm_netback *netback = queue->netback;
    const bool transmit = dgm_ring_publish(&queue->transmit);
    const bool receive = dgm_ring_publish(&queue->receive);
    const bool common = queue->ports[0] == queue->ports[1];

    if (transmit || (receive && common)) {
        netback->counters.events_sent++;
        dgm_evtchn_send(netback->env.evtchn, queue->ports[0]);
    }
    if (receive && !common) {
        netback->counters.events_sent++;
        dgm_evtchn_send(netback->env.evtchn, queue->ports[1]);
    }
}

/* Connecting failed, or the frontend left meanwhile. */
static void undo_connect(struct dgm_netback *netback)
{
    dgm_evtchn_binder_cancel(&netback->binder);
    if (!dgm_netback_unmap_pages(netback))
        dgm_netback_retry_later(netback);
}

/* Serves one queue. Returns how many packets it moved. DGM_EPROTO: a ring is broken. */
static int serve_queue(struct dgm_netback_queue *queue, bool hold_back)
{
    int status = dgm_netback_take_posted(queue), delivered = 0;

    if (status == DGM_OK) {
        queue->transmits_first = !queue->transmits_first;
        if (!queue->transmits_first)
            delivered = dgm_netback_receive(queue);
        status = hold_back ? 0 : dgm_netback_transmit(queue);
        if (queue->transmits_first)
            delivered = dgm_netback_receive(queue);
    }
    dgm_netback_publish(queue);
    return status < 0 ? status : status + delivered;
}

/* Serves the first queue that has work. */
static int serve_queues(struct dgm_netback *netback)
{
    const bool hold_back = dgm_netback_hold_back(netback);
    const uint16_t first = netback->queue_next;

    for (uint16_t i = 0; i < netback->queue_count; i++) {
        const uint16_t at = (uint16_t)((first + i) % netback->queue_count);
        const int served = serve_queue(&netback->queues[at], hold_back);

        if (served < 0)
            return served;
        if (served == 0)
            continue;
        netback->queue_next = (uint16_t)((at + 1) % netback->queue_count);
        if (netback->queue_count > 1) /* others may have work */
            dgm_reactor_post(netback->env.reactor, &netback->task);
        break;
    }
    return DGM_OK;
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
    status = serve_queues(netback);
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

static void init_queues(struct dgm_netback *netback, const struct dgm_netback_options *options)
{
    dgm_assert(options->queue_max >= 1 && options->queue_max <= DGM_NETBACK_QUEUES_MAX);
    netback->queues = options->queues;
    netback->queue_max = options->queue_max;
    for (unsigned i = 0; i < options->queue_max; i++) {
        struct dgm_netback_queue *queue = &netback->queues[i];

        memset(queue, 0, sizeof *queue);
        queue->netback = netback;
        dgm_netback_wait_init(&queue->transmit_wait, netback);
        dgm_netback_wait_init(&queue->receive_wait, netback);
    }
}

int dgm_netback_create(struct dgm_netback *netback, const struct dgm_netback_env *env,
                       struct dgm_guest_account *guest, struct dgm_switch *net,
                       const struct dgm_netback_options *options)
{
    struct dgm_text name;
    int status;

    dgm_assert(env->queue_frames >= 2 * DGM_PACKET_FRAMES_MAX && env->queue_frames <= 256);
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
    init_queues(netback, options);
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

struct dgm_netback_queue_packets dgm_netback_queue_packets(const struct dgm_netback *netback,
                                                           unsigned queue)
{
    dgm_assert(queue < netback->queue_count);
    return (struct dgm_netback_queue_packets){.from = netback->queues[queue].packets_from,
                                              .to = netback->queues[queue].packets_to};
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
           dgm_netback_holds_no_page(netback) && netback->port.charged == 0;
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
