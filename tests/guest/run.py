#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Guest tests: real Xen, Dragoman as Dom0, unmodified Linux guests, under QEMU.

Each test boots a machine with `tools/run.sh` (what `./dragoman run` calls) in a directory of its own,
build/test/guest/NAME, where console.log and results remain. Prints TAP. Arguments select the
tests whose names contain one of them; --list only names them.
"""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import expect, Failure, main, measure, SLOW, test  # noqa: E402
from qemu import GdbStub, Monitor  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "build", "test", "guest")


class Run:
    """One machine, from power-on to its end."""

    def __init__(self, name, *options, timeout=900):
        self.dir = os.path.join(OUT, name)
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        command = [os.path.join(ROOT, "tools", "run.sh"), "--dir", self.dir, "--timeout", str(timeout), *options]
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=(timeout + 300) * SLOW, check=False)
        self.status = done.returncode
        self.output = done.stdout.decode(errors="replace")
        with open(os.path.join(self.dir, "output"), "w", encoding="utf-8") as file:
            file.write(" ".join(command) + "\n" + self.output)
        self.console = self.read("console.log")
        self.results = self.read("results").splitlines()
        self.counters = {}
        for line in self.results:
            words = line.split()
            if words[:1] == ["counter"]:
                self.counters[words[1]] = int(words[2])

    def read(self, name):
        try:
            with open(os.path.join(self.dir, name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def good(self):
        """The run itself found nothing wrong: sums, file systems, counters, a clean end."""
        expect(self.status == 0, f"run failed with status {self.status}:\n{self.output[-1500:]}")
        return self

    def said(self, pattern):
        """Dragoman or Xen printed this."""
        expect(re.search(pattern, self.console), f"the console does not say: {pattern}")
        return self

    def guest(self, number, *words):
        """Guest `number` reported these words."""
        wanted = " ".join(["guest", str(number), *words])
        expect(any(line.startswith(wanted) for line in self.results),
               f"no report '{wanted}':\n" + "\n".join(l for l in self.results if l.startswith("guest")))
        return self

    def clean(self):
        """Everything taken from guests was returned, and the domain ended in good order."""
        expect(any(line == "end poweroff" for line in self.results), "the domain did not end in good order")
        for name in ("foreign_live", "slots_taken", "slots_retired", "p2m_live", "bounce_taken", "guests_live"):
            expect(self.counters.get(name) == 0, f"{name} is {self.counters.get(name)} at the end, not 0")
        return self

    def direct(self):
        """Bytes went by DMA straight to foreign frames."""
        expect(self.counters.get("dma_direct_bytes", 0) > 0, "no byte went by DMA straight to a foreign frame")
        return self


class Terminal:
    """A program on a terminal of its own, and the keys that a user types."""

    def __init__(self, command, limit_s=900):
        self.deadline = time.monotonic() + limit_s * SLOW
        self.seen = self.all = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execv(command[0], command)

    def wait_for(self, text):
        while text.encode() not in self.seen:
            expect(time.monotonic() < self.deadline, f"the terminal does not show {text!r}:\n{self.all[-1000:]!r}")
            if select.select([self.fd], [], [], 1)[0]:
                try:
                    piece = os.read(self.fd, 4096)
                except OSError as end:
                    raise Failure(f"the program ended before it showed {text!r}:\n{self.all[-1000:]!r}") from end
                self.seen += piece
                self.all += piece
        self.seen = self.seen.split(text.encode(), 1)[1]

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        """Reads the rest of the output; returns the program's exit status."""
        while time.monotonic() < self.deadline:
            try:
                if select.select([self.fd], [], [], 1)[0]:
                    self.all += os.read(self.fd, 4096)
            except OSError:
                break
        pid, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self, log):
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
        with open(log, "wb") as file:
            file.write(self.all)


# --- the main job, on every Xen and interrupt controller ---


def main_job(name, *options):
    return Run(name, *options).good().clean().direct()


@test
def boot_xen420_gicv3():
    run = main_job("boot_xen420_gicv3")
    measure("main job, hypercalls per request", f"{run.counters['hypercalls'] / run.counters['requests']:.2f}")
    measure("main job, bytes by DMA straight to foreign frames", run.counters["dma_direct_bytes"])
    measure("main job, bytes bounced", run.counters["dma_bounced_bytes"])


