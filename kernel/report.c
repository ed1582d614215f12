/* SPDX-License-Identifier: MIT */
/* report: see report.h. */
#include "report.h"
#include "console.h"

#include <dragoman/hyper/hypercall.h>

static void print_counter(const char *name, uint64_t value)
{
    console_line("dragoman: counter %s %llu", name, (unsigned long long)value);
}

static void report_blkback(const struct guests *guests)
{
    struct dgm_blkback_counters sum = {0};
    uint64_t refused = 0, connects = 0;

    for (size_t i = 0; i < guests->disk_count; i++) {
        const struct dgm_blkback_counters *one = &guests->disk[i].back.counters;

        connects += guests->disk[i].back.xenbus.connects;
        sum.reads += one->reads;
        sum.writes += one->writes;
        sum.flushes += one->flushes;
        sum.indirect += one->indirect;
        sum.bytes_read += one->bytes_read;
        sum.bytes_written += one->bytes_written;
        sum.segments += one->segments;
        sum.device_errors += one->device_errors;
        sum.dropped += one->dropped;
        sum.flush_retries += one->flush_retries;
        sum.flushes_given_up += one->flushes_given_up;
        sum.quarantined += one->quarantined;
        sum.ring_overflows += one->ring_overflows;
        for (unsigned held = 0; held <= DGM_REACH_HELD_IDENTITY; held++)
            sum.connects[held] += one->connects[held];
        sum.drains += one->drains;
        sum.waits += one->waits;
        sum.events_sent += one->events_sent;
        for (unsigned reason = 0; reason < DGM_BLKBACK_REFUSALS; reason++)
            refused += one->refused[reason];
    }
    print_counter("requests", sum.reads + sum.writes + sum.flushes);
    print_counter("reads", sum.reads);
    print_counter("writes", sum.writes);
    print_counter("flushes", sum.flushes);
    print_counter("requests_indirect", sum.indirect);
    print_counter("requests_refused", refused);
    print_counter("requests_dropped", sum.dropped);
    print_counter("flush_retries", sum.flush_retries);
    print_counter("flushes_given_up", sum.flushes_given_up);
    print_counter("requests_quarantined", sum.quarantined);
    print_counter("bytes_read", sum.bytes_read);
    print_counter("bytes_written", sum.bytes_written);
    print_counter("segments", sum.segments);
    print_counter("io_errors", sum.device_errors);
    print_counter("ring_overflows", sum.ring_overflows);
    print_counter("ring_connects", connects);
    print_counter("ring_connects_map", sum.connects[DGM_REACH_HELD_MAPPED]);
    print_counter("ring_connects_persistent", sum.connects[DGM_REACH_HELD_PERSISTENT]);
    print_counter("ring_connects_copy", sum.connects[DGM_REACH_HELD_COPIED]);
    print_counter("ring_connects_identity", sum.connects[DGM_REACH_HELD_IDENTITY]);
    print_counter("ring_drains", sum.drains);
    print_counter("ring_waits", sum.waits);
    print_counter("events_sent", sum.events_sent);
}

void report_print(const struct memory *memory, const struct guests *guests,
                  const struct dgm_xenstore *xs, const struct disks *disks)
{
    const struct dgm_core *core = memory->core;
    const struct dgm_grant *grant = core->grant;
    const struct dgm_dma *dma = &core->dma;
    struct dgm_xs_counters store;
    uint64_t commands = 0, errors = 0, timeouts = 0;

    report_blkback(guests);
    print_counter("frames_mapped", core->reach.frames[DGM_REACH_HELD_MAPPED]);
    print_counter("frames_persistent", core->reach.frames[DGM_REACH_HELD_PERSISTENT]);
    print_counter("frames_copied", core->reach.frames[DGM_REACH_HELD_COPIED]);
    print_counter("frames_identity", core->reach.identity_mapped);
    print_counter("copied_from_guests_bytes", core->copy->bytes_in);
    print_counter("copied_to_guests_bytes", core->copy->bytes_out);
    print_counter("foreign_mapped", grant->mapped);
    print_counter("foreign_unmapped", grant->unmapped);
    print_counter("foreign_live", grant->live);
    print_counter("foreign_live_max", grant->live_max);
    print_counter("foreign_refused", grant->map_refused);
    print_counter("slots_taken", core->cache.taken);
    print_counter("slots_taken_max", core->cache.taken_max);
    print_counter("slots_retired", core->cache.retired);
    print_counter("p2m_live", core->p2m.live);
    print_counter("dma_direct_bytes", dma->bytes_foreign);
    print_counter("dma_bounced_bytes", dma->bytes_bounced_reach + dma->bytes_bounced_gap +
                                           dma->bytes_bounced_line + dma->bytes_bounced_flush);
    print_counter("dma_cuts", dma->cuts);
    print_counter("cache_flush_ops", dma->flush ? dma->flush->done : 0);
    print_counter("cache_flush_refused", dma->flush ? dma->flush->refused : 0);
    print_counter("cache_flush_hypercalls", dma->flush ? dma->flush->batches : 0);
    print_counter("dma_maps", dma->maps);
    print_counter("bounce_taken", (uint64_t)(core->bounce.total - core->bounce.free));
    print_counter("hypercalls", dgm_hypercall_total());
    print_counter("hypercalls_grant", dgm_hypercall_count[__HYPERVISOR_grant_table_op]);
    print_counter("hypercalls_event", dgm_hypercall_count[__HYPERVISOR_event_channel_op]);
    for (size_t i = 0; i < disks->count; i++) {
        const struct dgm_blkdev *blkdev = disks->disk[i].blkdev;

        if (!blkdev)
            continue;
        commands += blkdev->commands;
        errors += blkdev->errors;
        timeouts += blkdev->timeouts;
    }
    print_counter("disk_commands", commands);
    print_counter("disk_errors", errors);
    print_counter("disk_timeouts", timeouts);
    dgm_xs_counters(xs, &store);
    print_counter("xenstore_requests", store.requests);
    print_counter("xenstore_errors", store.errors);
    print_counter("xenstore_refused", store.quota_refusals + store.protocol_errors);
    print_counter("xenstore_nodes", store.nodes);
    print_counter("xenstore_bytes", store.memory_used);
    print_counter("xenstore_work", store.work);
    print_counter("xenstore_work_request_max", store.work_request_max);
    print_counter("xenstore_work_turn_max", store.work_turn_max);
    print_counter("guests_live", guests->live);
}

