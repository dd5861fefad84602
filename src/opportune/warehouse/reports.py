"""Reports of a running engine: the derived tables kept up with its journal, and what is asked of them."""

from __future__ import annotations

import builtins
import math
import threading
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.engine.engine import Engine
from opportune.engine.entries import Entry
from opportune.errors import NotFound
from opportune.experiments.definitions import HELD, HOLDOUT, TREATED
from opportune.experiments.statistics.intervals import Interval
from opportune.experiments.statistics.ratio_check import RatioCheck
from opportune.experiments.switch import listed
from opportune.privacy.sealing import Erased
from opportune.profiles.consent.policy import Use
from opportune.profiles.segments import Segments
from opportune.warehouse.belonging import leaves_in
from opportune.warehouse.fairness import Audit, audit, fields
from opportune.warehouse.report import Report, report
from opportune.warehouse.tables import FILE, FOLDER, Tables, open_tables

SLICE = 500
"""Entries taken in at a time while a server answers others: some tens of milliseconds."""


class Business(msgspec.Struct, frozen=True):
    """What personalization earned, against the people for whom there was none. ``earned`` is the money of all
    treated people together that they would not have spent, with its interval (always valid)."""

    held: int
    treated: int
    per_held: float
    per_treated: float
    lift: float
    lift_interval: Interval
    earned: float
    earned_interval: Interval
    conversion_lift: float
    conversion_interval: Interval
    check: RatioCheck
    days: int
    over_time: list[dict[str, Any]]
    sentence: str
    messages: list[str]


class Reports:
    """Reports of one engine. :meth:`catch_up` belongs to the engine's thread; :meth:`report`,
    :meth:`business` and what takes rows out may run in any, each on its own connection."""

    def __init__(self, engine: Engine, path: Path | None = None) -> None:
        self.engine = engine
        self._path = path
        self._tables: Tables | None = None
        self._changing = threading.Lock()
        engine.derived_erasers.append(self.erase)
        engine.derived_expirers.append(self.expire)

    @classmethod
    def of(cls, engine: Engine, data_dir: Path) -> Reports:
        return cls(engine, data_dir / FOLDER / FILE)

    @property
    def tables(self) -> Tables:
        if self._tables is None:
            self._tables = open_tables(
                self._path,
                self.engine.entries.with_vault().row_key,
                self.engine.workspace.fence.hidden("context", "exports"),
            )
        return self._tables

    def catch_up(self, most: int | None = None) -> int:
        """Take in what the journal has on disk beyond what was taken in; how many entries, ``most`` at once;
        none while rows are being taken out. What was archived before it could be read is gone for
        reports."""
        if not self._changing.acquire(blocking=False):
            return 0
        try:
            return self._catch_up(most)
        finally:
            self._changing.release()

    def _catch_up(self, most: int | None) -> int:
        tables, journal = self.tables, self.engine.journal
        start = max(tables.reached, journal.first_seq)
        if start >= journal.durable_seq:
            return 0
        decode = self.engine.entries.decode
        found: Iterator[tuple[int, Entry | Erased]] = (
            (seq, decode(data)) for seq, data in islice(journal.scan(start), most)
        )
        members = self.engine.state.components.members
        standing = self.engine.consent.standing
        return tables.follow(
            found,
            lambda identifier: self.engine.component(identifier).identifiers,
            lambda identifier: standing(members(identifier)).may(Use.MEASURE),
        )

    def erase(self, identifiers: Sequence[str], before: int) -> int:
        """Take people out of the tables, as far as rows come from ``before`` an entry; how many they had. In
        any thread."""
        if self._tables is None and (self._path is None or not self._path.is_file()):
            return 0
        with self._changing:
            return self.tables.erase(identifiers, before)

    def expire(self, seqs: Collection[int]) -> int:
        """Take rows of journal entries that are past their time out of the tables. In any thread."""
        if self._tables is None and (self._path is None or not self._path.is_file()):
            return 0
        with self._changing:
            return self.tables.expire(seqs)

    def list(self) -> list[dict[str, Any]]:
        """Every experiment as it is declared and as it stands."""
        return listed(self.engine.workspace.experiments, self.engine.state.switches)

    def report(self, experiment_id: str, *, over_time: bool = True, exclude_flips: bool = False) -> Report:
        """Raises :class:`NotFound`."""
        workspace = self.engine.workspace
        return report(
            self.tables.connection.cursor(),
            workspace.experiments.get(experiment_id),
            workspace.metrics,
            self.engine.clock(),
            over_time=over_time,
            exclude_flips=exclude_flips,
        )

    def fairness(
        self, by: str, *, experiment: str = "", placement: str = "", since: Millis | None = None
    ) -> builtins.list[Audit]:
        """How often groups got the arms of an experiment, or of all that ran at a placement, or of all.
        ``by`` is a field of the context or ``segment.NAME``; of several experiments those count whose
        exposures have the field. On the engine's thread. Raises :class:`NotFound`, :class:`InvalidRequest`,
        and :class:`InvalidDefinition` for what is sensitive and not allowed for exports."""
        workspace, connection = self.engine.workspace, self.tables.connection.cursor()
        segment = by.removeprefix("segment.") if by.startswith("segment.") else ""
        for path in _fenced(workspace.segments, segment) if segment else (f"context.{by}",):
            workspace.fence.check(path, "exports", "--by")
        if placement:
            workspace.placements.get(placement)
        named = (
            [workspace.experiments.get(experiment)] if experiment else workspace.experiments.with_holdout()
        )
        where = "where placement = ?" if placement else ""
        rows = connection.execute(
            f"select distinct experiment from exposures {where}", [placement] if placement else []
        ).fetchall()
        ran = {name for (name,) in rows}
        asked = [one for one in named if one.id in ran and (one.unit != "time" or experiment)]
        if not asked:
            raise NotFound(
                "nobody was exposed to an experiment here, so there is nothing to audit",
                seen=experiment or placement or None,
                remedy="let an experiment or a holdout run",
            )
        belonging = leaves_in(self.engine, segment, self.tables.key_of) if segment else None
        if not segment:
            asked = [one for one in asked if by in fields(connection, one.id)] or asked[:1]
        return [
            audit(
                connection, one, workspace.metrics, by, self.engine.clock(),
                since=since, placement=placement, belonging=belonging,
            )
            for one in asked
        ]  # fmt: skip

    def business(self) -> Business:
        """The page for finance. Raises :class:`NotFound` when nobody is held out."""
        if self.engine.workspace.experiments.holdout is None:
            raise NotFound(
                "there is no universal holdout, so nothing says what personalization earns",
                remedy="declare one in experiments.yaml: holdout: {share: 0.05}",
            )
        return business_of(self.report(HOLDOUT))

    def breaches(self) -> Iterator[tuple[str, str]]:
        """(experiment, why) for every running experiment that broke a guardrail."""
        stopped = self.engine.state.switches.stopped
        for experiment in self.engine.workspace.experiments:
            if experiment.status != "running" or not experiment.guardrails or experiment.id in stopped:
                continue
            for rail in self.report(experiment.id, over_time=False).guardrails:
                if rail.breached:
                    yield experiment.id, rail.message
                    break

    def stop(self, experiment_id: str, why: str) -> None:
        """Stop an experiment for good reason; on the engine's thread."""
        self.engine.stop_for_guardrail(experiment_id, why)

    def close(self) -> None:
        if self._tables is not None:
            self._tables.close()
            self._tables = None


