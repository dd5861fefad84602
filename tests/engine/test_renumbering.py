"""A version means the same items whatever numbers they have."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from tests.recommend.test_sequence import model as sequence_model

from opportune.catalog.items import Catalog
from opportune.engine.history import numbering_digest
from opportune.engine.renumbering import items_of, renumbered
from opportune.errors import Corrupt
from opportune.recommend.factors import FactorModel, Factors
from opportune.recommend.microsegments import MicrosegmentModel, Microsegments
from opportune.recommend.sequence import SequenceSource
from opportune.recommend.sequence_model import SequenceModel
from opportune.recommend.source import CandidateSource
from opportune.testing.sources import query

IDS = [f"p{n}" for n in range(12)]
RNG = np.random.default_rng(5)


def catalog(ids: list[str]) -> Catalog:
    made = Catalog()
    for item_id in ids:
        made.intern(item_id)
    return made


def info(there: Catalog) -> bytes:
    config = {"items": len(there), "catalogue": numbering_digest(there, len(there))}
    return msgspec.json.encode({"version": "v1", "config": config})


THERE = catalog(IDS)
SHUFFLED = ["new", *[IDS[n] for n in RNG.permutation(len(IDS))], "newer"]
HERE = catalog(SHUFFLED)


def factors(arrays: dict[str, Any]) -> CandidateSource:
    return Factors(FactorModel(arrays["vectors"], 0.1, (1.0, 2.0, 3.0)))


def microsegments(arrays: dict[str, Any]) -> CandidateSource:
    return Microsegments(MicrosegmentModel(**arrays))


def sequence(arrays: dict[str, Any]) -> CandidateSource:
    return SequenceSource(SequenceModel.of_arrays(arrays))


def unit(*shape: int) -> Any:
    rows = RNG.normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


SEGMENTS = {
    "vectors": unit(12, 4),
    "centroids": unit(3, 4),
    "items": np.array([RNG.permutation(12)[:6] for _ in range(3)], np.int32),
    "scores": np.sort(RNG.random((3, 6)).astype(np.float32))[:, ::-1].copy(),
}
CASES = [
    pytest.param(factors, {"vectors": unit(12, 4)}, id="factors"),
    pytest.param(microsegments, SEGMENTS, id="microsegments"),
    pytest.param(sequence, sequence_model(12, neighbours=11).arrays(), id="sequence"),
]


def answers(source: CandidateSource, of: Catalog, session: list[str]) -> dict[str, float]:
    found = source.recommend(query(*(of.number(item_id) for item_id in session), count=20))
    return {of.ids[n]: float(s) for n, s in zip(found.item.tolist(), found.score.tolist(), strict=True)}


@pytest.mark.parametrize(("source", "arrays"), CASES)
def test_a_model_proposes_the_same_items_by_other_numbers(source: Any, arrays: dict[str, Any]) -> None:
    told, moved = renumbered(info(THERE), arrays, IDS, HERE)
    size = 1 + max(HERE.number(item_id) for item_id in IDS)
    assert items_of(told) == (size, numbering_digest(HERE, size))
    for session in (["p0"], ["p3", "p7"], ["p11", "p1", "p5"]):
        before = answers(source(arrays), THERE, session)
        after = answers(source(moved), HERE, session)
        assert len(before) > 0
        assert before.keys() == after.keys()
        for item_id, score in before.items():
            assert after[item_id] == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize(("source", "arrays"), CASES)
def test_an_item_that_is_unknown_here_is_not_proposed(source: Any, arrays: dict[str, Any]) -> None:
    before = answers(source(arrays), THERE, ["p0", "p4"])
    gone = sorted(before.keys() - {"p0", "p4"})[:2]
    few = catalog([item_id for item_id in SHUFFLED if item_id not in gone])
    _, moved = renumbered(info(THERE), arrays, IDS, few)
    found = answers(source(moved), few, ["p0", "p4"])
    assert len(gone) == 2
    assert len(found) > 0
    assert found.keys() <= set(few.ids)


def test_a_ranker_brings_its_sequence_model_along() -> None:
    told = msgspec.json.decode(info(THERE))["config"]
    own, model = unit(12, 4), sequence_model(12, neighbours=11).arrays()
    prefixed = {f"sequence-{name}": array for name, array in model.items()}
    bundle = msgspec.json.encode({"version": "r1", **told})
    made, moved = renumbered(bundle, {"vectors": own, **prefixed}, IDS, HERE)
    assert items_of(made)[1] == numbering_digest(HERE, items_of(made)[0])
    assert moved.keys() == {"vectors", *prefixed}
    for item_id in IDS:
        np.testing.assert_array_equal(moved["vectors"][HERE.number(item_id)], own[THERE.number(item_id)])
    alone = renumbered(info(THERE), model, IDS, HERE)[1]
    for name, array in alone.items():
        np.testing.assert_array_equal(moved[f"sequence-{name}"], array)
    assert not moved["vectors"][HERE.number("new")].any()


def test_a_version_without_items_says_so() -> None:
    assert items_of(b'{"version": "b1", "config": {"horizon_days": 7}}') == (0, "")


def test_more_rows_than_items_are_no_version() -> None:
    with pytest.raises(Corrupt, match="vectors has more rows than the version has items, saw '3, 2 items'"):
        renumbered(info(THERE), {"vectors": unit(3, 4)}, IDS[:2], HERE)