/* The sums over all vifs. */
struct network_sums {
    uint64_t from, to, bytes_from, bytes_to, refused, spoofed, vlan, flooded, dropped_from,
        dropped_to;
    uint64_t events, ring_errors, held_back, rate_limited, checksums, large_from, large_to, cut,
        direct, not_direct;
};

static void add_vif(struct network_sums *sum, const struct dgm_netback *vif)
{
    const struct dgm_netback_counters *one = &vif->counters;
    const struct dgm_switch_port_counters *port = &vif->port.counters;

    sum->from += port->packets_in;
    sum->bytes_from += port->bytes_in;
    sum->to += port->packets_out;
    sum->bytes_to += port->bytes_out;
    sum->spoofed += port->dropped[DGM_SWITCH_SPOOF] + port->dropped[DGM_SWITCH_IP];
    sum->dropped_from += port->dropped[DGM_SWITCH_RUNT] + port->dropped[DGM_SWITCH_NO_PORT] +
                         port->dropped[DGM_SWITCH_MIRROR];
    sum->vlan += port->dropped[DGM_SWITCH_VLAN];
    sum->flooded += port->dropped[DGM_SWITCH_FLOOD];
    sum->dropped_to += one->dropped_not_connected + one->dropped_queue_full +
                       one->dropped_too_long + one->dropped_bad_grant;
    sum->events += one->events_sent;
    sum->ring_errors += one->ring_errors;
    sum->held_back += one->held_back;
    sum->rate_limited += one->rate_limited;
    sum->checksums += one->checksums;
    sum->large_from += one->large_from;
    sum->large_to += one->large_to;
    sum->direct += one->direct;
    sum->not_direct += one->not_direct;
    sum->cut += one->cut;
    for (unsigned reason = 0; reason < DGM_NETBACK_REFUSALS; reason++)
        sum->refused += one->refused[reason];
}

static void report_card(const struct dgm_net_card *card)
{
    const struct dgm_nicdev *nic = card->nic;
    const struct dgm_net_card_counters *counters = &card->counters;

    print_counter("card_sent", nic->sent);
    print_counter("card_sent_bytes", nic->sent_bytes);
    print_counter("card_received", nic->received);
    print_counter("card_received_bytes", nic->received_bytes);
    print_counter("card_received_bad", nic->received_bad);
    print_counter("card_missed", nic->missed);
    print_counter("card_stalls", nic->stalls);
    print_counter("card_dropped", counters->dropped_too_long + counters->dropped_no_link +
                                      counters->dropped_queue_full + counters->dropped_checksum +
                                      counters->dropped_no_memory);
    print_counter("card_checksums", counters->checksums);
    print_counter("card_cut", counters->cut);
    print_counter("card_large", counters->large);
}

void report_network(const struct network *network)
{
    const struct dgm_netback_copied copied = dgm_netback_copied(network->env.shared);
    struct network_sums sum = {0};

    for (size_t i = 0; i < CONFIG_VIFS_MAX; i++)
        add_vif(&sum, &network->vif[i].back);
    print_counter("vif_packets_from_guests", sum.from);
    print_counter("vif_packets_to_guests", sum.to);
    print_counter("vif_bytes_from_guests", sum.bytes_from);
    print_counter("vif_bytes_to_guests", sum.bytes_to);
    print_counter("vif_packets_refused", sum.refused);
    print_counter("vif_packets_spoofed", sum.spoofed);
    print_counter("vif_packets_of_other_vlans", sum.vlan);
    print_counter("vif_packets_beyond_storm_limit", sum.flooded);
    print_counter("vif_dropped_from_guests", sum.dropped_from);
    print_counter("vif_dropped_to_guests", sum.dropped_to);
    print_counter("vif_held_back", sum.held_back);
    print_counter("vif_rate_limited", sum.rate_limited);
    print_counter("vif_events_sent", sum.events);
    print_counter("vif_ring_errors", sum.ring_errors);
    print_counter("vif_checksums", sum.checksums);
    print_counter("vif_large_from_guests", sum.large_from);
    print_counter("vif_large_to_guests", sum.large_to);
    print_counter("vif_cut_to_guests", sum.cut);
    print_counter("vif_copy_hypercalls", copied.batches);
    print_counter("vif_copied_from_guests_bytes", copied.bytes_in);
    print_counter("vif_copied_to_guests_bytes", copied.bytes_out);
    print_counter("vif_copied_between_guests_bytes", copied.bytes_between);
    print_counter("vif_direct", sum.direct);
    print_counter("vif_direct_copied_again", sum.not_direct);
    if (network->nic)
        report_card(&network->card);
    const uint64_t frames = network->packets.total;

    print_counter("packet_frames_taken", frames - network->packets.free_frame_count);
    print_counter("packet_frames_taken_max", frames - network->packets.free_frames_min);
    print_counter("packet_shortages", network->packets.shortages);
}