def _fenced(segments: Segments, name: str) -> Sequence[str]:
    """What a segment is made of. Raises :class:`NotFound`."""
    for segment in segments.definition.segments:
        if segment.name == name:
            return tuple(segment.when)
    raise NotFound(
        "no such segment",
        seen=name,
        where="--by",
        remedy=f"known are: {', '.join(segments.names) or 'none'}",
    )


def business_of(found: Report) -> Business:
    """The holdout's report as money."""
    revenue, conversion = found.metrics[0], found.metrics[1]
    told, converted = revenue.comparisons[0], conversion.comparisons[0]
    held, treated = found.arms[HELD], found.arms[TREATED]
    scale = abs(revenue.control) * treated
    earned = told.difference * treated
    low, high = told.lift_interval.low * scale, told.lift_interval.high * scale
    if found.check.wrong:
        sentence = f"Do not read on: {found.because}."
    elif not (math.isfinite(low) and math.isfinite(high)):
        sentence = (
            f"Not settled yet: {held:,} people held out and {treated:,} not are too few to say anything."
        )
    elif low > 0:
        sentence = f"Personalization earned {earned:,.0f}, and surely more than {low:,.0f}."
    elif high < 0:
        sentence = f"Personalization cost {-earned:,.0f}, and surely more than {-high:,.0f}."
    else:
        sentence = f"Not settled yet: between {low:,.0f} and {high:,.0f}."
    return Business(
        held,
        treated,
        revenue.control,
        told.value,
        told.lift,
        told.lift_interval,
        earned,
        Interval(low, high, told.p),
        converted.lift,
        converted.lift_interval,
        found.check,
        found.days,
        revenue.over_time,
        sentence,
        found.messages,
    )
