# SPDX-License-Identifier: MIT
"""A measured machine: what all benchmarks that boot one have in common.

QEMU runs with `-icount`, one CPU and the plugin count.c, which writes what was executed between the marks of the
guest's program; account.py computes the figures.
"""

import functools
import os
import re
import subprocess

import account

ROOT = account.ROOT
TIMEOUT_S = 3600 * int(os.environ.get("DRAGOMAN_SLOW", "1"))


@functools.lru_cache(maxsize=None)
def parts():
    """build/parts.mk: where the arm64 parts are."""
    with open(os.path.join(ROOT, "build", "parts.mk"), encoding="utf-8") as file:
        return dict(re.findall(r"^(\w+)=(.*)$", file.read(), re.M))


def guest_files():
    """The kernel and the ramdisk of a guest."""
    return (os.path.join(parts()["LINUX_CLOUD_DIR"], "Image"),
            os.path.join(ROOT, "build", "guest", "initramfs-cloud.cpio.gz"))


def image_default():
    return os.path.join(ROOT, "build", "arm64", "dragoman.bin")


def tool(*command):
    """The first line that a program prints; empty if it cannot run."""
    try:
        found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.splitlines()[0] if found else ""


def facts():
    """The versions that the figures depend on."""
    changed = tool("git", "status", "--porcelain", "--untracked-files=no")
    return {
        "commit": tool("git", "describe", "--always") + (" with changes" if changed else ""),
        "qemu": tool("qemu-system-aarch64", "--version"),
        "xen": os.path.basename(os.path.dirname(parts()["XEN_4_20"])),
        "kernel": os.listdir(os.path.join(parts()["LINUX_CLOUD_DIR"], "usr", "lib", "modules"))[0],
        "image_bytes": os.path.getsize(image_default()),
    }


def board(mib, cpus=1, xen=True):
    """QEMU's command line for the board alone."""
    return ["qemu-system-aarch64", "-machine", f"virt,virtualization={'on' if xen else 'off'},gic-version=2",
            "-cpu", "cortex-a57", "-smp", str(cpus), "-m", str(mib), "-nic", "none", "-display", "none",
            "-monitor", "none", "-no-reboot"]


def console_and_plugin(directory, options):
    """The serial port and the plugin with its options."""
    return ["-serial", f"file:{directory}/console.log",
            "-plugin", f"{ROOT}/build/bench/machine/count.so,out={directory}/counts{options}"]


def quoted(value):
    """A value of one of QEMU's options: a comma is doubled."""
    return value.replace(",", ",,")


def xen_words(memory, more=""):
    return (f"dom0_mem={memory} dom0_max_vcpus=1 dom0_vcpus_pin console=dtuart dtuart=/pl011@9000000 "
            f"bootscrub=0{more}")


def linux_dom0(words, xen_arguments):
    """The part of the command line for Xen and Linux as Dom0, whose kernel gets these words."""
    kernel, _ = guest_files()
    text = quoted(f"console=hvc0 quiet panic=-1 nokaslr {words}")
    return ["-kernel", parts()["XEN_4_20"], "-append", xen_arguments,
            "-device", f"guest-loader,addr=0x50000000,kernel={kernel},bootargs={text}",
            "-device", f"guest-loader,addr=0x60000000,initrd={ROOT}/build/bench/machine/dom0.cpio"]


def dragoman(directory, base, image, configurations, xen_arguments):
    """The same for Xen and Dragoman with guests of these configurations (name -> text of xl.cfg) on the board `base`."""
    subprocess.run([*base[:2], base[2] + f",dumpdtb={directory}/board.dtb", *base[3:]], check=True,
                   capture_output=True)
    files = []
    for name, text in configurations.items():
        files.append(f"{directory}/{name}.cfg")
        with open(files[-1], "w", encoding="utf-8") as file:
            file.write(text)
    subprocess.run([f"{ROOT}/build/host/tools/mkboottree", "--board", f"{directory}/board.dtb", "--domain", image,
                    "--output", f"{directory}/boot.dtb", "--plan", f"{directory}/plan", "--when-idle", "poweroff",
                    "--xen-args", xen_arguments, *files], check=True)
    command = ["-kernel", parts()["XEN_4_20"], "-dtb", f"{directory}/boot.dtb"]
    with open(f"{directory}/plan", encoding="utf-8") as file:
        for line in file:
            address, _, path = line.split(None, 2)
            command += ["-device", f"loader,file={path.strip()},addr={address},force-raw=on"]
    return command


def functions_of(image):
    return account.Functions(os.path.splitext(image)[0] + ".elf")


def plugin_for(image, functions):
    """The plugin's options about Dragoman's image."""
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


def run(name, directory, command, expected, functions=None, ignored="$^"):
    """Boots the machine; the figures of each of the `expected` windows, and the console. `ignored`: reports of
    failures by the guest that mean nothing here."""
    with open(f"{directory}/command", "w", encoding="utf-8") as file:
        file.write(" ".join(command) + "\n")
    status = subprocess.run(command, check=False, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL).returncode
    with open(f"{directory}/console.log", encoding="utf-8", errors="replace") as file:
        console = file.read()
    with open(f"{directory}/counts", encoding="utf-8") as file:
        found = account.windows(file)
    failed = [why for why in re.findall(r"@dragoman fail (.*)", console) if not re.match(ignored, why)]
    if status or failed or len(found) != expected:
        why = failed or (f"QEMU ended with status {status}" if status else f"{len(found)} of {expected} works were done")
        raise account.Broken(f"{name}: {why}; see {directory}/console.log")
    layout = account.Layout(console)
    return [account.per_operation(window, layout, functions) for window in found], console
