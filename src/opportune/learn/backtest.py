"""Train until a time, ask about what came after, go on: how a ranker would have done, and how fast it
ages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from typing import Any

import msgspec
import numpy as np

from opportune.errors import InvalidRequest
from opportune.learn.candidate_rows import Progress, no_progress
from opportune.learn.candidate_stage import CandidateStage
from opportune.learn.page import page, table
from opportune.learn.ranker_training import RankerConfig
from opportune.learn.training import Pasts, Rival, Slices, by_session, part, train_ranker
from opportune.recommend.rank_features import ItemTable
from opportune.recommend.source import Interactions


def backtest(
    make_stage: Callable[[], CandidateStage],
    history: Interactions,
    items: ItemTable,
    count: int,
    config: RankerConfig,
    slices: Slices,
    windows: int,
    *,
    pasts: Pasts | None = None,
    threads: int = 2,
    progress: Callable[[str], Progress] = lambda step: no_progress,
) -> list[dict[str, Any]]:
    """``windows`` windows of ``slices.measure`` of the sessions each, the last one at the end. For each: the
    stage alone, a ranker trained on what was before, and the first window's ranker, which grows older; with
    the paired difference of the two rankers. ``count`` items. Costs a training per window.

    Raises :class:`InvalidRequest` when the first window has too little before it.
    """
    touches = by_session(history)
    session = np.unique(touches.session)
    ends = [round(len(session) * (1 - slices.measure * later)) for later in range(windows - 1, -1, -1)]
    if ends[0] < 20:
        raise InvalidRequest("too little history", seen=f"{len(session)} sessions", remedy="fewer --windows")
    first: Rival | None = None
    told = []
    for number, end in enumerate(ends, start=1):
        last = int(np.searchsorted(touches.session, session[end])) if end < len(session) else len(touches)
        until = part(touches, 0, last)
        trained = train_ranker(
            make_stage(),
            until,
            items,
            count,
            config,
            _scaled(slices, len(session) / end),
            rival=first,
            pasts=pasts,
            threads=threads,
            progress=lambda step, number=number: progress(f"window {number}: {step}"),  # type: ignore[misc]  # a default binds the loop's value
        )
        first = first or Rival("the first window's", trained.trees, trained.vectors, trained.sequence)
        metrics, beside = trained.report["metrics"], trained.report["rival"]
        begin = int(np.searchsorted(until.session, session[_start(end, slices, session)]))
        measured = part(until, begin, last)
        told.append(
            {
                "window": number,
                "from": int(measured.time.min()),
                "until": int(measured.time.max()),
                "stage": metrics["stage"],
                "ranked": metrics["ranked"],
                "first": beside.get("metrics", metrics["ranked"]),
                "gain_over_first": beside.get("difference"),
            }
        )
    return told


def _scaled(slices: Slices, factor: float) -> Slices:
    """The same numbers of sessions out of a shorter history."""
    return msgspec.structs.replace(
        slices, learn=slices.learn * factor, choose=slices.choose * factor, measure=slices.measure * factor
    )


def _start(end: int, slices: Slices, session: Any) -> int:
    return max(end - round(len(session) * slices.measure), 0)


def backtest_page(told: list[dict[str, Any]], name: str) -> str:
    """The windows as one HTML file: a plot, and its numbers in a table."""
    rows = [
        (
            one["window"],
            f"{_day(one['from'])} to {_day(one['until'])}",
            one["ranked"]["cases"],
            *(cell for which in ("stage", "ranked", "first") for cell in _cells(one[which])),
            "" if one["gain_over_first"] is None else _signed(one["gain_over_first"]),
        )
        for one in told
    ]
    head = (
        "window", "when", "cases", "stage MRR@20", "95 %", "trained anew", "95 %", "first window's", "95 %",
        "anew over first",
    )  # fmt: skip
    return page(
        f"Backtest of {name}",
        "<p>Each ranker was trained on what came before its window. The first window's ranker is asked about "
        "all later ones: where it falls behind, retraining pays. Per cent, 95 % intervals by bootstrap over "
        "sessions.</p>",
        _lines(told),
        table(head, rows),
    )


def _cells(told: dict[str, Any]) -> tuple[Any, str]:
    return told["mrr20"], "-".join(map(str, told["mrr20_interval"]))


def _signed(gain: dict[str, Any]) -> str:
    low, high = gain["interval"]
    return f"{gain['mrr20']:+} ({low:+} to {high:+})"


def _lines(told: list[dict[str, Any]]) -> str:
    """MRR@20 over windows: the stage grey, trained anew blue, the first window's ranker orange, with their
    intervals as bars."""
    marks = (("stage", "#666", "the stage alone"), ("ranked", "#0b6bcb", "trained anew"),
             ("first", "#b45309", "the first window's"))  # fmt: skip
    high: float = max(one[which]["mrr20_interval"][1] for one in told for which, _, _ in marks) or 1.0
    low: float = min(one[which]["mrr20_interval"][0] for one in told for which, _, _ in marks)
    span = max(high - low, 1e-9)

    def x(number: int, shift: int) -> float:
        return 60 + (number + 0.5) * 660 / len(told) + shift

    def y(value: float) -> float:
        return 230.0 - 200.0 * (value - low) / span

    parts = []
    for at, (which, colour, text) in enumerate(marks):
        shift = 8 * (at - 1)
        points = [(x(n, shift), one[which]) for n, one in enumerate(told)]
        path = " ".join(f"{px:.1f},{y(v['mrr20']):.1f}" for px, v in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for px, v in points:
            bottom, top = (y(end) for end in v["mrr20_interval"])
            parts.append(
                f'<line x1="{px:.1f}" x2="{px:.1f}" y1="{bottom:.1f}" y2="{top:.1f}" stroke="{colour}"/>'
                f'<circle cx="{px:.1f}" cy="{y(v["mrr20"]):.1f}" r="4" fill="{colour}"/>'
            )
        parts.append(f'<rect x="{60 + 200 * at}" y="262" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{78 + 200 * at}" y="273">{escape(text)}</text>')
    for n, one in enumerate(told):
        parts.append(f'<text x="{x(n, 0):.1f}" y="250" text-anchor="middle">{_day(one["until"])}</text>')
    parts += [
        f'<text x="52" y="{y(value) + 4:.1f}" text-anchor="end">{value:.1f}</text>'
        for value in (low, (low + high) / 2, high)
    ]
    return (
        '<svg role="img" aria-label="MRR@20 by window" viewBox="0 0 740 285" font-size="13">'
        + "".join(parts)
        + "</svg>"
    )


def _day(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d")
