"""Who gets which arm, when, and what never changes."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest

from opportune.clock import DAY, HOUR
from opportune.errors import InvalidDefinition, NotFound
from opportune.experiments.assignment import NOT_ASSIGNED, Assigner, Subject
from opportune.experiments.definitions import moment, parse_experiments, span_ms

NOW = 1_760_000_000_000
AB = "arms: [{id: control}, {id: popular}]"


def assigner(experiments: str, **extra) -> Assigner:
    return Assigner(parse_experiments(experiments), **extra)


def subject(
    identifier: str = "user_id:u1", exposed=None, *, session="", context=None, **attributes
) -> Subject:
    identifiers = tuple(identifier.split()) if identifier else ()
    return Subject(identifiers, session, exposed or {}, lambda: attributes, context or {})


def arm(found, experiment="t"):
    return next((a.arm for a in found.assignments if a.experiment == experiment), None)


def one(more: str = "", arms: str = AB) -> str:
    return f"experiments: [{{id: t, placements: [home], {arms}{', ' + more if more else ''}}}]"


def test_shares_are_those_declared():
    a = assigner(one(arms="arms: [{id: a, weight: 0.2}, {id: b, weight: 0.3}, {id: c, weight: 0.5}]"))
    counts = Counter(arm(a.assign("home", subject(f"user_id:{i}"), NOW)) for i in range(20_000))
    for name, share in (("a", 0.2), ("b", 0.3), ("c", 0.5)):
        assert abs(counts[name] - 20_000 * share) < 4 * (20_000 * share * (1 - share)) ** 0.5


def test_the_propensity_is_the_weight():
    a = assigner(one(arms="arms: [{id: a, weight: 0.2}, {id: b, weight: 0.8}]"))
    found = a.assign("home", subject(), NOW).assignments[0]
    assert found.propensity == {"a": 0.2, "b": 0.8}[found.arm]
    assert (found.unit, found.key, found.why) == ("u1", "t", "assigned")


def test_a_placement_without_experiments_costs_a_look_up():
    assert assigner(one()).assign("cart", subject(), NOW) is NOT_ASSIGNED


def test_the_first_exposure_stands_through_login_and_new_weights():
    a = assigner(one(arms="arms: [{id: control, weight: 1}, {id: popular, weight: 0}]"))
    stands = {"t": {"popular": NOW - 5, "control": NOW - 1}}
    found = a.assign("home", subject("user_id:u9", stands), NOW).assignments[0]
    assert (found.arm, found.why) == ("popular", "sticky")


def test_ramping_up_moves_nobody_who_is_in():
    steps = "[{coverage: 0.05, hold: 1d}, {coverage: 0.25, hold: 2d}, {coverage: 1}]"
    a = assigner(one(f"start: 2026-01-01, ramp: {{steps: {steps}}}"))
    start = moment("2026-01-01")
    days = [
        [arm(a.assign("home", subject(f"user_id:{i}"), start + d * DAY)) for i in range(4_000)]
        for d in (0, 1, 3)
    ]
    shares = [sum(x is not None for x in day) / 4_000 for day in days]
    assert shares == pytest.approx([0.05, 0.25, 1], abs=0.03)
    for before, after in pairwise(days):
        assert all(b in (None, x) for b, x in zip(before, after, strict=True))
    assert arm(a.assign("home", subject(), start - 1)) is None


def test_experiments_of_a_layer_share_nobody():
    text = """
experiments:
  - {id: x, placements: [home], layer: page, slots: [0, 0.5], arms: [{id: a}, {id: b}]}
  - {id: y, placements: [home], layer: page, slots: [0.5, 1], arms: [{id: a}, {id: b}]}
"""
    a = assigner(text)
    counts = Counter(
        tuple(w.experiment for w in a.assign("home", subject(f"user_id:{i}"), NOW).assignments)
        for i in range(2_000)
    )
    assert set(counts) == {("x",), ("y",)}
    assert abs(counts["x",] - 1_000) < 4 * 500**0.5


def test_a_factorial_experiment_crosses_its_factors():
    text = """
