"""The pages of experiments: reports made in a thread, over tables that keep up with the journal in slices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from opportune.console.lifts import Lift, series
from opportune.errors import NotFound
from opportune.experiments.definitions import TREATED
from opportune.warehouse.report import Report
from opportune.warehouse.reports import SLICE, Business, Reports


class Trials:
    """What the pages ask; ``reports`` is None where the console has no data folder of its own."""

    def __init__(self, reports: Reports | None) -> None:
        self._reports = reports

    @property
    def reports(self) -> Reports:
        if self._reports is None:
            raise NotFound("this console has no reports", remedy="serve it over a data folder")
        return self._reports

    async def report(self, experiment_id: str) -> dict[str, Any]:
        """One experiment's report and what its page draws. Raises NotFound."""
        experiment = self.reports.engine.workspace.experiments.get(experiment_id)
        found: Report = await self._asked(lambda: self.reports.report(experiment_id))
        treated = [arm for arm in found.arms if arm != found.control]
        return {
            "report": found,
            "bandit": experiment.bandit is not None,
            "treated": treated if found.metrics and any(found.arms.values()) else [],
            "rows": {arm: _rows(found, arm) for arm in treated},
            "over": {
                arm: [(m.metric.title, series(m.over_time, arm)) for m in found.metrics[:3]]
                for arm in treated
            },
        }

    async def business(self) -> dict[str, Any]:
        """The page for finance. Raises NotFound when nobody is held out."""
        found: Business = await self._asked(self.reports.business)
        money, orders = found.lift_interval, found.conversion_interval
        return {
            "business": found,
            "rows": [
                Lift("revenue per person", found.lift, money.low, money.high),
                Lift("people who order", found.conversion_lift, orders.low, orders.high),
            ],
            "days": series(found.over_time, TREATED),
        }

    async def _asked(self, ask: Callable[[], Any]) -> Any:
        while self.reports.catch_up(SLICE):
            await asyncio.sleep(0)
        return await asyncio.to_thread(ask)


def _rows(found: Report, arm: str) -> list[Lift]:
    return [
        Lift(m.metric.title, c.lift, c.lift_interval.low, c.lift_interval.high)
        for m in found.metrics
        for c in m.comparisons
        if c.arm == arm
    ]
