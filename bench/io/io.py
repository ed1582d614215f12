#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench io: the cost of a block request, in executed instructions of the whole machine, compared with Linux

Boots native Linux, Xen with Linux as Dom0, and Xen with Dragoman in each mode under QEMU, lets a guest
of each do the same work, and attributes every executed instruction to Xen, the backend domain or the
guest. Writes report.json, report.html and tables.md. See docs/benchmarks.md.
"""

import argparse
import concurrent.futures
import json
import os
import resource
import subprocess
import sys
import time

import account
import machines
import report
import tables

# Kind, bytes, depth, operations that are measured.
WORK = [
    ("read", 4096, 1, 4000), ("write", 4096, 1, 4000),
    ("read", 4096, 32, 20000), ("write", 4096, 32, 20000),
    ("read", 131072, 8, 1500), ("write", 131072, 8, 1500),
]
DEPTHS = [("read", 4096, depth, 8000) for depth in (2, 4, 8, 16)]
# All guests are measured at the same time: enough work that the first does not end before the last begins.
BESIDE = [("read", 4096, 32, 10000)]
ALONE = [("read", 4096, 1, 4000), ("write", 4096, 1, 4000)]
QUICK_SYSTEMS = ["native", "linux", "map", "persistent", "copy"]


def scaled(work, divisor):
    return [(kind, size, depth, max(count // divisor, 150)) for kind, size, depth, count in work]


def plan(arguments):
    """The boots of one run, in order."""
    systems = arguments.system or (QUICK_SYSTEMS if arguments.quick else machines.SYSTEMS)
    divisor = arguments.divide or (8 if arguments.quick else 1)
    guests = [4] if arguments.quick else [2, 4, 8]
    boots = [machines.Boot(system, scaled(WORK + DEPTHS, divisor)) for system in systems]
    if arguments.only_work:
        return boots
    if "persistent" in systems:
        boots += [machines.Boot("persistent", BESIDE, guests=n) for n in guests]
        boots.append(machines.Boot("persistent", scaled(ALONE, divisor), cpus=2))
    if arguments.full and "linux" in systems:
        boots += [machines.Boot("linux", BESIDE, guests=n) for n in guests]
        boots.append(machines.Boot("linux", scaled(ALONE, divisor), cpus=2))
    return boots


def tool(*command):
    """The first line that a program prints; empty if it cannot run."""
    try:
        found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=account.ROOT).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.splitlines()[0] if found else ""


def facts():
    """The versions that the figures depend on."""
    changed = tool("git", "status", "--porcelain", "--untracked-files=no")
    return {
        "commit": tool("git", "describe", "--always") + (" with changes" if changed else ""),
        "qemu": tool("qemu-system-aarch64", "--version"),
        "xen": os.path.basename(os.path.dirname(machines.parts()["XEN_4_20"])),
        "kernel": os.listdir(os.path.join(machines.parts()["LINUX_CLOUD_DIR"], "usr", "lib", "modules"))[0],
        "image_bytes": os.path.getsize(os.path.join(account.ROOT, "build", "arm64", "dragoman.bin")),
    }


def say(text):
    print(f"# {text}", file=sys.stderr, flush=True)


def run_one(boot, run, arguments):
    """The results of one boot, or the cause of its failure."""
    try:
        figures = machines.measure(boot, os.path.join(arguments.out, "boots", f"{boot.name()}-{run}"), arguments.image)
    except (account.Broken, subprocess.SubprocessError, OSError) as problem:
        return [], f"{boot.name()}: {problem}"
    return [{"system": boot.system, "guests": boot.guests, "cpus": boot.cpus, "kind": item[0], "bytes": item[1],
             "depth": item[2], "run": run, **figure} for item, figure in zip(boot.work, figures)], None


def run_all(boots, runs, arguments, save):
    """Every boot `runs` times, some at the same time; after each one save(results, failures). A boot that fails is
    reported; the rest is still measured."""
    wanted = [(boot, run) for boot in boots for run in range(runs)]
    results, failures, began = [], [], time.monotonic()
    say(f"{len(wanted)} boots, {arguments.jobs} at a time")
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        in_flight = {pool.submit(run_one, boot, run, arguments): (boot, run) for boot, run in wanted}
        for done, future in enumerate(concurrent.futures.as_completed(in_flight), 1):
            boot, run = in_flight[future]
            found, failure = future.result()
            results.append((wanted.index((boot, run)), found))
            left = (time.monotonic() - began) / done * (len(wanted) - done) / 60
            say(f"{done} of {len(wanted)}: {boot.name()}, boot {run + 1} of {runs}"
                + (f", FAILED: {failure}" if failure else "") + (f"; about {left:.0f} min left" if left >= 1 else ""))
            failures += [failure] if failure else []
            save([result for _, some in sorted(results, key=lambda one: one[0]) for result in some], failures)


def path(words):
    """A file name of the command line: relative to where ./dragoman was called."""
    return os.path.join(os.environ.get("DRAGOMAN_CALLER_DIR", os.getcwd()), words)


def options():
    parser = argparse.ArgumentParser(prog="dragoman bench io", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true",
                        help="one boot of the most telling systems, an eighth of the work")
    parser.add_argument("--full", action="store_true", help="also Linux as Dom0 with several guests, and with a CPU for each domain")
    parser.add_argument("--system", action="append", choices=machines.SYSTEMS, metavar="NAME",
                        help="only this system, may be given again: " + ", ".join(machines.SYSTEMS))
    parser.add_argument("--runs", type=int, metavar="N", help="boots of each, medians are shown (default 3; quick: 1)")
    parser.add_argument("--divide", type=int, metavar="N", help="a fraction of the work")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N",
                        help="machines at the same time (default: a CPU each)")
    parser.add_argument("--only-work", action="store_true", help="one guest on one CPU only")
    parser.add_argument("--functions", type=int, default=0, metavar="N",
                        help="print Dragoman's N files and functions that execute most")
    parser.add_argument("--image", type=path, default=os.path.join(account.ROOT, "build", "arm64", "dragoman.bin"),
                        help="another image of Dragoman, with its .elf beside it")
    parser.add_argument("--out", type=path, default=os.path.join(account.ROOT, "build", "bench"), help="where to write (default build/bench)")
    parser.add_argument("--from", type=path, dest="source", metavar="JSON", help="measure nothing: the report of this file")
    parser.add_argument("--docs", action="store_true", help="also write the tables into docs/measures.md")
    parser.add_argument("--check-options", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick and arguments.full:
        parser.error("--quick and --full exclude each other")
    if any(n is not None and n < 1 for n in (arguments.runs, arguments.divide, arguments.jobs)):
        parser.error("--runs, --divide and --jobs need a number from 1")
    return arguments


def main():
    arguments = options()
    if arguments.check_options:
        return 0
    if arguments.source:
        try:
            with open(arguments.source, encoding="utf-8") as file:
                data = json.load(file)
        except (OSError, ValueError) as problem:
            raise SystemExit(f"dragoman bench io: {arguments.source}: {problem}") from problem
        os.makedirs(arguments.out, exist_ok=True)
    else:
        os.makedirs(arguments.out, exist_ok=True)
        runs = arguments.runs or (1 if arguments.quick else 3)
        data = {"facts": facts(), "results": [], "failures": []}

        def save(results, failed):
            data.update(results=results, failures=failed)
            with open(os.path.join(arguments.out, "report.json"), "w", encoding="utf-8") as file:
                json.dump(data, file, indent=1)

        run_all(plan(arguments), runs, arguments, save)
        say(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime:.0f} s of CPU time")
    summary = tables.summarise(data["results"])
    tables.show(summary, arguments.functions)
    with open(os.path.join(arguments.out, "tables.md"), "w", encoding="utf-8") as file:
        file.write(tables.markdown(data["facts"], summary))
    with open(os.path.join(arguments.out, "report.html"), "w", encoding="utf-8") as file:
        file.write(report.page(data["facts"], summary, data["failures"]))
    if arguments.docs:
        tables.write_into(os.path.join(account.ROOT, "docs", "measures.md"), tables.markdown(data["facts"], summary))
    say(f"report: {os.path.join(arguments.out, 'report.html')}")
    return 1 if data["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
