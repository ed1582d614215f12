# SPDX-License-Identifier: MIT
"""The effect of one guest on another: programs/neighbour.c floods, programs/victim.c reads."""

from harness import expect, measure, test
from machine import Run


# The minimum of a guest's reads in 100 ms with each kind of neighbour. Time is instructions (-icount) while the one CPU
# computes, so this is a bound for a read: 500,000 instructions, in which the neighbour has its fair part of the CPU.
# While the machine is idle, time is the host's, and so is the disk's: on a host so busy that there
# are few reads beside none, a quarter of these is enough.
FAIR_READS = 200
FAIR_PART = 0.25
NEIGHBOURS = ("flood", "xenstore", "reconnect", "refused", "events")


@test
def neighbours_cost_a_guest_little():
    """One guest reads from its disk; the other floods slow disks, xenstore, its connection and its event channel."""
    run = Run("neighbours_cost_a_guest_little", "--guests", "2", "--disks", "2", "--disk-mib", "16", "--smp", "1",
              "--task", "victim", "--guest-task", "2=neighbour", "--guest-args", "dragoman.seconds=0.4 dragoman.delay=0.5",
              "--no-check",
              "--when", "phase end=poweroff",
              "--xen-args", "sched_ratelimit_us=0", "--qemu-args", "-icount shift=0,sleep=on "
              "-set drive.disk2.throttling.iops-total=20 -set drive.disk3.throttling.iops-total=20", timeout=3600)
    reads, phase, fresh = {}, None, False
    for line in run.results:
        words = line.split()
        if words[:2] == ["guest", "2"] and words[2] == "phase":
            phase, fresh = words[3], True
        elif words[:3] == ["guest", "1", "window"] and phase:
            if not fresh:  # the window lies in this phase alone
                reads.setdefault(phase, []).append(int(words[3]))
            fresh = False
    run.guest(2, "phase end")
    for kind in NEIGHBOURS[1:]:
        run.guest(2, "rounds", kind)
    alone = sum(reads["alone"]) / len(reads["alone"])
    least = min(FAIR_READS, FAIR_PART * alone)
    for kind in NEIGHBOURS:
        mean = sum(reads[kind]) / len(reads[kind])
        measure(f"reads in 100 ms beside {kind}, of {alone:.0f} beside none", f"{mean:.0f}")
        expect(mean >= least, f"beside {kind} the victim has {mean:.0f} reads in a window, less than {least:.0f}")
