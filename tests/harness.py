# SPDX-License-Identifier: MIT
"""The part that the runners of tests on real Xen share: a list of tests, expectations, deadlines, and TAP.

A runner (tests/guest/run.py, tests/x86/run.py) marks its tests with @test and ends with main().

No test judges by time: a deadline only ends a machine that hangs, and is many times what a test takes on an idle
machine. Where the environment has DRAGOMAN_SLOW=N, every deadline is N times as long.
"""

import os
import subprocess
import sys
import time

TESTS = []
SLOW = int(os.environ.get("DRAGOMAN_SLOW", "1"))


class Failure(Exception):
    """A test's expectation that did not hold; the message says which."""


def expect(condition, message):
    if not condition:
        raise Failure(message)


def test(function):
    TESTS.append(function)
    return function


def measure(name, value):
    """Prints a line for docs/measures.md."""
    print(f"# measure: {name}: {value}")


def main(out):
    """Runs the tests whose names contain one of the arguments (none: all), with their files in the directory `out`;
    --list only prints the names."""
    os.makedirs(out, exist_ok=True)
    if sys.argv[1:] == ["--list"]:
        print("\n".join(function.__name__ for function in TESTS))
        return 0
    chosen = [f for f in TESTS if not sys.argv[1:] or any(word in f.__name__ for word in sys.argv[1:])]
    failed = 0
    for number, function in enumerate(chosen, 1):
        start = time.monotonic()
        try:
            function()
            verdict = "ok"
        except (Failure, subprocess.TimeoutExpired, KeyError) as problem:
            verdict = "not ok"
            failed += 1
            print("".join(f"# {line}\n" for line in f"{type(problem).__name__}: {problem}".splitlines()), end="")
        print(f"{verdict} {number} - {function.__name__} # {time.monotonic() - start:.0f} s", flush=True)
    print(f"1..{len(chosen)}")
    return 1 if failed else 0
