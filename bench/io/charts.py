# SPDX-License-Identifier: MIT
"""Charts as SVG: stacked bars, lines, and ranked bars. Colours are CSS classes, so that a page can be light or dark."""

import html
import math

WIDTH = 760
LETTER = 6.6  # about the width of a letter


def text(x, y, words, anchor="start", kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{html.escape(str(words))}</text>'


def line(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def svg(height, title, parts):
    return (f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(title)}">'
            f"<title>{html.escape(title)}</title>{''.join(parts)}</svg>")


def ticks(most, count=4):
    """Round values from 0 to at least `most`."""
    if most <= 0:
        return [0, 1]
    step = 10 ** math.floor(math.log10(most / count))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if step * factor * count >= most)
    return [step * i for i in range(math.ceil(most / step) + 1)]


def number(value):
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.2f}"


def bars(title, rows, series, mark=None, unit="instructions per request"):
    """Horizontal stacked bars. rows: (name, {series name: value}); series: names in the order of their classes;
    mark: (name, value), a line across all bars."""
    left, right, top, step = 20 + LETTER * max(len(name) for name, _ in rows), 70, 30, 30
    plot = WIDTH - left - right
    totals = [sum(values.get(name, 0) for name in series) for _, values in rows]
    marks = ticks(max(totals + ([mark[1]] if mark else [0])))
    bottom = top + step * len(rows)

    def at(value):
        return left + plot * value / marks[-1]

    parts = [text(0, 14, title, kind="title")]
    for value in marks:
        parts += [line(at(value), top, at(value), bottom, "grid"), text(at(value), bottom + 16, number(value), "middle")]
    for index, ((name, values), total) in enumerate(zip(rows, totals)):
        y, x = top + step * index + 5, left
        parts.append(text(left - 8, y + 14, name, "end"))
        for place, one in enumerate(series):
            width = plot * values.get(one, 0) / marks[-1]
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="20" class="s{place}">'
                         f"<title>{html.escape(name)}: {html.escape(one)} {number(values.get(one, 0))}</title></rect>")
            x += width
        parts.append(text(x + 5, y + 14, number(round(total))))
    if mark:
        parts += [line(at(mark[1]), top - 2, at(mark[1]), bottom, "mark"),
                  text(at(mark[1]) + 4, top - 4, f"{mark[0]} {number(round(mark[1]))}", kind="marked")]
    parts.append(text(left + plot / 2, bottom + 34, unit, "middle", "axis"))
    return svg(bottom + 44, title, parts)


def curves(title, lines, x_name, unit="instructions per request"):
    """Lines over a logarithmic axis of powers of two. lines: (name, [(x, y)])."""
    left, right, top, height = 75, 250, 44, 240
    plot = WIDTH - left - right
    xs = sorted({x for _, points in lines for x, _ in points})
    marks = ticks(max(y for _, points in lines for _, y in points))
    span = max(math.log2(xs[-1] / xs[0]), 1)

    def place(x, y):
        return left + plot * math.log2(x / xs[0]) / span, top + height * (1 - y / marks[-1])

    parts = [text(0, 14, title, kind="title")]
    for value in marks:
        y = place(xs[0], value)[1]
        parts += [line(left, y, left + plot, y, "grid"), text(left - 8, y + 4, number(value), "end")]
    for x in xs:
        parts.append(text(place(x, 0)[0], top + height + 18, x, "middle"))
    labels = []
    for index, (name, points) in enumerate(lines):
        where = [place(x, y) for x, y in sorted(points)]
        parts.append('<polyline class="c%d" points="%s"/>' % (index, " ".join(f"{x:.1f},{y:.1f}" for x, y in where)))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="p{index}"><title>{html.escape(name)}, {x_name} '
                  f"{value[0]}: {number(round(value[1]))}</title></circle>" for (x, y), value in zip(where, sorted(points))]
        labels.append([where[-1][1], index, name, sorted(points)[-1][1]])
    lowest = -1e9
    for y, index, name, value in sorted(labels):
        lowest = max(y + 4, lowest + 15)  # names do not cover each other
        parts.append(text(left + plot + 10, lowest, f"{name}: {number(round(value))}", kind=f"t{index}"))
    parts += [text(left + plot / 2, top + height + 38, x_name, "middle", "axis"), text(0, top - 14, unit, kind="axis")]
    return svg(top + height + 48, title, parts)
