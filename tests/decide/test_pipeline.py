"""The answer always comes."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from opportune.catalog.items import Catalog
from opportune.decide.pipeline import decide
from opportune.decide.request import DecideRequest, DecideResponse
from opportune.decide.world import SessionView, Stranger, World, new_decision_id
from opportune.errors import InvalidRequest, NotFound
from opportune.events.event import Event, Line

NOW = 1_760_000_000_000

TWO = """
placements:
  - name: home
    count: 3
    sources: [{source: session_knn}, {source: content, weight: 0.5}]
    fallbacks: [popular_in_category, popular, default]
    default_items: [i30, i9, i31, i32]
    content: {headline: Hello}
  - {name: cart, count: 3, sources: [{source: session_knn}], fallbacks: [popular]}
"""


def test_the_answer_has_the_fields_of_the_wire(kit: Any) -> None:
    world = kit.world(TWO, session_knn=[1, 2, 3])
    decision, record = kit.one(world)
    body = msgspec.json.decode(msgspec.json.encode(DecideResponse([decision])))["decisions"][0]
    assert list(body) == [
        "decision_id",
        "placement",
        "items",
        "content",
        "experiment",
        "consent",
        "degraded",
        "took_ms",
    ]
    assert body["placement"] == "home"
    assert body["content"] == {"headline": "Hello"}
    assert body["experiment"] == {"id": "", "variant": "", "holdout": False}
    assert body["consent"] == "personal"
    assert body["degraded"] == []
    assert next(iter(body["took_ms"])) == "total"
    assert {"resolve", "profile", "candidates", "rank", "policy", "content", "record"} <= set(body["took_ms"])
    first = body["items"][0]
    assert list(first) == ["item_id", "rank", "score", "reasons", "item"]
    assert (first["item_id"], first["rank"], first["score"]) == ("i1", 1, 1.0)
    assert first["item"]["name"] == "Item 1"
    assert record.decision_id == body["decision_id"]


def test_sources_are_told_of_the_session_and_the_page(kit: Any) -> None:
    world = kit.world(TWO, session_knn=[1])
    touches = (kit.Touched("i5", "view", NOW - 2_000), kit.Touched("i6", "cart", NOW - 1_000))
    kit.one(world, kit.Shopper(touches=touches), context={"page": "/product/i7"})
    query = world.sources["session_knn"].asked[0]
    assert query.session.tolist() == [5, 6]
    assert query.kind.tolist() == [0, 1]
    assert query.age_s.tolist() == [2.0, 1.0]
    assert (query.item, query.category, query.count, query.now) == (7, 3, 100, NOW)


def test_a_placement_that_does_not_look_at_the_page_is_not_told_of_it(kit: Any) -> None:
    world = kit.world("placements: [{name: p, context: [], sources: [{source: content}]}]", content=[7, 1])
    assert kit.shown(world, context={"item_id": "i7", "category": "c1"}) == ["i7", "i1"]
    assert world.sources["content"].asked[0].item == -1
    assert world.sources["content"].asked[0].category == -1


def test_inline_events_alone_make_a_session(kit: Any) -> None:
    world = kit.world(TWO, session_knn=[1])
    inline = (Event("track", "product_viewed", "m", "inline", NOW - 500, NOW, lines=(Line("i8"),)),)
    kit.one(world, Stranger(), SessionView("new", inline))
    assert world.sources["session_knn"].asked[0].session.tolist() == [8]


def test_several_placements_show_no_item_twice(kit: Any) -> None:
    world = kit.world(TWO, session_knn=[1, 2, 3, 4, 5, 6])
    request = DecideRequest(placements=["home", "cart", "home"])
    answers = decide(world, request, Stranger(), SessionView(), NOW)
    shown = [[i.item_id for i in decision.items] for decision, _ in answers]
    assert shown == [["i1", "i2", "i3"], ["i4", "i5", "i6"]]
    assert answers[1][1].removed == {"shown_elsewhere": 3}
    assert answers[0][0].decision_id != answers[1][0].decision_id


def test_a_cold_person_gets_what_is_popular_in_this_context(kit: Any) -> None:
    world = kit.world(TWO, popular_in_category=[5], popular=[1, 5, 2, 3])
    decision, record = kit.one(world, Stranger(), context={"category": "c1"})
    assert [i.item_id for i in decision.items] == ["i5", "i1", "i2"]
    assert [i.reasons[0].text for i in decision.items] == [
        "popular in c1",
        "popular with other shoppers",
        "popular with other shoppers",
    ]
    assert decision.degraded == []
    assert record.inputs["by_source"] == {"popular_in_category": 1, "popular": 4}


def test_the_ladder_ends_with_the_placements_own_items(kit: Any) -> None:
    world = kit.world(TWO, session_knn=[1])
    decision, _ = kit.one(world)
    assert [i.item_id for i in decision.items] == ["i1", "i30", "i31"]
    assert decision.items[1].reasons[0].code == "default"


def test_fallback_items_never_stand_above_what_the_sources_proposed(kit: Any) -> None:
    knn = kit.FixedSource("session_knn", "viewed_together", [1, 2], [1.0, 1e-6])
    world = kit.world(TWO, session_knn=knn, popular=[7, 8])
    assert kit.shown(world) == ["i1", "i2", "i7"]


def failing(message: str) -> Any:
    def work() -> None:
        raise RuntimeError(message)

    return work


def test_a_broken_source_is_named_counted_and_done_without(kit: Any) -> None:
    broken = kit.FixedSource("session_knn", "viewed_together", [1], work=failing("index is gone"))
    counted: list[tuple[str, str]] = []
    world = kit.world(TWO, session_knn=broken, content=[4, 5, 6])
    world.degraded = lambda placement, stage: counted.append((placement, stage))
    decision, record = kit.one(world)
    assert [i.item_id for i in decision.items] == ["i4", "i5", "i6"]
    assert decision.degraded == ["candidates.session_knn: RuntimeError index is gone"]
    assert record.degraded == decision.degraded
    assert counted == [("home", "candidates")]


def test_everything_broken_still_answers_with_the_defaults(kit: Any) -> None:
    world = kit.world(TWO)
    for source in world.sources.values():
        source.work = failing("down")

    class Unknowable(Stranger, frozen=True):
        def session(self, now: int, session_id: str) -> Any:
            raise OSError("no profile store")

    decision, _ = kit.one(world, Unknowable())
    assert [i.item_id for i in decision.items] == ["i30", "i31", "i32"]
    assert decision.degraded == [
        "profile: OSError no profile store",
        "candidates.session_knn: RuntimeError down",
        "candidates.content: RuntimeError down",
        "candidates.popular_in_category: RuntimeError down",
        "candidates.popular: RuntimeError down",
    ]


def test_without_a_profile_the_session_of_the_request_still_speaks(kit: Any) -> None:
    class Unknowable(Stranger, frozen=True):
        def session(self, now: int, session_id: str) -> Any:
            raise OSError("no profile store")

    world = kit.world(TWO, session_knn=[1, 2, 3])
    inline = (Event("track", "product_viewed", "m", "inline", NOW - 500, NOW, lines=(Line("i8"),)),)
    decision, _ = kit.one(world, Unknowable(), SessionView("s", inline))
    assert world.sources["session_knn"].asked[0].session.tolist() == [8]
    assert decision.degraded == ["profile: OSError no profile store"]


def test_a_late_source_is_skipped_and_what_came_in_time_is_shown(kit: Any) -> None:
    timer = kit.Timer()
    slow = kit.FixedSource("session_knn", "viewed_together", [1, 2], work=lambda: timer.sleep_ms(30))
    world = kit.world(TWO, session_knn=slow, content=[4, 5, 6], popular=[7, 8, 9])
    world.timer = timer
    decision, _ = kit.one(world, deadline_ms=20)
    assert decision.degraded[:2] == ["candidates.session_knn: slow (30.0 ms)", "candidates.content: late"]
    assert [i.item_id for i in decision.items] == ["i1", "i2", "i30"]
    assert world.sources["content"].asked == []


def test_past_the_deadline_one_more_source_is_asked_at_most(kit: Any) -> None:
    timer = kit.Timer()
    world = kit.world(TWO)
    for source in world.sources.values():
        source.work = lambda: timer.sleep_ms(5)
    world.timer = timer
    decision, _ = kit.one(world, deadline_ms=1)
    assert [i.item_id for i in decision.items] == ["i30", "i31", "i32"]
    assert decision.took_ms["total"] == 10.0
    assert decision.degraded == [
        "candidates.session_knn: slow (5.0 ms)",
        "candidates.content: late",
        "candidates.popular: late",
    ]


def test_a_deadline_of_a_millisecond_is_answered(kit: Any) -> None:
    decision, _ = kit.one(kit.world(TWO, session_knn=[1, 2, 3]), deadline_ms=1)
    assert len(decision.items) == 3


def test_an_empty_catalogue_gives_an_empty_list_that_says_so(kit: Any) -> None:
    decision, record = kit.one(kit.world(TWO, Catalog()))
    assert decision.items == []
    assert decision.degraded == ["candidates: 0 of 3, nothing else may be shown"]
    assert record.shown == 0


def test_a_placement_that_is_switched_off_stays_empty(kit: Any) -> None:
    world = kit.world(
        "placements: [{name: p, enabled: false, sources: [{source: content}], default_items: [i1]}]",
        content=[1],
    )
    decision, record = kit.one(world)
    assert decision.items == []
    assert decision.degraded == ["eligibility: the placement is switched off"]
    assert record.candidates == []


def test_a_failing_policy_shows_only_the_placements_own_safe_items(kit: Any) -> None:
    class Odd(Stranger, frozen=True):
        @property
        def dismissed(self) -> Any:  # type: ignore[override]  # wrong on purpose
            return 7

    world = kit.world(TWO, session_knn=[1, 2, 3])
    decision, _ = kit.one(world, Odd(), exclude=["i31"])
    assert [i.item_id for i in decision.items] == ["i30", "i32"]
    assert decision.degraded[0].startswith("policy: TypeError")


def test_failing_content_shows_bare_items(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = kit.world(TWO, session_knn=[1, 2, 3])

    def broken(number: int) -> Any:
        raise KeyError(number)

    monkeypatch.setattr(world.catalog, "public", broken)
    decision, record = kit.one(world)
    assert [(i.item_id, i.item) for i in decision.items[:1]] == [("i1", {"item_id": "i1"})]
    assert decision.degraded == ["content: KeyError 1"]
    assert record.shown == 3


class Newest:
    """A ranker that prefers high item numbers."""

    name = "newest"

    def score(self, items: Any, blended: Any, query: Any, features: Any, said: Any, sources: Any) -> Any:
        return items.astype(np.float32) + np.float32(features.get("bonus", 0))


def test_a_ranker_orders_anew_and_sees_the_features_of_the_placement(kit: Any) -> None:
    world = kit.world(
        "placements: [{name: p, count: 3, sources: [{source: content}], features: [bonus, missing]}]",
        content=[1, 5, 3],
    )
    world.ranker = Newest()
    decision, record = kit.one(world, kit.Shopper(known={"bonus": 5, "other": 1}))
    assert [i.item_id for i in decision.items] == ["i5", "i3", "i1"]
    assert [i.score for i in decision.items] == [1.0, 0.8, 0.6]
    assert record.features == {"bonus": 5}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.array([np.nan, 1, 2], np.float32), "rank: ValueError newest gave scores that are not finite"),
        (np.zeros(2, np.float32), r"rank: ValueError newest gave (2,) scores for 3 candidates"),
    ],
)
def test_a_ranker_that_fails_leaves_the_order_of_the_blend(kit: Any, answer: Any, message: str) -> None:
    world = kit.world(TWO, session_knn=[1, 5, 3])

    class Broken(Newest):
        def score(self, items: Any, blended: Any, query: Any, features: Any, said: Any, sources: Any) -> Any:
            return answer

    world.ranker = Broken()
    decision, _ = kit.one(world)
    assert [i.item_id for i in decision.items] == ["i1", "i5", "i3"]
    assert decision.degraded == [message]


def test_candidates_of_no_use_are_left_out(kit: Any) -> None:
    knn = kit.FixedSource(
        "session_knn", "viewed_together", [1, 2, -1, 9_999, 3], [float("nan"), 0.9, 0.8, 0.7, float("-inf")]
    )
    world = kit.world(TWO, session_knn=knn, content=[5])
    assert kit.shown(world) == ["i2", "i5", "i30"]


RERANK = """
placements:
  - name: search
    count: 3
    pool: 50
    keep_all: true
    sources: [{source: given, weight: 1.0}, {source: session_knn, weight: 2.0}]
    filters: {repeat: allow}
    fallbacks: [popular]
