# SPDX-License-Identifier: MIT
"""network: stock guests reach the host through Dragoman's network card, and each other."""

import os
import re
import subprocess

from harness import expect, Skip, test
from machine import main_job, ROOT, Run

FROM_HOST = "net: 3000017 bytes by TCP from host, the same SHA-256"


@test
def network_dhcp_and_tcp():
    """A stock guest gets its address through our card, and a file whose sum is the host's."""
    run = main_job("network_dhcp_and_tcp", "--vif", "user", "--mib", "4").said("e1000e0 is pci:00:1e.0: .*INTx")
    run.guest(1, "net address 10.0.2.15")
    expect(f"guest 1, {FROM_HOST}" in run.output, run.output)
    expect(run.counters["vif_packets_refused"] == 0 and run.counters["packet_shortages"] == 0, str(run.counters))
    expect(run.counters["packet_frames_taken"] == 128, "packets are not returned")


@test
def network_between_guests():
    """Two guests, each with its own address; the second fetches a file from the first. By MSI-X."""
    run = Run("network_between_guests", "--vif", "user", "--guests", "2", "--task", "network", "--gic", "2").good().clean()
    run.said("e1000e0 is pci:00:1e.0: .*MSI-X")
    for line in (f"guest 1, {FROM_HOST}", f"guest 2, {FROM_HOST}",
                 "guest 2, net: 3000017 bytes by TCP from guest1, the same SHA-256"):
        expect(line in run.output, f"not said: {line}\n{run.output}")
    expect(run.counters["vif_packets_spoofed"] == 0, "a guest was taken for a forger")
    expect(run.counters["vif_large_to_guests"] > 20, "TCP between guests goes in large packets")
    expect(run.counters["vif_copied_between_guests_bytes"] > 1500000, "most of a file goes from guest to guest by one copy")
    expect(run.counters["vif_cut_to_guests"] == 0, "a guest that takes large packets gets them cut")


@test
def network_virtio():
    """The same through a virtio card, by MSI-X: DHCP, and a file by TCP whose sum is the host's."""
    run = Run("network_virtio", "--vif", "user", "--card", "virtio", "--mib", "4", "--gic", "2").good().clean()
    run.said("virtio_net0 is pci:00:1e.0: .*MSI-X")
    run.guest(1, "net address 10.0.2.15")
    expect(f"guest 1, {FROM_HOST}" in run.output, run.output)
    expect(run.counters["packet_shortages"] == 0, str(run.counters))
    expect(run.counters["packet_frames_taken"] == 128, "packets are not returned")


@test
def network_sizes_and_mtus():
    """Between two guests: pings of 25 sizes by IPv4 and IPv6, and a file by TCP, at each MTU from 1,500 to 65,517."""
    run = Run("network_sizes_and_mtus", "--guests", "2", "--task", "protocols", "--smp", "1",
              "--guest-vif", "1=bridge=xenbr0", "--guest-vif", "2=bridge=xenbr0", timeout=1800).good().clean()
    for mtu in (1500, 9000, 65517):
        for version in ("ipv4", "ipv6"):
            run.guest(2, f"net pinged {version} {mtu} 25 sizes")
        sums = [line.split()[-1] for line in run.results if f" net sum {mtu} " in line]
        expect(len(sums) == 2 and sums[0] == sums[1], f"at MTU {mtu} guest 2 has another file than guest 1: {sums}")
    expect(run.counters["vif_packets_refused"] == 0 and run.counters["vif_ring_errors"] == 0, str(run.counters))


