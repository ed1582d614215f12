#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""count: the library's own instructions for each request, in the simulated machine under callgrind

A steady load runs twice, once with more requests. The difference of the two counts, divided by that of the
requests, is what one request costs; the start and the end of a run cancel out. Counted are functions whose source
is one of the library's, and what they spend in the C library; Xen, disks and guests are simulated and not counted.
The figures are those of this host's compiler and instruction set: a guard, and a guide to where work goes. What
the domain executes on arm64 is measured by `make bench-io`.
"""

import argparse
import collections
import os
import re
import subprocess
import sys

# Mode, depth, frames of each request.
LOADS = [(mode, depth, frames) for mode in ("persistent", "map", "copy") for depth, frames in ((32, 1), (8, 32))]
REQUESTS = {1: (640, 1600), 32: (80, 240)}
# Searches of whole tables, which only the simulator makes; the names of checks that requests need.
CHECKS = re.compile(r"dgm_(?!dma_tag|ring_final)\w+(_check|_is_taken)$")
LIBC = "C library (memcpy, memset)"
# The rooms that a request passes. What xenstore does depends on when a run ends.
ROOMS = ("base/", "hyper/", "pages/", "dma/", "reach/", "core/", "drivers/", "block/")


def source(path):
    """The path of a library's source below the root, or None."""
    path = os.path.relpath(path) if os.path.isabs(path) else path
    return path if path.startswith(ROOMS) else None


def costs_of(files):
    """{(source, function): instructions} of callgrind's files."""
    costs = collections.Counter()
    for name in files:
        names = {"fl": {}, "fn": {}}

        def full(kind, text):
            match = re.match(r"\((\d+)\)(?: (.*))?$", text)
            if match.group(2) is not None:
                names[kind][match.group(1)] = match.group(2)
            return names[kind][match.group(1)]

        here = callee = None
        called = False
        for line in open(name):
            line = line.rstrip("\n")
            key, equals, value = line.partition("=")
            if key in ("fl", "fi", "fe", "cfi", "cfl"):
                path = full("fl", value)
                if key == "fl":
                    file = path
            elif key == "fn":
                function = full("fn", value)
                here = (source(file) if not CHECKS.match(function) else None, function)
            elif key == "cfn":
                callee = full("fn", value)
            elif key == "calls":
                called = True
            elif line and (line[0].isdigit() or line[0] in "+-*") and here and here[0]:
                cost = int(line.split()[1])
                if not called:
                    costs[here] += cost
                elif re.match(r"_*(mem|str)", callee):
                    costs[(LIBC, "called by " + here[1])] += cost
                called = False
            elif line and (line[0].isdigit() or line[0] in "+-*"):
                called = False
    return costs


def run(machine, mode, depth, frames, requests):
    """The costs of one run, and how many requests it had."""
    base = machine + ".out"
    for name in os.listdir(os.path.dirname(machine)):
        if name.startswith(os.path.basename(base)):
            os.remove(os.path.join(os.path.dirname(machine), name))
    output = subprocess.run(
        ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={base}.%p", machine, "--seed", "1", "--jobs", "1",
         "--mode", mode, "--steady", f"{depth}x{frames}", "--requests", str(requests)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    done = re.search(r"(\d+) requests \(0 failed", output.stdout)
    if output.returncode or not done:
        sys.exit(f"bench path: the simulated machine failed:\n{output.stdout}")
    directory = os.path.dirname(base)
    files = [os.path.join(directory, name) for name in os.listdir(directory)
             if name.startswith(os.path.basename(base) + ".")]
    return costs_of(files), int(done.group(1))


def measure(machine, mode, depth, frames):
    """{(source, function): instructions a request}."""
    few, many = (run(machine, mode, depth, frames, n) for n in REQUESTS[frames])
    requests = many[1] - few[1]
    return {key: (many[0][key] - few[0][key]) / requests for key in many[0]}


def table(title, rows, least):
    print(f"\n# {title}")
    for name, cost in sorted(rows.items(), key=lambda row: -row[1]):
        if cost >= least:
            print(f"#   {cost:9.1f}  {name}")


def budgets():
    """{(mode, load): instructions} of budgets.txt."""
    wanted = {}
    for line in open(os.path.join(os.path.dirname(__file__), "budgets.txt")):
        words = line.split("#")[0].split()
        if words:
            wanted[(words[0], words[1])] = int(words[2])
    return wanted


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("machine", help="the simulated machine, built by bench/path.mk")
    parser.add_argument("--check", action="store_true", help="test the budgets, as TAP")
    parser.add_argument("--mode", help="this mode only")
    parser.add_argument("--functions", action="store_true", help="also by function")
    options = parser.parse_args()
    limit = budgets()
    failed = number = 0

    for mode, depth, frames in LOADS:
        if options.mode not in (None, mode):
            continue
        costs = measure(options.machine, mode, depth, frames)
        total = sum(costs.values())
        load = f"{depth}x{frames}"
        what = f"{4 * frames} KiB read, depth {depth}, mode {mode}"
        by_source, by_function = collections.Counter(), collections.Counter()
        for (file, function), cost in costs.items():
            by_source[file] += cost
            by_function[f"{file}: {function}"] += cost
        table(what, by_source, 1)
        if options.functions:
            table(what + ", by function", by_function, 1)
        each = f", {total / frames:.0f} a frame" if frames > 1 else ""
        print(f"# measure: path {what}: {total:.0f} instructions a request{each}; "
              f"the budget is {limit[(mode, load)]}", flush=True)
        if options.check:
            number += 1
            bad = total > limit[(mode, load)]
            failed |= bad
            print(f"{'not ok' if bad else 'ok'} {number} - path: {what} within its budget", flush=True)
    if options.check:
        print(f"1..{number}")
    sys.exit(1 if failed else 0)


main()
