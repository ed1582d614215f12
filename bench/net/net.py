#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench net: the cost of network traffic, in executed instructions of the whole machine, compared with Linux

Boots Xen with Linux as Dom0 and Xen with Dragoman under QEMU, lets a guest of each exchange the same
packets with the host and with another guest, and attributes every executed instruction to Xen, the
backend domain or the guests. Writes net.json and net.md. See docs/benchmarks.md.
"""

import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, os.pardir, "machine"))

import machines  # noqa: E402
import runs  # noqa: E402
import tabulate  # noqa: E402

# Kind, bytes (of a datagram, or at most for a call), operations: datagrams or KiB.
WORK = [("udp-rr", 64, 3000), ("udp-send", 64, 20000), ("udp-send", 1400, 20000),
        ("tcp-send", 65536, 65536), ("tcp-receive", 65536, 65536)]
NAMES = {"native": "native Linux", "linux": "Linux Dom0", "dragoman": "Dragoman"}
QUICK_DIVISOR = 8


def plan(arguments):
    """The boots of one run, in order."""
    divisor = arguments.divide or (QUICK_DIVISOR if arguments.quick else 1)
    work = [(kind, size, max(count // divisor, 100)) for kind, size, count in WORK]
    return [machines.Boot(system, peer, work) for peer in arguments.peer or machines.PEERS
            for system in arguments.system or machines.SYSTEMS if (system, peer) != ("native", "guest")]


def work_name(kind, size):
    what = {"udp-rr": "UDP, there and back", "udp-send": "UDP, sent", "tcp-send": "TCP, sent, per KiB",
            "tcp-receive": "TCP, received, per KiB"}[kind]
    return f"{what}, {size} bytes" if kind.startswith("udp") else what


def flat(results):
    """One entry for each item of work of each boot."""
    return [{"system": boot.system, "peer": boot.peer, "kind": item[0], "bytes": item[1], "run": run, **figures}
            for boot, run, found in results for item, figures in zip(boot.work, found)]


def summarise(results):
    """(peer, kind, bytes) -> {system: merged figures}."""
    grouped = {}
    for result in results:
        of_work = grouped.setdefault((result["peer"], result["kind"], result["bytes"]), {})
        of_work.setdefault(result["system"], []).append(result)
    return {work: {system: tabulate.merge(found) for system, found in of_work.items()}
            for work, of_work in grouped.items()}


def share(figures):
    """What is not the guests' own."""
    return figures["owners"]["Xen"] + figures["owners"]["backend"]


def show(summary, functions):
    for (peer, kind, size), of_work in summary.items():
        for system, figures in of_work.items():
            print(f"# measure: {system}, {peer}, {work_name(kind, size)}: "
                  f"{tabulate.total_and_owners(figures, system != 'native')} instructions (spread {100 * figures['spread']:.1f} %)")
            tabulate.show_functions(figures, functions)


def cost_table(summary, peer):
    """A row for each work, a column for each system, and Dragoman's part of what a Linux Dom0 and its Xen cost."""
    shown = {work[1:]: of_work for work, of_work in summary.items() if work[0] == peer}
    if not shown:
        return ""
    systems = [system for system in machines.SYSTEMS if any(system in of_work for of_work in shown.values())]
    rows = []
    for (kind, size), of_work in shown.items():
        row = [work_name(kind, size)]
        row += [tabulate.total_and_owners(of_work[system], system != "native") if system in of_work else "" for system in systems]
        both = "linux" in of_work and "dragoman" in of_work
        row.append(f"{100 * share(of_work['dragoman']) / share(of_work['linux']):.0f} %" if both else "")
        rows.append(row)
    return tabulate.table([f"with {'the host' if peer == 'host' else 'another guest'}"] + [NAMES[system] for system in systems]
                          + ["Xen and backend, of Linux Dom0's"], rows)


def counted_table(summary):
    """Counts of events per operation."""
    rows = [[NAMES[system], peer, work_name(kind, size), tabulate.calls(figures, "backend"), tabulate.calls(figures, "guest"),
             f"{tabulate.interrupts(figures):.2f}", f"{figures['doorbells']:.2f}",
             f"{figures['turn_most']:,}" if "turn_most" in figures else ""]
            for (peer, kind, size), of_work in summary.items() for system, figures in of_work.items() if system != "native"]
    return tabulate.table(["system", "with", "work", "hypercalls of the backend", "of the guests", "interrupts",
                           "writes to the card", "longest turn"], rows) if rows else ""


def markdown(facts, summary):
    """The tables of docs/measures.md."""
    merged = [figures for of_work in summary.values() for figures in of_work.values()]
    several = max((figures["runs"] for figures in merged), default=0)
    spread = max((figures["spread"] for figures in merged), default=0)
    blocks = [
        f"Commit {facts['commit']}; {facts['xen']}, guests and Linux Dom0 {facts['kernel']}, {facts['qemu']}. "
        + (f"Medians of {several}; the largest spread is {100 * spread:.1f} %." if several > 1 else "One boot of each."),
        "Instructions per packet, or per KiB: the whole machine = Xen + backend domain + guests.",
        cost_table(summary, "host"), cost_table(summary, "guest"),
        "Per packet, or per KiB; the longest turn of Dragoman's reactor is in Dragoman's instructions.",
        counted_table(summary),
    ]
    return "\n\n".join(block.strip() for block in blocks if block.strip()) + "\n"


def options():
    parser = argparse.ArgumentParser(prog="dragoman bench net", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="one boot of each system, an eighth of the work")
    parser.add_argument("--system", action="append", choices=machines.SYSTEMS, metavar="NAME",
                        help="only this system, may be given again: " + ", ".join(machines.SYSTEMS))
    parser.add_argument("--peer", action="append", choices=machines.PEERS, metavar="NAME",
                        help="only traffic with this other end: " + ", ".join(machines.PEERS))
    runs.add_options(parser)
    return runs.parse(parser)


def main():
    arguments = options()
    if arguments.check_options:
        return 0
    data = runs.report_of("bench net", arguments, plan(arguments), machines.measure, flat, "net.json")
    summary = summarise(data["results"])
    show(summary, arguments.functions)
    text = markdown(data["facts"], summary)
    runs.write(arguments, "net.md", text)
    return runs.end(arguments, data, "net", text, "net.md")


if __name__ == "__main__":
    sys.exit(main())
