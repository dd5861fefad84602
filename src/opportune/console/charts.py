"""Charts as server-made SVG inside the table that says the same: pure functions from values to markup.

Labels and numbers are ordinary HTML, so they keep their size on a phone, and a screen reader reads the table.
Colours and widths of strokes come from the style sheet by class; nothing here needs an inline style.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH = 1000
"""Bars are drawn on a scale of 0 to 1,000 and stretched to the cell."""


class Step(NamedTuple):
    """One row of a waterfall: it began at ``start`` and took ``length``; ``depth`` indents."""

    name: str
    start: float
    length: float
    depth: int = 0


def number(value: float, digits: int = 0) -> str:
    """Grouped, with a fixed number of decimals.

    >>> number(12345.6), number(0.1234, 3)
    ('12,346', '0.123')
    """
    return f"{value:,.{digits}f}"


def bars(
    rows: Sequence[tuple[str, float]], *, caption: str, unit: str = "", digits: int = 0, kind: str = "a"
) -> Markup:
    """Horizontal bars, the longest as wide as the cell. Negative values are drawn as nothing."""
    top = max((value for _, value in rows), default=0.0)
    body = Markup("").join(
        Markup('<tr><th scope="row">{}</th><td class="plot">{}</td><td class="num">{}{}</td></tr>').format(
            label, _bar(0.0, value / top if top > 0 else 0.0, kind), number(value, digits), _unit(unit)
        )
        for label, value in rows
    )
    return _table("chart bars", caption, ("", "", ""), body, hidden_head=True)


def waterfall(steps: Sequence[Step], *, caption: str, total: float, unit: str = "ms") -> Markup:
    """Stages in time: each bar starts where its stage started. ``total`` is the full width."""
    scale = total if total > 0 else 1.0
    body = Markup("").join(
        Markup(
            '<tr><th scope="row" class="depth-{}">{}</th><td class="plot">{}</td>'
            '<td class="num">{}</td><td class="num">{}</td></tr>'
        ).format(
            step.depth,
            step.name,
            _bar(step.start / scale, step.length / scale, "b" if step.depth else "a"),
            number(step.length, 3),
            f"{100 * step.length / scale:.0f}%",
        )
        for step in steps
    )
    foot = Markup(
        '<tfoot><tr><th scope="row">total</th><td></td><td class="num">{}</td><td></td></tr></tfoot>'
    ).format(number(total, 3))
    heads = ("Stage", "When", unit, "Share")
    return _table("chart waterfall", caption, heads, body, foot=foot)


def weighing(rows: Sequence[tuple[str, str, float, float]], *, caption: str, unit: str = "bits") -> Markup:
    """What speaks for and against, one after the other: (name, level, from, to); every bar starts where the
    one before ended, and nought is drawn through all."""
    low = min(0.0, *(min(start, end) for _, _, start, end in rows))
    high = max(0.0, *(max(start, end) for _, _, start, end in rows))
    scale = high - low or 1.0
    body = Markup("").join(
        Markup(
            '<tr><th scope="row">{}</th><td class="soft">{}</td><td class="plot">{}</td>'
            '<td class="num">{}</td><td class="num">{}</td></tr>'
        ).format(
            name,
            level,
            _bar((min(start, end) - low) / scale, abs(end - start) / scale, "a" if end >= start else "b"),
            f"{end - start:+.1f}",
            f"{end:.1f}",
        )
        for name, level, start, end in rows
    )
    heads = ("Column", "Agreement", "Evidence", unit, "sum")
    return _table("chart waterfall", caption, heads, body)


def stacked(parts: Sequence[tuple[str, float, str]], *, label: str) -> Markup:
    """One bar of several parts (name, value, class), in order; the numbers stand beside it in the page."""
    total = sum(value for _, value, _ in parts)
    marks, at = [], 0.0
    for name, value, kind in parts:
        if value <= 0 or total <= 0:
            continue
        share = value / total
        marks.append(
            Markup(
                '<rect class="mark-{}" x="{}" y="0" width="{}" height="20"><title>{}: {}</title></rect>'
            ).format(kind, _at(at), _at(share), name, number(value))
        )
        at += share
    return Markup(
        '<svg class="stacked" viewBox="0 0 {} 20" preserveAspectRatio="none" role="img" aria-label="{}">'
        "{}</svg>"
    ).format(WIDTH, label, Markup("").join(marks))


def line(
    values: Sequence[float], *, caption: str, first: str, last: str, unit: str = "", digits: int = 0
) -> Markup:
    """Values at even distances, oldest first, as a filled line with its greatest and last value in words.

    ``first`` and ``last`` name the ends of the axis. The table is folded away under the chart.
    """
    top = max(values, default=0.0)
    scale = top if top > 0 else 1.0
    step = WIDTH / max(len(values) - 1, 1)
    points = " ".join(f"{i * step:.1f},{100 - 96 * value / scale:.1f}" for i, value in enumerate(values))
    area = f"0,100 {points} {WIDTH},100" if values else ""
    now = values[-1] if values else 0.0
    table = Markup("").join(
        Markup('<tr><th scope="row">{}</th><td class="num">{}</td></tr>').format(
            f"{len(values) - 1 - i} back" if i < len(values) - 1 else last, number(value, digits)
        )
        for i, value in enumerate(values)
    )
    return Markup(
        '<figure class="line"><figcaption>{caption}<span>now {now}{unit}, most {top}{unit}</span>'
        "</figcaption>"
        '<svg viewBox="0 0 {width} 100" preserveAspectRatio="none" role="img" '
        'aria-label="{caption}: now {now}{unit}, most {top}{unit}"><polygon class="area" points="{area}"/>'
        '<polyline class="stroke" points="{points}"/></svg>'
        '<div class="axis" aria-hidden="true"><span>{first}</span><span>{last}</span></div>'
        '<details><summary>As a table</summary><div class="scroll" tabindex="0" role="region" '
        'aria-label="{caption}, table"><table><thead><tr><th scope="col">When</th>'
        '<th scope="col" class="num">Value</th></tr></thead><tbody>{table}</tbody></table></div>'
        "</details></figure>"
    ).format(
        caption=caption, now=number(now, digits), top=number(top, digits), unit=_unit(unit), width=WIDTH,
        area=area, points=points, first=first, last=last, table=table,
    )  # fmt: skip


def sparkline(values: Sequence[float], *, label: str) -> Markup:
    """A line the size of a word; ``label`` says what a reader who cannot see it needs to know."""
    top = max(values, default=0.0) or 1.0
    step = 100 / max(len(values) - 1, 1)
    points = " ".join(f"{i * step:.1f},{22 - 20 * value / top:.1f}" for i, value in enumerate(values))
    return Markup(
        '<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<polyline class="stroke" points="{}"/></svg>'
    ).format(label, points)


def _bar(start: float, length: float, kind: str) -> Markup:
    """A bar within its cell; at least a hair wide, so that a short stage is still seen."""
    start = min(max(start, 0.0), 1.0)
    length = min(max(length, 0.0), 1.0 - start)
    width = max(length, 0.004) if length > 0 else 0.0
    return Markup(
        '<svg viewBox="0 0 {} 20" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="mark-{}" x="{}" y="2" width="{}" height="16"/></svg>'
    ).format(WIDTH, kind, _at(min(start, 1.0 - width)), _at(width))


def _at(share: float) -> str:
    return f"{share * WIDTH:.1f}"


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _table(
    css: str,
    caption: str,
    heads: Sequence[str],
    body: Markup,
    *,
    foot: Markup | None = None,
    hidden_head: bool = False,
) -> Markup:
    head = (
        Markup("")
        if hidden_head
        else Markup("<thead><tr>{}</tr></thead>").format(
            Markup("").join(Markup('<th scope="col">{}</th>').format(escape(text)) for text in heads)
        )
    )
    return Markup('<table class="{}"><caption>{}</caption>{}<tbody>{}</tbody>{}</table>').format(
        css, caption, head, body, foot or Markup("")
    )
