"""metrics.yaml: what is measured of a unit after its first exposure, declared over events."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from opportune.config import definitions
from opportune.errors import InvalidDefinition, NotFound
from opportune.experiments.definitions import Name, Share, Span

Kind = Literal["conversion", "count", "sum", "ratio", "retention", "time_to_event", "quantile"]


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events of one name, counted, or their ``value`` (the money of an event) summed."""

    event: str
    value: bool = False


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One metric.

    ``conversion``: the share of units with the event; ``count`` and ``sum``: events, or value, per unit;
    ``ratio``: ``numerator`` over ``denominator``, both summed over all units (the delta method knows that
    units, not events, are drawn); ``retention``: the share that comes back between ``since`` and ``window``
    after the exposure; ``time_to_event``: hours without the event, up to ``window``; ``quantile``: the ``q``
    quantile of the units' sums, among units with the event.

    Only events within ``window`` after the first exposure count. ``winsorize`` caps a unit's value at this
    quantile of all units. ``covariate``: how long before the exposure the same is measured for CUPED; empty
    for none. ``good`` says which way is better. ``distinct``: of a person's events of one name that carry the
    same ``order_id`` the first one counts, whatever their message ids; empty counts each.
    """

    id: Name
    kind: Kind
    event: str = ""
    name: str = ""
    window: Span = "14d"
    since: Span | None = None
    numerator: Measure | None = None
    denominator: Measure | None = None
    winsorize: Share = 1.0
    covariate: Span | None = None
    q: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    good: Literal["up", "down"] = "up"
    distinct: Literal["order_id", ""] = "order_id"

    @property
    def title(self) -> str:
        return self.name or self.id.replace("_", " ")


DEFAULT_METRICS = (
    Metric("conversion", "conversion", "order_completed", "people who order", covariate="14d"),
    Metric("orders", "count", "order_completed", "orders per person", covariate="14d"),
    Metric("revenue", "sum", "order_completed", "revenue per person", winsorize=0.999, covariate="14d"),
    Metric(
        "order_value",
        "ratio",
        name="revenue per order",
        numerator=Measure("order_completed", value=True),
        denominator=Measure("order_completed"),
    ),
)
"""What every workspace can measure; a metric of the same id replaces one."""


class Metrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    metrics: tuple[Metric, ...] = ()

    def get(self, metric_id: str) -> Metric:
        """Raises :class:`NotFound` listing the known."""
        for metric in (*self.metrics, *DEFAULT_METRICS):
            if metric.id == metric_id:
                return metric
        known = ", ".join(sorted({m.id for m in (*self.metrics, *DEFAULT_METRICS)}))
        raise NotFound("no such metric", seen=metric_id, remedy=f"known are: {known}")


def parse_metrics(text: str, *, name: str = "metrics.yaml") -> Metrics:
    """Read and check metrics.yaml. Raises :class:`InvalidDefinition` with the path and a remedy."""
    found = definitions.parse(text, Metrics, name=name)
    seen: set[str] = set()
    for i, metric in enumerate(found.metrics):
        where = f"{name} $.metrics[{i}]"

        def wrong(what: str, field: str, seen: Any, remedy: str, where: str = where) -> InvalidDefinition:
            return InvalidDefinition(what, seen=seen, where=f"{where}.{field}", remedy=remedy)

        if metric.id in seen:
            raise wrong("two metrics have one id", "id", metric.id, "rename one")
        seen.add(metric.id)
        is_ratio = metric.kind == "ratio"
        if is_ratio and (metric.numerator is None or metric.denominator is None):
            raise wrong("a ratio needs both halves", "numerator", None, "name numerator and denominator")
        if not is_ratio and not metric.event:
            raise wrong(f"{metric.kind} needs an event", "event", "", "for example order_completed")
        if (metric.kind == "retention") != (metric.since is not None):
            raise wrong("since belongs to retention", "since", metric.since, "since: 7d, window: 14d")
    return found
