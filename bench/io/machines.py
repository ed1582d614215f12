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
import re
import subprocess

import account

ROOT = account.ROOT
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
TIMEOUT_S = 3600 * int(os.environ.get("DRAGOMAN_SLOW", "1"))


class Boot:
    """One boot: the system, its work (kind, bytes, depth, count), and its number of guests and CPUs."""

    def __init__(self, system, work, guests=1, cpus=1):
        self.system, self.work, self.guests, self.cpus = system, work, guests, cpus

    def name(self):
        extra = f"-{self.guests}-guests" if self.guests > 1 else ""
        return self.system + extra + (f"-{self.cpus}-cpus" if self.cpus > 1 else "")


@functools.lru_cache(maxsize=None)
def parts():
    """build/parts.mk: where the arm64 parts are."""
    with open(os.path.join(ROOT, "build", "parts.mk"), encoding="utf-8") as file:
        return dict(re.findall(r"^(\w+)=(.*)$", file.read(), re.M))


@functools.lru_cache(maxsize=None)
def nvme_options():
    """QEMU 7.2's shadow doorbells stall Linux's driver now and then. Newer versions can do without."""
    known = subprocess.run(["qemu-system-aarch64", "-device", "nvme,help"], check=True, capture_output=True, text=True)
    return ",dbcs=off" if "dbcs=" in known.stdout else ""


def board(boot):
    mib = 2048 if boot.guests <= 2 else 4096
    virtualization = "off" if boot.system == "native" else "on"
    return ["qemu-system-aarch64", "-machine", f"virt,virtualization={virtualization},gic-version=2",
            "-cpu", "cortex-a57", "-smp", str(boot.cpus), "-m", str(mib), "-nic", "none", "-display", "none",
            "-monitor", "none", "-no-reboot"]


def words(boot, disk):
    """What the guest's init reads on the kernel's command line."""
    work = ",".join(":".join(str(word) for word in item) for item in boot.work)
    return f"dragoman.task=iowork dragoman.start={2 + 2 * boot.guests} dragoman.work={work} dragoman.disks={disk}"


def xen_words(boot, memory):
    native = " sched=null vwfi=native" if boot.cpus > 1 else ""
    return (f"dom0_mem={memory} dom0_max_vcpus=1 dom0_vcpus_pin console=dtuart dtuart=/pl011@9000000 "
            f"bootscrub=0{native}")


def quoted(value):
    """A value of one of QEMU's options: a comma is doubled."""
    return value.replace(",", ",,")


def common(boot, directory, plugin):
    command = board(boot) + ["-serial", f"file:{directory}/console.log"]
    command += ["-icount", "shift=0,sleep=on"] if boot.cpus == 1 else ["-accel", "tcg,thread=single"]
    command += ["-plugin", f"{ROOT}/build/bench/io/count.so,out={directory}/counts,guests={boot.guests},"
                f"cpus={boot.cpus}{plugin}"]
    for disk in range(boot.guests):
        command += ["-drive", f"driver=null-co,size=512M,if=none,id=disk{disk}",
                    "-device", f"nvme,drive=disk{disk},serial=dragoman-{disk},addr={disk + 1}{nvme_options()}"]
    return command


def guest_files():
    return (os.path.join(parts()["LINUX_CLOUD_DIR"], "Image"),
            os.path.join(ROOT, "build", "guest", "initramfs-cloud.cpio.gz"))


def native(boot, directory):
    kernel, ramdisk = guest_files()
    return common(boot, directory, "") + ["-kernel", kernel, "-initrd", ramdisk, "-append",
                                          f"console=ttyAMA0 quiet panic=-1 nokaslr {words(boot, 'nvme0n1')}"]


