#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench io: what a block request costs, in executed instructions of the whole machine

Boots the measured machine under QEMU with the plugin count.so, lets the guest run its work
(guest/programs/iowork.c), and files every executed instruction under its owner. The machine is

  Xen, Dragoman in one mode (map, persistent, copy, identity, auto), and a stock Linux guest

Owners are told apart by the physical page that an instruction was fetched from: Dragoman's RAM is
what Xen says on its console, Xen is what runs in Xen's own virtual range, and all else is the guest.
One CPU, -icount, a disk that completes at once: the figures do not depend on this machine's load.
"""

import argparse
import bisect
import collections
import json
import os
import re
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODES = {
    "map": "",
    "persistent": ",persistent=yes",
    "copy": ",mode=copy",
    "identity": ",mode=identity",
    "auto": ",mode=auto,persistent=yes",
}
# Kind, bytes, depth, operations that are measured.
WORK = [
    ("read", 4096, 1, 4000), ("write", 4096, 1, 4000),
    ("read", 4096, 32, 20000), ("write", 4096, 32, 20000),
    ("read", 131072, 8, 1500), ("write", 131072, 8, 1500),
]
OWNERS = ("Xen", "Dragoman", "guest")
XEN_VIRTUAL = range(0xA0000000000, 0xC0000000000)
TIMEOUT_S = 1800


def parts():
    """build/parts.mk: where the arm64 parts are."""
    with open(os.path.join(ROOT, "build", "parts.mk"), encoding="utf-8") as file:
        return dict(re.findall(r"^(\w+)=(.*)$", file.read(), re.M))


class Functions:
    """The functions of the domain's image, by offset from its first byte, with their source files."""

    def __init__(self, elf):
        listing = subprocess.run(["aarch64-linux-gnu-nm", "-n", "-l", "--defined-only", elf], check=True,
                                 capture_output=True, text=True).stdout
        found = re.findall(r"^([0-9a-f]+) [tT] ([^$\s]\S*)(?:\t(\S+):\d+)?$", listing, re.M)
        self.starts = [int(start, 16) for start, _, _ in found]
        self.names = [(os.path.relpath(file, ROOT) if file else "-", name) for _, name, file in found]

    def at(self, offset):
        index = bisect.bisect_right(self.starts, offset) - 1
        return self.names[index] if index >= 0 else ("-", "?")


def machine(directory, mode, work, image):
    """QEMU's command line for one boot."""
    found = parts()
    kernel = os.path.join(found["LINUX_CLOUD_DIR"], "Image")
    ramdisk = os.path.join(ROOT, "build", "guest", "initramfs-cloud.cpio.gz")
    words = "dragoman.task=iowork dragoman.work=" + ",".join(":".join(str(x) for x in w) for w in work)
    board = ["qemu-system-aarch64", "-machine", "virt,virtualization=on,gic-version=2", "-cpu", "cortex-a57", "-smp", "1",
             "-m", "2048", "-nic", "none", "-display", "none", "-monitor", "none", "-no-reboot"]
    command = board + [
        "-serial", "file:" + os.path.join(directory, "console.log"),
        "-icount", "shift=0,sleep=on",
        "-plugin", f"{ROOT}/build/bench/io/count.so,out={directory}/counts",
        "-drive", "driver=null-co,size=512M,if=none,id=disk0",
        "-device", "nvme,drive=disk0,serial=dragoman-0,addr=1"]
    subprocess.run([*board[:2], board[2] + f",dumpdtb={directory}/board.dtb", *board[3:]], check=True,
                   capture_output=True)
    with open(os.path.join(directory, "guest1.cfg"), "w", encoding="utf-8") as file:
        file.write(f'name = "guest1"\nkernel = "{kernel}"\nramdisk = "{ramdisk}"\nmemory = 256\nvcpus = 1\n'
                   f'cmdline = "console=ttyAMA0 quiet panic=-1 nokaslr {words} dragoman.disks=xvda"\n'
                   f"disk = [ 'nvme0,raw,xvda,w{MODES[mode]}' ]\n")
    subprocess.run([f"{ROOT}/build/host/tools/mkboottree", "--board", f"{directory}/board.dtb", "--domain", image,
                    "--output", f"{directory}/boot.dtb", "--plan", f"{directory}/plan", "--when-idle", "poweroff",
                    "--xen-args", "dom0_mem=16M dom0_max_vcpus=1 dom0_vcpus_pin console=dtuart "
                    "dtuart=/pl011@9000000 bootscrub=0", f"{directory}/guest1.cfg"], check=True)
    command += ["-kernel", found["XEN_4_20"], "-dtb", f"{directory}/boot.dtb"]
    with open(os.path.join(directory, "plan"), encoding="utf-8") as file:
        for line in file:
            address, _, path = line.split(None, 2)
            command += ["-device", f"loader,file={path.strip()},addr={address},force-raw=on"]
    return command


