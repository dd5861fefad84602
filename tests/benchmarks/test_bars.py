"""The table of the promised numbers."""

from __future__ import annotations

from benchmarks.speed.bars import ECHO_US, costs, judge, markdown

MACHINE = dict.fromkeys(("cpu", "cores", "memory_gb", "file_system", "kernel", "python"), "x") | {
    "packages": {}
}


def test_costs_are_counted_in_echoes_of_the_same_run() -> None:
    steps = [
        {"held": True, "cpu_us_per_event": 100.0},
        {"held": True, "cpu_us_per_event": 110.0},
        {"held": False, "cpu_us_per_event": 90.0},
    ]
    rows = [
        judge("batch_events", 5_000, steps=steps),
        judge("single_post_p99", float("nan"), error="it did not start"),
        judge("decision_cpu", 1.3),
    ]
    told = costs(rows, 50.0)
    assert told == [("an event of a batch of 100", 110.0, 2.2), ("a decision", 1300.0, 26.0)]
    assert "| a decision | 1,300 | 26.00 |" in markdown(rows, MACHINE, {ECHO_US: 50.0}, 1)
    assert "bare echoes" not in markdown(rows, MACHINE, {}, 1)