@test
def boot_xen420_gicv2():
    main_job("boot_xen420_gicv2", "--gic", "2").said("MSI-X")


@test
def boot_xen417_gicv3():
    main_job("boot_xen417_gicv3", "--xen", "4.17").said(r"on Xen 4\.17")


@test
def boot_xen417_gicv2():
    main_job("boot_xen417_gicv2", "--xen", "4.17", "--gic", "2").said("MSI-X")


@test
def slots_from_ballooned_ram():
    """Without extended regions foreign frames appear where our own RAM was."""
    main_job("slots_from_ballooned_ram", "--xen-args", "ext_regions=0").said("ballooned out")


@test
def short_of_maptrack():
    """Xen has room for 256 mappings of Dom0, fewer than one disk's ring can ask for: requests wait for earlier ones,
    and no guest sees an error."""
    main_job("short_of_maptrack", "--xen-args", "gnttab_max_maptrack_frames=1").said(
        "no room for another grant mapping")


@test
def several_memory_banks():
    """Dom0's RAM in two banks, the guest's above 4 GiB; the disk found by its serial number."""
    main_job("several_memory_banks", "--dom0-mem", "768M", "--memory", "8192", "--mib", "16",
             "--fdtput", "-ts /dragoman/guest1/disk0 target serial:dragoman-0").said("768 MiB of RAM")


@test
def guest_with_16k_pages():
    main_job("guest_with_16k_pages", "--kernel", "16k", "--cpu", "cortex-a76")


# --- size, and time from start to ready ---

@test
def image_is_under_300_kib():
    size = os.path.getsize(os.path.join(ROOT, "build", "arm64", "dragoman.bin"))
    measure("dragoman.bin, bytes", size)
    expect(size < 300 * 1024, f"the image has {size} bytes")


@test
def first_backend_ready_within_50_ms():
    """From the first instruction to the last backend at InitWait, counted in instructions (1 ns each), not in time."""
    icount = ("--smp", "1", "--qemu-args", "-icount shift=0,sleep=off", "--no-check")
    for name, task in (("beside an idle guest", "idle"), ("beside a busy guest", "verify")):
        run = Run("ready_" + task, *icount, "--task", task, "--mib", "1").clean()
        ready_us = int(re.search(r"dragoman: ready (\d+) us after entry", run.console).group(1))
        measure(f"entry to ready, {name}, us of virtual time", ready_us)
        expect(task != "idle" or ready_us < 50000, f"ready only after {ready_us} us")


# --- the modes in which a guest's frames are reached ---


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
    _, reports = mode_costs("map")
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
    _, reports = mode_costs("persistent", "--persistent", "yes")
    expect(reports[2]["frames_persistent"] > 8000, f"only {reports[2]['frames_persistent']} frames were found mapped")
    expect(reports[2]["hypercalls_grant"] - reports[1]["hypercalls_grant"] < 64, "grants were still mapped and unmapped")
    expect(reports[2]["foreign_live"] > 1, "nothing was kept")


@test
def mode_persistent_declined():
    """A guest that does not use the persistent grants that it is offered: every frame is unmapped at once."""
    run = Run("mode_persistent_declined", "--persistent", "yes", "--mib", "2", "--guest-args",
              "xen_blkfront.feature_persistent=0").good().clean().direct()
    expect(run.counters["frames_persistent"] == 0, f"{run.counters['frames_persistent']} frames were kept")


@test
def mode_auto():
    run = Run("mode_auto", "--mode", "auto", "--mib", "4").good().clean()
    said = re.search(r"mapped and unmapped costs (\d+) ns, 4096 bytes copied (\d+) ns: mode auto is (\w+)", run.console)
    expect(said, "the costs were not measured")
    cheaper = "copy" if int(said[2]) < int(said[1]) else "map"
    expect(said[3] == cheaper, f"auto is {said[3]}, though {cheaper} costs less")
    expect((run.counters["frames_copied"] > 0) == (cheaper == "copy"), "the disk was not served in that mode")


# --- frontends that are not today's Linux (guest/programs/frontends.h) ---

