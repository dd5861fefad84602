"""Lifts with their intervals as SVG inside the table that says the same, and over time with a table below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from opportune.clock import DAY
from opportune.console.words import moment

WIDTH = 1000
MOST = 0.5
"""A scale never shows more than this lift either way unless a point lies beyond: early intervals are huge."""


class Lift(NamedTuple):
    """One row: a lift, and the interval that it is in; NaN and infinities are drawn to the edge."""

    label: str
    value: float
    low: float
    high: float


def percent(value: float | None) -> str:
    """A lift in words.

    >>> percent(0.0512), percent(float("inf")), percent(float("nan"))
    ('+5.12%', 'unbounded', 'no value')
    """
    if value is None or math.isnan(value):
        return "no value"
    return "unbounded" if math.isinf(value) else f"{value:+.2%}"


def intervals(rows: Sequence[Lift], *, caption: str) -> Markup:
    """A table of lifts, each with its interval drawn around zero on one scale."""
    scale = _scale(rows)
    body = Markup("").join(
        Markup(
            '<tr><th scope="row">{}</th><td class="plot">{}</td><td class="num">{}</td>'
            '<td class="num">{} to {}</td></tr>'
        ).format(row.label, _drawn(row, scale), percent(row.value), percent(row.low), percent(row.high))
        for row in rows
    )
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{}, table">'
        '<table class="chart lifts"><caption>{}</caption><thead><tr><th scope="col">Metric</th>'
        '<th scope="col">From {} to {}</th><th scope="col" class="num">Lift</th>'
        '<th scope="col" class="num">Interval</th></tr></thead><tbody>{}</tbody></table></div>'
    ).format(caption, caption, percent(-scale), percent(scale), body)


def over_time(days: Sequence[tuple[int, float, float, float]], *, caption: str) -> Markup:
    """(day, lift, low, high) as a band that closes in on the truth, zero as a line, and the table below."""
    usable = [Lift(str(day), value, low, high) for day, value, low, high in days]
    scale = _scale(usable[len(usable) // 4 :] or usable)
    step = WIDTH / max(len(days) - 1, 1)

    def y(value: float) -> float:
        return 50 - 48 * _clipped(value, scale) / scale

    tops = [f"{i * step:.1f},{y(row.high):.1f}" for i, row in enumerate(usable)]
    bottoms = [f"{i * step:.1f},{y(row.low):.1f}" for i, row in enumerate(usable)]
    middle = " ".join(
        f"{i * step:.1f},{y(row.value):.1f}" for i, row in enumerate(usable) if not math.isnan(row.value)
    )
    table = Markup("").join(
        Markup(
            '<tr><th scope="row">{}</th><td class="num">{}</td><td class="num">{}</td><td class="num">{}</td>'
            "</tr>"
        ).format(_day(day), percent(value), percent(low), percent(high))
        for day, value, low, high in days
    )
    last = days[-1] if days else (0, math.nan, math.nan, math.nan)
    label = f"{caption}: {percent(last[1])}, from {percent(last[2])} to {percent(last[3])}"
    return Markup(
        '<figure class="line"><figcaption>{caption}<span>scale {most} to {least}</span></figcaption>'
        '<svg viewBox="0 0 {width} 100" preserveAspectRatio="none" role="img" aria-label="{label}">'
        '<polygon class="area" points="{band}"/><polyline class="zero" points="0,50 {width},50"/>'
        '<polyline class="stroke" points="{middle}"/></svg>'
        '<div class="axis" aria-hidden="true"><span>{first}</span><span>{end}</span></div>'
        '<details><summary>As a table</summary><div class="scroll" tabindex="0" role="region" '
        'aria-label="{caption}, table"><table><thead><tr><th scope="col">People in by</th>'
        '<th scope="col" class="num">Lift</th><th scope="col" class="num">From</th>'
        '<th scope="col" class="num">To</th></tr></thead><tbody>{table}</tbody></table></div></details>'
        "</figure>"
    ).format(
        caption=caption, most=percent(scale), least=percent(-scale), width=WIDTH, label=label,
        band=" ".join([*tops, *reversed(bottoms)]), middle=middle, table=table,
        first=_day(days[0][0]) if days else "", end=_day(last[0]) if days else "",
    )  # fmt: skip


def series(over: Sequence[dict[str, Any]], arm: str) -> list[tuple[int, float, float, float]]:
    """One arm's days out of a report."""
    found = []
    for row in over:
        lift, interval = row["arms"][arm]
        found.append((row["day"], lift, interval.low, interval.high))
    return found


def _day(day: int) -> str:
    return moment(day * DAY)[:10]


def _scale(rows: Sequence[Lift]) -> float:
    """The largest magnitude that is worth the room, at least one percent."""
    points = [abs(row.value) for row in rows if math.isfinite(row.value)]
    ends = [abs(x) for row in rows for x in (row.low, row.high) if math.isfinite(x)]
    return max(0.01, *points, min(max(ends, default=0.0), MOST)) if points or ends else 0.01


def _clipped(value: float, scale: float) -> float:
    return 0.0 if math.isnan(value) else min(max(value, -scale), scale)


def _drawn(row: Lift, scale: float) -> Markup:
    def x(value: float) -> float:
        return WIDTH / 2 * (1 + _clipped(value, scale) / scale)

    width = max(x(row.high) - x(row.low), 4.0)
    return Markup(
        '<svg viewBox="0 0 {width} 20" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="mark-b" x="{at:.1f}" y="6" width="{wide:.1f}" height="8"/>'
        '<rect class="mark-a" x="{mid:.1f}" y="2" width="6" height="16"/>'
        '<rect class="mark-d" x="{zero:.1f}" y="0" width="2" height="20"/></svg>'
    ).format(width=WIDTH, at=min(x(row.low), WIDTH - width), wide=width, mid=min(x(row.value), WIDTH - 6),
             zero=WIDTH / 2 - 1)  # fmt: skip