experiments:
  - id: t
    placements: [home]
    factors:
      - {id: sort, levels: [{id: old, weight: 0.5}, {id: new, weight: 0.5, change: {ranker: none}}]}
      - {id: count, levels: [{id: four, weight: 0.25, change: {count: 4}}, {id: eight, weight: 0.75}]}
"""
    experiment = parse_experiments(text).experiments[0]
    arms = {v.id: (v.weight, v.change.ranker, v.change.count) for v in experiment.variants()}
    assert arms == {
        "old__four": (0.5 * 0.25, "", 4),
        "old__eight": (0.5 * 0.75, "", None),
        "new__four": (0.5 * 0.25, "none", 4),
        "new__eight": (0.5 * 0.75, "none", None),
    }


def test_the_audience_is_asked_on_the_way_in_only():
    a = assigner(one("audience: {orders: {gte: 2}, context.country: DE}"))
    assert arm(a.assign("home", subject(orders=1, **{"context.country": "DE"}), NOW)) is None
    assert arm(a.assign("home", subject(orders=2, **{"context.country": "FR"}), NOW)) is None
    assert arm(a.assign("home", subject(orders=2, **{"context.country": "DE"}), NOW)) is not None
    assert arm(a.assign("home", subject(exposed={"t": {"popular": 1}}, orders=0), NOW)) == "popular"


def test_the_holdout_sees_no_experiment():
    a = assigner(f"holdout: {{share: 0.1}}\n{one()}")
    found = [a.assign("home", subject(f"user_id:{i}"), NOW) for i in range(5_000)]
    held = [f for f in found if f.held]
    assert len(held) / 5_000 == pytest.approx(0.1, abs=4 * (0.09 / 5_000) ** 0.5)
    assert all([w.arm for w in f.assignments] == ["held"] for f in held)
    assert all(f.assignments[0].arm == "treated" for f in found if not f.held)
    assert a.assign("home", subject(exposed={"holdout": {"held": 5}}), NOW).held


def test_units():
    by_session = assigner(one("unit: session"))
    assert by_session.assign("home", subject(), NOW).assignments == ()
    words = {by_session.assign("home", subject(session=f"s{i}"), NOW).assignments[0] for i in range(50)}
    assert {w.arm for w in words} == {"control", "popular"}
    assert {w.key for w in words} == {""}
    by_account = assigner(one("unit: account"))
    both = [by_account.assign("home", subject(f"user_id:u{i} account:acme"), NOW) for i in range(9)]
    assert len({b.assignments[0].arm for b in both}) == 1
    assert both[0].assignments[0].key == "t|acme"
    by_browser = assigner(one("unit: anonymous_id"))
    assert by_browser.assign("home", subject("user_id:u1"), NOW).assignments == ()
    assert by_browser.assign("home", subject("user_id:u1 anonymous_id:a1"), NOW).assignments[0].unit == "a1"
    assert assigner(one()).assign("home", subject(""), NOW).assignments == ()


def test_a_switchback_gives_everybody_the_same_arm_for_a_period():
    a = assigner(one("unit: time, switchback: {period: 2h, by: region}"))
    start = NOW - NOW % (2 * HOUR)

    def at(time, person, region):
        return arm(a.assign("home", subject(person, context={"region": region}), time))

    for hours in range(0, 40, 2):
        time = start + hours * HOUR
        assert at(time, "user_id:u1", "north") == at(time + HOUR, "user_id:u2", "north")
    arms = {at(start + h * HOUR, "user_id:u1", "north") for h in range(0, 40, 2)}
    assert arms == {"control", "popular"}


def test_stopped_and_shipped():
    assert assigner(one(), stopped=["t"]).assign("home", subject(), NOW) is NOT_ASSIGNED
    assert assigner(one("status: draft")).assign("home", subject(), NOW) is NOT_ASSIGNED
    shipped = assigner(one("status: stopped, ship: popular"))
    found = shipped.assign("home", subject(""), NOW).assignments[0]
    assert (found.arm, found.why, found.key) == ("popular", "shipped", "")


def test_an_arm_removed_while_running_leaves_the_placement_as_it_is():
    a = assigner(one())
    found = a.assign("home", subject(exposed={"t": {"gone": 5}}), NOW).assignments[0]
    assert (found.arm, found.why) == ("gone", "removed")


def test_growthbook_setups_move_over():
    from growthbook import GrowthBook
    from growthbook.common_types import Experiment

    a = assigner(
        "layers: [{id: ns, hash: growthbook_v2}]\n"
        + one("hash: growthbook_v2, coverage: 0.6, layer: ns, slots: [0.2, 0.9]")
    )
    for i in range(300):
        theirs = GrowthBook(attributes={"id": f"u{i}"}).run(
            Experiment(
                key="t", variations=["control", "popular"], coverage=0.6, hashVersion=2, seed="t",
                namespace=("ns", 0.2, 0.9),
            )
        )  # fmt: skip
        ours = arm(a.assign("home", subject(f"user_id:u{i}"), NOW))
        assert ours == (theirs.value if theirs.inExperiment else None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            one(arms="arms: [{id: a, weight: 0.5}, {id: b, weight: 0.4}]"),
            "the weights do not sum to 1, saw 0.9, at experiments.yaml $.experiments[0].arms: change them so",
        ),
        (one(arms="arms: [{id: a, weight: 0.5}, {id: b}]"), "some arms have a weight and some have none"),
        (one(arms="arms: [{id: a}]"), "an experiment needs at least two arms, saw 1"),
        (one(arms="arms: [{id: a}, {id: a}]"), "two arms have one id"),
        (one(arms="coverage: 1"), "an experiment needs either arms or factors"),
        (one("coverage: 1.5"), "Expected `float` <= 1.0"),
        (one("ship: x"), "no such arm, saw 'x', at experiments.yaml $.experiments[0].ship"),
        (one("slots: [0.5, 0.5]"), "slots must be a stretch of [0, 1)"),
        (one("slots: [0.5, 0.6]"), "slots are of a layer"),
        (one("unit: time"), "unit: time and switchback belong together"),
        (
            one("start: soon"),
            "not a day or an instant, saw 'soon', at experiments.yaml $.experiments[0].start",
        ),
        (one("ramp: {steps: [{coverage: 1}]}"), "a ramp needs to know when it began"),
        (
            one("start: 2026-01-01, ramp: {steps: [{coverage: 0.5}, {coverage: 0.2}]}"),
            "a ramp goes up, saw '[0.5, 0.2]'",
        ),
        (one("audience: {orders: {above: 2}}"), "not an operator, saw 'above'"),
        (
            "experiments: [{id: holdout, arms: [{id: a}, {id: b}]}]",
            "the id holdout is taken",
        ),
        (
            "experiments: [{id: a, arms: [{id: x}, {id: y}]}, {id: a, arms: [{id: x}, {id: y}]}]",
            "two experiments have one id, first at $.experiments[0]",
        ),
        (
            "experiments: [{id: a, layer: l, arms: [{id: x}, {id: y}]},"
            " {id: b, layer: l, slots: [0.9, 1], arms: [{id: x}, {id: y}]}]",
            "its slots overlap those of a in layer l",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(text, message):
    with pytest.raises(InvalidDefinition, match=re.escape(message)):
        parse_experiments(text)


def test_an_unknown_experiment_lists_the_known():
    with pytest.raises(NotFound, match="known are: t, holdout"):
        parse_experiments("holdout: {share: 0.1}\n" + one()).get("x")
    assert parse_experiments("holdout: {share: 0.1}").get("holdout").control == "held"


def test_moments_and_spans():
    assert moment("2026-01-01") == moment("2026-01-01T00:00:00Z") == moment("2026-01-01T01:00:00+01:00")
    assert (span_ms("90m"), span_ms("2d")) == (90 * 60_000, 2 * DAY)
