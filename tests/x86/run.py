#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""x86 tests: pages/contig on real Xen for x86, under QEMU without KVM.

Boots port/x86-pv's test kernel as PV or PVH Dom0 and checks its console output (port/x86-pv/kernel/console.h): every
check must be there and hold, every fact must have the value of the tables below, there must be no other line,
and the last line must come. Prints TAP. Each run leaves console.log in
build/test/x86/NAME. Arguments select the tests whose names contain one of them; --list only names them.

If these fail, a DMA across a page border of a PV guest reads or writes another domain's memory.
"""

import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import expect, Failure, main, measure, note, SLOW, test  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "build", "test", "x86")
KERNEL = os.path.join(ROOT, "build", "x86-pv", "kernel.elf")
TIMEOUT_S = 900 * SLOW

ENOMEM, EINVAL, EOPNOTSUPP = 12, 22, 95

# The checks that the kernel makes itself.
PV_CHECKS = """
    trap_table edu_found pool_init scatter_unmaps scatter_maps
    few_init few_zero device_writes_across_border few_zero_after_undo few_memory_holds
    large_init large_zero large_memory_holds large_memory_holds_after_undo
    partial_init partial_memory_holds undo_partial_memory_holds undo_rest_memory_holds
    refusal_init refused_no_memory_mapped remap_failed_runs remap_again_memory_holds
    remap_failed_in_undo_runs undo_again_memory_holds
    grant_low_init grant_table grant_bus_address grant_in_use grant_dma_by_bus_address grant_unused
    grant_alias_hidden grant_both_bus_address grant_alias_shows_page grant_contig_init grant_page_still_there
    grant_both_unused grant_alias_shown_again
""".split()

# Numbers that it prints and that are checked here. A pair is a range, both ends allowed.
ANY = (0, 1 << 62)
PV_FACTS = {
    # 64 frames from above 4 GiB to below 2^28, one by one, then mixed: no two are neighbours.
    "pool_above_28_bits_before": 64, "pool_made": 64, "pool_above_28_bits": 0, "pool_runs": 64,
    "pool_m2p_wrong": 0,
    # The proof: 2048 bytes from 0xc00 on are right up to the border, and wrong after it.
    "dma_right_scattered": 1024, "dma_prefix_scattered": 1024,
    "few_made": 1, "few_runs": 1, "few_above_28_bits": 0, "few_m2p_wrong": 0,
    "dma_right_contiguous": 2048, "dma_prefix_contiguous": 2048,
    # After the undo the frames are anywhere again; some bytes may be right by chance, never all.
    "few_undo": 0, "few_m2p_wrong_after_undo": 0, "dma_right_undone": (0, 2047), "dma_prefix_undone": (0, 2047),
    "large_runs_before": (256, 512), "large_made": 1, "large_runs": 1, "large_above_30_bits": 0,
    "large_first_mfn_in_run": 0, "large_m2p_wrong": 0, "large_undo": 0, "large_m2p_wrong_after_undo": 0,
    "large_exchanged": 1024, "large_make_ticks": ANY, "large_undo_ticks": ANY,
    # Frame 83 is still mapped: ten runs of eight are done, the eleventh stops it.
    "partial_made": 10, "partial_error": -EINVAL, "partial_m2p_wrong": 0, "partial_undo": 0,
    "all_made": 64, "all_above_32_bits": 0,
    "undo_partial_error": -EINVAL, "undo_partial_runs": 41, "undo_partial_m2p_wrong": 0,
    "undo_rest": 0, "undo_rest_runs": 0, "undo_rest_m2p_wrong": 0, "partial_exchanges": 2,
    "refused_no_memory": -ENOMEM, "refused_m2p_wrong": 0,
    "remap_failed": -ENOMEM, "remap_again": 0, "remap_runs": 1, "remap_failed_in_undo": -ENOMEM,
    "undo_again": 0, "undo_again_m2p_wrong": 0,
    "grant_low_made": 2, "grant_device_map": 0, "grant_device_unmap": 0, "grant_both_map": 0, "grant_both_unmap": 0,
    "grant_contig_refused": -EINVAL, "grant_contig_made": 1, "grant_contig_undo": 0,
}
# A run of its own, on frames as Xen allocated them, in any order.
COSTS_CHECKS = [name for name in PV_CHECKS if name.split("_")[0] in ("large", "scatter", "trap")]
COSTS_FACTS = {name: value for name, value in PV_FACTS.items() if name.startswith("large_")}
PVH_CHECKS = ["auto_translated", "pvh_memory_intact"]
PVH_FACTS = {"pvh_contig_init": -EOPNOTSUPP, "pvh_exchange": -EOPNOTSUPP, "pvh_exchanged": 0}


def parts():
    """build/parts.mk, which tools/setup/parts.sh writes."""
    try:
        with open(os.path.join(ROOT, "build", "parts.mk"), encoding="utf-8") as file:
            return dict(line.strip().split("=", 1) for line in file if "=" in line and not line.startswith("#"))
    except FileNotFoundError:
        return {}


class Run:
    """One machine, from power-on to its end, and the kernel's output."""

    def __init__(self, name, version, kind, words="", qemu=()):
        xen = parts().get(f"XEN_{version.replace('.', '_')}_AMD64", "")
        expect(os.path.exists(xen), f"Xen {version} for amd64 is missing: './dragoman parts --all'")
        expect(os.path.exists(KERNEL), "the test kernel is missing: 'make x86-pv'")
        directory = os.path.join(OUT, name)
        os.makedirs(directory, exist_ok=True)
        arguments = "console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all dom0_mem=256M"
        if kind == "PVH":
            arguments += " dom0=pvh dom0-iommu=none"
            qemu = ("-cpu", "EPYC", *qemu)
        # RAM above 4 GiB, where Xen takes Dom0's memory from: "below 4 GiB" is then a real demand. The kernel ends by a
        # reboot, which -no-reboot makes the end of QEMU.
        command = ["qemu-system-x86_64", "-accel", "tcg", "-display", "none", "-monitor", "none", "-serial", "stdio",
                   "-no-reboot", "-m", "6144", "-device", "edu", "-kernel", xen, "-initrd",
                   f"{KERNEL} {words}".strip(), "-append", arguments, *qemu]
        start = time.monotonic()
        try:
            done = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=False)
            self.status, output = done.returncode, done.stdout
        except subprocess.TimeoutExpired as late:
            self.status, output = None, late.stdout or b""
        except FileNotFoundError as missing:
            raise Failure("qemu-system-x86_64 is missing (package qemu-system-x86)") from missing
        self.seconds = time.monotonic() - start
        self.console = output.decode(errors="replace")
        with open(os.path.join(directory, "console.log"), "w", encoding="utf-8") as file:
            file.write(" ".join(command) + "\n" + self.console)
        self.kind, self.version = kind, version
        self.lines = re.findall(r"^x86-pv: (.*?)\r?$", self.console, re.MULTILINE)
        self.facts = {}
        for line in self.lines:
            words_said = line.split()
            if words_said[0] == "fact" and len(words_said) == 3:
                self.facts[words_said[1]] = int(words_said[2])

    def problems(self, checks, facts):
        """A text for every difference from the expectation; empty: passed."""
        found = []
        if self.status != 0:
            found.append(f"QEMU ended with {self.status}" if self.status is not None else "the time is up")
        if self.lines[:1] != [f"on Xen {self.version} as {self.kind}"]:
            found.append(f"the kernel began with {self.lines[:1]}, not on Xen {self.version} as {self.kind}")
        if self.lines[-1:] != ["done"]:
            found.append("the kernel did not come to its end; the last lines:\n" + self.console[-1500:])
        for line in self.lines[1:-1]:
            known = line.startswith("ok ") and line[3:] in checks
            known = known or line.startswith("fact ") and line.split()[1] in facts
            if not known:
                found.append(line)
        for name in checks:
            if f"ok {name}" not in self.lines:
                found.append(f"missing: ok {name}")
        for name, wanted in facts.items():
            low, high = wanted if isinstance(wanted, tuple) else (wanted, wanted)
            value = self.facts.get(name)
            if value is None or not low <= value <= high:
                found.append(f"{name} is {value}, must be {wanted}")
        return found

    def good(self, checks, facts):
        found = self.problems(checks, facts)
        expect(not found, "\n".join(found))
        return self


