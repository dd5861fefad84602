"""The page of a training run: one HTML file with nothing outside of it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from html import escape
from typing import Any

from opportune.learn.bundle import BundleInfo
from opportune.learn.page import page, table


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
        **_rival(info),
        "candidates": f"{info.candidates} of " + ", ".join(f"{s} x{w:g}" for s, w in info.sources.items()),
        "model": f"{info.trees} trees, {len(info.features)} features, {info.cases:,} cases, {info.seconds} s",
        "coverage": f"{100 * ranked.get('coverage', 0):.1f} % of the items touched before were shown",
        "novelty": f"{ranked.get('novelty_bits', 0)} bits: how rare the items shown are",
    }
    return page(
        f"Training of {info.version}",
        table(("", ""), lineage.items()),
        "<h2>Held-out cases</h2><p>Per cent, with 95 % intervals by bootstrap over sessions. ",
        "The stage is the blend of the sources alone.</p>",
        _intervals(segments),
        table(
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
        table(
            ("feature", "share"),
            [(name, f"{100 * share:.2f} %") for name, share in info.importance.items()],
        ),
        *_ablation(info),
        *_chances(info),
    )


def _rival(info: BundleInfo) -> dict[str, str]:
    if not info.rival:
        return {}
    gain = info.rival["difference"]
    low, high = gain["interval"]
    return {f"against {info.rival['version']}": f"{gain['mrr20']:+} points of MRR@20 ({low:+} to {high:+})"}


def _ablation(info: BundleInfo) -> tuple[str, ...]:
    if not info.ablation:
        return ()
    rows = [
        (
            name,
            told["features"],
            f"{told['mrr20']:+}",
            f"{told['interval'][0]:+} to {told['interval'][1]:+}",
            "yes" if told["pays"] else "does not pay for itself",
        )
        for name, told in info.ablation.items()
    ]
    return (
        "<h2>What each group of features adds</h2><p>Points of MRR@20 lost without it, trained anew.</p>",
        table(("group", "features", "MRR@20", "95 %", "pays"), rows),
    )


def _chances(info: BundleInfo) -> tuple[str, ...]:
    """A calibration plot and its table for each foretold outcome."""
    parts = []
    for name, told in info.outcomes.items():
        parts += [
            f"<h2>Chance of a {escape(name)}</h2><p>On {told['rows']:,} later candidates: ",
            f"AUC {told['auc']}, ",
            f"log loss {told['log_loss']} (of the base rate: {told['log_loss_of_base_rate']}), ",
            f"calibration error {told['error']}. On the line, what was foretold came true; both axes are ",
            "logarithmic.</p>",
            _calibration(name, told["bins"]),
            table(
                ("foretold", "came true", "95 %", "candidates"),
                [
                    (b["predicted"], b["observed"], f"{b['interval'][0]} to {b['interval'][1]}", b["rows"])
                    for b in told["bins"]
                ],
            ),
        ]
    return tuple(parts)


def _calibration(name: str, bins: list[dict[str, Any]]) -> str:
    # Chances of candidates are small and uneven: both axes are logarithmic.
    top = max([b["predicted"] for b in bins] + [b["interval"][1] for b in bins]) or 1.0
    low = max(min(b["predicted"] for b in bins), top / 1e5) / 2

    def at(value: float) -> float:
        return 300 * math.log(max(value, low) / low) / math.log(top / low)

    parts = ['<line x1="40" y1="310" x2="340" y2="10" stroke="#999" stroke-dasharray="4 4"/>']
    for b in bins:
        x, low, high = 40 + at(b["predicted"]), 310 - at(b["interval"][0]), 310 - at(b["interval"][1])
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="#0b6bcb"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{310 - at(b["observed"]):.1f}" r="4" fill="#0b6bcb"/>')
    for value in (low, math.sqrt(low * top), top):
        parts.append(f'<text x="{40 + at(value):.1f}" y="330" text-anchor="middle">{value:.2g}</text>')
        parts.append(f'<text x="34" y="{314 - at(value):.1f}" text-anchor="end">{value:.2g}</text>')
    return (
        f'<svg role="img" aria-label="Calibration of {escape(name)}" viewBox="0 0 370 340" width="420" '
        f'font-size="12">{"".join(parts)}</svg>'
    )


def _when(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M")


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
