"""A person's own model: beliefs as arithmetic, order that does not matter, and its price."""

from __future__ import annotations

import math
import time

import pytest
from scipy.stats import beta

from opportune.clock import DAY
from opportune.errors import InvalidDefinition
from opportune.events.event import Event, Line
from opportune.profiles.accumulators.preference import PRIOR_AGAINST, PRIOR_FOR, Preference
from opportune.profiles.definitions import Feature, parse_features
from opportune.profiles.lookup import value_at
from opportune.profiles.schema import ProfileSchema
from opportune.profiles.segments import parse_segments

T0 = 7 * DAY * 2900  # the start of an epoch of seven days: nothing has faded yet
TASTE = Feature(
    name="taste", fold="preference", value="category", half_life="7d",
    event=("product_viewed", "order_completed", "product_dismissed"),
    weights={"order_completed": 5, "product_dismissed": -4},
)  # fmt: skip


def touched(name: str, category: str, at: int, message: str = "m") -> Event:
    return Event("track", name, message, "web", at, at, ("user_id:u",), lines=(Line("p", category=category),))


def taste(*events: Event, now: int = T0) -> dict[str, dict[str, float]]:
    schema = ProfileSchema([TASTE])
    leaf = schema.zero()
    for seq, event in enumerate(events):
        schema.fold(leaf, event, seq)
    return schema.read(leaf, now)["taste"]


def test_the_belief_is_a_beta_of_what_spoke_for_and_against():
    found = taste(
        touched("product_viewed", "Mugs", T0),
        touched("order_completed", "Mugs", T0),
        touched("product_viewed", "Lamps", T0),
        touched("product_dismissed", "Lamps", T0),
    )
    mugs, lamps = beta(PRIOR_FOR + 6, PRIOR_AGAINST + 1), beta(PRIOR_FOR + 1, PRIOR_AGAINST + 6 + 4)
    assert list(found) == ["Mugs", "Lamps"]
    assert found["Mugs"] == pytest.approx({"mean": mugs.mean(), "sd": mugs.std(), "events": 6}, abs=1e-5)
    assert found["Lamps"] == pytest.approx({"mean": lamps.mean(), "sd": lamps.std(), "events": 1}, abs=1e-5)


def test_evidence_fades_towards_the_prior():
    seen = [touched("order_completed", "Mugs", T0)]
    now, later, ages = (taste(*seen, now=T0 + days * DAY)["Mugs"]["mean"] for days in (0, 7, 700))
    assert later == pytest.approx((PRIOR_FOR + 2.5) / (PRIOR_FOR + PRIOR_AGAINST + 2.5), abs=1e-5)
    assert now > later > ages == pytest.approx(PRIOR_FOR / (PRIOR_FOR + PRIOR_AGAINST), abs=1e-5)


def test_the_more_is_known_the_surer_it_is():
    few = taste(*[touched("product_viewed", "Mugs", T0, f"m{n}") for n in range(2)])["Mugs"]
    many = taste(*[touched("product_viewed", "Mugs", T0, f"m{n}") for n in range(40)])["Mugs"]
    assert many["sd"] < few["sd"]
    assert math.isclose(many["events"], 40)


def test_segments_read_the_belief():
    segments = parse_segments("segments: [{name: s, when: {taste.Mugs.mean: {gt: 0.3}}}]")
    assert segments.of({"taste": {"Mugs": {"mean": 0.4, "sd": 0.1}}}) == ["s"]
    assert segments.of({"taste": {"Mugs": {"mean": 0.2, "sd": 0.1}}}) == []
    assert segments.of({"taste": None}) == []
    assert value_at({"a": {"b": 1}}, "a.b.c") is None


def test_an_event_costs_little():
    add = Preference(7 * DAY).weighted(1000)
    state = add(None, "Mugs", T0)
    best = math.inf
    for _ in range(5):
        started = time.thread_time_ns()
        for n in range(2000):
            state = add(state, "Mugs", T0 + n)
        best = min(best, (time.thread_time_ns() - started) / 2000)
    assert best < 3_000  # nanoseconds


def test_it_needs_a_half_life():
    with pytest.raises(InvalidDefinition, match=r"not a half-life, saw '', at features.yaml .*half_life"):
        parse_features("features: [{name: t, fold: preference, value: category}]")
