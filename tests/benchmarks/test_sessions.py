"""The next-item benchmark: its protocol, its baselines, its command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from benchmarks.quality import session_baselines as baselines
from benchmarks.quality import session_ranked
from benchmarks.quality.scenarios import SCENARIOS, fallen
from benchmarks.quality.session_data import Sessions, cases, load
from benchmarks.quality.session_plot import draw
from benchmarks.quality.session_ranks import DEPTH, knn_ranks
from benchmarks.quality.session_tuning import GRID, sized, tune
from benchmarks.quality.sessions import main, measures, usual_share

from opportune.recommend.past import AGE_S, AGO, TOUCHES
from opportune.recommend.sequence_model import SequenceModel, neighbours_of
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.session_knn_config import MAX_SESSION, SessionKnnConfig
from opportune.recommend.source import Interactions
from opportune.testing.sources import query


def sessions(*items: list[int]) -> Sessions:
    return Sessions(
        np.concatenate([np.array(part, np.int32) for part in items]), np.cumsum([0, *map(len, items)])
    )


def write(folder: Path, train: list[list[int]], test: list[list[int]]) -> None:
    rows = [
        (split, number, position, item)
        for split, part in (("train", train), ("test", test))
        for number, session in enumerate(part)
        for position, item in enumerate(session)
    ]
    columns = list(zip(*rows[::-1], strict=True))  # any order of rows will do
    names = ("split", "session_id", "position", "item_id")
    pyarrow.parquet.write_table(
        pa.table(dict(zip(names, map(list, columns), strict=True))), folder / "sessions.parquet"
    )


def walks(seed: int, count: int) -> list[list[int]]:
    """Sessions that walk along a ring of 40 items, so that the next item can be learnt."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        at = int(rng.integers(0, 40))
        found.append([(at + step + int(rng.integers(0, 2))) % 40 for step in range(int(rng.integers(2, 7)))])
    return found


def test_every_prefix_of_every_session_is_a_case() -> None:
    asked = cases(sessions([1, 2, 3], [4], [5, 6]))
    prefixes = [asked.item[a:b].tolist() for a, b in zip(asked.first, asked.at, strict=True)]
    assert prefixes == [[1], [1, 2], [5]]
    assert asked.item[asked.at].tolist() == [2, 3, 6]
    assert asked.session.tolist() == [0, 0, 2]


def test_sessions_come_back_in_order_and_items_numbered_by_first_click(tmp_path: Path) -> None:
    write(tmp_path, [[70, 50], [50, 90]], [[90, 70]])
    split = load(tmp_path)
    assert split.train.item.tolist() == [0, 1, 1, 2]
    assert split.train.start.tolist() == [0, 2, 4]
    assert split.test.item.tolist() == [2, 0]
    assert split.items == 3


def test_the_benchmark_ranks_as_recommend_does() -> None:
    train, test = sessions(*walks(1, 200)), sessions(*walks(2, 20), list(range(40)) * 2)
    source = SessionKnn(sized(SessionKnnConfig(), len(train.item), 40))
    source.fit(train.interactions())
    asked = cases(test)
    expected = []
    for first, at in zip(asked.first.tolist(), asked.at.tolist(), strict=True):
        session = asked.item[max(first, at - MAX_SESSION) : at].tolist()
        found = source.recommend(query(*session, count=DEPTH)).item.tolist()
        target = int(asked.item[at])
        expected.append(found.index(target) + 1 if target in found else 0)
    assert knn_ranks(source, asked).tolist() == expected
    assert any(expected)