def windows(path):
    """The plugin's file: for each window its rows (vaddr, paddr, count)."""
    found = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if words[0] == "window":
                found.append([])
            else:
                found[-1].append((int(words[0], 16), int(words[1], 16), int(words[2])))
    return found


def dom0_memory(console):
    """Dragoman's banks of RAM and where its image lies in them, as Xen prints it."""
    banks = [range(int(start, 16), int(end, 16))
             for start, end in re.findall(r"^\(XEN\) BANK\[\d+\] 0x([0-9a-f]+)-0x([0-9a-f]+)", console, re.M)]
    image = re.search(r"Loading zImage from [0-9a-f]+ to ([0-9a-f]+)-", console)
    if not banks or not image:
        raise SystemExit("bench io: Xen's console does not say where Dom0 is")
    return banks, int(image.group(1), 16)


def per_operation(rows, operations, console, functions):
    """Instructions per operation: by owner, and Dragoman's by (file, function)."""
    banks, image = dom0_memory(console)
    owners = dict.fromkeys(OWNERS, 0)
    by_function = collections.Counter()
    for vaddr, paddr, count in rows:
        if any(paddr in bank for bank in banks):
            owners["Dragoman"] += count
            by_function[functions.at(paddr - image)] += count
        elif vaddr in XEN_VIRTUAL:
            owners["Xen"] += count
        else:
            owners["guest"] += count
    return ({name: count / operations for name, count in owners.items()},
            {name: count / operations for name, count in by_function.items()})


def measure(mode, work, image, directory):
    """One boot: for each work per_operation()'s answer."""
    os.makedirs(directory, exist_ok=True)
    subprocess.run(machine(directory, mode, work, image), check=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    with open(os.path.join(directory, "console.log"), encoding="utf-8", errors="replace") as file:
        console = file.read()
    failed = re.findall(r"@dragoman fail (.*)", console)
    found = windows(os.path.join(directory, "counts"))
    if failed or len(found) != len(work):
        raise SystemExit(f"bench io: {mode}: {failed or 'not all of the work was done'}; see {directory}/console.log")
    functions = Functions(os.path.splitext(image)[0] + ".elf")
    return [per_operation(rows, item[3], console, functions) for rows, item in zip(found, work)]


def show(mode, item, boots):
    """One line for each work, and its most expensive files and functions of Dragoman."""
    kind, size, depth, _ = item
    totals = [sum(owners.values()) for owners, _ in boots]
    middle = {name: statistics.median(owners[name] for owners, _ in boots) for name in OWNERS}
    print(f"# measure: {mode}, {kind} {size // 1024}K depth {depth}: {statistics.median(totals):.0f} = "
          + " + ".join(f"{middle[name]:.0f} {name}" for name in OWNERS)
          + f" (spread {100 * (max(totals) - min(totals)) / statistics.median(totals):.1f} %)", flush=True)


def show_functions(by_function, rows):
    """Dragoman's files and functions that execute most."""
    files = collections.Counter()
    for (file, _), count in by_function.items():
        files[file] += count
    for file, count in files.most_common(rows):
        print(f"#   {count:8.0f}  {file}")
    for (file, name), count in collections.Counter(by_function).most_common(rows):
        print(f"#   {count:8.0f}  {name} ({file})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--mode", action="append", choices=list(MODES), help="only this machine; may be given again")
    parser.add_argument("--runs", type=int, default=3, help="boots of each machine; medians are shown (default 3)")
    parser.add_argument("--quick", action="store_true", help="one boot each, a fifth of the work")
    parser.add_argument("--functions", type=int, default=0, metavar="N",
                        help="also Dragoman's N files and functions that execute most")
    parser.add_argument("--image", default=os.path.join(ROOT, "build", "arm64", "dragoman.bin"))
    parser.add_argument("--out", default=os.path.join(ROOT, "build", "bench", "io"))
    arguments = parser.parse_args()
    runs = 1 if arguments.quick else arguments.runs
    work = [(k, b, d, max(n // 5, 200)) for k, b, d, n in WORK] if arguments.quick else WORK
    report = {}
    for mode in arguments.mode or MODES:
        boots = []
        for run in range(runs):
            print(f"# {mode}: boot {run + 1} of {runs}", file=sys.stderr, flush=True)
            boots.append(measure(mode, work, arguments.image, os.path.join(arguments.out, f"{mode}-{run}")))
        for number, item in enumerate(work):
            show(mode, item, [boot[number] for boot in boots])
            if arguments.functions:
                show_functions(boots[0][number][1], arguments.functions)
        report[mode] = [[{"work": item, "owners": owners, "functions": {" ".join(k): v for k, v in functions.items()}}
                         for item, (owners, functions) in zip(work, boot)] for boot in boots]
    with open(os.path.join(arguments.out, "report.json"), "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
