"""An experiment as rows to learn from: people as they came in, their arm, what they did after.

Who is in it, in which arm, and what counts as outcome is what the report of the same experiment says: both
ask :class:`~opportune.warehouse.analysis.Analysis`. Features are read from the journal as of the first
exposure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from opportune.clock import Millis
from opportune.decide.request import DecisionRecord
from opportune.engine.entries import Entry
from opportune.engine.workspace import Workspace
from opportune.errors import InvalidRequest
from opportune.events.event import Event
from opportune.experiments.definitions import Experiment
from opportune.experiments.metrics import Metric
from opportune.privacy.sealing import Erased
from opportune.profiles.pointintime import values_as_of
from opportune.profiles.schema import ProfileSchema
from opportune.warehouse.analysis import Analysis
from opportune.warehouse.tables import ComponentOf, Tables, connect, key_of

KINDS = ("conversion", "count", "sum", "retention")
"""The metrics that are a number of one person."""


class Past(NamedTuple):
    """``entries`` reads the journal from its beginning, without who does not want to be learnt from, each
    time it is called; ``component_of`` tells who is who now."""

    entries: Callable[[], Iterable[tuple[int, Entry | Erased]]]
    component_of: ComponentOf


class TrialRows(NamedTuple):
    """Parallel ``rows`` (features at the first exposure), ``treated``, ``outcome`` (more is better);
    ``window`` is the time of the exposures, ``offsets`` the journal's range read."""

    rows: list[dict[str, Any]]
    treated: list[bool]
    outcome: list[float]
    window: tuple[Millis, Millis]
    offsets: tuple[int, int]


def treatment(experiment: Experiment, arm: str) -> str:
    """The arm whose effect is asked for. Raises :class:`InvalidRequest` where that has no answer."""
    arms = [one.id for one in experiment.variants()][1:]
    if experiment.unit != "person":
        raise InvalidRequest(
            "uplift is of people, and this experiment draws something else",
            seen=f"unit: {experiment.unit}",
            remedy="take an experiment with unit: person",
        )
    if experiment.bandit is not None:
        raise InvalidRequest(
            "a bandit moves its traffic, and uplift is learnt from fixed shares",
            seen=experiment.id,
            remedy="take an experiment without a bandit",
        )
    if not arm and len(arms) == 1:
        return arms[0]
    if arm not in arms:
        raise InvalidRequest(
            "say which arm is the treatment", seen=arm or "none", remedy=f"--arm, one of {', '.join(arms)}"
        )
    return arm


def trial_rows(
    past: Past, workspace: Workspace, experiment: Experiment, metric: Metric, arm: str, now: Millis
) -> TrialRows:
    """``arm`` against the control. Two passes over the journal; events of exposed people are held in memory.
    Raises :class:`InvalidRequest` for metrics that are not a number of one person, and without people."""
    if metric.kind not in KINDS:
        raise InvalidRequest(
            "uplift needs a metric that is a number of one person",
            seen=f"{metric.id}: {metric.kind}",
            remedy=f"take one of kind {', '.join(KINDS)}",
        )
    seen = _Seen(experiment.id)
    tables = Tables(connect(None))
    tables.follow(seen.watched(past.entries()), past.component_of)
    analysis = Analysis(tables.connection, experiment, until=now + 1, exclude_flips=True)
    analysis.fill([metric])
    both = (experiment.control, arm)
    asked = [
        (seen.leaf[leaf], time, which == arm, value)
        for leaf, time, which, value in analysis.people(0)
        if which in both and leaf in seen.leaf
    ]
    tables.close()
    if not asked:
        raise InvalidRequest(
            "nobody was exposed to these arms", seen=experiment.id, remedy="let the experiment run"
        )
    sign = 1.0 if metric.good == "up" else -1.0
    return TrialRows(
        values_as_of(
            ProfileSchema.of(workspace.features, "person"),
            (entry for _, entry in past.entries() if isinstance(entry, Event)),
            [(leaf, time - 1) for leaf, time, _, _ in asked],  # the exposure's own moment is after it
            members=_Joined(seen.links, past.component_of).members,
        ),
        [treated for _, _, treated, _ in asked],
        [sign * value for *_, value in asked],
        (asked[0][1], asked[-1][1]),
        (seen.first, seen.last),
    )


class _Seen:
    """What a pass over the journal leaves behind besides the tables."""

    def __init__(self, experiment: str) -> None:
        self._experiment = experiment
        self.leaf: dict[int, str] = {}
        self.links: list[tuple[Millis, tuple[str, ...]]] = []
        self.first = self.last = 0

    def watched(self, entries: Iterable[tuple[int, Entry | Erased]]) -> Iterator[tuple[int, Entry | Erased]]:
        for seq, entry in entries:
            self.first, self.last = self.first or seq, seq
            if isinstance(entry, Event):
                if len(entry.identifiers) > 1:
                    self.links.append((entry.time, entry.identifiers))
            elif isinstance(entry, DecisionRecord) and any(
                a.experiment == self._experiment for a in entry.assignments
            ):
                self.leaf.update({key_of(leaf): leaf for leaf in entry.identifiers[:1]})
            yield seq, entry


class _Joined:
    """Who was known to be one person at a time: joined by an event up to then, and not taken apart since."""

    def __init__(self, links: list[tuple[Millis, tuple[str, ...]]], component_of: ComponentOf) -> None:
        self._links = sorted(links)
        self._next = 0
        self._group: dict[str, set[str]] = {}
        self._now = component_of

    def members(self, leaf: str, time: Millis) -> list[str]:
        """The leaves of a person; to be asked in order of time."""
        while self._next < len(self._links) and self._links[self._next][0] <= time:
            joined = set[str]()
            for identifier in self._links[self._next][1]:
                joined |= self._group.get(identifier, {identifier})
            self._group.update(dict.fromkeys(joined, joined))
            self._next += 1
        then = self._group.get(leaf)
        return [leaf] if then is None else sorted(then.intersection(self._now(leaf)) | {leaf})
