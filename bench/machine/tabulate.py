# SPDX-License-Identifier: MIT
"""The figures of several runs together, and tables of them."""

import collections
import statistics

import account


def merge(runs):
    """The figures of several runs of one thing: medians, and the spread of the total."""
    totals = [sum(run["owners"].values()) for run in runs]
    merged = {
        "runs": len(runs),
        "total": statistics.median(totals),
        "spread": (max(totals) - min(totals)) / statistics.median(totals),
        "owners": {name: statistics.median(run["owners"][name] for run in runs) for name in account.OWNERS},
        "causes": {}, "functions": runs[0]["functions"],
    }
    for name in ("doorbells", "tlb_flushes", "copied", "turns"):
        if all(name in run for run in runs):
            merged[name] = statistics.median(run[name] for run in runs)
    if all("turn_most" in run for run in runs):
        merged["turn_most"] = max(run["turn_most"] for run in runs)
    for cause in sorted({cause for run in runs for cause in run["causes"]}):
        of_cause = [run["causes"].get(cause, {"entries": 0, "instructions": 0}) for run in runs]
        merged["causes"][cause] = {name: statistics.median(one[name] for one in of_cause)
                                   for name in ("entries", "instructions")}
    return merged


def total_and_owners(figures, xen):
    """total = Xen + backend + guest; without Xen the total only."""
    if not xen:
        return f"{figures['total']:,.0f}"
    return f"{figures['total']:,.0f} = " + " + ".join(f"{figures['owners'][name]:,.0f}" for name in account.OWNERS)


def by_file(functions):
    files = collections.Counter()
    for name, count in functions.items():
        files[name.split(" ")[0]] += count
    return files.most_common()


def show_functions(figures, most):
    """The files and the functions of Dragoman that execute most, `most` of each."""
    if most and figures["functions"]:
        for name, count in by_file(figures["functions"])[:most] + list(figures["functions"].items())[:most]:
            print(f"#   {count:8.0f}  {name}")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]) + "\n"


def calls(figures, owner):
    """Hypercalls of an owner by kind, as text."""
    found = [(cause[len(owner) + 7:], one["entries"]) for cause, one in figures["causes"].items()
             if cause.startswith(f"{owner} calls ") and one["entries"] >= 0.005]
    return ", ".join(f"{name} {times:.2f}" for name, times in found) or "none"


def interrupts(figures):
    return sum(one["entries"] for cause, one in figures["causes"].items() if "interrupt" in cause)


def markers(benchmark):
    return (f"<!-- begin of what ./dragoman bench {benchmark} --docs writes -->",
            f"<!-- end of what ./dragoman bench {benchmark} --docs writes -->")


def write_into(path, benchmark, text):
    """Replaces the text between the two markers of the benchmark."""
    first, last = markers(benchmark)
    with open(path, encoding="utf-8") as file:
        old = file.read()
    before, begin, rest = old.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise SystemExit(f"bench {benchmark}: {path} lacks the markers of the generated block")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{first}\n\n{text}\n{last}{after}")
