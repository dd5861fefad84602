"""Arms at placements: what they change, what is recorded, what nothing can break."""

from __future__ import annotations

import re

import msgspec
import pytest

from opportune.decide.pipeline import decide
from opportune.decide.placement import SOURCES, read_placements
from opportune.decide.replay import replay
from opportune.decide.request import DecideRequest
from opportune.decide.variants import Variants
from opportune.decide.world import SessionView
from opportune.errors import InvalidDefinition
from opportune.experiments.definitions import parse_experiments

PLACEMENT = """
placements:
  - name: home
    count: 3
    sources: [{source: session_knn}]
    fallbacks: []
    content: {title: For you, tone: plain}
"""
AB = """
experiments:
  - id: t
    placements: [home]
    arms:
      - {id: control}
      - id: popular
        change:
          sources: [{source: popular}]
          rules: [{pin: i7, rank: 1}]
          filters: {price: {max: 30}}
          content: {title: Loved by all}
          count: 2
"""


def world(kit, experiments: str):
    found = kit.world(placements=PLACEMENT, session_knn=[1, 2, 3, 4], popular=[35, 20, 21, 22])
    placements = read_placements(PLACEMENT, SOURCES)
    found.variants = Variants(parse_experiments(experiments), placements, SOURCES)
    return found


def ask(world, identifier: str, exposed=None, **request):
    person = Person(identifiers=(identifier,) if identifier else (), exposed=exposed or {})
    [answer] = decide(
        world, DecideRequest(placement="home", **request), person, SessionView("s1"), 1_760_000_000_000
    )
    return answer


class Person(msgspec.Struct, frozen=True):
    identifiers: tuple[str, ...] = ()
    exposed: dict = {}
    bought: dict = {}
    dismissed: tuple = ()
    traits: dict = {}
    groups: tuple = ()
    known: dict = {}

    def session(self, now, session_id):
        return ()

    def features(self, now):
        return self.known


def shown(answer):
    return [item.item_id for item in answer[0].items]


def in_arm(arm, key="t"):
    return {key: {arm: 1}}


def test_the_arm_changes_sources_rules_filters_content_and_count(kit):
    decision, record = ask(world(kit, AB), "user_id:u1", in_arm("popular"))
    assert shown((decision, record)) == ["i7", "i20"]  # pinned, then popular without i35, which costs 35
    assert decision.content == {"title": "Loved by all", "tone": "plain"}
    assert (decision.experiment.id, decision.experiment.variant) == ("t", "popular")
    [assignment] = record.assignments
    assert (assignment.arm, assignment.propensity, assignment.why) == ("popular", 0.5, "sticky")
    assert shown(ask(world(kit, AB), "user_id:u1", in_arm("control"))) == ["i1", "i2", "i3"]


def test_without_experiments_the_stage_is_not_run(kit):
    found = kit.world(placements=PLACEMENT, session_knn=[1, 2, 3, 4])
    decision, record = ask(found, "user_id:u1")
    assert "assignment" not in decision.took_ms
    assert record.assignments == ()
    assert "experiments" not in msgspec.json.decode(msgspec.json.encode(decision))


def test_the_holdout_sees_what_is_popular_and_says_so(kit):
    found = world(kit, "holdout: {share: 1}\n" + AB)
    decision, record = ask(found, "user_id:u1")
    assert (decision.experiment.id, decision.experiment.holdout) == ("holdout", True)
    assert shown((decision, record)) == ["i35", "i20", "i21"]
    assert [a.arm for a in record.assignments] == ["held"]


def test_who_is_not_held_carries_it_in_the_record_alone(kit):
    decision, record = ask(world(kit, "holdout: {share: 0}\n" + AB), "user_id:u1")
    assert decision.experiment.id == "t"
    assert [a.experiment for a in record.assignments] == ["holdout", "t"]


def test_two_experiments_at_one_placement_both_apply(kit):
    two = (
        AB
        + """
  - id: headline
    placements: [home]
    arms: [{id: plain}, {id: loud, change: {content: {title: NOW}}}]
"""
    )
    decision, _ = ask(world(kit, two), "user_id:u1", {"t": {"popular": 1}, "headline": {"loud": 1}})
    assert decision.content["title"] == "NOW"
    assert len(decision.items) == 2
    assert [(e.id, e.variant) for e in decision.experiments] == [("t", "popular"), ("headline", "loud")]


def test_a_removed_arm_shows_the_placement_as_it_is(kit):
    decision, record = ask(world(kit, AB), "user_id:u1", in_arm("gone"))
    assert shown((decision, record)) == ["i1", "i2", "i3"]
    assert decision.experiment.id == ""
    assert (record.assignments[0].why, record.assignments[0].key) == ("removed", "")


def test_replay_keeps_the_arm(kit):
    found = world(kit, AB)
    answer = ask(found, "user_id:u1", in_arm("popular"))
    assert replay(found, answer[1]) == shown(answer)


def test_a_broken_assignment_costs_only_the_assignment(kit):
    class Broken(Person):
        @property
        def exposed(self):
            raise RuntimeError("no exposures")

    [(decision, record)] = decide(
        world(kit, AB),
        DecideRequest(placement="home"),
        Broken(identifiers=("user_id:u1",)),
        SessionView("s1"),
        kit.now,
    )
    assert shown((decision, record)) == ["i1", "i2", "i3"]
    assert any(text.startswith("assignment: ") for text in decision.degraded)


def test_a_ranker_that_does_not_exist_is_named(kit):
    text = AB.replace("count: 2", "ranker: better")
    decision, _ = ask(world(kit, text), "user_id:u1", in_arm("popular"))
    assert "rank: there is no ranker better" in decision.degraded


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            AB.replace("[home]", "[hoem]"),
            "no such placement, saw 'hoem', at experiments.yaml $.experiments[0]",
        ),
        (AB.replace("source: popular", "source: magic"), "unknown candidate source, saw 'magic'"),
        (AB.replace("count: 2", "count: 0"), "the change does not fit the placement home"),
        (AB.replace("count: 2", "diversity: {}"), "diversity needs either max_per or mmr"),
    ],
)
def test_a_change_that_does_not_fit_is_refused_at_the_start(kit, text, message):
    with pytest.raises(InvalidDefinition, match=re.escape(message)):
        world(kit, text)