# What the line must name for each one that is refused, or refused first.
REFUSED_FOR = {
    "event_channel_late": "event-channel is missing",
    "no_ring_ref": "ring-ref is missing",
    "ring_ref_no_number": 'ring-ref "abc" is not a number',
    "ring_ref_negative": 'ring-ref "-8" is not a number',
    "ring_ref_too_large": 'ring-ref "4294967304" is too large',
    "ring_ref_not_granted": "ring-ref: Xen refuses",
    "no_event_channel": "event-channel is missing",
    "event_channel_unbound": "event-channel: Xen refuses",
    "page_order_1": "ring-page-order: ",
    "page_order_0_without_ref": "ring-ref is missing",
    "two_queues": "multi-queue-num-queues: ",
    "no_queues": "multi-queue-num-queues: ",
    "protocol_x86_32": "protocol: ",
    "protocol_unknown": "protocol: ",
}


@test
def frontends_of_other_kinds():
    """A user-space frontend plays 40 others: what Linux's backend takes is served, the rest is refused aloud."""
    run = Run("frontends_of_other_kinds", "--task", "frontends", "--disks", "4", "--disk-mib", "16", "--no-check",
              timeout=1800).good().clean()
    played = re.findall(r"^guest 1 (served|refused) (\w+) (\d+)$", "\n".join(run.results), re.MULTILINE)
    served = [name for outcome, name, _ in played if outcome == "served"]
    refused = [name for outcome, name, _ in played if outcome == "refused"]
    expect(len(served) >= 25, f"only {len(served)} frontends were served")
    expect(set(refused) == set(REFUSED_FOR) - {"event_channel_late"}, f"these were refused: {refused}")
    for disk in sorted({disk for _, _, disk in played}):
        wanted = [(name, REFUSED_FOR[name]) for _, name, of in played if of == disk and name in REFUSED_FOR]
        said = re.findall(rf"dragoman: vbd 1/{disk}: closed: (.*)", run.console)
        expect(len(said) == len(wanted), f"disk {disk}: {len(wanted)} refusals, these lines: {said}")
        for (name, cause), line in zip(wanted, said):
            expect(line.startswith(cause), f"{name}: the line does not name '{cause}': {line}")


# --- a bus that does not see caches ---

# The board's own tree says that its PCI bus is coherent. QEMU has no caches, so only the simulator can check their
# contents. These tests show that the real Xen maintains caches of frames that guests granted, and at what cost.
NOT_COHERENT = "-d /pcie@10000000 dma-coherent"


@test
def caches_by_address():
    """As many hypercalls as on a coherent bus."""
    run = main_job("caches_by_address", "--mib", "4", "--fdtput", NOT_COHERENT)
    expect(run.counters["cache_flush_hypercalls"] == 0, "Xen was asked")


@test
def caches_by_xen():
    """In batches, and Xen refuses none."""
    run = main_job("caches_by_xen", "--mib", "4", "--fdtput", NOT_COHERENT + "; -ts /dragoman cache-maintenance by-xen")
    count = run.counters
    measure("caches by Xen, hypercalls for each transfer", f"{count['cache_flush_hypercalls'] / count['dma_maps']:.2f}")
    measure("caches by Xen, stretches for each hypercall",
            f"{count['cache_flush_stretches'] / count['cache_flush_hypercalls']:.2f}")
    expect(count["cache_flush_stretches"] > 2000, f"only {count['cache_flush_stretches']} stretches were maintained")
    expect(count["cache_flush_refused"] == 0, f"Xen refused {count['cache_flush_refused']}")


# --- several guests, and how they end ---


@test
def two_guests_two_disks_each():
    """All four disks at once; every sum right, in the guests and in the images."""
    main_job("two_guests_two_disks_each", "--guests", "2", "--disks", "2", "--mib", "32")


@test
def two_guests_fifteen_disks_each():
    """As many NVMe controllers as the board has slots for, in 16 MiB; each guest sees its own."""
    run = main_job("two_guests_fifteen_disks_each", "--guests", "2", "--disks", "15", "--mib", "1", "--disk-mib", "16")
    expect(run.output.count("with the same SHA-256 in guest and image") == 30, "not all 30 disks were compared")


@test
def guest_crashes_under_io():
    """One guest crashes while it writes (Linux on Arm tells Xen of a panic by a reboot); the other's data are untouched and nothing of the first remains mapped."""
    run = Run("guest_crashes_under_io", "--guests", "2", "--guest-task", "2=crash", "--mib", "96").clean().direct()
    run.said(r"guest 2 \(guest2\) (crashed|asked for a reboot)").guest(1, "sum xvda")
    expect("guest 1, xvda: file system clean" in run.output, "guest 1's image is not as it should be:\n" + run.output)


