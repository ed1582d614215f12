# SPDX-License-Identifier: MIT
"""What the runners of tests on real Xen share: a list of tests, expectations, and TAP.

A runner (tests/guest/run.py, tests/x86/run.py) marks its tests with @test and ends with main().
"""

import os
import subprocess
import sys
import time

TESTS = []


class Failure(Exception):
    """A test's expectation that did not hold; the message says which."""


def expect(condition, message):
    if not condition:
        raise Failure(message)


def test(function):
    TESTS.append(function)
    return function


def measure(name, value):
    """A line for docs/measures.md."""
    print(f"# measure: {name}: {value}")


def main(out):
    """Runs the tests whose names contain one of the arguments (none: all); --list only names them. `out`: their files."""
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
