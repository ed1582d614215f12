# SPDX-License-Identifier: MIT
"""Devices that do not see the CPU's caches, or do not reach all memory."""

from harness import expect, measure, test
from machine import main_job, Run


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
    measure("caches by Xen, ops for each hypercall",
            f"{count['cache_flush_ops'] / count['cache_flush_hypercalls']:.2f}")
    expect(count["cache_flush_ops"] > 2000, f"only {count['cache_flush_ops']} ops were carried out")
    expect(count["cache_flush_refused"] == 0, f"Xen refused {count['cache_flush_refused']}")


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
    expect(run.counters["dma_direct_bytes"] == 0, "a page that the controller cannot reach was given to it")
    expect(run.counters["dma_bounced_bytes"] >= done, "fewer bytes bounced than were read and written")
    expect(run.counters["ring_waits"] > 0, "no request waited for a bounce buffer: the test did not reach the shortage")


@test
def narrow_device_reaches_what_is_below_4_gib():
    """With 2 GiB everything is within its reach and nothing bounces. On the other Xen and interrupt controller."""
    run, done = narrow_job("narrow_2g", "--memory", "2048", "--xen", "4.17", "--gic", "2")
    run.said("sd0 is .*INTx")
    expect(run.counters["dma_bounced_bytes"] == 0, "bytes bounced without need")
    expect(run.counters["dma_direct_bytes"] >= done, "fewer bytes by DMA than were read and written")


@test
def narrow_device_with_sdma():
    """A controller without ADMA2: one segment at a time."""
    run, done = narrow_job("narrow_sdma", "--memory", "8192", "--qemu-args", "-global sdhci-pci.capareg=0x57034b4")
    run.said("SDMA; SDSC card")
    expect(run.counters["dma_direct_bytes"] == 0, "a page that the controller cannot reach was given to it")
    expect(run.counters["dma_bounced_bytes"] >= done, "fewer bytes bounced than were read and written")


@test
def narrow_device_with_a_large_card():
    """Two cards of 4 GiB, which count in blocks and not in bytes; both at the same time through one bounce pool."""
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
