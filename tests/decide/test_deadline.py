"""The guard around every stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from opportune.decide.deadline import Stages


class Setup:
    def __init__(self, budget_ms: dict[str, float], deadline_ms: float | None = None) -> None:
        self.ns = 0
        self.counted: list[str] = []
        end = None if deadline_ms is None else int(deadline_ms * 1e6)
        self.stages = Stages(lambda: self.ns, budget_ms, end, self.counted.append)

    def taking(self, ms: float, result: Any = "done") -> Callable[[], Any]:
        def work() -> Any:
            self.ns += int(ms * 1e6)
            return result

        return work


def test_a_stage_in_time_is_timed_and_not_degraded() -> None:
    setup = Setup({"total": 10})
    assert setup.stages.run_if_time("rank", setup.taking(2), None) == "done"
    assert setup.stages.finish() == {"total": 2.0, "rank": 2.0}
    assert setup.stages.degraded == []
    assert setup.counted == []


def test_a_stage_that_raises_is_named_and_counted() -> None:
    setup = Setup({})

    def broken() -> str:
        raise ValueError("no such\nthing " + "x" * 500)

    assert setup.stages.run("rank", broken, "fallback") == "fallback"
    assert setup.stages.degraded[0].startswith("rank: ValueError no such")
    assert len(setup.stages.degraded[0]) == 200
    assert setup.counted == ["rank"]


def test_a_stage_that_would_start_late_is_skipped() -> None:
    setup = Setup({"total": 5})
    setup.stages.run("profile", setup.taking(5), None)
    assert setup.stages.run_if_time("candidates.knn", setup.taking(1), "otherwise") == "otherwise"
    assert setup.stages.degraded == ["candidates.knn: late"]
    assert setup.counted == ["candidates"]
    assert setup.ns == 5_000_000


def test_a_stage_that_overruns_keeps_its_result_and_is_named() -> None:
    setup = Setup({"total": 5})
    assert setup.stages.run_if_time("rank", setup.taking(7), None) == "done"
    assert setup.stages.degraded == ["rank: slow (7.0 ms)"]


def test_the_earlier_of_budget_and_deadline_ends_it() -> None:
    assert Setup({"total": 5}, deadline_ms=2).stages.end_ns == 2_000_000
    assert Setup({"total": 5}, deadline_ms=9).stages.end_ns == 5_000_000
    assert Setup({}).stages.end_ns == 50_000_000


def test_a_stage_budget_ends_before_the_total() -> None:
    setup = Setup({"total": 50, "candidates": 3})
    until = setup.stages.until("candidates")
    assert until == 3_000_000
    assert setup.stages.until("rank") == 50_000_000
    setup.ns = 4_000_000
    assert setup.stages.run_if_time("candidates.a", setup.taking(1), None, until_ns=until) is None
    assert setup.stages.degraded == ["candidates.a: late"]


def test_a_stage_run_twice_adds_up() -> None:
    setup = Setup({})
    setup.stages.run("policy", setup.taking(1), None)
    setup.stages.run("policy", setup.taking(2), None)
    assert setup.stages.finish()["policy"] == 3.0


def test_interrupts_are_not_swallowed() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Setup({}).stages.run("rank", interrupted, None)