def pv(name, version, qemu=()):
    return Run(name, version, "PV", qemu=qemu).good(PV_CHECKS, PV_FACTS)


@test
def contig_on_xen420():
    run = pv("contig_on_xen420", "4.20")
    note(f"{len(PV_CHECKS)} checks, {len(PV_FACTS)} facts; of 2048 bytes across a page border right:"
         f" {run.facts['dma_right_scattered']} scattered, {run.facts['dma_right_contiguous']} contiguous,"
         f" {run.facts['dma_right_undone']} undone")


@test
def contig_on_xen417():
    pv("contig_on_xen417", "4.17")


@test
def contig_on_intel():
    """Xen unmaps more of itself there (XPTI), and flushes differently."""
    pv("contig_on_intel", "4.20", ("-cpu", "Skylake-Client"))


@test
def not_here_on_pvh_xen420():
    """The same ELF, auto-translated: the library reports it, and so does Xen."""
    Run("not_here_on_pvh_xen420", "4.20", "PVH").good(PVH_CHECKS, PVH_FACTS)


@test
def not_here_on_pvh_xen417():
    Run("not_here_on_pvh_xen417", "4.17", "PVH").good(PVH_CHECKS, PVH_FACTS)


@test
def twin_that_joins_nothing_fails():
    """The tests can fail: a kernel that asks for runs of one frame is caught, by the device's bytes."""
    run = Run("twin_that_joins_nothing", "4.20", "PV", words="broken")
    found = run.problems(PV_CHECKS, PV_FACTS)
    expect("dma_right_contiguous is 1024, must be 2048" in found, "the broken twin was not caught:\n" + "\n".join(found))


@test
def costs_in_instructions():
    """One virtual nanosecond per instruction, so the ticks are instructions; 1024 of them zero a frame twice."""
    run = Run("costs", "4.20", "PV", words="costs", qemu=("-icount", "shift=0,sleep=off"))
    run.good(COSTS_CHECKS, COSTS_FACTS)
    for what in ("make", "undo"):
        cost = run.facts[f"large_{what}_ticks"]
        measure(f"contig, {what} of 512 frames, instructions a frame", f"{cost / 512:.0f}")


if __name__ == "__main__":
    sys.exit(main(OUT))
