# SPDX-License-Identifier: MIT
"""The runs together: medians with their spread, as lines, and as the tables of docs/measures.md."""

import collections

from tabulate import calls, interrupts, merge, show_functions, table, total_and_owners

NAMES = {
    "native": "native Linux", "linux": "Linux Dom0, persistent grants", "linux-no-persistent": "Linux Dom0, no persistent grants",
    "map": "Dragoman, map", "persistent": "Dragoman, map with persistent grants", "copy": "Dragoman, copy",
    "identity": "Dragoman, identity", "auto": "Dragoman, auto",
}
# For charts, where there is less room.
SHORT = {**NAMES, "linux": "Linux Dom0, persistent", "linux-no-persistent": "Linux Dom0, not persistent",
         "persistent": "Dragoman, map, persistent"}
Key = collections.namedtuple("Key", "system guests cpus kind bytes depth")


def work_name(key):
    return f"{key.bytes // 1024} KiB {key.kind}, depth {key.depth}"


def summarise(results):
    """Key -> merged figures, in the order of the results."""
    grouped = {}
    for result in results:
        key = Key(*(result[name] for name in Key._fields))
        grouped.setdefault(key, []).append(result)
    return {key: merge(runs) for key, runs in grouped.items()}


def split(key, figures):
    """total = Xen + backend + guest; native Linux has one owner only."""
    return total_and_owners(figures, key.system != "native")


def show(summary, functions):
    """One line for each work, for people and for the project's list of measures."""
    for key, figures in summary.items():
        beside = (f", {key.guests} guests" if key.guests > 1 else "") + (f", {key.cpus} CPUs" if key.cpus > 1 else "")
        print(f"# measure: {key.system}, {work_name(key)}{beside}: {split(key, figures)} instructions "
              f"(spread {100 * figures['spread']:.1f} %)")
        show_functions(figures, functions)


def systems_of(summary):
    return list(dict.fromkeys(key.system for key in summary))


def selected(summary, **wanted):
    """The part of the summary whose keys have these values."""
    return {key: figures for key, figures in summary.items()
            if all(getattr(key, name) == value for name, value in wanted.items())}


def base(summary):
    """One guest on one CPU, without the sweep over depths."""
    return {key: figures for key, figures in selected(summary, guests=1, cpus=1).items()
            if (key.bytes, key.depth) in ((4096, 1), (4096, 32), (131072, 8))}


def works_of(summary):
    return list(dict.fromkeys((key.kind, key.bytes, key.depth) for key in summary))


def cost_table(summary):
    """A row for each work and a column for each system."""
    shown = base(summary)
    systems = systems_of(shown)
    rows = []
    for kind, size, depth in works_of(shown):
        row = [work_name(Key("", 1, 1, kind, size, depth))]
        for system in systems:
            key = Key(system, 1, 1, kind, size, depth)
            row.append(split(key, shown[key]) if key in shown else "")
        rows.append(row)
    return table(["work"] + [NAMES[system] for system in systems], rows)


def counted_table(summary):
    """Counts of events per request."""
    rows = []
    for key, figures in base(summary).items():
        if key.system == "native" or key.kind != "read":
            continue
        rows.append([NAMES[key.system], work_name(key), calls(figures, "backend"), calls(figures, "guest"),
                     f"{interrupts(figures):.2f}", f"{figures['doorbells']:.2f}", f"{figures['tlb_flushes']:.2f}",
                     f"{figures['copied']:,.0f}" if "copied" in figures else "not known",
                     f"{figures['turn_most']:,}" if "turn_most" in figures else ""])
    return table(["system", "work", "hypercalls of the backend", "of the guest", "interrupts", "writes to the disk",
                  "TLB flushes", "bytes copied by Xen", "longest turn"], rows)


def sweep_table(summary, field, wanted):
    """The cost of 4 KiB reads against one field of the key."""
    shown = selected(summary, kind="read", bytes=4096, cpus=1, **wanted)
    values = sorted({getattr(key, field) for key in shown})
    if len(values) < 2:
        return ""
    rows = []
    for system in systems_of(shown):
        of_system = {getattr(key, field): split(key, figures) for key, figures in shown.items()
                     if key.system == system}
        if len(of_system) > 1:
            rows.append([NAMES[system]] + [of_system.get(value, "") for value in values])
    return table([f"4 KiB reads, {field}"] + [str(value) for value in values], rows)


def own_cpu_table(summary):
    shown = {key: figures for key, figures in summary.items() if key.cpus > 1}
    if not shown:
        return ""
    return table(["a CPU each, vwfi=native", "work", "instructions"],
                 [[NAMES[key.system], work_name(key), split(key, figures)] for key, figures in shown.items()])


def markdown(facts, summary):
    """The tables of docs/measures.md."""
    spread = max((figures["spread"] for figures in summary.values()), default=0)
    runs = max((figures["runs"] for figures in summary.values()), default=0)
    blocks = [
        f"Commit {facts['commit']}; {facts['xen']}, guests and Linux Dom0 {facts['kernel']}, {facts['qemu']}. "
        + (f"Medians of {runs}; the largest spread is {100 * spread:.1f} %." if runs > 1 else "One boot of each."),
        "Instructions per request: the whole machine = Xen + backend domain + guest.",
        cost_table(summary),
        "Per request; the longest turn of Dragoman's reactor is in Dragoman's instructions.",
        counted_table(summary),
        sweep_table(summary, "depth", {"guests": 1}),
        sweep_table(summary, "guests", {"depth": 32}),
        own_cpu_table(summary),
    ]
    return "\n\n".join(block.strip() for block in blocks if block.strip()) + "\n"
