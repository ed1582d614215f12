/* SPDX-License-Identifier: MIT */
/* report: see report.h. */
#include "report.h"
#include "console.h"

#include <dragoman/hyper/hypercall.h>

static void say(const char *name, uint64_t value)
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
        sum.drains += one->drains;
        sum.waits += one->waits;
        sum.events_sent += one->events_sent;
        for (unsigned reason = 0; reason < DGM_BLKBACK_REFUSALS; reason++)
            refused += one->refused[reason];
    }
    say("requests", sum.reads + sum.writes + sum.flushes);
    say("reads", sum.reads);
    say("writes", sum.writes);
    say("flushes", sum.flushes);
    say("requests_indirect", sum.indirect);
    say("requests_refused", refused);
    say("requests_dropped", sum.dropped);
    say("flush_retries", sum.flush_retries);
    say("flushes_given_up", sum.flushes_given_up);
    say("requests_quarantined", sum.quarantined);
    say("bytes_read", sum.bytes_read);
    say("bytes_written", sum.bytes_written);
    say("segments", sum.segments);
    say("io_errors", sum.device_errors);
    say("ring_overflows", sum.ring_overflows);
    say("ring_connects", connects);
    say("ring_drains", sum.drains);
    say("ring_waits", sum.waits);
    say("events_sent", sum.events_sent);
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
    say("frames_mapped", core->reach.frames[DGM_REACH_HELD_MAPPED]);
    say("frames_persistent", core->reach.frames[DGM_REACH_HELD_PERSISTENT]);
    say("frames_copied", core->reach.frames[DGM_REACH_HELD_COPIED]);
    say("frames_identity", core->identity ? core->identity->mapped : 0);
    say("copied_from_guests_bytes", core->copy->bytes_in);
    say("copied_to_guests_bytes", core->copy->bytes_out);
    say("foreign_mapped", grant->mapped);
    say("foreign_unmapped", grant->unmapped);
    say("foreign_live", grant->live);
    say("foreign_live_max", grant->live_max);
    say("foreign_refused", grant->map_refused);
    say("slots_taken", core->cache.taken);
    say("slots_taken_max", core->cache.taken_max);
    say("slots_retired", core->cache.retired);
    say("p2m_live", core->p2m.live);
    say("dma_direct_bytes", dma->bytes_foreign);
    say("dma_bounced_bytes", dma->bytes_bounced_reach + dma->bytes_bounced_gap +
                                 dma->bytes_bounced_line + dma->bytes_bounced_flush);
    say("dma_cuts", dma->cuts);
    say("cache_flush_ops", dma->flush ? dma->flush->done : 0);
    say("cache_flush_refused", dma->flush ? dma->flush->refused : 0);
    say("cache_flush_hypercalls", dma->flush ? dma->flush->batches : 0);
    say("dma_maps", dma->maps);
    say("bounce_taken", (uint64_t)(core->bounce.total - core->bounce.free));
    say("hypercalls", dgm_hypercall_total());
    say("hypercalls_grant", dgm_hypercall_count[__HYPERVISOR_grant_table_op]);
    say("hypercalls_event", dgm_hypercall_count[__HYPERVISOR_event_channel_op]);
    for (size_t i = 0; i < disks->count; i++) {
        const struct dgm_blkdev *blkdev = disks->disk[i].blkdev;

        if (!blkdev)
            continue;
        commands += blkdev->commands;
        errors += blkdev->errors;
        timeouts += blkdev->timeouts;
    }
    say("disk_commands", commands);
    say("disk_errors", errors);
    say("disk_timeouts", timeouts);
    dgm_xs_counters(xs, &store);
    say("xenstore_requests", store.requests);
    say("xenstore_errors", store.errors);
    say("xenstore_refused", store.quota_refusals + store.protocol_errors);
    say("xenstore_nodes", store.nodes);
    say("xenstore_bytes", store.memory_used);
    say("xenstore_work", store.work);
    say("xenstore_work_request_max", store.work_request_max);
    say("xenstore_work_turn_max", store.work_turn_max);
    say("guests_live", guests->live);
}

