"""Records one at a time, as all at once."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.identity.matching.candidates import candidate_pairs
from opportune.identity.matching.clusters import agglomerate
from opportune.identity.matching.columns import columns_of
from opportune.identity.matching.matcher import LivePeople, Match, Matcher
from opportune.identity.matching.model import weights
from opportune.identity.matching.records import Records
from opportune.identity.matching.training import train
from opportune.testing.people import COLUMNS, people

pytest.importorskip("rapidfuzz", reason="needs the extra `identity`")

ROWS, TRUTH = people(150, seed=8, copies=0.5, mistakes=0.3)


@pytest.fixture(scope="module")
def trained():
    columns = columns_of(COLUMNS, [[r[c] for c in COLUMNS] for r in ROWS])
    records = Records.of(columns, ROWS)
    return records, train(records)


def test_one_at_a_time_gives_the_groups_of_all_at_once(trained):
    records, model = trained
    left, right = candidate_pairs(records)
    groups = agglomerate(len(records), left, right, weights(model, records, left, right)).labels(0.0)
    live = LivePeople(Matcher(model))
    for row in ROWS:
        live.add(row)
    assert live.group == groups.tolist()
    assert len({*zip(live.group, TRUTH, strict=True)}) <= len({*TRUTH}) + 10


def test_asking_changes_nothing(trained):
    _, model = trained
    matcher = Matcher(model, ROWS[:-1])
    values = [len(v) for v in matcher.records.values]
    unknown = {"first_name": "Xq", "surname": "Unheard", "email": "never@seen.example"}
    assert matcher.find(unknown) == []
    first = matcher.find(ROWS[-1])
    assert matcher.find(ROWS[-1]) == first
    assert len(matcher.records) == len(ROWS) - 1
    assert [len(v) for v in matcher.records.values] == values


def test_the_likeliest_is_first_and_found_with_its_probability(trained):
    _, model = trained
    matcher = Matcher(model, ROWS)
    found = matcher.find(ROWS[17], lowest=-10)
    assert found[0].record == 17
    assert found[0].probability > 0.999
    assert [m.weight for m in found] == sorted((m.weight for m in found), reverse=True)
    matcher.remove(17)
    assert 17 not in {m.record for m in matcher.find(ROWS[17])}


def test_what_was_added_is_found(trained):
    _, model = trained
    matcher = Matcher(model)
    assert matcher.add(ROWS[0]) == []
    assert [m.record for m in matcher.find(ROWS[0])] == [0]
    assert matcher.explain(0, 0)[-1]["sum"] == pytest.approx(matcher.find(ROWS[0])[0].weight)


def test_a_match_is_even_at_zero_bits():
    assert Match(0, 0.0).probability == 1 / 2
    assert np.isclose(Match(0, -1.0).probability, 1 / 3)
