"""The person's own model: against the textbook's formulas, as a fold, and what it is for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opportune.clock import DAY
from opportune.learn.item_vectors import item_vectors
from opportune.profiles.history import HISTORY, history_before
from opportune.profiles.leaf_fold import LeafFold
from opportune.profiles.schema import ProfileSchema
from opportune.recommend.past import NO_PAST, Past, past_of
from opportune.recommend.source import Interactions
from opportune.recommend.taste import DIMENSIONS, HALF_LIFE_S, PRIOR, believe, taste_of, weigh
from opportune.testing.folds import END, FoldCase, check_fold, shop_events

ITEMS = 60
VECTORS = np.random.default_rng(3).normal(size=(ITEMS, 24)).astype(np.float32)
VECTORS[7] = 0


def past(*rows: tuple[int, float, float, float]) -> Past:
    """Of (item, kind, touches, days ago)."""
    known = np.zeros((6, len(rows)), np.float32)
    for at, (_, kind, touches, days) in enumerate(rows):
        known[:2, at] = kind, touches
        known[4, at] = days * 86_400
    return Past(np.array([row[0] for row in rows], np.int32), known)


def beliefs(of: Past, *items: int) -> np.ndarray:
    out = np.full((2, len(items)), np.nan, np.float32)
    believe(VECTORS, taste_of(VECTORS, of), np.array(items, np.int32), out)
    return out


def test_it_is_bayesian_linear_regression() -> None:
    rng = np.random.default_rng(5)
    rows = [(int(rng.integers(ITEMS)), float(rng.integers(-1, 3)), float(rng.integers(1, 7)), 9.0 * n)
            for n in range(30)]  # fmt: skip
    unit = VECTORS[:, :DIMENSIONS].astype(np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    precision, toward = PRIOR * np.eye(DIMENSIONS), np.zeros(DIMENSIONS)
    for item, kind, touches, days in rows:
        of_kind = {-1.0: 4, 0.0: 1, 1.0: 3, 2.0: 5}[kind]
        weight = of_kind * min(touches, 4) * 0.5 ** (days / 30)
        assert weigh(kind, touches, days * 86_400.0) == pytest.approx(weight)
        precision += weight * np.outer(unit[item], unit[item])
        toward += (-1 if kind < 0 else 1) * weight * unit[item]
    covariance = np.linalg.inv(precision)
    found = beliefs(past(*rows), 1, 2, 3, 40)
    asked = unit[[1, 2, 3, 40]]
    np.testing.assert_allclose(found[0], asked @ covariance @ toward, atol=1e-5)
    np.testing.assert_allclose(
        found[1], np.sqrt(np.einsum("nd,de,ne->n", asked, covariance, asked)), atol=1e-5
    )


def test_what_little_is_known_moves_little_and_dismissals_move_away() -> None:
    # of one direction the belief is that of a mean: n w / (n w + 1), with variance 1 / (n w + 1)
    seen, bought, dismissed = (float(beliefs(past((5, kind, 1, 0)), 5)[0, 0]) for kind in (0, 2, -1))
    assert seen == pytest.approx(1 / 2, abs=1e-5)
    assert bought == pytest.approx(5 / 6, abs=1e-5)
    assert dismissed == pytest.approx(-4 / 5, abs=1e-5)
    sure, unsure = (float(beliefs(past((5, 2, 1, days)), 5)[1, 0]) for days in (0, 60))
    assert sure == pytest.approx(math.sqrt(1 / 6), abs=1e-5)
    assert unsure == pytest.approx(math.sqrt(1 / (5 / 4 + 1)), abs=1e-5)
    assert HALF_LIFE_S == 30 * 86_400


def test_items_without_a_vector_say_nothing() -> None:
    assert taste_of(VECTORS, past((7, 0, 1, 0), (ITEMS + 3, 0, 1, 0))).evidence == 0
    assert taste_of(VECTORS, NO_PAST).evidence == 0
    assert taste_of(np.zeros((0, 1), np.float32), past((1, 0, 1, 0))).evidence == 0
    assert np.isnan(beliefs(past((1, 0, 1, 0)), 7, -1, ITEMS)).all()
    few = np.eye(3, 5, dtype=np.float32)  # fewer dimensions than the model has
    out = np.full((2, 2), np.nan, np.float32)
    believe(few, taste_of(few, past((1, 2, 1, 0))), np.array([1, 2], np.int32), out)
    np.testing.assert_allclose(out, [[5 / 6, 0], [math.sqrt(1 / 6), 1]], atol=1e-6)


def test_the_first_numbers_of_trained_vectors_tell_most() -> None:
    """Sessions stay within one of four groups of items, and within these within one of two."""
    rng = np.random.default_rng(4)
    group = rng.integers(0, 8, 400)
    item = (group[:, None] * 10 + rng.integers(0, 10, (400, 6))).astype(np.int32)
    away = rng.random(item.shape) < 0.2
    item[away] = (item[away] // 20) * 20 + rng.integers(0, 20, int(away.sum()))
    rows = Interactions(
        np.repeat(np.arange(400), 6), item.ravel(), np.zeros(2400, np.int8), np.arange(2400, dtype=np.int64)
    )
    told = np.square(item_vectors(rows, 80, dimensions=32)).sum(axis=0)
    assert told[:8].sum() > 2 * told[8:16].sum() > 2 * told[24:].sum()


class TasteFold(LeafFold):
    """The leaf, read as the person's beliefs about twelve items."""

    def read(self, state, now):
        history = history_before(state.touches, state.bought, state.dismissed, now)
        of = past_of({HISTORY: history}, lambda item: int(item[1:]) if item[1:].isdigit() else -1, now)
        return beliefs(of, *range(6), *range(8, 14)).round(4).tolist()


@pytest.mark.parametrize("now", [END, END - 30 * DAY])
def test_it_keeps_the_laws_of_folds(now: int) -> None:
    schema = ProfileSchema(())
    events = shop_events(identifiers=(("anonymous_id:a1",), ("user_id:u1", "anonymous_id:a1")))
    check_fold(FoldCase(TasteFold(schema), events, now, examples=15))