def test_baselines_on_a_history_whose_answers_are_visible() -> None:
    train = sessions([1, 2], [1, 2], [1, 3], [4, 1, 5])
    asked = cases(sessions([1, 2], [1, 5], [4, 5], [2, 1], [2, 2]))
    # after item 1: 2 twice; 5 and 3 once, the newer first
    assert baselines.markov(train, 6, asked).tolist() == [1, 2, 0, 0, 0]
    assert baselines.sequential_rules(train, 6, asked).tolist() == [1, 2, 2, 0, 0]
    # together with 1: 2 twice; 5, 4, 3 once
    assert baselines.association_rules(train, 6, asked).tolist() == [1, 2, 1, 1, 0]
    assert baselines.popularity(train, 6, asked).tolist() == [2, 3, 3, 1, 2]
    assert baselines.session_popularity(asked).tolist() == [0, 0, 0, 0, 1]
    # cosine to 1 (4 touches): 2 is 2 / sqrt(4 * 2), the others 1 / sqrt(4 * 1)
    assert baselines.item_knn(train, 6, asked).tolist() == [1, 2, 1, 1, 0]


def test_measures_are_percentages_with_intervals_around_them() -> None:
    asked = cases(sessions(*[[1, 2, 3]] * 50))
    ranks = np.tile(np.array([1, 0], np.int32), 50)
    result = measures(ranks, asked, seed=1)
    assert (result["hr20"], result["mrr20"]) == (50.0, 50.0)
    assert result["hr20_interval"] == [50.0, 50.0]  # every session is half right, whichever are drawn
    mixed = measures(np.where(np.arange(100) < 50, 2, 0).astype(np.int32), asked, seed=1)
    assert (mixed["hr20"], mixed["mrr20"]) == (50.0, 25.0)
    low, high = mixed["hr20_interval"]
    assert 30 < low < 45 < 55 < high < 70


def test_tuning_never_sees_test_and_repeats_itself() -> None:
    train = sessions(*walks(3, 300))
    said: list[str] = []
    first = tune(train, 40, evaluations=25, share=0.1, sampled=20, seed=5, report=said.append)
    again = tune(train, 40, evaluations=25, share=0.1, sampled=20, seed=5, report=said.append)
    assert first == again
    assert first.evaluations <= 25
    assert said
    start = SessionKnnConfig()
    held_out = cases(train.slice(270, 300).sample(20, 5))
    source = SessionKnn(sized(start, len(train.item), 40))
    source.fit(train.slice(0, 270).interactions())
    before = np.mean(knn_ranks(source, held_out) > 0)
    assert first.hit_rate + 2 * first.reciprocal_rank >= before
    assert set(GRID) <= set(SessionKnnConfig.__struct_fields__)


