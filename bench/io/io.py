#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench io: the cost of a block request, in executed instructions of the whole machine, compared with Linux

Boots native Linux, Xen with Linux as Dom0, and Xen with Dragoman in each mode under QEMU, lets a guest
of each do the same work, and attributes every executed instruction to Xen, the backend domain or the
guest. Writes report.json, report.html and tables.md. See docs/benchmarks.md.
"""

import argparse
import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "machine"))

import machines  # noqa: E402
import report  # noqa: E402
import runs  # noqa: E402
import tables  # noqa: E402

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
    parser.add_argument("--only-work", action="store_true", help="one guest on one CPU only")
    runs.add_options(parser)
    arguments = runs.parse(parser)
    if arguments.quick and arguments.full:
        parser.error("--quick and --full exclude each other")
    return arguments


def main():
    arguments = options()
    if arguments.check_options:
        return 0
    data = runs.report_of("bench io", arguments, plan(arguments), machines.measure, flat, "report.json")
    summary = tables.summarise(data["results"])
    tables.show(summary, arguments.functions)
    text = tables.markdown(data["facts"], summary)
    runs.write(arguments, "tables.md", text)
    runs.write(arguments, "report.html", report.page(data["facts"], summary, data["failures"]))
    return runs.end(arguments, data, "io", text, "report.html")


if __name__ == "__main__":
    sys.exit(main())