@test
def guest_destroyed_under_io():
    """One guest is destroyed from Dom0's console while it writes; the other does not notice."""
    run = Run("guest_destroyed_under_io", "--guests", "2", "--guest-task", "2=busy", "--mib", "96",
              "--when", "@dragoman busy=destroy 2").clean().direct()
    run.said(r"guest 2 \(guest2\) was destroyed").guest(1, "sum xvda")
    expect("guest 1, xvda: file system clean" in run.output, "guest 1's image is not as it should be:\n" + run.output)


@test
def frontend_releases_its_disk():
    """The frontend closes while its guest runs: its rings and frames are released at once, not at the guest's end."""
    run = main_job("frontend_releases_its_disk", "--task", "unbind", "--check", "--mib", "8", "--when", "@dragoman unbound=status")
    run.guest(1, "unbound")
    run.said(r"guest 1 \(guest1\): running").said(r"xvda: closed(?s:.*)1 of \d+ slots taken")


# --- odd requests ---


@test
def ext4_with_1k_blocks():
    main_job("ext4_with_1k_blocks", "--block-size", "1024", "--mib", "32")


@test
def direct_io_at_odd_offsets_512():
    """Segments that NVMe's PRPs cannot express: the transfer is cut where blocks allow it, otherwise that piece is bounced."""
    run = Run("direct_io_at_odd_offsets_512", "--task", "direct").clean().direct()
    run.guest(1, "direct xvda")
    expect(run.counters["dma_cuts"] > 0, "no transfer was cut: the test did not reach the gap rule")


@test
def direct_io_at_odd_offsets_4096():
    run = Run("direct_io_at_odd_offsets_4096", "--task", "direct", "--sector", "4096").clean().direct()
    # Linux demands vectors of whole sectors there, so a cut is always possible; hosted tests check bounces.
    run.guest(1, "direct xvda")
    expect(run.counters["dma_cuts"] > 0, "no transfer was cut: the test did not reach the gap rule")


@test
def main_job_on_4096_byte_sectors():
    main_job("main_job_on_4096_byte_sectors", "--sector", "4096", "--mib", "32")


@test
def read_only_disk():
    run = Run("read_only_disk", "--task", "readonly", "--access", "r").clean()
    run.guest(1, "readonly xvda").said("read-only")


# --- the first driver of docs/first-disk-driver.md ---


@test
def ramdisk_example():
    """A disk that the CPU serves, at all alignments, beside the NVMe disk that the guest does not get."""
    run = Run("ramdisk_example", "--image", os.path.join(ROOT, "build", "arm64", "dragoman-ramdisk.bin"), "--task",
              "direct", "--guest-args", "dragoman.rounds=100", "--no-check", "--fdtput",
              "-ts /dragoman/guest1/disk0 target ram0").clean()
    run.guest(1, "direct xvda").said("ram0 is without a device: RAM disk")
    expect(run.counters["disk_commands"] > 100, "the RAM disk carried out no commands")


# --- which disk is whose ---


@test
def disks_keep_their_names():
    """A disk with blocks of 8 KiB cannot be used, and keeps its number; the guest's disk is named by its place."""
    extra = ("-drive if=none,id=bad,driver=null-co,size=64M -device nvme,drive=bad,serial=bad,addr=2,physical_block_size=8192,"
             "logical_block_size=8192 "
             "-drive if=none,id=third,driver=null-co,size=64M -device nvme,drive=third,serial=third,addr=3")
    run = main_job("disks_keep_their_names", "--mib", "4", "--qemu-args", extra, "--fdtput",
                   "-ts /dragoman/guest1/disk0 target pci:00:01.0")
    run.said(r"nvme1 \(pci:00:02\.0\) cannot be used").said(r"nvme2 is pci:00:03\.0: .*serial third")


@test
def ambiguous_serial_number():
    """Two disks with one serial number: the guest gets neither, and both places are named."""
    extra = "-drive if=none,id=twin,driver=null-co,size=64M -device nvme,drive=twin,serial=dragoman-0,addr=4"
    run = Run("ambiguous_serial_number", "--task", "idle", "--no-check", "--qemu-args", extra, "--fdtput",
              "-ts /dragoman/guest1/disk0 target serial:dragoman-0").clean()
    run.said(r"serial:dragoman-0 means both nvme0 \(pci:00:01\.0\) and nvme1 \(pci:00:04\.0\)")


