"""The session index against its readable reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.errors import InvalidDefinition
from opportune.recommend import vmis
from opportune.recommend.session_knn import SessionKnn, SessionKnnConfig
from opportune.recommend.session_knn_config import Returns, return_scales
from opportune.recommend.source import Interactions, Query

ITEMS = 40


def interactions(clicks: list[tuple[int, int, int]]) -> Interactions:
    columns = np.array(clicks, np.int64).reshape(-1, 3)
    return Interactions(
        session=columns[:, 0].copy(),
        item=columns[:, 1].astype(np.int32),
        kind=columns[:, 2].astype(np.int8),
        time=np.arange(len(columns), dtype=np.int64) * 1000,
    )


def query(*session: int, count: int = 100) -> Query:
    n = len(session)
    return Query(np.array(session, np.int32), np.zeros(n, np.int8), np.zeros(n, np.float32), 0, count=count)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Interleaved clicks of up to 16 sessions that are numbered by their first click."""
    raw = draw(
        st.lists(st.tuples(st.integers(0, 15), st.integers(0, ITEMS - 1), st.integers(0, 2)), max_size=120)
    )
    number: dict[int, int] = {}
    return [(number.setdefault(session, len(number)), item, kind) for session, item, kind in raw]


configs = st.builds(
    SessionKnnConfig,
    recent_sessions=st.sampled_from([4, 8, 50]),
    neighbours=st.sampled_from([1, 3, 4]),
    last_items=st.sampled_from([1, 3, 9, 16]),
    linear_positions=st.booleans(),
    position_decay=st.sampled_from([0.5, 0.8, 1.0]),
    anchor_decay=st.sampled_from([0.7, 1.0]),
    match_rarity=st.sampled_from([0.0, 0.5, 1.0]),
    length_power=st.sampled_from([0.0, 0.4]),
    recency_half_life=st.sampled_from([0.0, 30.0]),
    after_decay=st.sampled_from([0.7, 1.0]),
    before_decay=st.sampled_from([0.6, 1.0]),
    before_factor=st.sampled_from([0.5, 1.0]),
    rarity=st.sampled_from([0.0, 1.0, 1.5]),
    seen=st.sampled_from([0.0, 0.6, 1.0]),
    echo_items=st.sampled_from([0, 2, 16]),
    echo_neighbours=st.sampled_from([1, 2]),
    echo_sessions=st.sampled_from([2, 4]),
    echo_weight=st.sampled_from([0.0, 0.3]),
    revisit=st.sampled_from([0.0, 0.1]),
    revisit_decay=st.sampled_from([0.5, 1.0]),
    revisit_power=st.sampled_from([0.5, 1.0]),
    seen_last=st.sampled_from([0.2, 1.0]),
    stay_share=st.sampled_from([0.0, 0.05, 0.5]),
    return_share=st.sampled_from([0.0, 0.1]),
    capacity_clicks=st.sampled_from([16, 64, 256]),
    capacity_items=st.just(ITEMS),
)


@settings(max_examples=150, deadline=None)
@given(histories(), configs, st.lists(st.integers(0, ITEMS - 1), max_size=12), st.integers(1, 30))
def test_the_kernel_answers_as_the_reference_bit_for_bit(
    history: list[tuple[int, int, int]], config: SessionKnnConfig, session: list[int], count: int
) -> None:
    source = SessionKnn(config)
    source.update(interactions(history))
    expected = vmis.recommend([vmis.Click(*click) for click in history], session, count, config)
    answer = source.recommend(query(*session, count=count))
    assert answer.item.tolist() == [each.item for each in expected]
    assert answer.score.tolist() == [float(np.float32(each.score)) for each in expected]
    assert answer.because.tolist() == [each.because for each in expected]


def small(**knobs: object) -> SessionKnn:
    plain = {
        "anchor_decay": 1.0,
        "seen_last": 1.0,
        "match_rarity": 0.0,
        "length_power": 0.0,
        "rarity": 0.0,
        "after_decay": 0.5,
        "before_factor": 0.1,
        "before_decay": 1.0,
        "position_decay": 0.5,
        "echo_items": 0,
        "echo_neighbours": 1,
        "echo_sessions": 1,
        "revisit": 0.0,
        "stay_share": 0.0,
        "return_share": 0.0,
        "capacity_clicks": 64,
        "capacity_items": ITEMS,
        "kind_weight": (1.0, 2.0, 4.0),
    }
    return SessionKnn(SessionKnnConfig(**{**plain, **knobs}))


def test_scores_are_similarity_times_nearness_times_kind() -> None:
    source = small()
    source.fit(interactions([(0, 1, 0), (0, 2, 0), (0, 3, 2), (1, 4, 0)]))
    answer = source.recommend(query(1))
    assert dict(zip(answer.item.tolist(), answer.score.tolist(), strict=True)) == pytest.approx(
        {1: 1.0, 2: 0.5 * 1, 3: 0.5 * 0.5 * 4}
    )  # the largest is scaled to 1; here it is 1    )
    assert answer.because.tolist() == [1, 1, 1]


def test_the_reason_is_the_item_that_contributed_most() -> None:
    source = small()
    source.fit(
        interactions([(0, 1, 0), (0, 9, 0), (1, 2, 0), (1, 9, 0), (2, 1, 0), (2, 9, 0), (3, 1, 0), (3, 9, 0)])
    )
    answer = source.recommend(query(1, 2))
    because = dict(zip(answer.item.tolist(), answer.because.tolist(), strict=True))
    assert because[9] == 1  # three sessions at half the weight say more than one at full weight


