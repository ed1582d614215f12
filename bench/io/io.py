#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench io: the cost of a block request, in executed instructions of the whole machine, compared with Linux

Boots native Linux, Xen with Linux as Dom0, and Xen with Dragoman in each mode under QEMU, lets a guest
of each do the same work, and attributes every executed instruction to Xen, the backend domain or the
guest. Writes report.json, report.html and tables.md. See docs/benchmarks.md.
"""

import argparse
import os
import resource
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "machine"))

import account  # noqa: E402
import machine  # noqa: E402
import machines  # noqa: E402
import report  # noqa: E402
import runs  # noqa: E402
import tables  # noqa: E402
import tabulate  # noqa: E402

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


def flat(results):
    """One entry for each item of work of each boot."""
    return [{"system": boot.system, "guests": boot.guests, "cpus": boot.cpus, "kind": item[0], "bytes": item[1],
             "depth": item[2], "run": run, **figure}
            for boot, run, figures in results for item, figure in zip(boot.work, figures)]


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
    parser.add_argument("--image", type=runs.path, default=machine.image_default(),
                        help="another image of Dragoman, with its .elf beside it")
    parser.add_argument("--out", type=runs.path, default=os.path.join(account.ROOT, "build", "bench"), help="where to write (default build/bench)")
    parser.add_argument("--from", type=runs.path, dest="source", metavar="JSON", help="measure nothing: the report of this file")
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
    os.makedirs(arguments.out, exist_ok=True)
    if arguments.source:
        data = runs.load("bench io", arguments.source)
    else:
        data = {"facts": machine.facts(), "results": [], "failures": []}

        def save(results, failed):
            data.update(results=flat(results), failures=failed)
            runs.store(os.path.join(arguments.out, "report.json"), data)

        runs.run_all(plan(arguments), arguments.runs or (1 if arguments.quick else 3), machines.measure, arguments,
                     os.path.join(arguments.out, "boots"), save)
        runs.say(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime:.0f} s of CPU time")
    summary = tables.summarise(data["results"])
    tables.show(summary, arguments.functions)
    with open(os.path.join(arguments.out, "tables.md"), "w", encoding="utf-8") as file:
        file.write(tables.markdown(data["facts"], summary))
    with open(os.path.join(arguments.out, "report.html"), "w", encoding="utf-8") as file:
        file.write(report.page(data["facts"], summary, data["failures"]))
    if arguments.docs:
        tabulate.write_into(os.path.join(account.ROOT, "docs", "measures.md"), "io", tables.markdown(data["facts"], summary))
    runs.say(f"report: {os.path.join(arguments.out, 'report.html')}")
    return 1 if data["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