# --- boards' memory ---


@test
def reserved_memory():
    """Xen shows Dom0 a 64 MiB range of /reserved-memory as RAM; Dragoman still has its 16 MiB and no more."""
    node = "/reserved-memory/firmware@60000000"
    run = main_job("reserved_memory", "--mib", "4", "--fdtput",
                   f"-c /reserved-memory; -tx /reserved-memory #address-cells 2; -tx /reserved-memory #size-cells 2; "
                   f"-c {node}; -tx {node} reg 0 60000000 0 4000000; -tx /reserved-memory phandle 7fff")
    run.said(r", 16 MiB of RAM")
    expect("lies over memory" not in run.console, "the tree contradicts itself")


# --- a device that reaches 4 GiB only ---


def narrow_job(name, *options):
    """The main job on an SD card; the guest's memory is chosen by --memory to lie above 4 GiB, or below."""
    run = Run(name, "--disk-type", "sd", "--mib", "8", *options).good().clean()
    return run, run.counters["bytes_read"] + run.counters["bytes_written"]


@test
def narrow_device_bounces_what_is_above_4_gib():
    """With 8 GiB the guest lies above 4 GiB: every byte bounces, through a pool of 64 frames, and nothing fails."""
    run, done = narrow_job("narrow_8g", "--memory", "8192")
    run.said("ADMA2; SDSC card")
    measure("narrow device, 8 GiB, bytes bounced", run.counters["dma_bounced_bytes"])
    expect(run.counters["dma_direct_bytes"] == 0, "a page that the controller cannot reach was told to it")
    expect(run.counters["dma_bounced_bytes"] >= done, "fewer bytes bounced than were read and written")
    expect(run.counters["ring_waits"] > 0, "no request waited for a bounce buffer: the test did not reach the shortage")


@test
def narrow_device_reaches_what_is_below_4_gib():
    """With 2 GiB everything is within its reach and nothing bounces. On the other Xen and interrupt controller."""
    run, done = narrow_job("narrow_2g", "--memory", "2048", "--xen", "4.17", "--gic", "2")
    run.said("sd0 is .*INTx")
    expect(run.counters["dma_bounced_bytes"] == 0, "bytes bounced for nothing")
    expect(run.counters["dma_direct_bytes"] >= done, "fewer bytes by DMA than were read and written")


@test
def narrow_device_with_sdma():
    """A controller without ADMA2: one segment at a time."""
    run, done = narrow_job("narrow_sdma", "--memory", "8192", "--qemu-args", "-global sdhci-pci.capareg=0x57034b4")
    run.said("SDMA; SDSC card")
    expect(run.counters["dma_direct_bytes"] == 0, "a page that the controller cannot reach was told to it")
    expect(run.counters["dma_bounced_bytes"] >= done, "fewer bytes bounced than were read and written")


@test
def narrow_device_with_a_large_card():
    """Two cards of 4 GiB, which count in blocks and not in bytes; both at once through one bounce pool."""
    run, _ = narrow_job("narrow_sdhc", "--memory", "8192", "--disk-mib", "4096", "--disks", "2")
    run.said("ADMA2; SDHC card").said("xvdb is sd1")


@test
def twin_that_does_not_bounce_fails():
    """The controller gets the low half of an address above 4 GiB and writes elsewhere: wrong sums. The same run with
    the good image passes. (With 6 GiB it writes to RAM that is not in use, so the machine survives.)"""
    options = ("--disk-type", "sd", "--memory", "6144", "--task", "raw", "--check-sums", "--mib", "2")
    good = Run("twin_no_bounce_good", *options).good().clean()
    expect(good.counters["dma_direct_bytes"] == 0, "the guest is within the controller's reach")
    run = Run("twin_no_bounce", "--image", "build/twins/no-bounce.bin", *options)
    expect(run.status != 0, "the run with the broken image passed")
    run.guest(1, "fail xvda wrote")
    expect(run.counters["dma_bounced_bytes"] == 0 and run.counters["io_errors"] == 0, "it failed in another way")


# --- a ZCU102: a real board's tree, and a disk that is not on PCI ---


def target(name):
    """The first disk of guest 1 by another name than its number."""
    return ("--fdtput", f"-ts /dragoman/guest1/disk0 target {name}")


