# SPDX-License-Identifier: MIT
"""What the programs of the benches have in common: their options; boots of machines, some at the same time, with
progress; the report of all."""

import argparse
import concurrent.futures
import json
import os
import resource
import subprocess
import sys
import time

import account
import machine
import tabulate


def say(text):
    print(f"# {text}", file=sys.stderr, flush=True)


def path(words):
    """A file name of the command line: relative to where ./dragoman was called."""
    return os.path.join(os.environ.get("DRAGOMAN_CALLER_DIR", os.getcwd()), words)


def run_one(boot, run, measure, out, image):
    """The figures of one boot, one for each item of its work, or the cause of its failure."""
    try:
        return measure(boot, os.path.join(out, f"{boot.name()}-{run}"), image), None
    except (account.Broken, subprocess.SubprocessError, OSError) as problem:
        return [], f"{boot.name()}: {problem}"


def run_all(boots, runs, measure, arguments, directory, save):
    """Every boot `runs` times by measure(boot, directory, image), arguments.jobs at a time; after each one
    save(results, failures), with results [(boot, run, figures)] in order. A boot that fails is reported; the rest is still
    measured."""
    wanted = [(boot, run) for boot in boots for run in range(runs)]
    results, failures, began = [], [], time.monotonic()
    say(f"{len(wanted)} boots, {arguments.jobs} at a time")
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        in_flight = {pool.submit(run_one, boot, run, measure, directory, arguments.image): index
                     for index, (boot, run) in enumerate(wanted)}
        for done, future in enumerate(concurrent.futures.as_completed(in_flight), 1):
            index = in_flight[future]
            boot, run = wanted[index]
            figures, failure = future.result()
            results.append((index, boot, run, figures))
            results.sort(key=lambda one: one[0])
            left = (time.monotonic() - began) / done * (len(wanted) - done) / 60
            say(f"{done} of {len(wanted)}: {boot.name()}, boot {run + 1} of {runs}"
                + (f", FAILED: {failure}" if failure else "") + (f"; about {left:.0f} min left" if left >= 1 else ""))
            failures += [failure] if failure else []
            save([one[1:] for one in results], failures)


def add_options(parser):
    """The options that all benches of machines have."""
    parser.add_argument("--runs", type=int, metavar="N", help="boots of each, medians are shown (default 3; quick: 1)")
    parser.add_argument("--divide", type=int, metavar="N", help="a fraction of the work")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N",
                        help="machines at the same time (default: a CPU each)")
    parser.add_argument("--functions", type=int, default=0, metavar="N",
                        help="print Dragoman's N files and functions that execute most")
    parser.add_argument("--image", type=path, default=machine.image_default(),
                        help="another image of Dragoman, with its .elf beside it")
    parser.add_argument("--out", type=path, default=os.path.join(account.ROOT, "build", "bench"),
                        help="where to write (default build/bench)")
    parser.add_argument("--from", type=path, dest="source", metavar="JSON", help="measure nothing: the report of this file")
    parser.add_argument("--docs", action="store_true", help="also write the tables into docs/measures.md")
    parser.add_argument("--check-options", action="store_true", help=argparse.SUPPRESS)


def parse(parser):
    """The command line, whose options of add_options() are checked."""
    arguments = parser.parse_args()
    if any(n is not None and n < 1 for n in (arguments.runs, arguments.divide, arguments.jobs)):
        parser.error("--runs, --divide and --jobs need a number from 1")
    return arguments


def load(program, file):
    """A report of an earlier run."""
    try:
        with open(file, encoding="utf-8") as opened:
            return json.load(opened)
    except (OSError, ValueError) as problem:
        raise SystemExit(f"dragoman {program}: {file}: {problem}") from problem


def report_of(program, arguments, boots, measure, flat, file):
    """The report of --from, or that of these boots, measured by measure(); `file` in --out has it after each boot.
    flat(results) makes its entries. {"facts": ..., "results": [...], "failures": [...]}"""
    os.makedirs(arguments.out, exist_ok=True)
    if arguments.source:
        return load(program, arguments.source)
    data = {"facts": machine.facts(), "results": [], "failures": []}

    def save(results, failed):
        data.update(results=flat(results), failures=failed)
        with open(os.path.join(arguments.out, file), "w", encoding="utf-8") as opened:
            json.dump(data, opened, indent=1)

    run_all(boots, arguments.runs or (1 if arguments.quick else 3), measure, arguments,
            os.path.join(arguments.out, "boots"), save)
    say(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime:.0f} s of CPU time")
    return data


def write(arguments, name, text):
    with open(os.path.join(arguments.out, name), "w", encoding="utf-8") as opened:
        opened.write(text)


def end(arguments, data, benchmark, tables, page):
    """Writes the tables into the documents with --docs, and says where the page is. The program's status."""
    if arguments.docs:
        tabulate.write_into(os.path.join(account.ROOT, "docs", "measures.md"), benchmark, tables)
    say(f"report: {os.path.join(arguments.out, page)}")
    return 1 if data["failures"] else 0
