# SPDX-License-Identifier: MIT
"""report.html: one page without other files; charts of the cost of a request by owner, then the tables."""

import html
import re

import charts
import tables
import tabulate
from account import OWNERS

STYLE = """
:root { color-scheme: light dark; --ink: #1b2430; --paper: #ffffff; --soft: #5b6878; --grid: #d9dee5;
  --s0: #c2410c; --s1: #2563eb; --s2: #94a3b8; --mark: #047857;
  --c0: #047857; --c1: #c2410c; --c2: #db2777; --c3: #7c3aed; --c4: #2563eb; --c5: #0e7490; --c6: #a16207; --c7: #475569; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --paper: #12161c; --soft: #9aa7b6; --grid: #2c3642;
  --s0: #fb923c; --s1: #60a5fa; --s2: #64748b; --mark: #34d399;
  --c0: #34d399; --c1: #fb923c; --c2: #f472b6; --c3: #a78bfa; --c4: #60a5fa; --c5: #22d3ee; --c6: #facc15; --c7: #94a3b8; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p.soft, .axis { color: var(--soft); } figure { margin: 1rem 0; overflow-x: auto; }
svg { width: 100%; min-width: 38rem; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg text.axis { fill: var(--soft); } svg text.title { font-weight: 600; font-size: 13px; }
.grid { stroke: var(--grid); } .mark { stroke: var(--mark); stroke-width: 2; stroke-dasharray: 5 3; }
svg text.marked { fill: var(--mark); font-weight: 600; }
polyline { fill: none; stroke-width: 2; }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto; }
td, th { border-bottom: 1px solid var(--grid); padding: .25rem .6rem; text-align: left; vertical-align: top; }
.key span { display: inline-block; width: .9rem; height: .9rem; margin: 0 .35rem 0 1rem; vertical-align: -2px; }
""" + "".join(f".s{i} {{ fill: var(--s{i}); background: var(--s{i}); }}\n" for i in range(3)) + "".join(
    f".c{i} {{ stroke: var(--c{i}); }} .p{i} {{ fill: var(--c{i}); }} svg text.t{i} {{ fill: var(--c{i}); }}\n" for i in range(8))


def figure(drawing):
    return f"<figure>{drawing}</figure>\n"


def cost_charts(summary):
    """For each work stacked bars of all systems, and native Linux as a line."""
    shown = tables.base(summary)
    drawn = []
    for work in tables.works_of(shown):
        of_work = {key.system: figures for key, figures in shown.items() if (key.kind, key.bytes, key.depth) == work}
        native = of_work.pop("native", None)
        rows = [(tables.SHORT[system], figures["owners"])
                for system, figures in of_work.items()]
        if not rows:
            continue
        mark = ("native Linux", native["total"]) if native else None
        drawn.append(figure(charts.bars(tables.work_name(tables.Key("", 1, 1, *work)), rows, OWNERS, mark)))
    return "".join(drawn)


def sweep_chart(summary, field, title, wanted):
    shown = tables.selected(summary, kind="read", bytes=4096, cpus=1, **wanted)
    lines = []
    for system in tables.systems_of(shown):
        points = [(getattr(key, field), figures["total"]) for key, figures in shown.items() if key.system == system]
        if len(points) > 1:
            lines.append((tables.SHORT[system], points))
    return figure(charts.curves(title, lines, field)) if lines else ""


def cause_charts(summary):
    """Xen's instructions of a 4 KiB read at depth 1 by the cause of the entry."""
    drawn = []
    for key, figures in tables.base(summary).items():
        if (key.kind, key.bytes, key.depth) != ("read", 4096, 1) or not figures["causes"]:
            continue
        rows = sorted(((f"{cause} ({one['entries']:.2f}x)", {"Xen": one["instructions"]})
                       for cause, one in figures["causes"].items() if one["instructions"] >= 50),
                      key=lambda row: -row[1]["Xen"])
        if rows:
            drawn.append(figure(charts.bars(f"{tables.NAMES[key.system]}: Xen's instructions by cause of the entry, "
                                            f"{tables.work_name(key)}", rows, ["Xen"])))
    return "".join(drawn)


def file_charts(summary):
    """Dragoman's instructions by source file."""
    drawn = []
    for key, figures in tables.base(summary).items():
        if key.system != "persistent" or key.kind != "read" or not figures["functions"]:
            continue
        rows = [(file if file != "-" else "C library", {"backend": count})
                for file, count in tabulate.by_file(figures["functions"])[:16]]
        drawn.append(figure(charts.bars(f"Dragoman's instructions by file, {tables.work_name(key)}", rows,
                                        ["Xen", "backend"])))
    return "".join(drawn)


def function_table(summary):
    rows = []
    for key, figures in tables.base(summary).items():
        if key.system == "persistent" and key.kind == "read":
            rows += [[tables.work_name(key), *name.split(" ", 1), f"{count:,.0f}"]
                     for name, count in list(figures["functions"].items())[:12]]
    return tabulate.table(["work", "file", "function", "instructions per request"], rows) if rows else ""


def html_table(markdown):
    """Tables and paragraphs of tables.py as HTML."""
    made = []
    for block in markdown.strip().split("\n\n"):
        lines = block.splitlines()
        if not lines[0].startswith("|"):
            made.append(f"<p>{html.escape(block)}</p>\n")
            continue
        rows = [re.split(r" *\| *", one.strip("| ")) for one in lines if not one.startswith("|---")]
        made.append("<table>" + "".join(
            "<tr>" + "".join(f"<{'td' if i else 'th'}>{html.escape(cell)}</{'td' if i else 'th'}>" for cell in row)
            + "</tr>\n" for i, row in enumerate(rows)) + "</table>\n")
    return "".join(made)


def section(title, soft, body):
    return f'<h2>{html.escape(title)}</h2>\n<p class="soft">{html.escape(soft)}</p>\n{body}' if body else ""


def page(facts, summary, failures):
    """The whole page."""
    key = "".join(f'<span class="s{i}"></span>{html.escape(name)}' for i, name in enumerate(OWNERS))
    failed = "".join(f"<p><strong>Not measured:</strong> {html.escape(failure)}</p>\n" for failure in failures)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>What a block request costs</title><style>{STYLE}</style></head><body>
<h1>What a block request costs</h1>
<p class="soft">Executed instructions of the whole machine per request, under emulation: counts, never times. TLB misses,
barriers and cache pollution are not in them. Dragoman {html.escape(facts['commit'])}, {html.escape(facts['xen'])}, Linux
{html.escape(facts['kernel'])}, {html.escape(facts['qemu'])}.</p>
{failed}<p class="key">Executed by:{key}</p>
{section("Cost by system", "Shorter is better. The dashed line is Linux on the machine itself, without Xen.",
         cost_charts(summary))}
{section("Cost against depth", "4 KiB random reads, one guest.",
         sweep_chart(summary, "depth", "Instructions per request against requests in flight", {"guests": 1}))}
{section("Cost against guests", "4 KiB random reads at depth 32, each guest with its own disk.",
         sweep_chart(summary, "guests", "Instructions per request against guests at the same time", {"depth": 32}))}
{section("Where Xen's share comes from", "An entry's cost is all that Xen executes until it leaves or is woken from idle.",
         cause_charts(summary))}
{section("Where Dragoman's share goes", "Map with persistent grants.",
         file_charts(summary) + html_table(function_table(summary)) if function_table(summary) else "")}
{section("Tables", "The same figures, as in docs/measures.md.", html_table(tables.markdown(facts, summary)))}
</body></html>
"""
