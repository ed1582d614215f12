# SPDX-License-Identifier: MIT
"""A ZCU102: a real board's device tree, and a disk that is not on PCI."""

from harness import expect, test
from machine import Run


def target(name):
    """The first disk of guest 1 by another name than its number."""
    return ("--fdtput", f"-ts /dragoman/guest1/disk0 target {name}")


@test
def zcu102_reaches_what_is_below_4_gib():
    """With 2 GiB everything is within the SD controller's reach. The disk by its node's path."""
    run = Run("zcu102_2g", "--board", "zcu102", "--mib", "8", *target("sd:/axi/mmc@ff170000")).good().clean().direct()
    run.said("Brought up 4 CPUs").said("sd0 is sd:/axi/mmc@ff170000: .*, SPI")
    expect(run.counters["dma_bounced_bytes"] == 0, "bytes bounced without need")


@test
def zcu102_bounces_what_is_above_4_gib():
    """With 4 GiB the guest lies above 32 GiB, and descriptors have 32 bits. The disk by its node's alias."""
    run = Run("zcu102_4g", "--board", "zcu102", "--memory", "4G", "--mib", "4", *target("mmc0")).good().clean()
    expect(run.counters["dma_direct_bytes"] == 0, "a page that the controller cannot reach was given to it")
    expect(run.counters["dma_bounced_bytes"] >= run.counters["bytes_read"] + run.counters["bytes_written"],
           "fewer bytes bounced than were read and written")


@test
def zcu102_without_bouncing_fails():
    """The broken twin gives the controller the low half of the address: wrong sums, and no error."""
    run = Run("zcu102_twin", "--board", "zcu102", "--memory", "4G", "--image", "build/twins/no-bounce.bin",
              "--task", "raw", "--check-sums", "--mib", "1")
    expect(run.status != 0, "the run with the broken image passed")
    run.guest(1, "fail xvda wrote")
    expect(run.counters["dma_bounced_bytes"] == 0 and run.counters["io_errors"] == 0, "it failed in another way")


@test
def zcu102_with_a_wrong_window_fails():
    """A window of the SD controller's bus that the board does not have, over the guest's memory (from 1 GiB on):
    Dragoman trusts the tree, so the controller gets wrong addresses: wrong sums."""
    run = Run("zcu102_window", "--board", "zcu102", "--task", "raw", "--check-sums", "--mib", "1", "--fdtput",
              "-tx /axi dma-ranges 0 0 0 0 0 40000000 0 50000000 0 40000000 0 40000000")
    expect(run.status != 0, "the window in the tree was not used")
    run.guest(1, "fail xvda wrote")
    expect(run.counters["dma_bounced_bytes"] == 0 and run.counters["io_errors"] == 0, "it failed in another way")
