/* SPDX-License-Identifier: MIT */
/* ports: see ports.h. Causes that never occurred are left out. */
#include "ports.h"

#include <dragoman/base/text.h>
#include <port/env.h>

/* Causes and their counts, as many in a line as the console shows. */
struct causes {
    const char *what;
    struct dgm_text text;
    char buffer[160];
};

static void begin_causes(struct causes *causes, const char *what)
{
    causes->what = what;
    causes->text = dgm_text(causes->buffer, sizeof causes->buffer);
}

static void log_causes(const struct causes *causes)
{
    if (causes->text.length)
        dgm_env_log("    %s: %s", causes->what, causes->buffer);
}

static void add_cause(struct causes *causes, const char *cause, uint64_t count)
{
    const size_t bytes = dgm_text_length(cause) + sizeof ",  18446744073709551615";

    if (count == 0)
        return;
    if (causes->text.length + bytes > sizeof causes->buffer) {
        log_causes(causes);
        begin_causes(causes, causes->what);
    }
    dgm_text_add(&causes->text, causes->text.length ? ", " : "");
    dgm_text_add(&causes->text, cause);
    dgm_text_add(&causes->text, " ");
    dgm_text_add_number(&causes->text, count);
}

static void log_traffic(const struct dgm_switch_port_counters *counters)
{
    dgm_env_log("    from it %llu packets, %llu bytes; to it %llu packets, %llu bytes",
                (unsigned long long)counters->packets_in, (unsigned long long)counters->bytes_in,
                (unsigned long long)counters->packets_out, (unsigned long long)counters->bytes_out);
}

/* Why the switch dropped packets from the port. */
static void log_switch_drops(const struct dgm_switch_port_counters *counters)
{
    struct causes causes;

    begin_causes(&causes, "dropped from it");
    for (unsigned drop = 0; drop < DGM_SWITCH_DROPS; drop++)
        add_cause(&causes, dgm_switch_drop_name((enum dgm_switch_drop)drop),
                  counters->dropped[drop]);
    log_causes(&causes);
}

/* --- a vif --- */

static void log_vif_causes(const struct dgm_netback *vif)
{
    const struct dgm_netback_counters *counters = &vif->counters;
    struct causes causes;

    begin_causes(&causes, "dropped to it");
    add_cause(&causes, "no netfront", counters->dropped_not_connected);
    add_cause(&causes, "full queue", counters->dropped_queue_full);
    add_cause(&causes, "several buffers not accepted", counters->dropped_too_long);
    add_cause(&causes, "Xen refuses a buffer", counters->dropped_bad_grant);
    log_causes(&causes);
    for (unsigned refusal = 0; refusal < DGM_NETBACK_REFUSALS; refusal++) {
        begin_causes(&causes, "refused");
        add_cause(&causes, dgm_netback_refusal_name((enum dgm_netback_refusal)refusal),
                  counters->refused[refusal]);
        log_causes(&causes);
    }
    begin_causes(&causes, "waited for");
    add_cause(&causes, "a card", counters->held_back);
    add_cause(&causes, "its rate", counters->rate_limited);
    log_causes(&causes);
}

static void log_vif(const struct dgm_netback *vif, const struct guest *guest)
{
    dgm_env_log("  %s (%s), %s: %s", vif->port.name, guest->base.name, vif->mac,
                vif->connected ? "connected" : "not connected");
    log_traffic(&vif->port.counters);
    for (unsigned i = 0; i < vif->queue_count; i++)
        dgm_env_log("    queue %u: from it %llu packets, to it %llu", i,
                    (unsigned long long)dgm_netback_queue_packets(vif, i).from,
                    (unsigned long long)dgm_netback_queue_packets(vif, i).to);
    log_switch_drops(&vif->port.counters);
    log_vif_causes(vif);
}

/* --- a card --- */

static void log_card(const struct network *network)
{
    const struct dgm_net_card *card = &network->card;
    const struct dgm_nicdev *nic = network->nic;
    struct causes causes;

    dgm_env_log("  %s (%s): %s", nic->name, network->place,
                nic->failed ? "failed"
                : nic->link ? "link up"
                            : "link down");
    log_traffic(&card->port.counters);
    log_switch_drops(&card->port.counters);
    begin_causes(&causes, "dropped to it");
    add_cause(&causes, "too long", card->counters.dropped_too_long);
    add_cause(&causes, "no link", card->counters.dropped_no_link);
    add_cause(&causes, "full queue", card->counters.dropped_queue_full);
    add_cause(&causes, "no checksum", card->counters.dropped_checksum);
    log_causes(&causes);
    begin_causes(&causes, "lost from it");
    add_cause(&causes, "damaged", nic->received_bad);
    add_cause(&causes, "no buffer", nic->missed);
    add_cause(&causes, "no memory", card->counters.dropped_no_memory);
    log_causes(&causes);
}

/* --- the switches --- */

static void log_switch(const struct network *network, size_t index)
{
    const struct dgm_switch *net = network->nets[index];
    const char *name = NULL;

    for (size_t i = 0; i < network->config->vif_count && !name; i++)
        if (config_bridge(network->config, network->config->vifs[i].bridge) == index)
            name = network->config->vifs[i].bridge;
    dgm_env_log("switch %s: %llu addresses learnt, %llu moved, %llu evicted, %llu packets without "
                "memory for their tag",
                name, (unsigned long long)net->learnt, (unsigned long long)net->moved,
                (unsigned long long)net->evicted, (unsigned long long)net->unconverted);
    for (size_t i = 0; i < network->config->vif_count; i++)
        if (network->vif[i].guest &&
            config_bridge(network->config, network->config->vifs[i].bridge) == index)
            log_vif(&network->vif[i].back, network->vif[i].guest);
    if (network->nic && network->card_net == net)
        log_card(network);
}

void ports_print(const struct network *network)
{
    for (size_t i = 0; i < CONFIG_BRIDGES_MAX; i++)
        if (network->nets[i])
            log_switch(network, i);
}
