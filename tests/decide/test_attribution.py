"""Outcomes find their decision, and add up in any order."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from opportune.clock import HOUR
from opportune.decide.attribution import (
    MAX_KINDS,
    MAX_OUTCOMES,
    OUTCOMES_CODEC,
    DecisionOutcomes,
    OutcomesFold,
    attribute,
)
from opportune.errors import Corrupt
from opportune.events.event import Event, Line
from opportune.testing.folds import FoldCase, check_fold

NOW = 1_760_000_000_000


class Shown(msgspec.Struct, frozen=True):
    time: int
    decision_id: str
    item_ids: tuple[str, ...]


def event(
    name: str, *items: str, time: int = NOW, decision_id: str = "", price: float | None = None
) -> Event:
    lines = tuple(Line(i, price=price) for i in items)
    return Event("track", name, f"m{time}", "web", time, time, lines=lines, decision_id=decision_id)


EXPOSURES = [
    Shown(NOW - 3 * HOUR, "old", ("a", "b")),
    Shown(NOW - HOUR, "new", ("b", "c")),
    Shown(NOW + 5, "future", ("a", "b", "c")),
]


@pytest.mark.parametrize(
    ("name", "items", "expected"),
    [
        ("product_viewed", ("a",), "old"),
        ("product_clicked", ("b",), "new"),
        ("product_added", ("c",), "new"),
        ("order_completed", ("z", "a"), "old"),
        ("order_completed", ("a", "c"), "new"),
        ("product_viewed", ("z",), None),
        ("product_viewed", (), None),
        ("product_list_viewed", ("a",), None),
        ("product_removed", ("a",), None),
    ],
)
def test_the_newest_exposure_that_showed_the_item(name: str, items: Any, expected: str | None) -> None:
    assert attribute(event(name, *items), EXPOSURES, 24 * HOUR) == expected


def test_what_the_event_says_itself_comes_first() -> None:
    assert attribute(event("anything", decision_id="told"), EXPOSURES, HOUR) == "told"


def test_the_window_ends_and_includes_its_end() -> None:
    assert attribute(event("product_viewed", "b"), EXPOSURES, HOUR) == "new"
    assert attribute(event("product_viewed", "b"), EXPOSURES, HOUR - 1) is None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.builds(Shown, st.integers(0, 9), st.sampled_from("xyz"), st.tuples(st.sampled_from("abc")))),
    st.integers(0, 9),
    st.integers(0, 9),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=2),
)
def test_it_is_the_greatest_of_those_in_the_window(
    exposures: list[Shown], time: int, window: int, items: list[str]
) -> None:
    exposures.sort(key=lambda shown: (shown.time, shown.decision_id))
    able = [
        (shown.time, shown.decision_id)
        for shown in exposures
        if time - window <= shown.time <= time and set(items) & set(shown.item_ids)
    ]
    expected = max(able)[1] if able else None
    assert attribute(event("order_completed", *items, time=time), exposures, window) == expected


def test_outcomes_are_listed_counted_and_summed() -> None:
    outcomes = OUTCOMES_CODEC.zero()
    outcomes.fold(event("order_completed", "a", "b", time=NOW + 2, price=12.75), 7)
    outcomes.fold(event("product_viewed", "a", time=NOW + 1), 6)
    outcomes.fold(event("video_watched", time=NOW + 3), 8)
    assert outcomes.offset == 8
    assert [(o["item_id"], o["kind"], o["value"]) for o in outcomes.to_list()] == [
        ("a", "view", 0.0),
        ("a", "buy", 12.75),
        ("b", "buy", 12.75),
        ("", "video_watched", 0.0),
    ]
    assert outcomes.counts == {"buy": 2, "view": 1, "video_watched": 1}
    assert outcomes.value() == 2 * 12.75


EVENTS = st.lists(
    st.builds(
        event,
        st.sampled_from(["product_viewed", "product_added", "order_completed", "custom", "x" * 100]),
        st.sampled_from("abc"),
        time=st.integers(NOW, NOW + 5),
        price=st.sampled_from([None, 0.1, 0.2, 1e11, -3.0, float("nan"), float("inf")]),
    ),
    max_size=12,
)


def test_outcomes_keep_the_laws_of_a_fold() -> None:
    many = [event(f"kind {k}", f"i{k % 97}", time=NOW + k, price=0.01) for k in range(2_000)]
    check_fold(
        FoldCase(
            OutcomesFold(),
            events=EVENTS,
            now=NOW,
            freeze=OUTCOMES_CODEC.encode,
            encode=OUTCOMES_CODEC.encode,
            decode=OUTCOMES_CODEC.decode,
            max_bytes=20_000,
            many=many,
        )
    )


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.randoms(use_true_random=False))
def test_what_is_kept_of_too_many_does_not_depend_on_their_order(random: Any) -> None:
    events = [event(f"k{k % 50:02d}", "a", time=NOW + k, price=0.1) for k in range(MAX_OUTCOMES + 50)]
    forward, shuffled = OUTCOMES_CODEC.zero(), OUTCOMES_CODEC.zero()
    for e in events:
        forward.fold(e)
    random.shuffle(events)
    for e in events:
        shuffled.fold(e)
    assert OUTCOMES_CODEC.encode(forward) == OUTCOMES_CODEC.encode(shuffled)
    assert len(forward.outcomes) == MAX_OUTCOMES
    assert sorted(forward.counts) == [f"k{k:02d}" for k in range(MAX_KINDS)]


def test_damaged_bytes_are_named() -> None:
    with pytest.raises(
        Corrupt, match=r"the outcomes of a decision cannot be read .*: rebuild from the journal"
    ):
        OUTCOMES_CODEC.decode(b"\x01")


def test_a_new_record_has_folded_nothing() -> None:
    assert DecisionOutcomes().offset == 0
    OUTCOMES_CODEC.zero().fold(event("custom"), 3)
    assert OUTCOMES_CODEC.zero().to_list() == []
