"""Match weights learnt without labels."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from opportune.errors import InvalidRequest
from opportune.identity.matching import training
from opportune.identity.matching.columns import Column, columns_of
from opportune.identity.matching.model import MatchModel, contributions, probability, waterfall, weights
from opportune.identity.matching.records import Records
from opportune.identity.matching.training import train
from opportune.testing.people import COLUMNS, people

pytest.importorskip("rapidfuzz", reason="needs the extra `identity`")


@pytest.fixture(scope="module")
def learnt() -> tuple[Records, list[int], MatchModel]:
    rows, truth = people(300, seed=3, copies=0.4)
    columns = columns_of(COLUMNS, [[r[c] for c in COLUMNS] for r in rows])
    records = Records.of(columns, rows)
    return records, truth, train(records)


def test_m_u_and_prior_are_near_what_the_truth_says(learnt):
    records, truth, model = learnt
    left, right = np.triu_indices(len(truth), 1)
    people_of = np.array(truth)
    same = people_of[left] == people_of[right]
    assert model.prior == pytest.approx(same.mean(), rel=0.05)
    codes = records.codes(0)
    both = (codes[left] >= 0) & (codes[right] >= 0)
    equal = codes[left] == codes[right]
    first_name = model.columns[0]
    assert first_name.m[-1] == pytest.approx(equal[both & same].mean(), abs=0.05)
    assert first_name.u[-1] == pytest.approx(equal[both & ~same].mean(), rel=0.15)


def test_likely_pairs_are_true_and_true_pairs_are_likely(learnt):
    records, truth, model = learnt
    left, right = np.triu_indices(len(truth), 1)
    same = np.array(truth)[left] == np.array(truth)[right]
    said = weights(model, records, left, right) > 0
    assert (said & same).sum() / said.sum() > 0.99
    assert (said & same).sum() / same.sum() > 0.99


def test_a_waterfall_adds_up_to_the_weight(learnt):
    records, _, model = learnt
    steps = waterfall(model, records, 0, 1)
    assert [s["column"] for s in steps] == ["", *COLUMNS]
    assert steps[0]["bits"] == math.log2(model.prior / (1 - model.prior))
    assert sum(s["bits"] for s in steps) == pytest.approx(steps[-1]["sum"])
    assert steps[-1]["sum"] == pytest.approx(weights(model, records, np.array([0]), np.array([1]))[0])


def test_agreeing_on_a_rare_name_says_more():
    columns = [Column("surname", "name", "name"), Column("dob", "date")]
    rows = [{"surname": "smith", "dob": f"19{y}-0{m}-11"} for y in range(50, 90) for m in (1, 5)]
    rows += [{"surname": f"{a}{b}oq", "dob": f"19{y}-0{m}-1{b}"}
             for a in ("kub", "wel", "zam") for b in range(9) for y in (61, 74) for m in (3, 8)]  # fmt: skip
    records = Records.of(columns, rows)
    model = train(records)
    smiths, others = np.array([0, 80]), np.array([2, 81])
    common, rare = contributions(model, records, smiths, others)[0]
    assert common < rare


def test_the_table_shows_every_level_and_the_model_is_plain_data(learnt):
    _, _, model = learnt
    table = model.table()
    assert {row["column"] for row in table} == {*COLUMNS}
    first = next(r for r in table if (r["column"], r["level"]) == ("first_name", "the same"))
    assert first["weight"] == math.log2(first["m"] / first["u"])
    assert msgspec.json.decode(msgspec.json.encode(model), type=MatchModel) == model


def test_training_needs_records_and_columns():
    with pytest.raises(
        InvalidRequest, match="at least two records and one column, saw '0 records, 1 columns'"
    ):
        train(Records([Column("a", "name")]))


def test_probabilities_of_weights():
    assert [float(probability(w)) for w in (0.0, 1.0, -1.0)] == [1 / 2, 2 / 3, 1 / 3]


def test_a_sample_of_searches_learns_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = people(900, seed=3, copies=0.4)
    columns = columns_of(COLUMNS, [[row[c] for c in COLUMNS] for row in rows])
    records = Records.of(columns, rows)
    whole = train(records)
    monkeypatch.setattr(training, "MOST_SEARCHED", len(rows) // 3)
    sample = train(records)
    assert sample.prior == pytest.approx(whole.prior, rel=0.3)
    for one, other in zip(sample.columns, whole.columns, strict=True):
        assert one.weight(len(one.m) - 1) == pytest.approx(other.weight(len(other.m) - 1), abs=0.5)