@test
def network_separation():
    """VLANs, isolation groups, forged addresses, a mirror and a rate: beside each forbidden packet passes an allowed one."""
    vifs = ("1=bridge=net.10", "1=bridge=xenbr0,group=1", "2=bridge=net.10,rate=100KB/s", "2=bridge=net.20", "2=bridge=net,mirror=yes",
            "2=bridge=xenbr0,group=1,ip=10.9.1.2", "2=bridge=xenbr0,group=2")
    run = Run("network_separation", "--guests", "2", "--task", "separation", "--dom0-mem", "24M",
              *(word for vif in vifs for word in ("--guest-vif", vif))).good().clean()
    for case in ("vlan", "group", "mac", "ip"):
        run.guest(2, f"net reached {case}").guest(2, f"net separated {case}")
    run.guest(2, "net reached vlan-mirrored").guest(1, "net fetched 300000 bytes")
    expect(run.counters["vif_packets_spoofed"] > 0, "no forged packet was counted")
    expect(run.counters["vif_rate_limited"] > 0, "the rate limit held nothing back")
    expect(run.counters["vif_ring_errors"] == 0 and run.counters["vif_packets_refused"] == 0, str(run.counters))


@test
def network_plugged_under_load():
    """While a guest sends, its vif is unplugged and plugged by the monitor, unbound and bound, and its driver's module reloaded."""
    run = Run("network_plugged_under_load", "--guests", "2", "--task", "plugging", "--guest-vif", "1=bridge=xenbr0", "--guest-vif", "2=bridge=xenbr0",
              "--when", "@dragoman plug ready=unplug 2 0", "--when", "@dragoman plug gone=plug 2 0").good().clean()
    run.said(r"guest 2 \(guest2\): vif 0 is unplugged")
    for case in ("first", "unplugged", "unbound", "reloaded"):
        run.guest(2, f"net reached {case}")
    expect(run.counters["vif_ring_errors"] == 0 and run.counters["packet_frames_taken"] == 0, str(run.counters))


def queues_of(console, vif):
    """The packets of each queue of a vif, from it and to it, as the monitor printed them last."""
    part = console.rsplit(f"{vif} (", 1)[-1].split(" (", 1)[0]
    return [(int(sent), int(received)) for sent, received in re.findall(r"queue \d+: from it (\d+) packets, to it (\d+)", part)]


@test
def network_four_queues():
    """Guests with four vCPUs have four queues each, and each queue carries packets both ways."""
    run = Run("network_four_queues", "--guests", "2", "--vcpus", "4", "--smp", "1", "--task", "queues", "--guest-vif", "1=bridge=xenbr0",
              "--guest-vif", "2=bridge=xenbr0", "--when", "@dragoman queues carried=ports").good().clean()
    for number in (1, 2):
        run.guest(number, "net queues tx 4 rx 4")
        queues = queues_of(run.console, f"vif{number}.0")
        expect(len(queues) == 4 and all(sent and received for sent, received in queues), f"vif{number}.0: {queues}")
    served = [line.split()[-1] for line in run.results if line.startswith("guest 1 net served")]
    run.guest(2, f"net guest1 {served[0]}")
    expect(run.counters["vif_ring_errors"] == 0 and run.counters["vif_packets_refused"] == 0, str(run.counters))


@test
def network_tap():
    """Through a TAP device: the virtio card, not the CPU, fills in the checksums of what the guests send, and cuts its large packets."""
    possible = subprocess.run([os.path.join(ROOT, "build", "host", "tools", "tapnet"), "--check"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if possible.returncode != 0:
        raise Skip(possible.stdout.decode().strip())
    run = Run("network_tap", "--net", "tap", "--card", "virtio", "--task", "network").good().clean()
    run.guest(1, "net address 10.0.2.15").guest(1, "net returned host")
    expect(f"guest 1, {FROM_HOST}" in run.output, run.output)
    expect(run.counters["card_large"] > 50 and run.counters["card_cut"] == 0, "the card cuts the file that the guest sends back")
    expect(run.counters["card_checksums"] == 0, f"the CPU filled in {run.counters['card_checksums']} checksums")
    expect(run.counters["card_sent"] > 20 and run.counters["packet_shortages"] == 0, str(run.counters))


@test
def network_32_vifs():
    """As many vifs as there can be fit into Dom0's memory of all tests, and each is offered."""
    vifs = [word for _ in range(32) for word in ("--guest-vif", "1=bridge=xenbr0")]
    run = Run("network_32_vifs", "--vif", "user", "--mib", "1", "--dom0-mem", "16M", *vifs).good().clean()
    run.said(r"guest 1 \(guest1\): vif 31 is .* on xenbr0")
