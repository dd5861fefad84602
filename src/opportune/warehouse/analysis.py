"""Per-unit values of metrics in SQL, summed per arm, day and dimension: what reports are made of.

In a switchback the unit is the period (times its ``by`` value): a metric is the sum over its people divided
by their number, with the variance of a ratio over periods, since people of one period are not independent
(Deng, Knoblich & Lu, 2018). An outcome belongs to the person's newest exposure before it.

Where the unit is a group of people (an account, a household), or one of several browsers of a person, its
value is the sum over its people and the variance is over units: people of one household are not independent,
and counting them one by one would make intervals too narrow. An outcome belongs to the unit that the person
was last exposed in before it, or first exposed in at all.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
import numpy as np

from opportune.clock import DAY, HOUR, Millis
from opportune.experiments.definitions import Experiment, span_ms
from opportune.experiments.metrics import Measure, Metric
from opportune.experiments.statistics.effects import Point
from opportune.experiments.statistics.quantiles import of_order_statistics, ranks
from opportune.experiments.statistics.sums import Sums

ARMS_AT_MOST = 64
GATHERED = ("account", "household", "anonymous_id")
"""Units that several people may be in, or one person in several."""
SEGMENT = "segment"
"""The dimension of who is in a segment now and who is not."""
INSIDE, OUTSIDE = "in it", "not in it"


class Units(msgspec.Struct, frozen=True):
    """Who is in the experiment. ``by_day`` has units by day of first exposure and arm; ``flipped`` counts
    those who saw several arms, or, of groups, have somebody who did; ``removed`` those who came in under arms
    that the definition no longer has."""

    by_arm: dict[str, int]
    by_day: dict[int, dict[str, int]]
    by_dimension: dict[str, dict[str, dict[str, int]]]
    flipped: int
    removed: dict[str, int]
    first: Millis | None
    last: Millis | None


class Analysis:
    """One experiment over the derived tables. ``exclude_flips`` leaves out units that saw several arms;
    ``since`` and ``placement`` look at some of the exposures only. ``belonging`` are the leaves of a segment,
    which is then the dimension :data:`SEGMENT`."""

    def __init__(
        self,
        connection: Any,
        experiment: Experiment,
        *,
        until: Millis | None = None,
        exclude_flips: bool = False,
        since: Millis | None = None,
        placement: str = "",
        belonging: Collection[int] | None = None,
    ) -> None:
        self._c = connection
        self.experiment = experiment
        self.arms = [arm.id for arm in experiment.variants()]
        self._until = until
        self.by_period = experiment.unit == "time"
        self.gathers = experiment.unit in GATHERED
        self._misplaced: dict[tuple[str, str, str], dict[str, int]] = {}
        self._some = "" if since is None else f"and e.time >= {int(since)}"
        if placement:
            self._some += " and e.placement = '" + placement.replace("'", "''") + "'"
        self._belonging = belonging
        self._prepare(exclude_flips)

    def _prepare(self, exclude_flips: bool) -> None:
        """The unit table: unit, person (or session) to join outcomes by, arm, first exposure. The arm rides
        in the low bits of the time, so that one minimum finds both."""
        unit = self._unit()
        join = "e.session" if self.experiment.unit == "session" else "coalesce(p.person, e.leaf)"
        arms = " ".join(f"when '{arm}' then {i}" for i, arm in enumerate(self.arms))
        until = "" if self._until is None else f"and e.time < {int(self._until)}"
        by_unit = self.experiment.unit in ("person", "session")
        self._c.execute(f"""
            create or replace temp table seen as
            with coded as (
                select {unit} as unit, {join} as who, e.time, {"e.unit as period," if self.by_period else ""}
                    case e.arm {arms} else {ARMS_AT_MOST - 1} end as arm
                from exposures e left join people p on p.leaf = e.leaf
                where e.experiment = ? {until} {self._some})
            select unit, {"unit" if by_unit else "min(who)"} as who,
                {"min(period) as period," if self.by_period else ""}
                min(time * {ARMS_AT_MOST} + arm) as first,
                min(arm) <> max(arm) as flipped, max(arm) as last
            from coded group by unit
        """, [self.experiment.id])  # fmt: skip
        if self.gathers:
            self._gather(arms, until)
        self._c.execute(f"""
            create or replace temp table units as
            select unit, who, first // {ARMS_AT_MOST} as time, first % {ARMS_AT_MOST} as arm
                {", period" if self.by_period else ""}
            from seen where first % {ARMS_AT_MOST} < {ARMS_AT_MOST - 1}
                {"and not flipped" if exclude_flips else ""}
        """)  # fmt: skip

    def _gather(self, arms: str, until: str) -> None:
        """Who is in which unit from when on: a person counts where they were exposed last. A unit with
        somebody who saw another arm, there or in another unit, is flipped."""
        self._c.execute(f"""
            create or replace temp table belongs as
            with coded as (
                select e.unit, coalesce(p.person, e.leaf) as who, e.time, e.seq,
                    case e.arm {arms} else {ARMS_AT_MOST - 1} end as arm
                from exposures e left join people p on p.leaf = e.leaf
                where e.experiment = ? {until} {self._some}),
            moves as (select *, lag(unit) over (partition by who order by time, seq) as before,
                    min(arm) over (partition by who) <> max(arm) over (partition by who) as flipped
                from coded)
            select who, unit, flipped,
                case when before is null then {-(2**62)} else time end as since
            from moves where before is distinct from unit
        """, [self.experiment.id])  # fmt: skip
        self._c.execute("""
            update seen set flipped = true
            where unit in (select unit from belongs where flipped)
        """)

    def _unit(self) -> str:
        """SQL of what a row of the unit table stands for; in a switchback a person in a period."""
        return {
            "person": "coalesce(p.person, e.leaf)",
            "session": "e.session",
            "time": "hash(e.unit, coalesce(p.person, e.leaf))",
        }.get(self.experiment.unit, "e.unit")

    def units(self) -> Units:
        periods = "(select arm, min(time) as time from units group by period, arm)"
        rows = self._c.execute(
            f"select time // {DAY} as day, arm, count(*), min(time), max(time) "
            f"from {periods if self.by_period else 'units'} group by all"
        ).fetchall()
        by_arm = dict.fromkeys(self.arms, 0)
        by_day: dict[int, dict[str, int]] = {}
        for day, arm, n, _, _ in rows:
            by_arm[self.arms[arm]] += n
            by_day.setdefault(day, dict.fromkeys(self.arms, 0))[self.arms[arm]] += n
        flipped = self._c.execute("select count(*) from seen where flipped").fetchone()[0]
        known = ", ".join(f"'{arm}'" for arm in self.arms)
        some = self._c.execute(f"select max(last) = {ARMS_AT_MOST - 1} from seen").fetchone()[0]
        removed = dict(
            self._c.execute(
                f"select e.arm, count(distinct e.leaf) from exposures e "
                f"where e.experiment = ? and e.arm not in ({known}) {self._some} group by 1",
                [self.experiment.id],
            ).fetchall()
            if some
            else ()
        )
        return Units(
            by_arm,
            dict(sorted(by_day.items())),
            {name: self._by_dimension(name) for name in self.experiment.dimensions},
            flipped,
            removed,
            min((row[3] for row in rows), default=None),
            max((row[4] for row in rows), default=None),
        )

    def _by_dimension(self, name: str) -> dict[str, dict[str, int]]:
        """Units by the value that a context field had at the first exposure."""
        found: dict[str, dict[str, int]] = {}
        count = "count(distinct u.period)" if self.by_period else "count(*)"
        for value, arm, n in self._dimension(name, f"split.v, u.arm, {count}", "units u"):
            found.setdefault(value, dict.fromkeys(self.arms, 0))[self.arms[arm]] = n
        return dict(sorted(found.items()))

    def _dimension(self, name: str, what: str, source: str) -> list[Any]:
        value, given = "coalesce(json_extract_string(e.dimensions, ?), '')", list[Any]([f'$."{name}"'])
        if name == SEGMENT and self._belonging is not None:
            value = f"case when e.leaf in (select unnest(?::ubigint[])) then '{INSIDE}' else '{OUTSIDE}' end"
            given = [list(self._belonging)]
        return list(
            self._c.execute(
                f"""
                with split as (
                    select {self._unit()} as unit,
                        min_by({value}, e.time) as v
                    from exposures e left join people p on p.leaf = e.leaf
                    where e.experiment = ? {self._some} group by 1)
                select {what} from {source} join split on split.unit = u.unit group by all
                """,
                [*given, self.experiment.id],
            ).fetchall()
        )

    # -- values

    def _value(self, metric: Metric) -> tuple[str, str]:
        """SQL of a unit's outcome and companion: (y, x)."""
        pre = span_ms(metric.covariate) if metric.covariate else 0
        x = self._sum(metric, None, -pre, 0) if pre else "0"
        match metric.kind:
            case "conversion":
                return f"least({self._sum(metric, None, 0, None)}, 1)", f"least({x}, 1)" if pre else x
            case "count":
                return self._sum(metric, None, 0, None), x
            case "sum" | "quantile":
                of = Measure(metric.event, value=True)
                return self._sum(metric, of, 0, None), self._sum(metric, of, -pre, 0) if pre else "0"
            case "retention":
                since = span_ms(metric.since or "0d") if metric.since else 0
                return f"least({self._sum(metric, None, since, None)}, 1)", "0"
            case "ratio":
                return self._sum(metric, metric.numerator, 0, None), self._sum(
                    metric, metric.denominator, 0, None
                )
            case "time_to_event":
                first = self._if(metric, metric.event, 0, span_ms(metric.window))
                waited = f"min(v.after) filter (where {first}) / {float(HOUR)}"
                return f"coalesce({waited}, {span_ms(metric.window) / HOUR})", "0"
        raise AssertionError(metric.kind)

    def _sum(self, metric: Metric, measure: Measure | None, start: Millis, end: Millis | None) -> str:
        measure = measure or Measure(metric.event)
        what = "v.value" if measure.value else "1"
        within = self._if(metric, measure.event, start, span_ms(metric.window) if end is None else end)
        return f"coalesce(sum({what}) filter (where {within}), 0)::double"

    @staticmethod
    def _if(metric: Metric, event: str, start: Millis, end: Millis) -> str:
        name = "" if event == "*" else "v.name = '" + event.replace("'", "''") + "' and "
        once = "not v.again and " if metric.distinct else ""
        return f"{name}{once}v.after >= {start} and v.after < {end}"

    def fill(self, metrics: list[Metric]) -> None:
        """Compute every metric of every unit, in one pass over the outcomes."""
        names = sorted({m.event for m in metrics if m.event} | {
            half.event for m in metrics for half in (m.numerator, m.denominator) if half
        })  # fmt: skip
        some = (
            ""
            if "*" in names
            else "where name in (" + ", ".join("'" + n.replace("'", "''") + "'" for n in names) + ")"
        )
        columns = []
        for i, metric in enumerate(metrics):
            y, x = self._value(metric)
            columns.append(f"{y} as y{i}, {x} as x{i}")
        session = self.experiment.unit == "session"
        who = "o.session" if session else "coalesce(p.person, o.leaf)"
        people = "" if session else "left join people p on p.leaf = o.leaf"
        self._c.execute(f"""
            create or replace temp table hits as
            with o as (select {who} as who, o.name, o.value, o.time, o.seq, o.order_key
                from (select * from events {some}) o {people}),
            v as (select who, name, value, time, false as again from o where order_key = 0
                union all select who, name, value, time,
                    row_number() over (partition by who, name, order_key order by time, seq) > 1
                from o where order_key <> 0)
            select u.unit, u.arm, v.time - u.time as after, v.name, v.value, v.again
            from {self._outcomes_of_units()}
        """)  # fmt: skip
        self._c.execute(f"""
            create or replace temp table outcomes as
            select v.unit, {", ".join(columns)} from hits v group by v.unit
        """)
        self._metrics = metrics
        self._sums: dict[str, list[dict[tuple[Any, str], Sums]]] = {}

    def _outcomes_of_units(self) -> str:
        """SQL of the outcomes ``v`` beside the units ``u`` that they belong to."""
        if self.by_period:
            return "v asof join units u on v.who = u.who and v.time >= u.time"
        if self.gathers:
            return (
                "v asof join belongs b on v.who = b.who and v.time >= b.since join units u on u.unit = b.unit"
            )
        return "units u join v on v.who = u.who"

    def people(self, index: int) -> list[tuple[int, Millis, str, float]]:
        """Every unit: the leaf that was exposed first, when, in which arm, and the metric's value."""
        y, _ = self._values(index)
        rows = self._c.execute(
            f"""
            with first as (
                select {self._unit()} as unit, min_by(e.leaf, e.time) as leaf
                from exposures e left join people p on p.leaf = e.leaf where e.experiment = ? group by 1)
            select first.leaf, u.time, u.arm, ({y})::double
            from units u join first on first.unit = u.unit left join outcomes o on o.unit = u.unit
            order by u.time, first.leaf
            """,
            [self.experiment.id],
        ).fetchall()
        return [(leaf, time, self.arms[arm], value) for leaf, time, arm, value in rows]

    def sums(self, index: int, dimension: str = "") -> dict[tuple[Any, str], Sums]:
        """(day of first exposure, or the dimension's value; arm) -> sums. Units without outcomes count as
        zero (or as having waited all the time). All metrics are summed at the first call."""
        if dimension not in self._sums:
            self._sums[dimension] = self._summed(dimension)
        return self._sums[dimension][index]

    def _summed(self, dimension: str) -> list[dict[tuple[Any, str], Sums]]:
        source = "units u left join outcomes o on o.unit = u.unit"
        values = [self._values(i) for i in range(len(self._metrics))]
        if self.by_period:
            rows = self._of_periods(dimension, source, values)
        else:
            what = ", ".join(["count(*)", *(_moments(y, x) for y, x in values)])
            if dimension:
                rows = self._dimension(dimension, f"split.v, u.arm, {what}", source)
            else:
                rows = self._c.execute(
                    f"select u.time // {DAY}, u.arm, {what} from {source} group by all"
                ).fetchall()
        return [
            {(key, self.arms[arm]): Sums(n, *rest[5 * i : 5 * i + 5]) for key, arm, n, *rest in rows}
            for i in range(len(self._metrics))
        ]

    def _of_periods(self, dimension: str, source: str, values: list[tuple[str, str]]) -> list[Any]:
        """The moments over periods: of the sum over people, and of the ratio's denominator or how many people
        there were. A period is of the day that it began on."""
        sums = ", ".join(
            f"sum({y})::double as y{i}, "
            + (f"sum({x})::double" if self._metrics[i].kind == "ratio" else "count(*)::double")
            + f" as x{i}"
            for i, (y, x) in enumerate(values)
        )
        rows = (
            self._dimension(dimension, f"split.v, u.arm, u.period, {sums}", source)
            if dimension
            else self._c.execute(
                f"select min(u.time) // {DAY}, u.arm, u.period, {sums} from {source} group by u.arm, u.period"
            ).fetchall()
        )
        found: dict[tuple[Any, int], list[Any]] = {}
        for key, arm, _, *pairs in rows:
            found.setdefault((key, arm), []).append(pairs)
        summed = []
        for (key, arm), pairs in found.items():
            table = np.array(pairs, dtype=np.float64)
            moments = [Sums.of(table[:, 2 * i], table[:, 2 * i + 1]) for i in range(len(values))]
            summed.append((key, arm, len(table), *(m for s in moments for m in (s.y, s.x, s.yy, s.xx, s.xy))))
        return summed

    def _values(self, index: int) -> tuple[str, str]:
        """SQL of a unit's outcome and companion, with nothing and too much taken care of."""
        metric = self._metrics[index]
        nothing = span_ms(metric.window) / HOUR if metric.kind == "time_to_event" else 0.0
        y, x = f"coalesce(o.y{index}, {nothing})", f"coalesce(o.x{index}, 0)"
        if metric.winsorize < 1 and metric.kind in ("count", "sum"):
            y = f"least({y}, {self._cap(index, metric.winsorize)})"
        return y, x

    def _cap(self, index: int, q: float) -> float:
        """The quantile of all units together; the many without outcomes are below it and need no table."""
        n = self._c.execute("select count(*) from units").fetchone()[0]
        above = f"from outcomes where y{index} > 0"
        got = self._c.execute(f"select count(*) {above}").fetchone()[0]
        position = q * (n - 1) - (n - got)
        if got < 2 or position < 0:
            return 0.0 if got == 0 else float(self._c.execute(f"select max(y{index}) {above}").fetchone()[0])
        share = position / (got - 1)
        row = self._c.execute(f"select quantile_cont(y{index}, {share}) {above}").fetchone()
        return float(row[0])

    def quantiles(self, index: int) -> dict[str, Point]:
        """The quantile of the units that have the event, per arm."""
        metric, found = self._metrics[index], {}
        if self.by_period:  # a period is no sample of independent people
            return {arm: Point(0, float("nan"), float("inf")) for arm in self.arms}
        for i, arm in enumerate(self.arms):
            source = f"units u join outcomes o on o.unit = u.unit where u.arm = {i} and o.y{index} > 0"
            n = self._c.execute(f"select count(*) from {source}").fetchone()[0]
            if n < 2:
                found[arm] = Point(n, float("nan"), float("inf"))
                continue
            low, high = ranks(n, metric.q)
            qs = [metric.q, low / (n - 1), high / (n - 1)]
            value = self._c.execute(f"select quantile_cont(o.y{index}, {qs}) from {source}").fetchone()[0]
            found[arm] = of_order_statistics(n, *value)
        return found

    def since_exposure(self, index: int, days: int = 28) -> dict[int, dict[str, Sums]]:
        """Day since the first exposure -> arm -> sums of what happened on that day, for novelty."""
        metric = self._metrics[index]
        what = "v.value" if metric.kind == "sum" else "1.0"
        once = "not v.again and " if metric.distinct else ""
        name = metric.event.replace("'", "''")
        rows = self._c.execute(f"""
            with daily as (select unit, arm, v.after // {DAY} as day, sum({what}) as y
                from hits v where {once}v.name = '{name}' and v.after >= 0 and v.after < {days * DAY}
                group by all)
            select day, arm, sum(y)::double, sum(y * y)::double from daily group by all
        """).fetchall()
        n_of = dict(self._c.execute("select arm, count(*) from units group by 1").fetchall())
        found: dict[int, dict[str, Sums]] = {}
        for day, arm, total, squares in sorted(rows):
            n = n_of[arm]
            mean = total / n
            found.setdefault(day, {})[self.arms[arm]] = Sums(n, mean, 0.0, squares - n * mean * mean)
        return found

    def misplaced(self, index: int) -> dict[str, int]:
        """Outcome events that do not count: of units exposed only later, after the window, sent again under
        another message id, or, since the experiment began, of nobody who was in it."""
        metric = self._metrics[index]
        event = (metric.event or (metric.numerator.event if metric.numerator else "")).replace("'", "''")
        known = self._misplaced.get((event, metric.window, metric.distinct))
        if known is not None:
            return known
        row = self._c.execute(f"""
            select count(*) filter (where after < 0),
                count(*) filter (where after >= {span_ms(metric.window)}),
                count(*) filter (where again and after between 0 and {span_ms(metric.window) - 1})
            from hits where name = '{event}'
        """).fetchone()
        found = {
            "before_exposure": row[0],
            "after_window": row[1],
            "again": row[2] if metric.distinct else 0,
            "no_exposure": self._of_nobody(event),
        }
        self._misplaced[event, metric.window, metric.distinct] = found
        return found

    def _of_nobody(self, event: str) -> int:
        """Events since the first exposure by those who were never exposed."""
        session = self.experiment.unit == "session"
        who = "o.session" if session else "coalesce(p.person, o.leaf)"
        people = "" if session else "left join people p on p.leaf = o.leaf"
        until = "" if self._until is None else f"and o.time < {int(self._until)}"
        row = self._c.execute(f"""
            select count(*) from (select * from events where name = '{event}') o {people}
            where o.time >= (select min(first) // {ARMS_AT_MOST} from seen) {until}
                and not exists (select 1 from {"belongs" if self.gathers else "seen"} s where s.who = {who})
        """).fetchone()
        return int(row[0])


def _moments(y: str, x: str) -> str:
    """SQL of the five moments over units."""
    return f"""avg({y}), avg({x}), coalesce(var_pop({y}), 0) * count(*),
        coalesce(var_pop({x}), 0) * count(*), coalesce(covar_pop({y}, {x}), 0) * count(*)"""
