# SPDX-License-Identifier: MIT
"""Guests that come back: Dragoman builds them again after their end."""

from harness import expect, test
from machine import Run


def lives(name, *options):
    """Guest 1 reboots three times, and each life finds what the one before wrote; guest 2 is not affected."""
    run = Run(name, "--guests", "2", "--task", "verify", "--guest-task", "1=restarts", "--on-end", "restart", "--mib", "8",
              "--check", *options).good()
    for life in range(4):
        run.guest(1, "life", str(life), "of", "3")
    run.guest(1, "sum", "xvda").guest(2, "sum", "xvda")
    run.said(r"guest 1 \(guest1\): restart 3: its kernel starts")
    expect(run.console.count("its kernel starts") == 3, "another guest was started again, or one too often")
    return run.clean()


@test
def guest_reboots_and_comes_back():
    """On Xen 4.20, GICv3."""
    lives("guest_reboots_and_comes_back")


@test
def guest_reboots_and_comes_back_xen417():
    """On Xen 4.17, GICv2, with two vCPUs."""
    lives("guest_reboots_and_comes_back_xen417", "--xen", "4.17", "--gic", "2", "--vcpus", "2", "--vif", "none")


@test
def guest_of_large_pages_comes_back():
    """A kernel with pages of 16 KiB, and no extended regions: slots are ballooned-out memory."""
    lives("guest_of_large_pages_comes_back", "--kernel", "16k", "--xen-args", "ext_regions=0", "--vif", "none")


@test
def guest_that_panics_comes_back():
    """One that panics while it writes is built again, with pauses, until the monitor destroys it; the other's data are untouched."""
    run = Run("guest_that_panics_comes_back", "--guests", "2", "--guest-task", "2=crash", "--on-end", "restart", "--mib", "24",
              "--vif", "none", "--when", "guest 2 (guest2): restart 2=destroy 2").clean()
    run.said(r"guest 2 \(guest2\): restart 2: its kernel starts").said(r"guest 2 \(guest2\) was destroyed; it does not restart")
    run.guest(1, "sum xvda")
