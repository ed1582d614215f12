# SPDX-License-Identifier: MIT
"""Frontends other than today's Linux, simulated by guest/programs/frontends.c."""

import re

from harness import expect, measure, test, waiting_test
from machine import Run, main_job


# These are served after their refusal.
SERVED_LATER = {"event_channel_late", "keys_after_initialised", "keys_after_connected", "one_key_after_initialised"}

# The word that the log line must contain for each refusal.
REFUSED_FOR = {
    "event_channel_late": "event-channel is missing",
    "keys_after_initialised": "ring-ref is missing",
    "keys_after_connected": "ring-ref is missing",
    "one_key_after_initialised": "event-channel is missing",
    "no_ring_ref": "ring-ref is missing",
    "ring_ref_no_number": 'ring-ref "abc" is not a number',
    "ring_ref_negative": 'ring-ref "-8" is not a number',
    "ring_ref_too_large": 'ring-ref "4294967304" is too large',
    "ring_ref_not_granted": "ring-ref: Xen refuses",
    "no_event_channel": "event-channel is missing",
    "event_channel_unbound": "event-channel: Xen refuses",
    "page_order_3": 'ring-page-order "3" is too large',
    "page_order_1_without_ref": "ring-ref1 is missing",
    "page_order_1_one_ref": "ring-ref1 is the reference of another page",
    "page_order_0_without_ref": "ring-ref is missing",
    "ref0_without_page_order": "ring-ref is missing",
    "below_queue_0_without_queues": "ring-ref is missing",
    "event_channel_above_queue_0": "ring-ref is missing",
    "two_queues": "multi-queue-num-queues: ",
    "no_queues": "multi-queue-num-queues: ",
    "protocol_x86_32": "protocol: ",
    "protocol_unknown": "protocol: ",
}


@waiting_test
def frontends_of_other_kinds():
    """A user-space frontend simulates 127 others, among them every combination of the ring's keys: those that Linux's
    backend accepts are served, the rest is refused with a log line. It waits for the lines: their number is limited."""
    run = Run("frontends_of_other_kinds", "--task", "frontends", "--disk-mib", "16", "--no-check", timeout=1800).good().clean()
    played = re.findall(r"^guest 1 (served|refused) (\w+) \d+$", "\n".join(run.results), re.MULTILINE)
    served = [name for outcome, name in played if outcome == "served"]
    refused = [name for outcome, name in played if outcome == "refused"]
    expect(len(served) == 109, f"only {len(served)} frontends were served")
    expect(set(refused) == set(REFUSED_FOR) - SERVED_LATER, f"these were refused: {refused}")
    wanted = [(name, REFUSED_FOR[name]) for _, name in played if name in REFUSED_FOR]
    said = re.findall(r"dragoman: vbd 1/\d+: closed: (.*)", run.console)
    expect(len(said) == len(wanted), f"{len(wanted)} refusals, these lines: {said}")
    for (name, cause), line in zip(wanted, said):
        expect(line.startswith(cause), f"{name}: the line does not name '{cause}': {line}")


@test
def rings_of_several_pages():
    """More than 32 requests of Linux are in flight if its ring has several pages: as many as its ring has entries, or as the
    disk's queue (63) and a few more. The disk does 40 a second. The bytes are right: the main job, on such rings."""
    for order, entries in ((1, 64), (2, 128)):
        run = Run(f"rings_of_{1 << order}_pages", "--task", "deep", "--no-check", "--disk-mib", "16", "--when", "phase busy=rings",
                  "--guest-args", f"xen_blkfront.max_ring_page_order={order} dragoman.depth={entries}",
                  "--qemu-args", "-set drive.disk0.throttling.iops-total=40").good().clean()
        expect(f"guest 1 queue xvda {entries}" in run.results, f"Linux's queue has not {entries} requests: {run.results}")
        run.guest(1, "work xvda")
        found = re.search(r"dragoman:   (\d+) requests without a response", run.console)
        expect(found and 60 <= int(found[1]) <= entries, f"{found[1] if found else 'no'} requests are in flight")
        measure(f"requests of one disk in flight, ring of {1 << order} pages", found[1])
    main_job("rings_of_4_pages_bytes", "--mib", "8", "--guest-args", "xen_blkfront.max_ring_page_order=2")
