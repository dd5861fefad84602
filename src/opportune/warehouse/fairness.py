"""A fairness audit: how often each group got each arm, and what came of it, from the derived tables.

A group is a value that a field of the context had at a unit's first exposure, or who is in a segment now. All
pairs of groups are compared: which group is treated best is read off the same data, so that comparing with
it alone would find a difference where there is none. ``q`` is Holm's over all pairs and arms of the audit,
and intervals of ratios hold for all of them together (Bonferroni).

The four-fifths rule (a rate below 4/5 of the highest group's is taken as a sign of adverse impact; Uniform
Guidelines on Employee Selection Procedures, 29 CFR 1607.4 D, 1978) is a convention, not a law of nature.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Any, Literal

import msgspec

from opportune.clock import Millis
from opportune.errors import InvalidRequest, NotFound
from opportune.experiments.definitions import Experiment
from opportune.experiments.metrics import Metrics
from opportune.experiments.statistics.multiplicity import holm
from opportune.experiments.statistics.ratio_check import ENOUGH
from opportune.experiments.statistics.shares import Share, p_same, ratio_interval, wilson
from opportune.experiments.statistics.sums import Sums, total
from opportune.warehouse.analysis import SEGMENT, Analysis

FOUR_FIFTHS = 0.8
FEWEST = 30
"""Units below which a group is not judged."""
GROUPS_AT_MOST = 100
RATES = ("conversion", "retention")
"""The metrics that are the share of units that did something."""
NOT_SAID = "(not said)"

Finding = Literal["highest", "alike", "less", "less, within 4/5", "cannot tell", "too few"]
"""``less``: below four fifths of the highest and not by chance. ``less, within 4/5``: not by chance, but
above. ``alike``: surely above four fifths. ``cannot tell``: the data allow for either."""


class Group(msgspec.Struct, frozen=True):
    """``count`` of ``n`` units with Wilson's interval, and the ratio to the highest group's rate: its
    interval, and ``q``, p of no difference, allow for all comparisons of the audit (NaN: not compared)."""

    group: str
    n: int
    count: int
    rate: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    p: float
    q: float
    finding: Finding


class Shares(msgspec.Struct, frozen=True):
    """The groups' shares of one thing, an arm or a metric; ``highest`` is the group to compare with."""

    of: str
    highest: str
    groups: list[Group]


class Audit(msgspec.Struct, frozen=True):
    """``unfair`` where some group is found to be given an arm ``less``; ``outcomes`` only describe, for
    people differ."""

    experiment: str
    by: str
    unit: str
    units: int
    given: list[Shares]
    outcomes: list[Shares]
    unfair: bool
    verdict: str
    messages: list[str]


def audit(
    connection: Any,
    experiment: Experiment,
    metrics: Metrics,
    by: str,
    now: Millis,
    *,
    since: Millis | None = None,
    placement: str = "",
    belonging: Collection[int] | None = None,
) -> Audit:
    """The audit of one experiment by a field of the context, or by a segment whose leaves are ``belonging``.
    Raises :class:`NotFound` for a field that no exposure has, :class:`InvalidRequest` for a switchback and
    for too many groups."""
    if experiment.unit == "time":
        raise InvalidRequest(
            "a switchback draws periods, and everybody of a period gets the same",
            seen=experiment.id,
            remedy="audit an experiment that draws people",
        )
    if belonging is None:
        _check_field(connection, experiment.id, by)
    name = by if belonging is None else SEGMENT
    asked = msgspec.structs.replace(experiment, dimensions=(name,))
    analysis = Analysis(
        connection, asked, until=now + 1, since=since, placement=placement, belonging=belonging
    )
    units = analysis.units()
    split = {value or NOT_SAID: arms for value, arms in units.by_dimension[name].items()}
    judged = analysis.arms if experiment.bandit is not None else analysis.arms[1:]
    given = compare(
        {
            arm: {value: Share(arms[arm], sum(arms.values())) for value, arms in split.items()}
            for arm in judged
        },
        experiment.alpha,
    )
    messages = []
    if units.flipped:
        messages.append(f"{units.flipped} saw more than one arm: each counts with the first")
    if units.removed:
        messages.append(f"{sum(units.removed.values())} saw an arm that was removed: they are left out")
    named = dict.fromkeys(m for m in experiment.metrics if metrics.get(m).kind in RATES)
    wanted = [metrics.get(metric) for metric in named or ("conversion",)]
    analysis.fill(wanted)
    rates = {}
    for i, metric in enumerate(wanted):
        sums = analysis.sums(i, name)
        rates[metric.id] = {
            value or NOT_SAID: _share(total(s for (at, _), s in sums.items() if at == value))
            for value in units.by_dimension[name]
        }
    unfair, verdict = _judged(given)
    return Audit(
        experiment.id,
        by,
        experiment.unit,
        sum(units.by_arm.values()),
        given,
        compare(rates, experiment.alpha),
        unfair,
        verdict,
        messages,
    )


