# SPDX-License-Identifier: MIT
"""Several guests, and how they end."""

from harness import expect, test
from machine import main_job, Run


@test
def two_guests_two_disks_each():
    """All four disks at the same time; every sum correct, in the guests and in the images."""
    main_job("two_guests_two_disks_each", "--guests", "2", "--disks", "2", "--mib", "8")


@test
def two_guests_fifteen_disks_each():
    """As many NVMe controllers as the board has slots for, in 16 MiB; each guest sees its own."""
    run = main_job("two_guests_fifteen_disks_each", "--guests", "2", "--disks", "15", "--mib", "1", "--disk-mib", "16")
    expect(run.output.count("with the same SHA-256 in guest and image") == 30, "not all 30 disks were compared")


@test
def guest_crashes_under_io():
    """One guest crashes while it writes (Linux on Arm reports a panic to Xen as a reboot); the other's data are untouched and nothing of the first remains mapped."""
    run = Run("guest_crashes_under_io", "--guests", "2", "--guest-task", "2=crash", "--mib", "24").clean().direct()
    run.said(r"guest 2 \(guest2\) (crashed|requested a reboot)").guest(1, "sum xvda")
    expect("guest 1, xvda: file system clean" in run.output, "guest 1's file system is damaged:\n" + run.output)


@test
def guest_destroyed_under_io():
    """One guest is destroyed from Dom0's console while it writes; the other is not affected."""
    run = Run("guest_destroyed_under_io", "--guests", "2", "--guest-task", "2=busy", "--mib", "24",
              "--when", "@dragoman busy=destroy 2").clean().direct()
    run.said(r"guest 2 \(guest2\) was destroyed").guest(1, "sum xvda")
    expect("guest 1, xvda: file system clean" in run.output, "guest 1's file system is damaged:\n" + run.output)


@test
def frontend_releases_its_disk():
    """The frontend closes while its guest runs: its rings and frames are released immediately, not at the guest's end."""
    run = main_job("frontend_releases_its_disk", "--task", "unbind", "--check", "--mib", "8", "--when", "@dragoman unbound=status")
    run.guest(1, "unbound")
    run.said(r"guest 1 \(guest1\): running").said(r"xvda: closed(?s:.*)1 of \d+ slots taken")
