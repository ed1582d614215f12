# SPDX-License-Identifier: MIT
"""A guest that attacks Dragoman's network (guest/programs/attacks.c), beside two honest ones."""

import os
import re

from harness import expect, measure, test
from machine import ROOT, Run

VIFS = [word for guest in (1, 2, 3) for word in ("--guest-vif", f"{guest}=bridge=xenbr0,mac=00:16:3e:0a:09:0{guest}")]


def documented():
    """Each attack and its outcome, as docs/security.md has them."""
    with open(os.path.join(ROOT, "docs", "security.md"), encoding="utf-8") as page:
        return dict(re.findall(r"^\| `(\w+)` \|.*\| (\w+) \|$", page.read(), re.MULTILINE))


@test
def attacks_on_the_network():
    """Every attack of docs/security.md has the outcome that it has there, while two honest guests exchange files whose
    sums are right; the attacker's own interface serves it again after each."""
    run = Run("attacks_on_the_network", "--guests", "3", "--vif", "user", "--task", "attacks", "--smp", "1", "--dom0-mem", "24M", "--disk-mib", "16",
              "--no-check", *VIFS, timeout=3600).good().clean()
    wanted = documented()
    played = dict(re.findall(r"^guest 3 attack (\w+) (\w+)$", "\n".join(run.results), re.MULTILINE))
    expect(len(wanted) >= 40, f"docs/security.md has {len(wanted)} attacks")
    expect(played == wanted, f"these differ from docs/security.md: {set(played.items()) ^ set(wanted.items())}")
    run.guest(3, "net reached again")
    sums = re.findall(r"^guest [12] net sum (\w+)$", "\n".join(run.results), re.MULTILINE)
    expect(len(sums) == 2 and sums[0] == sums[1], f"guest 2 has another file than guest 1: {sums}")
    rounds = int(re.search(r"^guest 2 net rounds (\d+)$", "\n".join(run.results), re.MULTILINE)[1])
    measure("files that honest guests exchanged meanwhile", rounds)
    expect(rounds >= 5, f"the honest guests exchanged {rounds} files")
    closed = sum(outcome == "closed" for outcome in played.values())
    for name, least in (("vif_packets_refused", 40), ("vif_packets_spoofed", 100), ("vif_ring_errors", 5), ("vif_dropped_to_guests", 1), ("card_cut", 682)):
        expect(run.counters[name] >= least, f"{name} is {run.counters[name]} after {closed} closed connections")
    expect(run.counters["packet_frames_taken"] == 128, "packets are not returned")