def compare(shares: Mapping[str, Mapping[str, Share]], alpha: float = 0.05) -> list[Shares]:
    """What is shared (arm, metric) -> group -> its share: every group against the highest. O(groups^2)."""
    enough = {of: _enough(groups) for of, groups in shares.items()}
    pairs = [(of, a, b) for of, names in enough.items() for a, b in combinations(names, 2)]
    ps = [p_same(shares[of][a], shares[of][b]) for of, a, b in pairs]
    found = {key: (p, q) for key, p, q in zip(pairs, ps, holm(ps), strict=True)}
    each = alpha / max(1, len(pairs))
    return [_against_highest(of, groups, enough[of], found, alpha, each) for of, groups in shares.items()]


def _against_highest(
    of: str,
    groups: Mapping[str, Share],
    enough: list[str],
    found: Mapping[tuple[str, str, str], tuple[float, float]],
    alpha: float,
    each: float,
) -> Shares:
    highest = max(enough, key=lambda name: groups[name].rate, default="")
    nan, rows = math.nan, []
    for name, share in groups.items():
        ratio, interval, p, q = nan, (nan, nan), nan, nan
        finding: Finding = "too few"
        if name == highest:
            ratio, finding = 1.0, "highest" if len(enough) > 1 else "cannot tell"
        elif name in enough:
            ratio = share.rate / groups[highest].rate if groups[highest].rate else nan
            interval = ratio_interval(share, groups[highest], each)
            p, q = found.get((of, name, highest)) or found[of, highest, name]
            finding = _finding(ratio, interval[0], q < alpha)
        rows.append(
            Group(
                name, share.n, share.hits, share.rate, *wilson(share, alpha), ratio, *interval, p, q, finding
            )
        )
    return Shares(of, highest, rows)


def _enough(groups: Mapping[str, Share]) -> list[str]:
    """The groups that can be judged: not tiny, and expecting some with and some without (Cochran, 1954)."""
    n = sum(share.n for share in groups.values())
    rate = sum(share.hits for share in groups.values()) / n if n else 0.0
    least = min(rate, 1 - rate)
    found = [name for name, share in groups.items() if share.n >= FEWEST and share.n * least >= ENOUGH]
    if len(found) > GROUPS_AT_MOST:
        raise InvalidRequest(
            f"more than {GROUPS_AT_MOST} groups", seen=len(found), remedy="take a field with fewer values"
        )
    return found


def _finding(ratio: float, low: float, differs: bool) -> Finding:
    if differs:
        return "less" if ratio < FOUR_FIFTHS else "less, within 4/5"
    return "alike" if low >= FOUR_FIFTHS else "cannot tell"


def _judged(given: list[Shares]) -> tuple[bool, str]:
    """Whether some group is given an arm less, and what there is to say, in sentences."""
    rows = sorted(
        ((shares, group) for shares in given for group in shares.groups),
        key=lambda row: (math.isnan(row[1].ratio), row[1].ratio),
    )
    judged = {group.group for _, group in rows if group.finding != "too few"}
    few = dict.fromkeys(f"{g.group} ({g.n:,})" for _, g in rows if g.group not in judged)
    undecided = dict.fromkeys(g.group for _, g in rows if g.finding == "cannot tell")
    less = [_sentence(shares, group) for shares, group in rows if group.finding == "less"]
    told = less or [_sentence(shares, group) for shares, group in rows if group.finding == "less, within 4/5"]
    if not any(group.finding == "highest" for _, group in rows):
        told, undecided = ["Too little data: there are no two groups that can be compared."], {}
    elif not told and undecided:
        told = ["No group is found to be treated less."]
    elif not told:
        told = ["No group is found to be treated less, and all are surely above four fifths of the highest."]
    if undecided:
        told.append(f"Too little data to rule out less than four fifths: {', '.join(undecided)}.")
    if few:
        told.append(f"Too few to judge: {', '.join(few)}.")
    return bool(less), " ".join(told)


def _sentence(shares: Shares, group: Group) -> str:
    top = next(one for one in shares.groups if one.group == shares.highest)
    side = "below" if group.ratio < FOUR_FIFTHS else "above"
    return (
        f"{group.group} gets {shares.of} {group.ratio:.2f} times as often as {top.group} ({group.rate:.1%} "
        f"against {top.rate:.1%}; {group.ratio_low:.2f} to {group.ratio_high:.2f}): {side} four fifths, "
        f"and not by chance (p = {group.q:.2g})."
    )


def _share(sums: Sums) -> Share:
    return Share(round(sums.n * sums.y), sums.n)


def fields(connection: Any, experiment: str) -> set[str]:
    """The fields of the context that exposures to an experiment have, ``placement`` among them."""
    rows = connection.execute(
        "select distinct unnest(json_keys(dimensions)) from exposures where experiment = ?", [experiment]
    ).fetchall()
    return {name for (name,) in rows if '"' not in name}


def _check_field(connection: Any, experiment: str, by: str) -> None:
    known = fields(connection, experiment)
    if by not in known:
        raise NotFound(
            "no exposure of this experiment has this field of the context",
            seen=by,
            where=experiment,
            remedy=f"known are: {', '.join(sorted(known)) or 'none'}; or segment.NAME",
        )
