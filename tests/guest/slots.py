# SPDX-License-Identifier: MIT
"""Disks that are taken out of their slot and put into another: a guest sees late responses, and no error."""

import os
import tempfile
import time

from harness import expect, test
from machine import OUT, Run
from pauses import config_space
from qemu import GdbStub, Monitor, wait_for

BAYS = (0xa, 0xb, 0xc)  # root ports with slots, by their device number; the disk is in the first


class Bays:
    """The slots, and what an operator does to them."""

    def __init__(self, console, directory):
        self.console = console
        self.monitor, self.stub = Monitor(), GdbStub()
        self.failure = None
        drives = ""
        for name in ("mover", "stranger"):
            image = os.path.join(directory, name + ".img")
            with open(image, "wb") as file:
                file.truncate(16 << 20)
            drives += f" -blockdev driver=file,filename={image},node-name={name}"
        ports = "".join(f" -device pcie-root-port,id=bay{i},chassis={i + 1},slot={i + 1},addr={at:x}"
                        for i, at in enumerate(BAYS))
        self.arguments = (f"{self.monitor.arguments} {self.stub.arguments}{ports}{drives}"
                          " -device nvme,bus=bay0,drive=mover,serial=mover,id=mover0")

    def take_out(self, bay, disk):
        """With requests in flight; QEMU removes the disk when its slot's power goes off."""
        port = config_space(BAYS[bay])
        at = self.stub.read(port + 0x34, 1)[0]
        while self.stub.read(port + at, 1)[0] != 0x10:  # PCI Express
            at = self.stub.read(port + at + 1, 1)[0]
        self.monitor.execute("block_set_io_throttle", id=disk, bps=1, bps_rd=0, bps_wr=0, iops=0, iops_rd=0, iops_wr=0)
        time.sleep(1)
        self.stub.write(port + at + 0x18, b"\xc0\x07")  # slot control: power, its indicator
        time.sleep(3)

    def put_in(self, bay, drive, disk):
        """Dragoman switches the slot's power on."""
        self.monitor.execute("device_add", driver="nvme", bus=f"bay{bay}", drive=drive, serial=drive, id=disk)

    def move(self):
        try:
            self.take_out(0, "mover0")
            self.put_in(2, "stranger", "stranger0")
            wait_for(self.console, "another disk is")
            self.put_in(1, "mover", "mover1")
            wait_for(self.console, "works again")
        except OSError as problem:
            self.failure = problem
            self.monitor.execute("quit")


def disk_moves(name, *options):
    """A disk comes back in another slot, after another disk of the same make came into a third one: every request
    succeeds, and what is read was written. The other disk is never taken for it."""
    console = os.path.join(OUT, name, "console.log")
    node = "/dragoman/guest1/disk1"
    with tempfile.TemporaryDirectory() as directory:  # the path of a clone may hold blanks
        bays = Bays(console, directory)
        bays.monitor.when(console, "@dragoman started pauses", bays.move)
        run = Run(name, "--task", "pauses", "--disk-mib", "16", "--no-check", "--timeout", "600",
                  "--guest-args", "dragoman.pauses=xvdb:8:3",
                  "--fdtput", f"-c {node}; -ts {node} vdev xvdb; -ts {node} target serial:mover; -ts {node} access w",
                  "--qemu-args", bays.arguments, *options)
        with open(os.path.join(directory, "stranger.img"), "rb") as file:
            expect(not any(file.read()), "the other disk was written to")
    expect(bays.failure is None, f"the host could not move the disk: {bays.failure}")
    run.clean()
    run.said(r"has come into the slot of bus 03: it is tried there")
    run.said(r"NVMe: another disk is")
    run.said(r"has come into the slot of bus 02: it is tried there")
    run.guest(1, "pauses", "xvdb")
    expect(run.counters["io_errors"] == 0 and run.counters["disk_errors"] == 0, "a request failed")


@test
def disk_moves_to_another_slot():
    """With a level interrupt, which is another one in another slot."""
    disk_moves("slots")


@test
def disk_moves_with_its_messages():
    disk_moves("slots_messages", "--gic", "2")
