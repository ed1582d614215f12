# SPDX-License-Identifier: MIT
"""What is kept of a machine in which a guest makes no progress: the capture of soak.py, on stalls that are planted."""

import os
import re
import time

from harness import expect, test, SLOW
from machine import OUT
import soak

# What Xen prints for each of its debug keys that the release build has on Arm.
XEN_SAYS = (r"\*\*\* Dumping CPU1 (host|guest) state", r"General information for domain 1:", r"Event channel information for domain 1",
            r"Scheduler: ", r"Dumping timer queues", r"gnttab_usage_print_all")


def wait_for(machine, line):
    end = time.monotonic() + 600 * SLOW
    while line not in machine.read("results"):
        expect(machine.process.poll() is None and time.monotonic() < end, f"no report '{line}'")
        time.sleep(1)


@test
def a_stall_is_captured():
    """One guest waits for itself, another one for its disk: which is which is said, and all state is kept."""
    machine = soak.Machine(os.path.join(OUT, "a_stall_is_captured"), {1: "idle", 2: "steady"},
                           ["--guest-args", "dragoman.seconds=100000"],
                           # One operation of 512 bytes a second: the first write takes minutes.
                           "-set drive.disk1.throttling.iops-total=1 -set drive.disk1.throttling.iops-size=512")
    try:
        wait_for(machine, "guest 1 task idle")
        wait_for(machine, "guest 2 progress")  # its last new line
        machine.capture(machine.watch(stall_s=45 * SLOW))
        said = "\n".join(machine.summary())
    finally:
        machine.end()
    expect(re.search(r"guest 1 xvda: .*\n  all requests have responses: the guest", said), f"guest 1 waits for itself:\n{said}")
    expect(re.search(r"guest 2 xvda: .*\n  the disk, or Dragoman, has requests", said), f"guest 2 waits for its disk:\n{said}")
    console, kept = machine.read("console.log"), machine.read("stalled")
    expect("guests [1, 2] stalled" in kept, "not both guests are said to have stalled")
    for words in (r"=== registers, sample 3\s+CPU#0\s+PC=", r"CPU#1\s+PC=", r"=== info irq", r"Bus  0, device"):
        expect(re.search(words, kept), f"QEMU's state lacks {words}")
    for words in (r"dragoman: guest 2 \(guest2\): running", r"dragoman: counter requests \d+", *XEN_SAYS):
        expect(re.search(words, console), f"the console lacks {words}")