def test_a_click_of_an_older_session_makes_it_the_most_recent() -> None:
    source = small(recent_sessions=1, neighbours=1)
    source.fit(interactions([(5, 20, 0), (7, 1, 0), (7, 30, 0)]))
    assert 30 in source.recommend(query(1)).item
    source.update(interactions([(5, 1, 0)]))
    assert source.recommend(query(1)).item.tolist() == [1, 20]


def test_a_new_item_is_recommendable_after_its_first_click() -> None:
    source = small()
    source.fit(interactions([(0, 1, 0)]))
    source.update(interactions([(0, 39, 0)]))
    assert 39 in source.recommend(query(1)).item


def test_a_session_that_repeats_one_item_cannot_crowd_out_others() -> None:
    source = small(recent_sessions=4, neighbours=4)
    source.fit(interactions([(0, 1, 0), (0, 2, 0), *[(1, 1, 0)] * 50]))
    assert 2 in source.recommend(query(1)).item


def test_a_full_index_forgets_the_oldest_clicks() -> None:
    source = small(capacity_clicks=8)
    source.fit(interactions([(0, 1, 0), (0, 2, 0), *[(s, 10 + s, 0) for s in range(1, 8)]]))
    assert source.clicks == 8
    assert source.sessions == 8
    assert source.recommend(query(1)).item.tolist() == []
    assert source.recommend(query(2)).item.tolist() == [2]


def test_unusable_clicks_are_ignored() -> None:
    source = small()
    source.fit(interactions([(0, 1, 0), (0, ITEMS, 0), (0, -1, 0), (0, 3, 7), (-4, 3, 0), (0, 2, 0)]))
    assert source.clicks == 2
    assert source.recommend(query(1, -1, 10**9)).item.tolist() == [1, 2]


def test_the_index_is_built_again_before_links_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    history = [(s // 3, int(i), 0) for s, i in enumerate(rng.integers(0, ITEMS, 200))]
    whole, renumbered = small(), small()
    whole.fit(interactions(history))
    monkeypatch.setattr("opportune.recommend.session_knn._LAST_LINK", 90)
    for click in history:
        renumbered.update(interactions([click]))
    assert int(renumbered.index.counters[0]) < 90 < int(whole.index.counters[0])
    for item in range(ITEMS):
        expected, answer = whole.recommend(query(item)), renumbered.recommend(query(item))
        assert answer.item.tolist() == expected.item.tolist()
        assert answer.score.tolist() == expected.score.tolist()


def test_wrong_knobs_are_refused() -> None:
    with pytest.raises(InvalidDefinition, match="last_items must be 1 to 16, saw 17"):
        SessionKnnConfig(last_items=17)
    with pytest.raises(InvalidDefinition, match="neighbours must be 1 to recent_sessions"):
        SessionKnnConfig(neighbours=20, recent_sessions=10)
    with pytest.raises(InvalidDefinition, match="echo_items must be 0 to 16, saw 17"):
        SessionKnnConfig(echo_items=17)
    with pytest.raises(InvalidDefinition, match="echo_neighbours must be 1 to echo_sessions"):
        SessionKnnConfig(echo_sessions=10, echo_neighbours=20)
    with pytest.raises(InvalidDefinition, match="capacity_clicks must be a power of two, saw 1000"):
        SessionKnnConfig(capacity_clicks=1000)
    with pytest.raises(InvalidDefinition, match="capacity_items must be 1 to 536870912, saw 0"):
        SessionKnnConfig(capacity_items=0)


def test_weights_of_returning_follow_what_people_do() -> None:
    config = SessionKnnConfig(stay_share=0.5, return_share=0.1)
    assert return_scales(config, Returns()) == (1.0, 1.0)
    counted = Returns(continued=300, stayed=100, moved=100, returned=20)
    assert return_scales(config, counted) == (
        (100 + 100 * 0.5) / (300 + 100) / 0.5,
        (20 + 100 * 0.1) / (100 + 100) / 0.1,
    )
    assert return_scales(config, Returns(10**6, 10**6, 10**6, 10**6)) == (pytest.approx(2.0, abs=1e-3), 4.0)
    rarely = SessionKnnConfig(stay_share=0.01, return_share=0.01)
    assert return_scales(rarely, Returns(10**6, 10**6, 10**6, 10**6)) == (8.0, 4.0)
    assert return_scales(SessionKnnConfig(stay_share=0.0, return_share=0.0), counted) == (1.0, 1.0)


def test_items_that_nobody_clicked_are_returned_to_as_well() -> None:
    source = small(revisit=0.1, revisit_decay=0.5, revisit_power=1.0)
    source.update(interactions([(0, 1, 0), (0, 2, 0)]))
    alone = source.recommend(query(7, 8, 8))
    assert alone.item.tolist() == [8, 7]
    assert alone.score.tolist() == pytest.approx([0.1 * 2, 0.1 * 0.5**2])
    assert alone.because.tolist() == [8, 7]
    # After the item 1 the neighbour says 2; shares of the whole score go to what was seen.
    among = source.recommend(query(7, 1))
    assert among.item.tolist()[-1] == 7
    whole = 1.0 + 0.5  # 1 itself, and 2 one step after it
    assert among.score.tolist()[-1] == pytest.approx(whole * 0.1 * 0.5)


def test_where_nobody_stays_the_newest_item_is_not_proposed_first() -> None:
    moving = [(n // 3, (n // 3 + n % 3) % ITEMS, 0) for n in range(3000)]
    staying_on = [(n // 3, n // 3 % ITEMS, 0) for n in range(3000)]
    for history, first in ((moving, False), (staying_on, True)):
        source = SessionKnn(SessionKnnConfig(capacity_clicks=1 << 12, capacity_items=ITEMS))
        source.update(interactions(history))
        assert bool(source.recommend(query(5)).item[0] == 5) is first
