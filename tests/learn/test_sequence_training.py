"""Training the sequence model: what steps see, that the network is the served formula, that it learns."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest

from opportune.errors import InvalidDefinition, InvalidRequest
from opportune.learn.sequence_batches import ABSENT, Batches
from opportune.learn.sequence_training import SequenceConfig, returns_of, train_sequence
from opportune.recommend.sequence import SequenceSource
from opportune.recommend.sequence_model import SequenceModel, neighbours_of
from opportune.recommend.source import Interactions
from opportune.testing.sources import query

SMALL = SequenceConfig(dimensions=8, window=3, passes=30, targets=64, step_items=128, dropout=0.1,
                       learning_rate=0.02, neighbours=16)  # fmt: skip


def history(*sessions: list[int]) -> Interactions:
    item = np.concatenate([np.array(session, np.int32) for session in sessions])
    number = np.repeat(np.arange(len(sessions)), [len(session) for session in sessions])
    n = len(item)
    return Interactions(number.astype(np.int64), item, np.zeros(n, np.int8), np.arange(n, dtype=np.int64))


def walks(count: int, seed: int = 1) -> Interactions:
    """Around a ring of 40 items, one or two steps at a time, always the same way."""
    rng = np.random.default_rng(seed)
    return history(*[
        ((rng.integers(40) + np.cumsum(rng.integers(1, 3, rng.integers(2, 8)))) % 40).tolist()
        for _ in range(count)
    ])  # fmt: skip


def test_a_pass_shows_every_touch_after_the_first_as_a_target() -> None:
    data = history([1, 2, 3], [4, 5], [6], list(range(10, 25)))
    batches = Batches(data, 40, window=6, targets=6, step_items=30, seed=1)
    wanted: set[tuple[int, int]] = set()
    for batch in batches.once():
        assert len(set(batch.items.tolist())) == len(batch.items) == 30
        for row in batch.session:
            items = [int(batch.items[place]) for place in row if place >= 0]
            wanted |= set(pairwise(items))
    assert wanted == {(1, 2), (2, 3), (4, 5), *((n, n + 1) for n in range(10, 24))}


def test_what_a_prefix_has_is_marked_and_chances_are_known() -> None:
    data = history([1, 2, 1, 3])
    batch = next(Batches(data, 6, window=3, targets=3, step_items=6, seed=1).once())
    place = {int(item): at for at, item in enumerate(batch.items)}
    seen = batch.seen[:3]
    assert seen[:, place[1]].tolist() == [1, 1, 1]
    assert seen[:, place[2]].tolist() == [0, 1, 1]
    assert seen[:, place[3]].tolist() == [0, 0, 0]
    assert batch.log_chance[place[1]] == pytest.approx(0.0, abs=1e-6)  # every known item is in this step
    assert batch.log_chance[place[0]] == ABSENT


def test_returns_are_counted_by_how_far_back_the_item_was() -> None:
    found = returns_of(history([1, 2, 1, 1], [3, 4]), 3)
    # the newest item came back in 1 of 4 cases, the one before it in 1 of 2; 1 is not counted twice
    assert found.tolist() == pytest.approx([1 / 24, 1 / 22, 0 / 20])


def test_a_step_must_have_room_for_its_own_items() -> None:
    with pytest.raises(InvalidDefinition, match="step_items must be at least twice targets"):
        SequenceConfig(targets=100, step_items=150)


def test_no_session_of_two_touches_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no session has two touches"):
        train_sequence(history([1], [2]), 5, SMALL)


class TestWithJax:
    """Needs the extra ``sequence``."""

    @pytest.fixture(autouse=True)
    def jax(self) -> None:
        pytest.importorskip("jax", reason="the extra `sequence` is not installed")

    def test_it_learns_which_way_sessions_go(self) -> None:
        data = walks(600)
        source = SequenceSource(train_sequence(data, 40, SMALL))
        right = 0
        for at in range(40):
            asked = query(at, (at + 1) % 40, (at + 2) % 40, count=2)
            right += len({(at + 3) % 40, (at + 4) % 40} & set(source.recommend(asked).item.tolist()))
        assert right >= 72  # of 80; without order, as many lie behind as ahead

    def test_the_network_computes_what_is_served(self) -> None:
        from opportune.learn.sequence_network import directions
        from opportune.recommend.sequence_reference import direction

        rng = np.random.default_rng(4)
        vectors, attention, value = (rng.normal(size=shape) for shape in ((9, 8), (8, 8), (8, 8)))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        arrays = (vectors, attention, rng.normal(size=8), rng.normal(size=3), value, np.zeros(3))
        plain = [array.astype(np.float32) for array in arrays]
        model = SequenceModel(*plain, neighbours_of(plain[0], plain[4], 4), 9.0)
        session = [3, 4, 6]
        parameters = {name: getattr(model, name) for name in ("attention", "importance", "distance", "value")}
        found = directions(parameters, model.vectors[session][None], np.ones((1, 3), bool))
        for length in range(1, 4):
            assert np.asarray(found[0, length - 1]) == pytest.approx(
                direction(model, session[:length]), abs=1e-5
            )

    def test_the_same_seed_gives_the_same_model_and_training_can_go_on(self) -> None:
        config = msgspec.structs.replace(SMALL, passes=1)
        a, b = (train_sequence(walks(50), 40, config) for _ in range(2))
        assert np.array_equal(a.vectors, b.vectors)
        later = train_sequence(walks(50, seed=2), 40, config, before=a)
        assert 0.0 < float(np.abs(later.vectors - a.vectors).max()) < 0.5
