# SPDX-License-Identifier: MIT
"""The part that the runners of tests on real Xen share: a list of tests, expectations, deadlines, and TAP.

A runner (tests/guest/run.py, tests/x86/run.py) marks its tests with @test and ends with main().

As many tests run at a time as there are CPUs, each with machines of its own; beside them one of those marked with
@waiting_test, whose machines compute little. Their lines come in the order of the list.

No test depends on timing: a deadline only ends a machine that hangs, and is many times what a test takes on an idle
machine. Where the environment has DRAGOMAN_SLOW=N, every deadline is N times as long.
"""

import concurrent.futures
import os
import subprocess
import sys
import threading
import time

TESTS = []
WAITING = set()
RUNNING = threading.local()  # .lines: the lines of this thread's test for people
SLOW = int(os.environ.get("DRAGOMAN_SLOW", "1"))


class Failure(Exception):
    """A failed expectation of a test; the message names it."""


class Skip(Exception):
    """This machine cannot run the test; the message says why."""


def read_output(directory, name):
    """A file of a machine's run; "" before it is there."""
    try:
        with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def expect(condition, message):
    if not condition:
        raise Failure(message)


def test(function):
    TESTS.append(function)
    return function


def waiting_test(function):
    WAITING.add(function)
    return test(function)


def note(text):
    """Prints a line for people."""
    RUNNING.lines.append(f"# {text}")


def measure(name, value):
    """Prints a line for docs/measures.md."""
    note(f"measure: {name}: {value}")


def run(function):
    """Runs one test: whether it passed, and its lines, the last of them without the TAP verdict."""
    RUNNING.lines = []
    start = time.monotonic()
    passed = True
    try:
        function()
    except Skip as reason:
        return True, RUNNING.lines + [f"{function.__name__} # SKIP {reason}"]
    except (Failure, subprocess.TimeoutExpired, KeyError) as problem:
        passed = False
        for line in f"{type(problem).__name__}: {problem}".splitlines():
            note(line)
    return passed, RUNNING.lines + [f"{function.__name__} # {time.monotonic() - start:.0f} s"]


def main(out):
    """Runs the tests whose names contain one of the arguments (none: all), with their files in the directory `out`;
    --list only prints the names."""
    os.makedirs(out, exist_ok=True)
    if sys.argv[1:] == ["--list"]:
        print("\n".join(function.__name__ for function in TESTS))
        return 0
    chosen = [f for f in TESTS if not sys.argv[1:] or any(word in f.__name__ for word in sys.argv[1:])]
    failed = 0
    cpus = concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count())
    beside = concurrent.futures.ThreadPoolExecutor(max_workers=1)
    results = [(beside if function in WAITING else cpus).submit(run, function) for function in chosen]
    try:
        for number, result in enumerate(results, 1):
            passed, lines = result.result()
            for line in lines[:-1]:
                print(line)
            print(f"{'ok' if passed else 'not ok'} {number} - {lines[-1]}", flush=True)
            failed += not passed
    finally:
        cpus.shutdown(cancel_futures=True)
        beside.shutdown(cancel_futures=True)
    print(f"1..{len(chosen)}")
    return 1 if failed else 0
