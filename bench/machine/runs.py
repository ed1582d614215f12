# SPDX-License-Identifier: MIT
"""Boots of machines, some at the same time, with progress; results and failures of all."""

import concurrent.futures
import json
import os
import subprocess
import sys
import time

import account


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


def load(program, file):
    """A report of an earlier run."""
    try:
        with open(file, encoding="utf-8") as opened:
            return json.load(opened)
    except (OSError, ValueError) as problem:
        raise SystemExit(f"dragoman {program}: {file}: {problem}") from problem


def store(file, data):
    with open(file, "w", encoding="utf-8") as opened:
        json.dump(data, opened, indent=1)
