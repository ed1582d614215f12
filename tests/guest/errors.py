# SPDX-License-Identifier: MIT
"""Wrong configurations, disks that fail, and broken images that must be caught."""

import os
import re
import subprocess

from harness import expect, test
from machine import main_job, OUT, ROOT, Run
from pauses import ECAM
from qemu import GdbStub, Monitor


@test
def bad_configuration_is_said_and_survived():
    """A disk or a guest that does not exist, an unknown key or value: reported; all else works."""
    run = main_job("bad_configuration", "--mib", "16", "--fdtput",
                   "-ts /dragoman/guest1 colour green; -ts /dragoman/guest1/disk0 mode cpoy; -c /dragoman/guest1/diskx; "
                   "-ts /dragoman/guest1/diskx vdev xvdz; -ts /dragoman/guest1/diskx target serial:none; "
                   "-ts /dragoman/guest1/diskx access w; -c /dragoman/ghost; -tu /dragoman/ghost domid 7; "
                   "-ts /dragoman/ghost label ghost")
    run.said(r'/dragoman/guest1: unknown key "colour"').said(r"disk xvdz: there is no serial:none")
    run.said(r'/dragoman/guest1/disk0: mode is "cpoy", must be .*; it is "auto"')
    run.said(r"guest 7 \(ghost\): Xen made no such guest")


@test
def panic_of_xen_is_shown_with_its_cause():
    """A guest for which Xen has no memory (mkboottree would refuse it; the tree is changed afterwards)."""
    run = Run("panic_of_xen", "--fdtput", "-tx /chosen/domU1 memory 0 40000000")
    expect(run.status != 0, "the run passed")
    expect(re.search(r"FAILED: Xen panicked: Could not set up domain", run.output), "no reason:\n" + run.output)
    expect("Xen lacks memory for that domain" in run.output, "no cause:\n" + run.output)


@test
def disk_is_not_written_by_two():
    """One disk given twice, once writable: the second is refused, with a message."""
    run = Run("disk_is_not_written_by_two", "--task", "idle", "--guest-args", "dragoman.seconds=1",
              "--fdtput", "-c /dragoman/guest1/disky; -ts /dragoman/guest1/disky vdev xvdy; "
              "-ts /dragoman/guest1/disky target nvme0; -ts /dragoman/guest1/disky access r").clean()
    run.said(r"disk xvda: nvme0 is xvdy of guest 1, nvme0, and one of them would write")


@test
def disk_error_fails_that_request():
    """QEMU's blkdebug fails one sector: that request fails, no other does."""
    run = Run("disk_error", "--task", "badsector", "--bad-sector", "8192").clean()
    run.guest(1, "badsector xvda")
    expect(run.counters["io_errors"] > 0, "no I/O error was counted")


@test
def slot_removal_is_refused_aloud():
    """A hot-plug slot asks for the removal of its disk (device_del): Dragoman logs that it refuses."""
    monitor = Monitor()
    monitor.when(os.path.join(OUT, "slot_removal", "console.log"), "@dragoman task idle",
                 lambda: monitor.execute("device_del", id="extra"))
    run = Run("slot_removal", "--task", "idle", "--guest-args", "dragoman.seconds=10", "--no-check", "--qemu-args",
              "-device pcie-root-port,id=root1,chassis=1,slot=1,addr=8 -drive file=null-co://,if=none,id=nul,format=raw "
              "-device nvme,bus=root1,drive=nul,serial=extra,id=extra " + monitor.arguments).clean()
    run.said(r"pci 00:08.0: the slot of bus 01: the removal of its card is asked for: refused")


