# SPDX-License-Identifier: MIT
"""Disks that pause, leave and come back: a guest sees late responses, and no error.

All disks of one machine at the same time: it waits, and computes little."""

import os
import tempfile
import threading
import time

from harness import expect, waiting_test
from machine import OUT, Run
from qemu import GdbStub, Monitor, wait_for

ECAM = 0x4010000000  # of QEMU's virt

# disk: requests in flight of each kind, seconds without any progress; the driver resets a controller after 30.
STALLS = {"xvda": (32, 0.1), "xvdb": (1, 1), "xvdc": (8, 5), "xvdd": (1, 20), "xvde": (32, 40), "xvdf": (8, 75), "xvdg": (16, 120)}
SLOW_DISK = "xvdh"  # one operation a second
SLOW_S, SLOW_DEPTH = 30, 32
DROPPED = "xvdi"  # its registers and configuration are cleared
REPLACED = "xvdj"  # in a hot-plug slot, from which it is taken and into which it is put again
AWAY_S = 4


def config_space(device):
    """The address of the configuration space of 00:DEVICE.0."""
    return ECAM + (device << 15)


class Disks:
    """What the host does to the disks, by QEMU's monitor and debugger."""

    def __init__(self, console, image):
        self.console = console
        self.monitor = Monitor()
        self.stub = GdbStub()
        self.failure = None
        self.arguments = (f"{self.monitor.arguments} {self.stub.arguments} "
                          "-device pcie-root-port,id=bay,chassis=1,slot=1,addr=a "
                          f"-blockdev driver=file,filename={image},node-name=replaced "
                          "-device nvme,bus=bay,drive=replaced,serial=replaced,id=replaced")

    def throttle(self, number, bps=0, iops=0):
        disk = {"device": f"disk{number}"} if isinstance(number, int) else {"id": number}
        self.monitor.execute("block_set_io_throttle", bps=bps, bps_rd=0, bps_wr=0, iops=iops, iops_rd=0, iops_wr=0, **disk)

    def stall(self, number, seconds):
        """A byte a second: what is in flight ends when the limit does."""
        self.throttle(number, bps=1)
        time.sleep(seconds)
        self.throttle(number)

    def slow_down(self, number):
        self.throttle(number, iops=1)
        time.sleep(2 * SLOW_S + 10)  # one whole round in it has SLOW_S
        self.throttle(number)

    def drop_link(self, number):
        """A link that drops resets what is behind it."""
        self.throttle(number, bps=1)
        time.sleep(1)
        for offset, data in ((4, bytes(2)), (0x10, bytes(8))):  # command register, BAR
            self.stub.write(config_space(number + 1) + offset, data)
        wait_for(self.console, f"nvme{number}: NVMe: works again")
        time.sleep(AWAY_S)  # what was in flight is submitted again, and waits
        self.throttle(number)

    def replace(self):
        """The slot's power goes off, so QEMU removes the disk; the same disk is added, and the power comes on."""
        port = config_space(0xa)
        at = self.stub.read(port + 0x34, 1)[0]
        while self.stub.read(port + at, 1)[0] != 0x10:  # PCI Express
            at = self.stub.read(port + at + 1, 1)[0]
        self.throttle("replaced", bps=1)
        time.sleep(1)
        self.stub.write(port + at + 0x18, b"\xc0\x07")  # slot control: power, its indicator
        time.sleep(AWAY_S)
        self.monitor.execute("device_add", driver="nvme", bus="bay", drive="replaced", serial="replaced", id="again")
        self.stub.write(port + at + 0x18, b"\xc0\x01")

    def disturb(self):
        """First what needs the debugger: it stops the machine, and QEMU then ends all that is in flight."""
        self.attempt(self.drop_link, len(STALLS) + 1)
        self.attempt(self.replace)
        for number, (_, seconds) in enumerate(STALLS.values()):
            threading.Thread(target=self.attempt, args=(self.stall, number, seconds), daemon=True).start()
        self.attempt(self.slow_down, len(STALLS))

    def attempt(self, action, *arguments):
        """A disk that the host fails to disturb would be used until the time is up: the machine is stopped instead."""
        try:
            action(*arguments)
        except OSError as problem:
            if not self.failure:
                self.failure = problem
                self.monitor.execute("quit")


@waiting_test
def pauses_cost_no_errors():
    """Disks that stall for 0.1 to 120 s, one that executes an operation a second, one whose link drops, one that is
    taken from its slot and put in again, each with reads, writes and flushes in flight: every request succeeds, what is
    read was written, and a disk that makes progress is not reset."""
    name = "pauses"
    console = os.path.join(OUT, name, "console.log")
    waits = {disk: (depth, 0.9 * seconds) for disk, (depth, seconds) in STALLS.items()}
    waits.update({SLOW_DISK: (SLOW_DEPTH, SLOW_S), DROPPED: (8, AWAY_S / 2), REPLACED: (8, AWAY_S / 2)})
    with tempfile.TemporaryDirectory() as directory:  # the path of a clone may hold blanks
        image = os.path.join(directory, "replaced.img")
        with open(image, "wb") as file:
            file.truncate(16 << 20)
        disks = Disks(console, image)
        disks.monitor.when(console, "@dragoman started pauses", disks.disturb)
        node = "/dragoman/guest1/disk9"
        run = Run(name, "--task", "pauses", "--disks", str(len(waits) - 1), "--disk-mib", "16", "--no-check", "--timeout",
                  "900", "--guest-args",
                  "dragoman.pauses=" + ",".join(f"{disk}:{depth}:{wait}" for disk, (depth, wait) in waits.items()),
                  "--fdtput", f"-c {node}; -ts {node} vdev {REPLACED}; -ts {node} target serial:replaced; -ts {node} access w",
                  "--qemu-args", disks.arguments)
    expect(disks.failure is None, f"the host could not disturb a disk: {disks.failure}")
    run.clean()
    run.said(r"pci 00:0a.0: the slot of bus 01: a card was put in")
    expect("removal" not in run.console, "what was put in was reported as asked to leave")
    for disk in waits:
        run.guest(1, "pauses", disk)
    expect(run.counters["io_errors"] == 0 and run.counters["disk_errors"] == 0, "a request failed")
    for disk, reset in (("xvdd", False), (SLOW_DISK, False), ("xvde", True), ("xvdg", True), (DROPPED, True), (REPLACED, True)):
        number = list(waits).index(disk)
        said = f"nvme{number}: NVMe: works again" in run.console
        expect(said == reset, f"{disk}: {'no reset' if reset else 'was reset, though it makes progress'}")