@test
def zcu102_reaches_what_is_below_4_gib():
    """With 2 GiB everything is within the SD controller's reach. The disk by its node's path."""
    run = Run("zcu102_2g", "--board", "zcu102", "--mib", "8", *target("sd:/axi/mmc@ff170000")).good().clean().direct()
    run.said("Brought up 4 CPUs").said("sd0 is sd:/axi/mmc@ff170000: .*, SPI")
    expect(run.counters["dma_bounced_bytes"] == 0, "bytes bounced for nothing")


@test
def zcu102_bounces_what_is_above_4_gib():
    """With 4 GiB the guest lies above 32 GiB, and descriptors have 32 bits. The disk by its node's alias."""
    run = Run("zcu102_4g", "--board", "zcu102", "--memory", "4G", "--mib", "4", *target("mmc0")).good().clean()
    expect(run.counters["dma_direct_bytes"] == 0, "a page that the controller cannot reach was told to it")
    expect(run.counters["dma_bounced_bytes"] >= run.counters["bytes_read"] + run.counters["bytes_written"],
           "fewer bytes bounced than were read and written")


@test
def zcu102_without_bouncing_fails():
    """The twin gives the controller the low half of the address: wrong sums, and no error anywhere."""
    run = Run("zcu102_twin", "--board", "zcu102", "--memory", "4G", "--image", "build/twins/no-bounce.bin",
              "--task", "raw", "--check-sums", "--mib", "1")
    expect(run.status != 0, "the run with the broken image passed")
    run.guest(1, "fail xvda wrote")
    expect(run.counters["dma_bounced_bytes"] == 0 and run.counters["io_errors"] == 0, "it failed in another way")


@test
def zcu102_with_a_wrong_window_fails():
    """A window of the SD controller's bus that the board does not have, over the guest's memory (from 1 GiB on):
    Dragoman believes the tree, so the controller is given other addresses than the guest's: wrong sums."""
    run = Run("zcu102_window", "--board", "zcu102", "--task", "raw", "--check-sums", "--mib", "1", "--fdtput",
              "-tx /axi dma-ranges 0 0 0 0 0 40000000 0 10000000 0 40000000 0 40000000")
    expect(run.status != 0, "the window in the tree was not used")
    run.guest(1, "fail xvda wrote")
    expect(run.counters["dma_bounced_bytes"] == 0 and run.counters["io_errors"] == 0, "it failed in another way")


# --- errors ---


@test
def bad_configuration_is_said_and_survived():
    """A disk that does not exist, a guest that is not there, an unknown key or value: reported; all else works."""
    run = main_job("bad_configuration", "--mib", "16", "--fdtput",
                   "-ts /dragoman/guest1 colour green; -ts /dragoman/guest1/disk0 mode cpoy; -c /dragoman/guest1/diskx; "
                   "-ts /dragoman/guest1/diskx vdev xvdz; -ts /dragoman/guest1/diskx target nvme9; "
                   "-ts /dragoman/guest1/diskx access w; -c /dragoman/ghost; -tu /dragoman/ghost domid 7; "
                   "-ts /dragoman/ghost label ghost")
    run.said(r'/dragoman/guest1: unknown key "colour"').said(r"disk xvdz: there is no nvme9")
    run.said(r'/dragoman/guest1/disk0: mode is "cpoy", must be .*; it is "map"')
    run.said(r"guest 7 \(ghost\): Xen made no such guest")


@test
def panic_of_xen_is_shown_with_its_cause():
    """A guest for which Xen has no memory (mkboottree would refuse it; the tree is changed behind it)."""
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
def slow_disk_costs_no_error():
    """A disk that carries out two operations a second, with 24 waiting: no error, no reset, the data right."""
    run = Run("slow_disk", "--task", "slow", "--qemu-args", "-set drive.disk0.throttling.iops-total=2",
              "--no-check").clean()
    run.guest(1, "slow xvda")
    expect(run.counters["io_errors"] == 0 and run.counters["disk_errors"] == 0, "a request failed")
    expect(not re.search("NVMe: .*reset", run.console), "a disk that answers was reset")