@test
def too_little_memory_says_how_much():
    """Dom0's memory is too small for 16 disks: Dragoman says how much to give, and starts with that."""
    disks = ("--guests", "2", "--disks", "8", "--task", "idle", "--mib", "1", "--no-check")
    run = Run("memory_too_little", "--dom0-mem", "8M", *disks)
    wanted = re.search(r"panic: too little memory: .* needs \d+ KiB in one piece; \d+ KiB of Dom0's 8 MiB are left, in pieces: "
                       r"give Xen dom0_mem=(\d+M) or more", run.console)
    expect(wanted, "no line says how much memory is needed")
    Run("memory_enough", "--dom0-mem", wanted.group(1), *disks).clean()


@test
def disk_that_does_not_flush():
    """QEMU's blkdebug fails every flush: no fsync reports success, writes fail in the end."""
    run = Run("disk_no_flush", "--task", "noflush", "--flush", "fail", timeout=1800).clean()
    run.guest(1, "noflush xvda")
    expect(run.counters["flushes_given_up"] == 1, "no flush was given up")


@test
def twin_that_tells_gfn_fails():
    """The tests can fail: an image that gives the disk the gfn is detected, by wrong sums."""
    run = Run("twin_gfn", "--image", "build/twins/gfn-for-mfn.bin", "--task", "raw", "--mib", "2", "--check-sums")
    expect(run.status != 0, "the run with the broken image passed")
    run.guest(1, "fail xvda wrote")


@test
def twin_that_asserts_is_reported():
    """A failed assertion: cause, registers, a backtrace with names, and the run fails."""
    run = Run("twin_assert", "--image", "build/twins/assert-fails.bin")
    expect(run.status != 0, "the run with the broken image passed")
    run.said(r"dragoman: panic: assertion failed: request->commands > 100 \(block/issue\.c:\d+\)")
    run.said(r"pstate [0-9a-f]{5}2[c-f]4")  # SErrors are not masked
    run.said(r"dragoman:   x0 +[0-9a-f]{16}").said(r"from [0-9a-f]{16} command_done\+0x").said("dragoman: end crash")


def branch(source, target):
    """The instruction at `source` that continues at `target`."""
    return (0x14000000 | (target - source) // 4 & 0x3ffffff).to_bytes(4, "little")


def move(register, value, sixteenth, keep):
    """The instruction that sets 16 bits of a register; the others are kept, or zero."""
    return ((0xf2800000 if keep else 0xd2800000) | sixteenth << 21 | value << 5 | register).to_bytes(4, "little")


@test
def serror_is_reported():
    """An SError, raised in place of QEMU, which has none: the cause, and the device whose register the CPU points to."""
    name = "serror"
    console = os.path.join(OUT, name, "console.log")
    symbols = subprocess.run(["aarch64-linux-gnu-nm", os.path.join(ROOT, "build", "arm64", "dragoman.elf")], check=True,
                             stdout=subprocess.PIPE).stdout.decode()
    at = {line.split()[2]: int(line.split()[0], 16) for line in symbols.splitlines() if len(line.split()) == 3}
    monitor, stub = Monitor(), GdbStub()

    def raise_serror():
        with open(console, encoding="utf-8", errors="replace") as file:
            image = int(re.search(r"Loading zImage from 0x?0*\w+ to 0*(\w+)-", file.read()).group(1), 16)
        source, vector = at["dgm_nvme_irq"], at["vectors"] + 3 * 128
        # x9 is the address of configuration space, and the vector's stack is used: as if vector 3 was taken.
        code = move(9, ECAM >> 32, 2, False) + move(9, ECAM >> 16 & 0xffff, 1, True) + bytes.fromhex("bf4100d5")  # msr spsel, #1
        stub.write(image + source, code + branch(source + len(code), vector))

    monitor.when(console, "@dragoman started", raise_serror)
    run = Run(name, "--qemu-args", f"{monitor.arguments} {stub.arguments}")
    expect(run.status != 0, "the run passed")
    run.said(r"dragoman: panic: SError, esr [0-9a-f]{8}: a device or its bus answered one of the last accesses with an error")
    run.said("dragoman:   x9 is at register 0x0 of PCI configuration space").said("dragoman: end crash")
