# SPDX-License-Identifier: MIT
"""Executed instructions by owner: reads the file of the plugin count.so and computes the figures per operation.

The owner follows from the physical page from which an instruction was fetched: the backend domain's
RAM is as Xen prints it on its console, Xen runs in its own virtual range, all else is guests.
Without Xen all is the guest.
"""

import bisect
import collections
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OWNERS = ("Xen", "backend", "guest")
XEN_VIRTUAL = range(0xA0000000000, 0xC0000000000)
# xen/include/public/xen.h
HYPERCALLS = {12: "memory_op", 13: "multicall", 17: "xen_version", 18: "console_io", 20: "grant_table_op",
              24: "vcpu_op", 29: "sched_op", 32: "event_channel_op", 33: "physdev_op", 34: "hvm_op"}
WFI = 0xD503207F
XEN_HVC = 0xEA1  # the tag of Xen's own hypercalls; others are calls of the firmware, which Xen answers

Place = collections.namedtuple("Place", "vaddr paddr word before count traps in_xen_by_trap irqs in_xen_by_irq")


class Broken(Exception):
    """A measured machine did not do its work; the message names the machine and the cause."""


class Window:
    """The plugin's data of one window."""

    def __init__(self, operations):
        self.operations = operations
        self.places = []
        self.writes = 0
        self.turns = None  # (number, most instructions of one)
        self.watched = {}  # number of a hypercall: (calls, Xen's instructions)


def windows(lines):
    """The windows of a file of the plugin."""
    found = []
    for line in lines:
        kind, *words = line.split()
        if kind == "window":
            found.append(Window(int(words[0])))
        elif kind == "place":
            found[-1].places.append(Place(*(int(word, 16) for word in words[:4]), *map(int, words[4:])))
        elif kind == "writes":
            found[-1].writes = int(words[0])
        elif kind == "turns":
            found[-1].turns = (int(words[0]), int(words[1]))
        elif kind == "watch":
            found[-1].watched[int(words[0])] = (int(words[1]), int(words[2]))
        else:
            raise Broken(f"unknown line in the plugin's file: {line}")
    return found


class Layout:
    """Dom0's banks of RAM and where its kernel lies in them, as Xen prints it; none without Xen."""

    def __init__(self, console):
        self.banks = [range(int(start, 16), int(end, 16))
                      for start, end in re.findall(r"^\(XEN\) BANK\[\d+\] 0x([0-9a-f]+)-0x([0-9a-f]+)", console, re.M)]
        image = re.search(r"Loading zImage from [0-9a-f]+ to ([0-9a-f]+)-", console)
        self.image = int(image.group(1), 16) if image else 0
        self.xen = bool(self.banks)

    def owner(self, place):
        if not self.xen:
            return "guest"
        if any(place.paddr in bank for bank in self.banks):
            return "backend"
        return "Xen" if place.vaddr in XEN_VIRTUAL else "guest"


class Functions:
    """The functions of the domain's image, by offset from its first byte, with their source files."""

    def __init__(self, elf):
        listing = subprocess.run(["aarch64-linux-gnu-nm", "-n", "-l", "-S", "--defined-only", elf], check=True,
                                 capture_output=True, text=True).stdout
        self.symbols = {}
        self.starts, self.names = [], []
        for line in listing.splitlines():
            words = line.split("\t")
            fields = words[0].split()
            name = fields[-1]
            self.symbols.setdefault(name, int(fields[0], 16))
            if fields[-2] in "tT" and not name.startswith("$"):
                file = words[1].rsplit(":", 1)[0] if len(words) > 1 else ""
                self.starts.append(int(fields[0], 16))
                self.names.append((os.path.relpath(file, ROOT) if file else "-", name))

    def at(self, offset):
        index = bisect.bisect_right(self.starts, offset) - 1
        return self.names[index] if index >= 0 else ("-", "?")


def is_hvc(word):
    return word & 0xFFE0001F == 0xD4000002


def is_tlb_flush(word):
    """tlbi, of any kind."""
    return word & 0xFFF8F000 == 0xD5088000


def hypercall_number(place):
    """The number of an HVC directly after `mov x16, #NUMBER`, as in Linux; else None."""
    return place.before >> 5 & 0xFFFF if place.before & 0xFFE0001F == 0xD2800010 else None


def hypercall_name(number):
    return "other" if number is None else HYPERCALLS.get(number, f"number {number}")


def cause_of(place, owner):
    """The cause of an entry to Xen directly after this place."""
    if owner == "Xen":
        return "Xen, woken from idle by an interrupt"
    if place.word == WFI:
        return f"{owner} idles (WFI)"
    if is_hvc(place.word) and place.word >> 5 & 0xFFFF != XEN_HVC:
        return f"{owner} calls the firmware"
    if is_hvc(place.word):
        return f"{owner} calls {hypercall_name(hypercall_number(place))}"
    return f"{owner}: trapped access"


def entries(window, layout):
    """Of each cause of an entry to Xen: how often, and Xen's instructions."""
    causes = collections.defaultdict(lambda: [0, 0])
    watched_calls = sum(calls for calls, _ in window.watched.values())
    for place in window.places:
        owner = layout.owner(place)
        if place.irqs:
            causes[f"interrupt while {owner} runs"][0] += place.irqs
            causes[f"interrupt while {owner} runs"][1] += place.in_xen_by_irq
        if not place.traps:
            continue
        # Dragoman has one HVC for all hypercalls: its own counters distinguish them.
        by_counter = owner == "backend" and watched_calls and is_hvc(place.word) and hypercall_number(place) is None
        if not by_counter:
            causes[cause_of(place, owner)][0] += place.traps
            causes[cause_of(place, owner)][1] += place.in_xen_by_trap
    for number, (calls, in_xen) in window.watched.items():
        causes[f"backend calls {hypercall_name(number)}"][0] += calls
        causes[f"backend calls {hypercall_name(number)}"][1] += in_xen
    return causes


def per_operation(window, layout, functions=None):
    """All figures of one window, per operation; `functions` where the backend is Dragoman's image."""
    if not window.operations:
        raise Broken("the guests were not measured at the same time, or no operation was completed")
    owners = dict.fromkeys(OWNERS, 0)
    by_function = collections.Counter()
    tlb_flushes = 0
    for place in window.places:
        owner = layout.owner(place)
        owners[owner] += place.count
        if owner == "backend" and functions:
            by_function[functions.at(place.paddr - layout.image)] += place.count
        if owner == "Xen" and is_tlb_flush(place.word):
            tlb_flushes += place.count
    causes = entries(window, layout)
    n = window.operations
    figures = {
        "operations": n,
        "owners": {name: count / n for name, count in owners.items()},
        "doorbells": window.writes / n,
        "tlb_flushes": tlb_flushes / n,
        "causes": {name: {"entries": times / n, "instructions": in_xen / n}
                   for name, (times, in_xen) in sorted(causes.items())},
        "functions": {" ".join(name): count / n for name, count in by_function.most_common()},
    }
    if window.turns and window.turns[0]:
        figures["turns"] = window.turns[0] / n
        figures["turn_most"] = window.turns[1]
    return figures


def counters(console):
    """Dragoman's own counters at its end, over the whole boot."""
    return {name: int(value) for name, value in re.findall(r"dragoman: counter (\w+) (\d+)", console)}
