# SPDX-License-Identifier: MIT
"""Disks and cards that are taken out of their slot and put into another: a guest sees late responses, and no error."""

import os
import tempfile
import time

from harness import expect, test
from machine import OUT, Run
from pauses import config_space, ECAM
from qemu import GdbStub, Monitor, wait_for

BAYS = (0xa, 0xb, 0xc)  # root ports with slots, by their device number; the disk is in the first


class Bays:
    """The slots, and what an operator does to them. `device` is in the first slot."""

    def __init__(self, console, device):
        self.console = console
        self.monitor, self.stub = Monitor(), GdbStub()
        self.failure = None
        ports = "".join(f" -device pcie-root-port,id=bay{i},chassis={i + 1},slot={i + 1},addr={at:x}"
                        for i, at in enumerate(BAYS))
        self.arguments = f"{self.monitor.arguments} {self.stub.arguments}{ports} -device {device},bus=bay0"

    def take_out(self, bay):
        """QEMU removes the device when its slot's power goes off."""
        port = config_space(BAYS[bay])
        at = self.stub.read(port + 0x34, 1)[0]
        while self.stub.read(port + at, 1)[0] != 0x10:  # PCI Express
            at = self.stub.read(port + at + 1, 1)[0]
        self.stub.write(port + at + 0x18, b"\xc0\x07")  # slot control: power, its indicator
        time.sleep(3)

    def put_in(self, bay, driver, **properties):
        """Dragoman switches the slot's power on."""
        self.monitor.execute("device_add", driver=driver, bus=f"bay{bay}", **properties)

    def drop_link(self, bay):
        """A link that drops resets what is behind it."""
        # The bus behind a port is numbered in the order of the ports.
        at = ECAM + ((bay + 1) << 20)
        for offset, data in ((4, bytes(2)), (0x10, bytes(24))):  # command register, BARs
            self.stub.write(at + offset, data)

    def when(self, text, action):
        """Calls `action` once the console has the text; a failure ends the machine."""
        def act():
            try:
                action()
            except OSError as problem:
                self.failure = problem
                self.monitor.execute("quit")

        self.monitor.when(self.console, text, act)


def disk_moves(name, *options):
    """A disk comes back in another slot, after another disk of the same make came into a third one: every request
    succeeds, and what is read was written. The other disk is never taken for it."""
    node = "/dragoman/guest1/disk1"
    console = os.path.join(OUT, name, "console.log")
    bays = Bays(console, "nvme,drive=mover,serial=mover,id=mover0")

    def move():
        # With requests in flight.
        bays.monitor.execute("block_set_io_throttle", id="mover0", bps=1, bps_rd=0, bps_wr=0, iops=0, iops_rd=0, iops_wr=0)
        time.sleep(1)
        bays.take_out(0)
        bays.put_in(2, "nvme", drive="stranger", serial="stranger", id="stranger0")
        wait_for(console, "another disk is")
        bays.put_in(1, "nvme", drive="mover", serial="mover", id="mover1")
        wait_for(console, "works again")

    with tempfile.TemporaryDirectory() as directory:  # the path of a clone may hold blanks
        drives = ""
        for drive in ("mover", "stranger"):
            image = os.path.join(directory, drive + ".img")
            with open(image, "wb") as file:
                file.truncate(16 << 20)
            drives += f"-blockdev driver=file,filename={image},node-name={drive} "
        bays.when("@dragoman started pauses", move)
        run = Run(name, "--task", "pauses", "--disk-mib", "16", "--no-check", "--timeout", "600",
                  "--guest-args", "dragoman.pauses=xvdb:8:3",
                  "--fdtput", f"-c {node}; -ts {node} vdev xvdb; -ts {node} target serial:mover; -ts {node} access w",
                  "--qemu-args", drives + bays.arguments, *options)
        with open(os.path.join(directory, "stranger.img"), "rb") as file:
            expect(not any(file.read()), "the other disk was written to")
    expect(bays.failure is None, f"the host could not move the disk: {bays.failure}")
    run.clean()
    run.said(r"has come into the slot of bus 03: it is tried there")
    run.said(r"NVMe: another disk is")
    run.said(r"has come into the slot of bus 02: it is tried there")
    run.guest(1, "pauses", "xvdb")
    expect(run.counters["io_errors"] == 0 and run.counters["disk_errors"] == 0, "a request failed")


def card_moves(name, model, card, *options):
    """The network card's link drops; then it leaves its slot, another card like it comes into another one, and it comes
    back itself in a third one. The guest has its network each time."""
    console = os.path.join(OUT, name, "console.log")
    mover = {"mac": "52:54:00:00:00:01", "netdev": "mover", "romfile": ""}
    stranger = {"mac": "52:54:00:00:00:02", "netdev": "stranger", "romfile": ""}
    bays = Bays(console, f"{model},mac={mover['mac']},netdev=mover,romfile=,id=mover0")

    def move():
        bays.drop_link(0)
        wait_for(console, f"{card} works again")
        wait_for(console, "@dragoman net reached dropped")
        bays.take_out(0)
        bays.put_in(2, model, id="stranger0", **stranger)
        wait_for(console, f"{card} has another card in its place")
        bays.put_in(1, model, id="mover1", **mover)

    bays.when("@dragoman net reached first", move)
    run = Run(name, "--task", "leaving", "--no-check", "--timeout", "600", "--guest-vif", "1=bridge=xenbr0", "--qemu-args",
              f"-netdev user,id=mover -netdev user,id=stranger {bays.arguments}", *options)
    expect(bays.failure is None, f"the host could not move the card: {bays.failure}")
    run.clean()
    run.said(f"{card} has left the bus; it is waited for")
    run.said(r"has come into the slot of bus 02: it is tried there")
    for case in ("first", "dropped", "moved"):
        run.guest(1, f"net reached {case}")
    expect(run.counters["vif_ring_errors"] == 0 and run.counters["packet_frames_taken"] == 128, str(run.counters))


@test
def disk_moves_to_another_slot():
    """With a level interrupt, which is another one in another slot."""
    disk_moves("slots")


@test
def disk_moves_with_its_messages():
    disk_moves("slots_messages", "--gic", "2")


@test
def card_moves_to_another_slot():
    """With a level interrupt."""
    card_moves("card_slots", "e1000e", "e1000e0")


@test
def virtio_card_moves_with_its_messages():
    card_moves("card_slots_virtio", "virtio-net-pci", "virtio_net0", "--gic", "2")
