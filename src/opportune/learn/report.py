"""The page of a training run: one HTML file with nothing outside of it."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Any

from opportune.learn.bundle import BundleInfo

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b}
table{border-collapse:collapse;margin:1rem 0}
td,th{padding:.25rem .75rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}h2{margin-top:2rem}svg{max-width:100%}
"""


def report_page(info: BundleInfo, state: str) -> str:
    """Metrics with intervals, by segment, importance, and where the version comes from; every plot has its
    numbers in a table beside it."""
    segments = {
        "all cases": {"stage": info.metrics["stage"], "ranked": info.metrics["ranked"]},
        **info.segments,
    }
    ranked = info.metrics["ranked"]
    lineage = {
        "version": f"{info.version} ({state})",
        "trained": _when(info.created),
        "events": f"{_when(info.window[0])} to {_when(info.window[1])}",
        "journal": f"entries {info.offsets[0]:,} to {info.offsets[1]:,}",
        "code": info.code_version,
        "definitions": info.definitions,
        "live before": info.trained_from or "nothing",
        "candidates": f"{info.candidates} of " + ", ".join(f"{s} x{w:g}" for s, w in info.sources.items()),
        "model": f"{info.trees} trees, {len(info.features)} features, {info.cases:,} cases, {info.seconds} s",
        "coverage": f"{100 * ranked.get('coverage', 0):.1f} % of the items touched before were shown",
        "novelty": f"{ranked.get('novelty_bits', 0)} bits: how rare the items shown are",
    }
    return "\n".join(
        (
            "<!doctype html><html lang=en><meta charset=utf-8>",
            "<meta name=viewport content='width=device-width'>",
            f"<title>Training of {escape(info.version)}</title><style>{_STYLE}</style>",
            f"<h1>Training of {escape(info.version)}</h1>",
            _table(("", ""), lineage.items()),
            "<h2>Held-out cases</h2><p>Per cent, with 95 % intervals by bootstrap over sessions. ",
            "The stage is the blend of the sources alone.</p>",
            _intervals(segments),
            _table(
                ("", "cases", "stage HR@20", "ranked HR@20", "95 %", "stage MRR@20", "ranked MRR@20", "95 %"),
                [
                    (
                        name,
                        told["ranked"]["cases"],
                        told["stage"]["hr20"],
                        told["ranked"]["hr20"],
                        "-".join(map(str, told["ranked"]["hr20_interval"])),
                        told["stage"]["mrr20"],
                        told["ranked"]["mrr20"],
                        "-".join(map(str, told["ranked"]["mrr20_interval"])),
                    )
                    for name, told in segments.items()
                    if told["ranked"]["cases"]
                ],
            ),
            "<h2>What the ranker looks at</h2><p>Share of the gain of all splits. ",
            "A feature without a share does not pay for itself.</p>",
            _bars(info.importance),
            _table(
                ("feature", "share"),
                [(name, f"{100 * share:.2f} %") for name, share in info.importance.items()],
            ),
            "</html>",
        )
    )


def _when(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _table(head: tuple[str, ...], rows: Any) -> str:
    cells = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return "<table><tr>" + "".join(f"<th>{escape(name)}</th>" for name in head) + f"</tr>{cells}</table>"


def _intervals(segments: dict[str, Any]) -> str:
    """MRR@20 of stage (hollow) and ranked (filled) by segment, as dots with their intervals."""
    rows = [(name, told) for name, told in segments.items() if told["ranked"]["cases"]]
    top = max((told["ranked"]["mrr20_interval"][1] for _, told in rows), default=1) or 1
    parts = []
    for at, (name, told) in enumerate(rows):
        y = 24 + 34 * at
        parts.append(f'<text x="0" y="{y + 4}">{escape(name)}</text>')
        for which, shift, fill in (("stage", -5, "#fff"), ("ranked", 5, "#0b6bcb")):
            low, high = (230 + 480 * v / top for v in told[which]["mrr20_interval"])
            x = 230 + 480 * told[which]["mrr20"] / top
            parts.append(
                f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y + shift}" y2="{y + shift}" stroke="#0b6bcb"/>'
            )
            parts.append(f'<circle cx="{x:.1f}" cy="{y + shift}" r="4" fill="{fill}" stroke="#0b6bcb"/>')
    return (
        f'<svg role="img" aria-label="MRR@20 by segment" viewBox="0 0 740 {30 + 34 * len(rows)}" '
        f'font-size="13">{"".join(parts)}</svg>'
    )


def _bars(importance: dict[str, float]) -> str:
    rows = [(name, share) for name, share in importance.items() if share > 0][:20]
    top = max((share for _, share in rows), default=1.0)
    parts = [
        f'<text x="0" y="{18 + 20 * at}">{escape(name)}</text>'
        f'<rect x="230" y="{7 + 20 * at}" width="{480 * share / top:.1f}" height="14" fill="#0b6bcb"/>'
        for at, (name, share) in enumerate(rows)
    ]
    return (
        f'<svg role="img" aria-label="Feature importance" viewBox="0 0 740 {10 + 20 * len(rows)}" '
        f'font-size="13">{"".join(parts)}</svg>'
    )
