# SPDX-License-Identifier: MIT
"""The measured machines: QEMU's command line for one boot of a system, and the boot itself.

A *system* is one way for a guest to reach the disk:

  native              Linux without Xen: the limit
  linux               Xen, and Linux as Dom0: Debian's kernel with its own xen-blkback and swiotlb-xen,
                      Debian's toolstack; persistent grants
  linux-no-persistent the same with xen-blkback's feature_persistent=0
  map, persistent, copy, identity, auto
                      Xen, and Dragoman as Dom0 in that mode; persistent: map with persistent grants

All have the same kernel, disk and workload program (guest/programs/iowork.c). The disk completes at
once. One CPU and -icount unless a boot has two CPUs: QEMU has no -icount then.
"""

import functools
import os
import subprocess

import account
import machine

MODES = {
    "map": ",mode=map",
    "persistent": ",mode=map,persistent=yes",
    "copy": ",mode=copy",
    "identity": ",mode=identity",
    "auto": "",
}
LINUX = {"linux": 1, "linux-no-persistent": 0}
SYSTEMS = ["native", *LINUX, *MODES]
GUEST_MIB = 256


class Boot:
    """One boot: the system, its work (kind, bytes, depth, count), and its number of guests and CPUs."""

    def __init__(self, system, work, guests=1, cpus=1):
        self.system, self.work, self.guests, self.cpus = system, work, guests, cpus

    def name(self):
        extra = f"-{self.guests}-guests" if self.guests > 1 else ""
        return self.system + extra + (f"-{self.cpus}-cpus" if self.cpus > 1 else "")


@functools.lru_cache(maxsize=None)
def nvme_options():
    """QEMU 7.2's shadow doorbells stall Linux's driver now and then. Newer versions can do without."""
    known = subprocess.run(["qemu-system-aarch64", "-device", "nvme,help"], check=True, capture_output=True, text=True)
    return ",dbcs=off" if "dbcs=" in known.stdout else ""


def board(boot):
    return machine.board(2048 if boot.guests <= 2 else 4096, boot.cpus, boot.system != "native")


def work_words(boot):
    return ",".join(":".join(str(word) for word in item) for item in boot.work)


def guest_words(boot, disk):
    """What the guest's init reads on the kernel's command line."""
    return (f"dragoman.task=iowork dragoman.start={2 + 2 * boot.guests} dragoman.work={work_words(boot)} "
            f"dragoman.disks={disk}")


def xen_words(boot, memory):
    return machine.xen_words(memory, " sched=null vwfi=native" if boot.cpus > 1 else "")


def common(boot, directory, plugin):
    command = board(boot)
    command += ["-icount", "shift=0,sleep=on"] if boot.cpus == 1 else ["-accel", "tcg,thread=single"]
    command += machine.console_and_plugin(directory, f",guests={boot.guests},cpus={boot.cpus}{plugin}")
    for disk in range(boot.guests):
        command += ["-drive", f"driver=null-co,size=512M,if=none,id=disk{disk}",
                    "-device", f"nvme,drive=disk{disk},serial=dragoman-{disk},addr={disk + 1}{nvme_options()}"]
    return command


def native(boot, directory):
    kernel, ramdisk = machine.guest_files()
    return common(boot, directory, "") + ["-kernel", kernel, "-initrd", ramdisk, "-append",
                                          f"console=ttyAMA0 quiet panic=-1 nokaslr {guest_words(boot, 'nvme0n1')}"]


def linux(boot, directory):
    words = (f"dragoman.task=dom0-disks dragoman.guests={boot.guests} dragoman.memory={GUEST_MIB} "
             f"dragoman.persistent={LINUX[boot.system]} dragoman.work={work_words(boot)}")
    return common(boot, directory, "") + machine.linux_dom0(words, xen_words(boot, "512M"))


def dragoman(boot, directory, image, functions):
    kernel, ramdisk = machine.guest_files()
    configurations = {
        f"guest{number}": f'name = "guest{number}"\nkernel = "{kernel}"\nramdisk = "{ramdisk}"\n'
                          f'memory = {GUEST_MIB}\nvcpus = 1\n'
                          f'cmdline = "console=ttyAMA0 quiet panic=-1 nokaslr {guest_words(boot, "xvda")}"\n'
                          f"disk = [ 'nvme{number},raw,xvda,w{MODES[boot.system]}' ]\n"
        for number in range(boot.guests)}
    return (common(boot, directory, machine.plugin_for(image, functions))
            + machine.dragoman(directory, board(boot), image, configurations, xen_words(boot, "16M")))


def measure(boot, directory, image):
    """Boots the machine; for each item of its work the figures of account.per_operation()."""
    os.makedirs(directory, exist_ok=True)
    functions = None
    if boot.system in MODES:
        functions = machine.functions_of(image)
        command = dragoman(boot, directory, image, functions)
    else:
        command = (native if boot.system == "native" else linux)(boot, directory)
    # Without Xen its modules cannot be loaded.
    figures, console = machine.run(boot.name(), directory, command, len(boot.work), functions,
                                   "- module xen-" if boot.system == "native" else "$^")
    add_copied_bytes(figures, account.counters(console), boot)
    return figures


def add_copied_bytes(figures, counters, boot):
    """Bytes that Xen copied: Dragoman counts them over the whole boot, in which all work moves whole requests."""
    moved = counters.get("bytes_read", 0) + counters.get("bytes_written", 0)
    if not moved:
        return
    copied = counters["copied_from_guests_bytes"] + counters["copied_to_guests_bytes"]
    for item, figure in zip(boot.work, figures):
        figure["copied"] = item[1] * copied / moved