/* The sums over all vifs. */
struct network_sums {
    uint64_t from, to, bytes_from, bytes_to, refused, spoofed, dropped_from, dropped_to;
    uint64_t events, ring_errors, held_back, checksums, large_from, large_to, cut;
};

static void add_vif(struct network_sums *sum, const struct dgm_netback *vif)
{
    const struct dgm_netback_counters *one = &vif->counters;
    const struct dgm_switch_port_counters *port = &vif->port.counters;

    sum->from += port->packets_in;
    sum->bytes_from += port->bytes_in;
    sum->to += port->packets_out;
    sum->bytes_to += port->bytes_out;
    sum->spoofed += port->dropped[DGM_SWITCH_SPOOF];
    sum->dropped_from += port->dropped[DGM_SWITCH_RUNT] + port->dropped[DGM_SWITCH_NO_PORT];
    sum->dropped_to += one->dropped_not_connected + one->dropped_queue_full +
                       one->dropped_too_long + one->dropped_bad_grant;
    sum->events += one->events_sent;
    sum->ring_errors += one->ring_errors;
    sum->held_back += one->held_back;
    sum->checksums += one->checksums;
    sum->large_from += one->large_from;
    sum->large_to += one->large_to;
    sum->cut += one->cut;
    for (unsigned reason = 0; reason < DGM_NETBACK_REFUSALS; reason++)
        sum->refused += one->refused[reason];
}

static void report_card(const struct dgm_net_card *card)
{
    const struct dgm_nicdev *nic = card->nic;
    const struct dgm_net_card_counters *counters = &card->counters;

    say("card_sent", nic->sent);
    say("card_sent_bytes", nic->sent_bytes);
    say("card_received", nic->received);
    say("card_received_bytes", nic->received_bytes);
    say("card_received_bad", nic->received_bad);
    say("card_missed", nic->missed);
    say("card_stalls", nic->stalls);
    say("card_dropped", counters->dropped_too_long + counters->dropped_no_link +
                            counters->dropped_queue_full + counters->dropped_checksum +
                            counters->dropped_no_memory);
    say("card_checksums", counters->checksums);
    say("card_cut", counters->cut);
}

void report_network(const struct network *network)
{
    const struct dgm_netback_copied copied = dgm_netback_copied(network->env.shared);
    struct network_sums sum = {0};

    for (size_t i = 0; i < CONFIG_VIFS_MAX; i++)
        add_vif(&sum, &network->vif[i].back);
    say("vif_packets_from_guests", sum.from);
    say("vif_packets_to_guests", sum.to);
    say("vif_bytes_from_guests", sum.bytes_from);
    say("vif_bytes_to_guests", sum.bytes_to);
    say("vif_packets_refused", sum.refused);
    say("vif_packets_spoofed", sum.spoofed);
    say("vif_dropped_from_guests", sum.dropped_from);
    say("vif_dropped_to_guests", sum.dropped_to);
    say("vif_held_back", sum.held_back);
    say("vif_events_sent", sum.events);
    say("vif_ring_errors", sum.ring_errors);
    say("vif_checksums", sum.checksums);
    say("vif_large_from_guests", sum.large_from);
    say("vif_large_to_guests", sum.large_to);
    say("vif_cut_to_guests", sum.cut);
    say("vif_copy_hypercalls", copied.batches);
    say("vif_copied_from_guests_bytes", copied.bytes_in);
    say("vif_copied_to_guests_bytes", copied.bytes_out);
    if (network->nic)
        report_card(&network->card);
    const uint64_t frames = network->packets.total;

    say("packet_frames_taken", frames - network->packets.free_frame_count);
    say("packet_frames_taken_max", frames - network->packets.free_frames_min);
    say("packet_shortages", network->packets.shortages);
}