def trained(history: Interactions, items: int, *_: object, **__: object) -> SequenceModel:
    """In place of training, which takes JAX and its compiler."""
    vectors = np.random.default_rng(1).normal(size=(items, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    square, flat = np.zeros((4, 4), np.float32), np.zeros(4, np.float32)
    return SequenceModel(
        vectors, square, flat, flat, square, flat, neighbours_of(vectors, square, 10), sharpness=5.0
    )


def test_the_command_prints_json_and_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_ranked, "train_sequence", trained)
    write(tmp_path, walks(6, 200), walks(7, 30))
    assert main([str(tmp_path), "--json", "--evaluations", "3", "--seed", "9"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert "test: popular" in captured.err
    assert report["cases"] == len(cases(sessions(*walks(7, 30))))
    assert report["seed"] == 9
    assert report["tuning"]["evaluations"] == 3
    assert report["tuning"]["validation_share_of_train"] == usual_share(200) == 0.25
    assert set(report["results"]) >= {"sessions/popular", "sessions/v-sknn", "sessions/knn-tuned"}
    tuned = report["results"]["sessions/knn-tuned"]
    assert tuned["hr20"] > report["results"]["sessions/s-pop"]["hr20"]
    assert tuned["hr20_interval"][0] <= tuned["hr20"] <= tuned["hr20_interval"][1]
    assert set(report["results"]) | {"sessions/ranked-sampled-negatives"} == set(SCENARIOS)
    assert set(report["costs_us"]) <= set(report["results"])
    assert main([str(tmp_path), "--evaluations", "2", "--ranker-cases", "0"]) == 0
    assert "session-kNN, tuned on train" in capsys.readouterr().out


def test_what_fell_by_more_than_its_tolerance_is_named() -> None:
    before = {
        "sessions/ranked": {"hr20": 56.0, "mrr20": 21.0},
        "sessions/popular": {"hr20": 1.0, "mrr20": 0.2},
    }
    now = {"sessions/ranked": {"hr20": 55.8, "mrr20": 20.7}, "sessions/popular": {"hr20": 1.0, "mrr20": 0.2}}
    assert fallen(now, before) == ["sessions/ranked mrr20: 20.70, was 21.00, may fall by 0.20"]
    assert fallen({"sessions/sequence": {"hr20": 1.0, "mrr20": 1.0}}, before) == []


def test_the_picture_is_the_same_for_the_same_report(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")
    interval = {"hr20_interval": [50.0, 52.0], "mrr20_interval": [18.0, 19.0]}
    report = {
        "results": {"sessions/ranked": {"hr20": 51.0, "mrr20": 18.5, **interval}},
        "costs_us": {"sessions/ranked": {"p50": 400.0, "p90": 500.0, "p99": 900.0}},
    }
    draw(report, tmp_path / "a.svg")
    first = (tmp_path / "a.svg").read_bytes()
    draw(report, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_bytes() == first
    assert first.count(b"<!-- ranked -->") == 2


def test_a_folder_without_sessions_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert f"{tmp_path}/sessions.parquet is not there" in capsys.readouterr().err


def test_a_small_history_gives_more_of_itself_to_validation() -> None:
    assert [usual_share(n) for n in (0, 4_000, 20_000, 186_670)] == [0.25, 0.25, 3000 / 20_000, 0.07]


def test_what_people_did_before_is_read_as_a_decision_would(tmp_path: Path) -> None:
    """Ada comes three times, the last time in test; the order of the file is not that of time."""
    hour = 3600
    rows = [
        (0, "ada", "a"),
        (60, "ada", "b"),
        (5 * hour, "bob", "c"),
        (9 * hour, "ada", "b"),
        (9 * hour + 5, "ada", "d"),
    ]
    rows += [(20 * hour + n * hour, f"u{n}", "a") for n in range(26)]
    rows += [
        (60 * hour, "ada", "c"),
        (60 * hour + 30, "ada", "a"),
        (60 * hour + 70, "ada", "d"),
        (61 * hour, "eve", "a"),
        (61 * hour + 9, "eve", "b"),
        (62 * hour, "z", "a"),
    ]
    (tmp_path / "log.csv").write_text(
        "timestamp,visitorid,itemid\n" + "".join(f"{t},{u},{i}\n" for t, u, i in rows[::-1])
    )
    split = load(tmp_path)
    assert split.test.person is not None
    assert split.test.time is not None
    asked = session_ranked.timely([split.train], split.test)
    assert len(asked) == 3  # two of ada's third visit, one of eve's
    a, b, c, d = 0, 1, 2, 3
    first, second, stranger = (asked.query(case, 20) for case in range(3))
    # visits ago, touches, and seconds at the last touch known: of d, b, a
    assert first.past.item.tolist() == [d, b, a]
    assert first.past.known[AGO].tolist() == [1, 1, 2]
    assert first.past.known[TOUCHES].tolist() == [1, 2, 1]
    assert first.past.known[AGE_S].tolist() == [51 * hour - 5, 51 * hour, 60 * hour]
    assert second.past.known[AGE_S].tolist() == [51 * hour + 25, 51 * hour + 30, 60 * hour + 30]
    assert second.age_s.tolist() == [70, 40]
    assert second.session.tolist() == [c, a]
    assert not len(stranger.past.item)
    without = sessions([1, 2], [1, 3])
    assert session_ranked.timely([without], without).past is None
    assert np.isnan(session_ranked.timely([without], without).query(0, 20).age_s).all()
