# SPDX-License-Identifier: MIT
"""The main job on every Xen and interrupt controller, in every layout of memory; size of the image, time to ready."""

import os
import re

from harness import expect, measure, test
from machine import main_job, ROOT, Run


# --- the main job, on every Xen and interrupt controller ---


@test
def boot_xen420_gicv3():
    run = main_job("boot_xen420_gicv3")
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


@test
def reserved_memory():
    """Xen shows Dom0 a 64 MiB range of /reserved-memory as RAM; Dragoman still has its 16 MiB and no more."""
    node = "/reserved-memory/firmware@60000000"
    run = main_job("reserved_memory", "--mib", "4", "--fdtput",
                   f"-c /reserved-memory; -tx /reserved-memory #address-cells 2; -tx /reserved-memory #size-cells 2; "
                   f"-c {node}; -tx {node} reg 0 60000000 0 4000000; -tx /reserved-memory phandle 7fff")
    run.said(r", 16 MiB of RAM")
    expect("lies over memory" not in run.console, "the tree contradicts itself")


# --- size, and time from start to ready ---

@test
def image_is_under_352_kib():
    """300 KiB before the network, which has 24 KiB of it."""
    size = os.path.getsize(os.path.join(ROOT, "build", "arm64", "dragoman.bin"))
    measure("dragoman.bin, bytes", size)
    expect(size < 352 * 1024, f"the image has {size} bytes")


@test
def first_backend_ready_within_50_ms():
    """From the first instruction to the last backend at InitWait, counted in instructions (1 ns each), not in time."""
    icount = ("--smp", "1", "--qemu-args", "-icount shift=0,sleep=off", "--no-check")
    for name, task in (("beside an idle guest", "idle"), ("beside a busy guest", "verify")):
        run = Run("ready_" + task, *icount, "--task", task, "--mib", "1").clean()
        ready_us = int(re.search(r"dragoman: ready (\d+) us after entry", run.console).group(1))
        measure(f"entry to ready, {name}, us of virtual time", ready_us)
        expect(task != "idle" or ready_us < 50000, f"ready only after {ready_us} us")