@test
def dropped_link_costs_no_error():
    """The disk's configuration is cleared (command register, BAR) while 24 writes wait, as by a link that drops:
    Dragoman restores it, resets the controller, and sends again what was under way."""
    stub = GdbStub()

    def drop():
        time.sleep(3 * SLOW)
        for offset, data in ((4, b"\0\0"), (0x10, b"\0\0\0\0"), (0x14, b"\0\0\0\0")):
            stub.write(0x4010008000 + offset, data)  # pci 00:01.0 of QEMU's virt

    stub.when(os.path.join(OUT, "dropped_link", "console.log"), "@dragoman started xvda", drop)
    run = Run("dropped_link", "--task", "slow", "--qemu-args",
              "-set drive.disk0.throttling.iops-total=2 " + stub.arguments, "--no-check").clean()
    run.guest(1, "slow xvda").said("has left the bus .* reset").said("nvme0: NVMe: works again")
    expect(run.counters["io_errors"] == 0 and run.counters["disk_errors"] == 0, "a request failed")


@test
def slot_removal_is_refused_aloud():
    """A hot-plug slot asks for the removal of its disk (device_del): Dragoman says that it refuses."""
    monitor = Monitor()
    monitor.when(os.path.join(OUT, "slot_removal", "console.log"), "@dragoman task idle",
                 lambda: monitor.execute("device_del", id="extra"))
    run = Run("slot_removal", "--task", "idle", "--guest-args", "dragoman.seconds=10", "--no-check", "--qemu-args",
              "-device pcie-root-port,id=root1,chassis=1,slot=1,addr=8 -drive file=null-co://,if=none,id=nul,format=raw "
              "-device nvme,bus=root1,drive=nul,serial=extra,id=extra " + monitor.arguments).clean()
    run.said(r"pci 00:08.0: its slot asks for the removal of what is on bus 01: refused")


@test
def disk_that_does_not_flush():
    """QEMU's blkdebug fails every flush: no fsync reports success, writes fail in the end."""
    run = Run("disk_no_flush", "--task", "noflush", "--flush", "fail", "--timeout", "600").clean()
    run.guest(1, "noflush xvda")
    expect(run.counters["flushes_given_up"] == 1, "no flush was given up")


@test
def twin_that_tells_gfn_fails():
    """The tests can fail: an image that tells the disk the gfn is caught, by wrong sums."""
    run = Run("twin_gfn", "--image", "build/twins/gfn-for-mfn.bin", "--task", "raw", "--mib", "2", "--check-sums")
    expect(run.status != 0, "the run with the broken image passed")
    run.guest(1, "fail xvda wrote")


@test
def twin_that_asserts_is_reported():
    """A failed assertion: cause, registers, a backtrace with names, and the run fails."""
    run = Run("twin_assert", "--image", "build/twins/assert-fails.bin")
    expect(run.status != 0, "the run with the broken image passed")
    run.said(r"dragoman: panic: assertion failed: request->commands > 100 \(block/issue\.c:\d+\)")
    run.said(r"dragoman:   x0 +[0-9a-f]{16}").said(r"from [0-9a-f]{16} command_done\+0x").said("dragoman: end crash")


# --- interactive use ---


@test
def interactive_shell():
    """`run -i`: a shell in the guest on this terminal; Ctrl-C reaches the guest, Ctrl-T the monitor, `exit` ends it."""
    directory = os.path.join(OUT, "interactive_shell")
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    terminal = Terminal([os.path.join(ROOT, "tools", "run.sh"), "-i", "--dir", directory])
    try:
        terminal.wait_for("To leave:")
        terminal.wait_for("/mnt/xvda # ")
        terminal.type("echo sum $((40 + 2)); sleep 100\n")
        terminal.wait_for("sum 42")
        time.sleep(1)
        terminal.type("\x03")
        terminal.wait_for("/mnt/xvda # ")
        terminal.type("echo status $?; ls -d lost+found\n")
        terminal.wait_for("status 130")
        terminal.wait_for("\nlost+found")
        terminal.type("\x14")
        terminal.wait_for("Dragoman's monitor")
        terminal.type("status\r")
        terminal.wait_for("guest 1 (guest1): running")
        terminal.type("\x14")
        terminal.wait_for("the guest's shell")
        terminal.type("echo back $((40 + 3))\n")
        terminal.wait_for("back 43")
        terminal.type("exit\n")
        expect(terminal.end() == 0, "run -i did not end with status 0")
    finally:
        terminal.close(os.path.join(directory, "terminal"))


if __name__ == "__main__":
    sys.exit(main(OUT))
