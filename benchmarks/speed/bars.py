"""What is promised: the bar that must hold and the stretch that we want, in one table."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

ECHO_US = "CPU of a bare echo when there is always a next one, us"
"""The baseline in whose units :func:`costs` counts."""


class Bar(msgspec.Struct, frozen=True):
    key: str
    what: str
    unit: str
    bar: float
    stretch: float
    better: Literal["higher", "lower"]


BARS = (
    Bar(
        "batch_events",
        "acknowledged events/s through HTTP, batches of 100, flushed",
        "/s",
        20_000,
        60_000,
        "higher",
    ),
    Bar(
        "single_post_p99", "single posts at 2,000/s, acknowledged after the flush, p99", "ms", 5, 1.5, "lower"
    ),
    Bar("library_events", "acknowledged events/s through the library", "/s", 60_000, 200_000, "higher"),
    Bar("freshness_p99", "event sent to visible in the next decision, p99", "ms", 5, 2, "lower"),
    Bar("decisions", "decisions/s through HTTP at p99 under 5 ms, 40 k items", "/s", 1_000, 2_500, "higher"),
    Bar("decision_cpu", "server CPU per decision, median", "ms", 0.9, 0.45, "lower"),
    Bar(
        "mixed_decision_p99",
        "400 decisions/s beside 1,500 single posts/s, decision p99",
        "ms",
        6,
        1.5,
        "lower",
    ),
    Bar("profiles_p99_ratio", "decision p99, 1 M stored profiles against 10 k", "x", 1.5, 1.1, "lower"),
    Bar("profiles_memory", "resident memory with 1 M stored profiles", "GB", 1.5, 0.8, "lower"),
    Bar("ready", "ready after start, existing data, 100 k profiles", "s", 2.5, 1.2, "lower"),
)


class Row(msgspec.Struct):
    """One line of the result; ``verdict`` is ``stretch``, ``bar`` or ``short``."""

    key: str
    what: str
    unit: str
    bar: float
    stretch: float
    measured: float
    verdict: str
    detail: dict[str, Any]


def judge(key: str, measured: float, **detail: Any) -> Row:
    bar = next(one for one in BARS if one.key == key)

    def reached(target: float) -> bool:
        return measured >= target if bar.better == "higher" else measured <= target

    verdict = (
        "short"
        if math.isnan(measured)
        else "stretch"
        if reached(bar.stretch)
        else "bar"
        if reached(bar.bar)
        else "short"
    )
    return Row(key, bar.what, bar.unit, bar.bar, bar.stretch, measured, verdict, detail)


def costs(rows: list[Row], echo_us: float) -> list[tuple[str, float, float]]:
    """What units of work cost the server: (unit, CPU in microseconds, the same in bare echoes of this run).

    A machine that is half as fast doubles the second number and leaves the third, so the third compares runs
    on different machines."""
    told = {row.key: row for row in rows}
    found: list[tuple[str, float]] = []
    if "batch_events" in told:
        steps = [step for step in told["batch_events"].detail.get("steps", ()) if step["held"]]
        if steps:
            found.append(("an event of a batch of 100", steps[-1]["cpu_us_per_event"]))
    if "single_post_p99" in told and "cpu_us" in told["single_post_p99"].detail:
        found.append(("an event posted alone", told["single_post_p99"].detail["cpu_us"]))
    if "decision_cpu" in told and not math.isnan(told["decision_cpu"].measured):
        found.append(("a decision", told["decision_cpu"].measured * 1e3))
    return [(what, cpu, round(cpu / echo_us, 2)) for what, cpu in found]


def markdown(rows: list[Row], machine: dict[str, Any], baselines: dict[str, Any], seed: int) -> str:
    """The table for ``docs/benchmarks.md``, with what it was measured on."""
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores shared with the load generator,"
        f" {machine['memory_gb']} GB, {machine['file_system']}, Linux {machine['kernel']},"
        f" Python {machine['python']}, {packages};"
        f" seed {seed}.",
        "",
        "| what | bar | stretch | measured | |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {_number(row.bar)} {row.unit} | {_number(row.stretch)} {row.unit} |"
        f" {_number(row.measured)} {row.unit} | {row.verdict} |"
        for row in rows
    ]
    if baselines and (unit := baselines.get(ECHO_US)):
        lines += ["", "| the server's CPU for | us | bare echoes |", "|---|---|---|"]
        lines += [f"| {what} | {cpu:,.0f} | {echoes:.2f} |" for what, cpu, echoes in costs(rows, unit)]
    if baselines:
        lines += [
            "",
            "For scale, on the same machine in the same run:",
            "",
            "| what | measured |",
            "|---|---|",
        ]
        lines += [f"| {name} | {value} |" for name, value in baselines.items()]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    if math.isnan(value):
        return "not measured"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
