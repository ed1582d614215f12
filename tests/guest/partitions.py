# SPDX-License-Identifier: MIT
"""Several guests, each with its file system in a partition of one disk; the tables are sfdisk's."""

from harness import expect, test
from machine import main_job, Run

TWO = ("--guests", "2", "--disk-mib", "32", "--mib", "4")


def target(guest, name):
    """The first disk of the guest by another name than the partition's number."""
    return ("--fdtput", f"-ts /dragoman/guest{guest}/disk0 target {name}")


@test
def two_guests_on_a_gpt():
    """By number and by label. What one guest writes is in its own partition only: both images are checked."""
    run = main_job("two_guests_on_a_gpt", "--partitions", "gpt", *TWO, *target(2, "nvme0:label=guest2-xvda"))
    run.said("nvme0: GPT, 2 partitions").said("xvda is nvme0p1 ").said("xvda is nvme0p2 ")
    expect(run.output.count("file system clean") == 2, "not both file systems were checked")


@test
def two_guests_on_an_mbr():
    """A primary and three logical partitions, two for each guest."""
    run = main_job("two_guests_on_an_mbr", "--partitions", "mbr", "--disks", "2", *TWO)
    run.said("nvme0: MBR, 4 partitions").said("xvda is nvme0p1 ").said("xvdb is nvme0p7 ")


@test
def two_guests_on_a_card():
    """The ZCU102's one SD card."""
    run = main_job("two_guests_on_a_card", "--board", "zcu102", "--partitions", "gpt", *TWO, *target(1, "mmc0:label=guest1-xvda"))
    run.said("sd0: GPT, 2 partitions").said("xvda is sd0p1 ").said("xvda is sd0p2 ")


@test
def a_damaged_primary_table():
    """The backup is used, and the console says so."""
    run = main_job("a_damaged_primary_table", "--partitions", "gpt-damaged", *TWO)
    run.said(r"nvme0: its primary GPT is damaged \(there is no header\): the backup is used")


@test
def a_partition_has_one_writer():
    """The second guest names the first one's partition by the disk's serial number: it goes without it."""
    run = Run("a_partition_has_one_writer", "--partitions", "gpt", *TWO, "--guest-task", "2=idle",
              *target(2, "serial:dragoman-0:part=1")).clean()
    run.said("serial:dragoman-0:part=1 overlaps xvda of guest 1, nvme0p1, and one of them would write to it")
    run.guest(1, "sum xvda")


@test
def a_disk_is_no_partition_of_it():
    """The whole disk is refused to the second guest, and the first one's data are as it wrote them."""
    run = Run("a_disk_is_no_partition_of_it", "--partitions", "gpt", *TWO, "--guest-task", "2=idle", *target(2, "nvme0")).clean()
    run.said("nvme0 overlaps xvda of guest 1, nvme0p1, and one of them would write to it")
    expect("guest 1, xvda: file system clean" in run.output, "guest 1's file system is damaged:\n" + run.output)
