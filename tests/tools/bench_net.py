#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of bench/net without a machine: command lines, figures to tables, options. Prints TAP."""

import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(ROOT, "bench", "net"), os.path.join(ROOT, "bench", "machine")]

import machines  # noqa: E402
import net  # noqa: E402

FACTS = {"commit": "c", "qemu": "q", "xen": "x", "kernel": "k", "image_bytes": 1}


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r}, not {expected!r}")


def some_results():
    """Of each system and each work once; Dragoman's share is a quarter of a Linux Dom0's."""
    xen_and_backend = {"native": (0, 0), "linux": (300, 100), "dragoman": (60, 40)}
    return [{"system": system, "peer": peer, "kind": kind, "bytes": size, "run": 0, "operations": 10,
             "owners": {"Xen": xen, "backend": backend, "guest": 500}, "doorbells": 0.5, "tlb_flushes": 0,
             "causes": {"backend calls grant_table_op": {"entries": 2, "instructions": 20}}, "functions": {}}
            for peer in machines.PEERS for system, (xen, backend) in xen_and_backend.items()
            for kind, size, _ in net.WORK if (system, peer) != ("native", "guest")]


def net_py(*arguments):
    return subprocess.run([sys.executable, "-B", os.path.join(ROOT, "bench", "net", "net.py"), *arguments], check=False,
                          capture_output=True, text=True)


def the_share_is_that_of_xen_and_the_backend():
    text = net.markdown(FACTS, net.summarise(some_results()))
    rows = [line for line in text.splitlines() if line.startswith("| UDP, sent, 64 bytes |")]
    equal(len(rows), 2, "rows of one work")
    equal(rows[0], "| UDP, sent, 64 bytes | 500 | 900 = 300 + 100 + 500 | 600 = 60 + 40 + 500 | 25 % |", "row with the host")
    equal(rows[1], "| UDP, sent, 64 bytes | 900 = 300 + 100 + 500 | 600 = 60 + 40 + 500 | 25 % |", "row with a guest")


def each_guest_has_its_part():
    boot = machines.Boot("dragoman", "guest", [("udp-rr", 64, 100), ("tcp-send", 65536, 2000)])
    serves, measures = machines.guests(boot, 1)
    equal("dragoman.role=serve" in serves, True, "the first guest serves")
    equal("dragoman.work=udp-rr:64:100,tcp-send:65536:2000" in measures, True, "the second has the work")
    equal("dragoman.other=10.9.0.1:7071" in measures, True, "with the first")
    boot = machines.Boot("dragoman", "host", [("udp-rr", 64, 100)])
    equal("dragoman.other=10.0.2.2:4711" in machines.guests(boot, 4711)[0], True, "the host's port")


def native_linux_has_no_other_guest():
    arguments = net.argparse.Namespace(system=None, peer=None, quick=True, divide=None)
    equal([boot.name() for boot in net.plan(arguments)],
          ["native-host", "linux-host", "dragoman-host", "linux-guest", "dragoman-guest"], "boots")


def wrong_options_are_refused_before_anything_is_measured():
    for arguments in (["--runs", "0"], ["--jobs", "0"], ["--system", "windows"], ["--peer", "moon"], ["--divide", "x"], ["extra"]):
        equal(net_py(*arguments).returncode, 2, f"status with {arguments}")


def a_report_is_made_again_from_its_json():
    with tempfile.TemporaryDirectory() as directory:
        source = os.path.join(directory, "net.json")
        with open(source, "w", encoding="utf-8") as file:
            json.dump({"facts": FACTS, "results": some_results(), "failures": []}, file)
        made = net_py("--from", source, "--out", directory)
        equal(made.returncode, 0, f"status ({made.stderr})")
        equal(made.stdout.count("# measure: "), 25, "lines of measures")
        if not os.path.getsize(os.path.join(directory, "net.md")):
            raise AssertionError("net.md is empty")


TESTS = [the_share_is_that_of_xen_and_the_backend, each_guest_has_its_part, native_linux_has_no_other_guest,
         wrong_options_are_refused_before_anything_is_measured, a_report_is_made_again_from_its_json]


def main():
    failed = 0
    for number, one in enumerate(TESTS, 1):
        name = f"bench_net: {one.__name__.replace('_', ' ')}"
        try:
            one()
            print(f"ok {number} - {name}")
        except AssertionError as why:
            failed += 1
            print(f"not ok {number} - {name}\n# {why}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