"""


def test_given_candidates_are_ranked_and_all_kept(kit: Any) -> None:
    world = kit.world(RERANK, session_knn=[20, 7, 5], popular=[30])
    decision, _ = kit.one(world, candidates=["i1", "i2", "i3", "i5", "i7", "i2"])
    assert [i.item_id for i in decision.items] == ["i7", "i5", "i1", "i2", "i3"]
    assert decision.degraded == []
    assert decision.items[0].reasons[0].code == "viewed_together"
    assert decision.items[-1].reasons[0].text == "matches your search"


def test_a_count_cuts_given_candidates(kit: Any) -> None:
    world = kit.world(RERANK, session_knn=[3])
    assert kit.shown(world, candidates=["i1", "i2", "i3"], count=1) == ["i3"]


def test_given_candidates_keep_their_order_where_nothing_else_speaks(kit: Any) -> None:
    placement = "placements: [{name: p, count: 9, sources: [{source: content}]}]"
    assert kit.shown(kit.world(placement, popular=[30]), candidates=["i5", "i1", "i3"]) == ["i5", "i1", "i3"]


def test_given_candidates_that_nobody_knows_are_named(kit: Any) -> None:
    decision, _ = kit.one(kit.world(RERANK), candidates=["i1", "x", "y", ""])
    assert [i.item_id for i in decision.items] == ["i1"]
    assert decision.degraded == ["candidates: 3 of the given are not in the catalogue"]


def test_no_given_candidates_give_an_empty_list(kit: Any) -> None:
    decision, _ = kit.one(kit.world(RERANK, popular=[1]), candidates=[])
    assert decision.items == []


def test_ten_thousand_candidates_are_ranked(kit: Any) -> None:
    catalog = kit.catalog(10_000)
    world = kit.world(RERANK, catalog, session_knn=[9_998, 5_000])
    decision, record = kit.one(world, candidates=[f"i{k}" for k in range(10_000)])
    assert len(decision.items) == 200
    assert [i.item_id for i in decision.items[:2]] == ["i9998", "i5000"]
    assert len(record.inputs["candidates"]) == 200


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, r"no placement named, at \$.placement: one of cart, home"),
        ({"placement": "home", "count": 0}, r"count must be 1 to 200, saw 0, at \$.count"),
        ({"placement": "home", "count": -5}, r"count must be 1 to 200, saw -5"),
        ({"placement": "home", "count": 201}, r"count must be 1 to 200, saw 201"),
        ({"placement": "home", "deadline_ms": 0}, r"deadline_ms must be more than 0, saw 0"),
        ({"placement": "home", "deadline_ms": float("nan")}, r"deadline_ms must be more than 0"),
        ({"placement": "home", "candidates": ["x"] * 10_001}, r"at most 10000 candidates, saw 10001"),
        ({"placement": "home", "exclude": ["x"] * 10_001}, r"at most 10000 exclude, saw 10001"),
        ({"placements": [f"p{k}" for k in range(21)]}, r"at most 20 placements in one request, saw 21"),
    ],
)
def test_what_cannot_be_answered_is_refused(kit: Any, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        decide(kit.world(TWO), DecideRequest(**request_), Stranger(), SessionView(), NOW)


def test_an_unknown_placement_is_not_found(kit: Any) -> None:
    with pytest.raises(NotFound, match=r"no such placement, saw 'nope', at .*: known are: cart, home"):
        decide(kit.world(TWO), DecideRequest(placement="nope"), Stranger(), SessionView(), NOW)


def test_an_explanation_comes_when_asked_for(kit: Any) -> None:
    world = kit.world(TWO, session_knn=[1, 9, 2, 3, 4], content=[2])
    decision, _ = kit.one(world, explain=True)
    explanation = decision.explanation
    assert explanation["sources"] == {
        "proposed": {"session_knn": 5, "content": 1},
        "shown": {"session_knn": 3, "content": 1},
    }
    assert explanation["removed"] == [{"by": "not_available", "count": 1, "examples": ["i9"]}]
    assert [c["item_id"] for c in explanation["candidates"]] == ["i1", "i2", "i3", "i4"]
    assert [c["shown_at"] for c in explanation["candidates"]] == [1, 2, 3, None]
    stages = [step["stage"] for step in explanation["waterfall"]]
    assert {"profile", "candidates", "candidates.session_knn", "policy"} <= set(stages)
    plain, _ = kit.one(world)
    assert plain.explanation is msgspec.UNSET


def test_decision_ids_sort_by_time_and_never_repeat() -> None:
    ids = [new_decision_id(NOW + k // 100) for k in range(1_000)]
    assert len(set(ids)) == 1_000
    assert {len(i) for i in ids} == {24}
    assert [i[:11] for i in ids] == sorted(i[:11] for i in ids)


def test_the_world_is_a_plain_value(kit: Any) -> None:
    world = kit.world(TWO)
    assert isinstance(world, World)
    assert world.ranker is None