def linux(boot, directory):
    kernel, _ = guest_files()
    dom0 = (f"console=hvc0 quiet panic=-1 nokaslr dragoman.task=dom0 dragoman.guests={boot.guests} "
            f"dragoman.memory={GUEST_MIB} dragoman.persistent={LINUX[boot.system]} "
            f"dragoman.work={','.join(':'.join(str(word) for word in item) for item in boot.work)}")
    return common(boot, directory, "") + [
        "-kernel", parts()["XEN_4_20"], "-append", xen_words(boot, "512M"),
        "-device", f"guest-loader,addr=0x50000000,kernel={kernel},bootargs={quoted(dom0)}",
        "-device", f"guest-loader,addr=0x60000000,initrd={ROOT}/build/bench/io/dom0.cpio"]


def plugin_for(image, functions):
    """The plugin's arguments about Dragoman's image."""
    turn = functions.symbols.get("dgm_reactor_turn")
    counts = functions.symbols.get("dgm_hypercall_count")
    text = ""
    if turn is not None:
        with open(image, "rb") as file:
            file.seek(turn)
            word = int.from_bytes(file.read(4), "little")
        text += f",turn={turn:x}:{word:x}"
        if counts is not None:
            text += f",watch={counts:x}:{64}"
    return text


def dragoman(boot, directory, image, functions):
    kernel, ramdisk = guest_files()
    base = board(boot)
    subprocess.run([*base[:2], base[2] + f",dumpdtb={directory}/board.dtb", *base[3:]], check=True,
                   capture_output=True)
    guests = []
    for number in range(boot.guests):
        guests.append(f"{directory}/guest{number}.cfg")
        with open(guests[-1], "w", encoding="utf-8") as file:
            file.write(f'name = "guest{number}"\nkernel = "{kernel}"\nramdisk = "{ramdisk}"\n'
                       f'memory = {GUEST_MIB}\nvcpus = 1\n'
                       f'cmdline = "console=ttyAMA0 quiet panic=-1 nokaslr {words(boot, "xvda")}"\n'
                       f"disk = [ 'nvme{number},raw,xvda,w{MODES[boot.system]}' ]\n")
    subprocess.run([f"{ROOT}/build/host/tools/mkboottree", "--board", f"{directory}/board.dtb", "--domain", image,
                    "--output", f"{directory}/boot.dtb", "--plan", f"{directory}/plan", "--when-idle", "poweroff",
                    "--xen-args", xen_words(boot, "16M"), *guests], check=True)
    command = common(boot, directory, plugin_for(image, functions))
    command += ["-kernel", parts()["XEN_4_20"], "-dtb", f"{directory}/boot.dtb"]
    with open(f"{directory}/plan", encoding="utf-8") as file:
        for line in file:
            address, _, path = line.split(None, 2)
            command += ["-device", f"loader,file={path.strip()},addr={address},force-raw=on"]
    return command


def measure(boot, directory, image):
    """Boots the machine; for each item of its work the figures of account.per_operation()."""
    os.makedirs(directory, exist_ok=True)
    functions = None
    if boot.system in MODES:
        functions = account.Functions(os.path.splitext(image)[0] + ".elf")
        command = dragoman(boot, directory, image, functions)
    else:
        command = (native if boot.system == "native" else linux)(boot, directory)
    with open(f"{directory}/command", "w", encoding="utf-8") as file:
        file.write(" ".join(command) + "\n")
    status = subprocess.run(command, check=False, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL).returncode
    with open(f"{directory}/console.log", encoding="utf-8", errors="replace") as file:
        console = file.read()
    with open(f"{directory}/counts", encoding="utf-8") as file:
        found = account.windows(file)
    failed = re.findall(r"@dragoman fail (?!- module xen-)(.*)" if boot.system == "native" else r"@dragoman fail (.*)", console)
    if status or failed or len(found) != len(boot.work):
        why = failed or (f"QEMU ended with status {status}" if status else
                         f"{len(found)} of {len(boot.work)} works were done")
        raise account.Broken(f"{boot.name()}: {why}; see {directory}/console.log")
    layout = account.Layout(console)
    figures = [account.per_operation(window, layout, functions) for window in found]
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
