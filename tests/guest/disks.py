# SPDX-License-Identifier: MIT
"""Requests of odd shapes, the example of a disk driver, and which disk a name means."""

import os
import tempfile

from harness import expect, test
from machine import main_job, ROOT, Run


# --- odd requests ---


@test
def ext4_with_1k_blocks():
    main_job("ext4_with_1k_blocks", "--block-size", "1024", "--mib", "8")


@test
def direct_io_at_odd_offsets_512():
    """Segments that NVMe's PRPs cannot express: the transfer is cut where blocks allow it, otherwise that piece is bounced."""
    run = Run("direct_io_at_odd_offsets_512", "--task", "direct", "--mode", "map").clean().direct()
    run.guest(1, "direct xvda")
    expect(run.counters["dma_cuts"] > 0, "no transfer was cut: the test did not reach the gap rule")


@test
def direct_io_at_odd_offsets_4096():
    run = Run("direct_io_at_odd_offsets_4096", "--task", "direct", "--mode", "map", "--sector", "4096").clean().direct()
    # Linux demands vectors of whole sectors there, so a cut is always possible; hosted tests check bounces.
    run.guest(1, "direct xvda")
    expect(run.counters["dma_cuts"] > 0, "no transfer was cut: the test did not reach the gap rule")


@test
def main_job_on_4096_byte_sectors():
    main_job("main_job_on_4096_byte_sectors", "--sector", "4096", "--mib", "8")


@test
def read_only_disk():
    run = Run("read_only_disk", "--task", "readonly", "--access", "r").clean()
    run.guest(1, "readonly xvda").said("read-only")


# --- the first driver of docs/first-disk-driver.md ---


@test
def ramdisk_example():
    """A disk that the CPU serves, at all alignments, and an NVMe disk that the guest does not get."""
    run = Run("ramdisk_example", "--image", os.path.join(ROOT, "build", "arm64", "dragoman-ramdisk.bin"), "--task",
              "direct", "--guest-args", "dragoman.rounds=100", "--no-check", "--fdtput",
              "-ts /dragoman/guest1/disk0 target ram0").clean()
    run.guest(1, "direct xvda").said("ram0 is without a device: RAM disk")
    expect(run.counters["disk_commands"] > 100, "the RAM disk carried out no commands")


# --- which disk is whose ---


@test
def disks_keep_their_names():
    """A disk with blocks of 8 KiB cannot be used, and keeps its number; the guest's disk is named by its place. Of a disk with
    two namespaces one is shared, and the other is named."""
    extra = ("-drive if=none,id=bad,driver=null-co,size=64M -device nvme,drive=bad,serial=bad,addr=2,physical_block_size=8192,"
             "logical_block_size=8192 "
             "-device nvme,id=third,serial=third,addr=3 "
             "-drive if=none,id=one,driver=null-co,size=64M -device nvme-ns,bus=third,nsid=1,drive=one "
             "-drive if=none,id=two,driver=null-co,size=64M -device nvme-ns,bus=third,nsid=2,drive=two")
    run = main_job("disks_keep_their_names", "--mib", "4", "--qemu-args", extra, "--fdtput",
                   "-ts /dragoman/guest1/disk0 target pci:00:01.0")
    run.said(r"nvme1 \(pci:00:02\.0\) cannot be used").said(r"nvme2 is pci:00:03\.0: .*serial third")
    run.said(r"(nvme2|pci 00:03\.0): NVMe: namespace 1 is shared; namespace 2 and any further one are not")


@test
def missing_controller_is_noticed():
    """The configuration has two NVMe controllers, and one is there: a disk named by position may be another one now."""
    run = Run("missing_controller_is_noticed", "--task", "idle", "--no-check", "--fdtput",
              "-tu /dragoman nvme-controllers 2").clean()
    run.said(r"disk xvda: nvme0 may be another disk now: 1 controllers of nvme are here")


@test
def ambiguous_serial_number():
    """Two disks with one serial number: the guest gets neither, and both places are named."""
    extra = "-drive if=none,id=twin,driver=null-co,size=64M -device nvme,drive=twin,serial=dragoman-0,addr=4"
    run = Run("ambiguous_serial_number", "--task", "idle", "--no-check", "--qemu-args", extra, "--fdtput",
              "-ts /dragoman/guest1/disk0 target serial:dragoman-0").clean()
    run.said(r"serial:dragoman-0 means both nvme0 \(pci:00:01\.0\) and nvme1 \(pci:00:04\.0\)")


# --- the machine's end ---


@test
def disks_are_told_of_the_end():
    """Each controller is notified of the shutdown (CC.SHN) when the last guest ends, and by the monitor's poweroff and reboot."""
    for end, word in (("guest", "poweroff"), ("monitor", "poweroff"), ("monitor", "reboot")):
        name = f"end_{end}_{word}"
        asks = ["--when", "@dragoman task idle=" + word] if end == "monitor" else []
        with tempfile.TemporaryDirectory() as directory:  # the path of a clone may hold blanks
            trace = os.path.join(directory, "trace")
            run = Run(name, "--task", "idle", "--disks", "2", "--no-check", *asks, "--qemu-args",
                      f"-trace enable=pci_nvme_mmio_shutdown* -D {trace}")
            with open(trace, encoding="utf-8", errors="replace") as file:
                events = file.read()
        expect(f"end {word}" in run.results, f"{name}: no end by {word}")
        expect(events.count("pci_nvme_mmio_shutdown_set") == 2, f"{name}: not each controller was notified:\n" + events)
