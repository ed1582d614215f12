# SPDX-License-Identifier: MIT
"""The main job on every Xen and interrupt controller, in every layout of memory; size of the image, time to ready."""

import os
import re

from harness import expect, measure, test
from machine import main_job, ROOT, Run


# --- the main job, on every Xen and interrupt controller ---


@test
def boot_xen420_gicv3():
    run = main_job("boot_xen420_gicv3", "--vif", "none")
    measure("main job, hypercalls per request", f"{run.counters['hypercalls'] / run.counters['requests']:.2f}")
    measure("main job, bytes by DMA straight to foreign frames", run.counters["dma_direct_bytes"])
    measure("main job, bytes bounced", run.counters["dma_bounced_bytes"])


@test
def boot_xen420_gicv2():
    main_job("boot_xen420_gicv2", "--mib", "8", "--gic", "2").said("MSI-X")


@test
def boot_xen417_gicv3():
    main_job("boot_xen417_gicv3", "--mib", "8", "--xen", "4.17").said(r"on Xen 4\.17")


@test
def boot_xen417_gicv2():
    main_job("boot_xen417_gicv2", "--mib", "8", "--xen", "4.17", "--gic", "2").said("MSI-X")


@test
def slots_from_ballooned_ram():
    """Without extended regions foreign frames appear where our own RAM was."""
    main_job("slots_from_ballooned_ram", "--mib", "16", "--xen-args", "ext_regions=0").said("ballooned out")


@test
def short_of_maptrack():
    """Xen has room for 255 mappings of Dom0, fewer than one disk's ring can use: there are no more slots, so
    requests wait for earlier ones, and no guest gets an error."""
    main_job("short_of_maptrack", "--mib", "16", "--xen-args", "gnttab_max_maptrack_frames=1").said(
        "room for 255 grant mappings")


@test
def several_memory_banks():
    """Dom0's RAM in two banks, the guest's above 4 GiB; the disk found by its serial number."""
    main_job("several_memory_banks", "--dom0-mem", "768M", "--memory", "8192", "--mib", "16",
             "--fdtput", "-ts /dragoman/guest1/disk0 target serial:dragoman-0").said("768 MiB of RAM")


@test
def guest_with_16k_pages():
    main_job("guest_with_16k_pages", "--mib", "16", "--kernel", "16k", "--cpu", "cortex-a76")


# --- boards' memory ---

def by_node(start, size):
    """A range of /reserved-memory, as fdtput's commands."""
    node = f"/reserved-memory/firmware@{start:x}"
    return ("--fdtput", "-c /reserved-memory; -tx /reserved-memory #address-cells 2; -tx /reserved-memory #size-cells 2; "
            f"-c {node}; -tx {node} reg {start >> 32:x} {start & 0xffffffff:x} 0 {size:x}; -tx /reserved-memory phandle 7fff")


def by_entry(start, size):
    """The same by /memreserve/."""
    return ("--memreserve", f"{start:#x}:{size:#x}")


def slots_of(run):
    slots = [(int(first, 16), int(end, 16)) for first, end in re.findall(r"dragoman: slots from 0x(\w+) to 0x(\w+)", run.console)]
    expect(slots, "the console does not say where the slots are")
    return slots


def reserved_is_left_alone(name, reserve, *options):
    """What the board reserves is neither RAM nor a place for slots. Reserved is the place where the same machine, without
    a reservation, puts its first slots."""
    start = slots_of(Run(name + "_before", "--no-check", "--mib", "1", *options).clean())[0][0]
    size = 64 << 20
    run = main_job(name, "--mib", "4", *options, *reserve(start, size))
    run.said(r", 16 MiB of RAM")
    expect("lies over memory" not in run.console, "the tree contradicts itself")
    for first, end in slots_of(run):
        expect(end <= start or start + size <= first, f"slots from {first:#x} to {end:#x} lie in what is reserved")


@test
def reserved_memory():
    """By a node, on Xen 4.20, which shows it to Dom0 as RAM."""
    reserved_is_left_alone("reserved_memory", by_node)


@test
def reserved_memory_xen417():
    """The same on Xen 4.17, whose extended regions lie in free RAM."""
    reserved_is_left_alone("reserved_memory_xen417", by_node, "--xen", "4.17")


@test
def memreserve_xen417():
    """By an entry of the tree's header: Xen 4.17's extended regions lie over it."""
    reserved_is_left_alone("memreserve_xen417", by_entry, "--xen", "4.17")


# --- wrong trees ---

def another_bridge(reg, *more):
    """A host bridge before the board's own, as fdtput's commands; its `reg` is at another place."""
    node = "/pcie@1"
    return ("--fdtput", "; ".join((
        f"-c {node}", f"-ts {node} compatible pci-host-ecam-generic", f"-tx {node} #address-cells 3",
        f"-tx {node} #size-cells 2", f"-tx {node} reg {reg}", f"-tx {node} bus-range 0 f", *more)))


@test
def wrong_bridge_beside_the_boards_own():
    """A host bridge that does not exist, whose window is that of the real one: reading its registers is a data abort."""
    run = main_job("wrong_bridge", "--mib", "4", *another_bridge(
        "50 10000000 0 1000000", "-tx /pcie@1 ranges 2000000 0 10000000 60 10000000 0 1000000"))
    run.said(r"pcie@1: reg: no host bridge responds at 5010000000; the bridge is left out")
    run.said(r"nvme0 is pci:0001:00:")


@test
def two_bridges_of_one_configuration_space():
    """A second node for the real bridge: its disks are found once. The first one has no interrupt-map, so messages are used."""
    run = main_job("twice_the_bridge", "--mib", "4", "--gic", "2", *another_bridge(
        "40 10000000 0 1000000", "-tx /pcie@1 ranges 2000000 0 10000000 0 10000000 0 2eff0000"))
    run.said(r"pcie@10000000: reg: lies over a range of pcie@1; the bridge is left out")
    expect(len(re.findall(r"dragoman: nvme\d+ is ", run.console)) == 1, "the disk was found twice")


# --- size, and time from start to ready ---

@test
def image_is_under_376_kib():
    """300 KiB before the network, which has 24 KiB of it; 16 KiB for partitions and what comes with boards."""
    size = os.path.getsize(os.path.join(ROOT, "build", "arm64", "dragoman.bin"))
    measure("dragoman.bin, bytes", size)
    expect(size < 376 * 1024, f"the image has {size} bytes")


@test
def first_backend_ready_within_50_ms():
    """From the first instruction to the last backend at InitWait, counted in instructions (1 ns each), not in time."""
    icount = ("--smp", "1", "--qemu-args", "-icount shift=0,sleep=off", "--no-check")
    for name, task in (("beside an idle guest", "idle"), ("beside a busy guest", "verify")):
        run = Run("ready_" + task, *icount, "--task", task, "--mib", "1").clean()
        ready_us = int(re.search(r"dragoman: ready (\d+) us after entry", run.console).group(1))
        measure(f"entry to ready, {name}, us of virtual time", ready_us)
        expect(task != "idle" or ready_us < 50000, f"ready only after {ready_us} us")
