# SPDX-License-Identifier: MIT
"""The modes in which a guest's frames are reached: the behaviour and the cost of each."""

import re

from harness import expect, measure, test
from machine import Run


def phases(console):
    """The counters of each report on the console, in order."""
    reports = []
    for name, value in re.findall(r"dragoman: counter (\w+) (\d+)", console):
        if name == "requests":
            reports.append({})
        reports[-1][name] = int(value)
    return reports


def mode_costs(name, *options):
    """128 reads and 128 writes of 4 KiB and of 128 KiB in one mode; measures what each of them costs."""
    rounds = 128
    asks = [word for number in range(3) for word in ("--when", f"phase {number}=counters")]
    run = Run("mode_" + name, "--task", "sizes", "--guest-args", f"dragoman.rounds={rounds}", "--no-check", *asks,
              *options).good().clean()
    reports = phases(run.console)
    expect(len(reports) == 4, f"{len(reports)} reports of the counters, not 4")
    for size, before, after in (("4 KiB", reports[0], reports[1]), ("128 KiB", reports[1], reports[2])):
        requests = after["requests"] - before["requests"]
        expect(requests >= 2 * rounds, f"{requests} requests of {size}, not {2 * rounds}")
        for what, counters in (
                ("grant hypercalls", ("hypercalls_grant",)),
                ("all hypercalls", ("hypercalls",)),
                ("TLB-flushing unmaps", ("foreign_unmapped",)),
                ("bytes copied by Xen", ("copied_from_guests_bytes", "copied_to_guests_bytes")),
                ("bytes by DMA straight to the guest's frames", ("dma_direct_bytes",))):
            change = sum(after[counter] - before[counter] for counter in counters)
            measure(f"{name}, {size}, {what} for each request", f"{change / requests:.2f}")
    return run, reports


@test
def mode_map():
    _, reports = mode_costs("map", "--mode", "map")
    expect(reports[3]["dma_direct_bytes"] >= 32 << 20, "bytes did not go straight to the guest's frames")
    expect(reports[3]["frames_copied"] == 0, "frames were copied")


@test
def mode_copy():
    _, reports = mode_costs("copy", "--mode", "copy")
    expect(reports[3]["dma_direct_bytes"] == 0, "a frame was mapped for a device")
    expect(reports[2]["foreign_mapped"] == 1, "more than the ring was mapped")
    expect(reports[3]["copied_from_guests_bytes"] >= 16 << 20, "too few bytes were copied from the guest")
    expect(reports[3]["copied_to_guests_bytes"] >= 16 << 20, "too few bytes were copied to the guest")


@test
def mode_identity():
    _, reports = mode_costs("identity", "--mode", "identity")
    expect(reports[3]["dma_direct_bytes"] >= 32 << 20, "bytes did not go straight to the guest's frames")
    expect(reports[3]["frames_identity"] >= reports[3]["segments"], "frames were left at their slots")


@test
def mode_persistent():
    """Linux reuses its grants when it is offered persistent ones; then only events need Xen."""
    _, reports = mode_costs("persistent", "--mode", "map", "--persistent", "yes")
    expect(reports[2]["frames_persistent"] > 8000, f"only {reports[2]['frames_persistent']} frames were found mapped")
    expect(reports[2]["hypercalls_grant"] - reports[1]["hypercalls_grant"] < 64, "grants were still mapped and unmapped")
    expect(reports[2]["foreign_live"] > 1, "no frame was persistent")


@test
def mode_persistent_declined():
    """A guest that does not use the persistent grants that it is offered: every frame is unmapped after its request."""
    run = Run("mode_persistent_declined", "--mode", "map", "--persistent", "yes", "--mib", "2", "--guest-args",
              "xen_blkfront.feature_persistent=0").good().clean().direct()
    expect(run.counters["frames_persistent"] == 0, f"{run.counters['frames_persistent']} frames were kept")


def cheapest(run):
    """What was measured at start, and what auto is said to be: persistent grants or not, and the mode without them."""
    said = re.search(r"mapped and unmapped costs (\d+) ns, 4096 bytes copied (\d+) ns, by a guest (\d+) ns: "
                     r"mode auto is (persistent grants, without them )?(\w+)", run.console)
    expect(said, "the costs were not measured")
    by_map, by_copy, by_guest = int(said[1]), int(said[2]), int(said[3])
    expect(by_guest > 0, "a guest's copying costs nothing")
    expect((said[4] is not None) == (by_guest <= by_map), "persistent grants are offered though mapping costs less, or not")
    expect(said[5] == ("copy" if by_copy < by_map else "map"), f"auto is {said[5]}, which does not cost less")
    return said[4] is not None, said[5]


@test
def mode_auto_is_the_default():
    """Without any option Linux is served with persistent grants, if its copying costs less than mapping."""
    run = Run("mode_auto_is_the_default", "--mib", "4").good().clean()
    persistent, mode = cheapest(run)
    expect(run.counters["ring_connects_" + ("persistent" if persistent else mode)] == 1, "served in another mode")
    expect((run.counters["frames_persistent"] > 0) == persistent, "persistent grants are not used as they are chosen")


@test
def mode_auto_declined():
    """A guest that does not reuse its grants is served by mapping or copying, whichever was measured to cost less."""
    run = Run("mode_auto_declined", "--mib", "4", "--guest-args", "xen_blkfront.feature_persistent=0").good().clean()
    mode = cheapest(run)[1]
    expect(run.counters["ring_connects_" + mode] == 1, f"not served in mode {mode}")
    expect((run.counters["frames_copied"] > 0) == (mode == "copy"), "the disk was not served in that mode")
    expect(run.counters["frames_persistent"] == 0, f"{run.counters['frames_persistent']} frames were kept")
