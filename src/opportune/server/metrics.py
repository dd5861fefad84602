"""What Prometheus sees. Labels are bounded: routes, verdicts, dialects, placements, stages; never a person.

One thread counts and the same thread renders, so a histogram is a list of counters and a bisection: 0.2 us an
observation, where prometheus_client's, which locks and walks its buckets, takes ten times that and a decision
makes ten of them.
"""

from __future__ import annotations

import gc
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from opportune.decide.request import Decision
from opportune.engine.admission import Receipt
from opportune.events.verdicts import REJECTED, STORED

CONTENT_TYPE = CONTENT_TYPE_LATEST

LATENCY_S = (
    0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
STAGE_S = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1)
FLUSH_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0)
GROUP_EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)

COUNT_EVERY = 64
"""Decisions that are counted at once."""

OTHER = "other"
SERIES_LIMIT = 200
"""Label values beyond this many are counted as ``other``: a client cannot grow the metrics."""


class Buckets:
    """A histogram of one series; ``bounds`` are inclusive upper edges, ascending."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        running, rows = 0, []
        for bound, count in zip(self.bounds, self.counts, strict=False):
            running += count
            rows.append((f"{float(bound)}", float(running)))
        rows.append(("+Inf", float(running + self.counts[-1])))
        return rows


class _Family:
    """Series of one metric by label values, bounded in number."""

    def __init__(
        self, name: str, help_text: str, labels: Sequence[str], bounds: Sequence[float] = ()
    ) -> None:
        self.name, self.help, self.labels, self.bounds = name, help_text, tuple(labels), bounds
        self.histograms: dict[tuple[str, ...], Buckets] = {}
        self.counts: dict[tuple[str, ...], float] = {}

    def _key(self, values: tuple[str, ...], known: Mapping[tuple[str, ...], object]) -> tuple[str, ...]:
        return values if values in known or len(known) < SERIES_LIMIT else (OTHER,) * len(values)

    def observe(self, values: tuple[str, ...], amount: float) -> None:
        series = self.histograms.get(values)
        if series is None:
            key = self._key(values, self.histograms)
            series = self.histograms.setdefault(key, Buckets(self.bounds))
        series.observe(amount)

    def add(self, values: tuple[str, ...], amount: float = 1.0) -> None:
        try:
            self.counts[values] += amount
        except KeyError:
            key = self._key(values, self.counts)
            self.counts[key] = self.counts.get(key, 0.0) + amount

    def metric(self) -> Metric:
        if self.bounds:
            histogram = HistogramMetricFamily(self.name, self.help, labels=self.labels)
            for key, series in self.histograms.items():
                histogram.add_metric(key, series.cumulative(), sum_value=series.total)
            return histogram
        counter = CounterMetricFamily(self.name, self.help, labels=self.labels)
        for key, value in self.counts.items():
            counter.add_metric(key, value)
        return counter


class Metrics(Collector):
    """Every counter of the HTTP face, and the engine's gauges read when somebody scrapes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.gauges: dict[str, Callable[[], float]] = {}
        self.engine_gauges: Callable[[], Mapping[str, float]] = dict
        self._requests = _Family(
            "opportune_http_request_seconds", "Time to answer, by route.", ["method", "route"], LATENCY_S
        )
        self._responses = _Family(
            "opportune_http_responses", "Answers by route and status.", ["route", "status"]
        )
        self._refused = _Family("opportune_http_refused", "Requests refused, by reason.", ["route", "code"])
        self._events = _Family("opportune_events", "Events received, by verdict.", ["dialect", "verdict"])
        self._rejected = _Family("opportune_events_rejected", "Events rejected, by reason.", ["code"])
        self._decided: list[tuple[str, str, Mapping[str, float], Sequence[str]]] = []
        self._decisions = _Family("opportune_decisions", "Decisions answered.", ["placement", "consent"])
        self._degraded = _Family("opportune_decision_degraded", "Stages failed or skipped.", ["stage"])
        self._stages = _Family(
            "opportune_decision_stage_seconds", "Time per stage of a decision.", ["stage"], STAGE_S
        )
        self._flushes = _Family("opportune_journal_flush_seconds", "Time per flush to disk.", [], FLUSH_S)
        self._groups = _Family("opportune_journal_group_events", "Events per flush.", [], GROUP_EVENTS)
        self._errors = _Family("opportune_internal_errors", "Unexpected exceptions, by route.", ["route"])
        self.registry.register(self)
        ProcessCollector(namespace="opportune", registry=self.registry)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.observe((method, route), seconds)
        self._responses.add((route, str(status)))

    def refused(self, route: str, code: str) -> None:
        self._refused.add((route, code))

    def internal_error(self, route: str) -> None:
        self._errors.add((route,))

    def received(self, dialect: str, receipt: Receipt) -> None:
        """Count one post's events; the common case, all stored, costs one addition."""
        self._events.add((dialect, STORED), receipt.stored)
        if receipt.stored == receipt.received:
            return
        for verdict in receipt.verdicts:
            if verdict.verdict != STORED:
                self._events.add((dialect, verdict.verdict))
            if verdict.verdict == REJECTED:
                self._rejected.add((verdict.code,))

    def flush(self, seconds: float, size: int) -> None:
        self._flushes.observe((), seconds)
        self._groups.observe((), size)

    def decision(self, decision: Decision) -> None:
        """Remember what is to be counted of a decision: counting is cheaper for many at once, while what it
        needs is still in the processor's caches."""
        self._decided.append((decision.placement, decision.consent, decision.took_ms, decision.degraded))
        if len(self._decided) >= COUNT_EVERY:
            self._count_decisions()

    def _count_decisions(self) -> None:
        decided, self._decided = self._decided, []
        observe = self._stages.observe
        for placement, consent, took_ms, degraded in decided:
            self._decisions.add((placement, consent))
            for stage, ms in took_ms.items():
                observe((stage,), ms * 0.001)
            for what in degraded:
                self._degraded.add((what.partition(":")[0].strip(),))

    def collect(self) -> Iterable[Metric]:
        self._count_decisions()
        for family in (
            self._requests, self._responses, self._refused, self._events, self._rejected, self._decisions,
            self._degraded, self._stages, self._flushes, self._groups, self._errors,
        ):  # fmt: skip
            yield family.metric()
        readings = {name: read() for name, read in self.gauges.items()}
        readings.update(self.engine_gauges())
        for name, value in sorted(readings.items()):
            yield GaugeMetricFamily(f"opportune_{name}", _words(name), value=value)
        pauses = CounterMetricFamily(
            "opportune_gc_collections", "Garbage collections.", labels=["generation"]
        )
        for generation, statistics in enumerate(gc.get_stats()):
            pauses.add_metric([str(generation)], statistics["collections"])
        yield pauses

    def render(self) -> bytes:
        return generate_latest(self.registry)


def _words(name: str) -> str:
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:] + "."
