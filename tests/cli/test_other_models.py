"""Sources and scores from the command line: trained, made live, served, taken back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Opportune

from opportune import Engine
from opportune.clock import DAY
from opportune.engine.rankers import Rankers, item_table, serving
from opportune.learn.candidate_stage import CandidateStage
from opportune.learn.sequence_training import SequenceConfig
from opportune.recommend.rank_features import FEATURES
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.sequence_model import SequenceModel, neighbours_of
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.source import Floats, Interactions, Items, Query

pytest.importorskip("lightgbm", reason="the `learn` extra is not installed")

NOW = 1_790_000_000_000
PEOPLE = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty days: a third of the people look often and buy every few days; the others stop some day."""
    rng = np.random.default_rng(1)
    events = []
    for person in range(PEOPLE):
        keen, last = person % 3 == 0, 8 + person % 28
        for day in range(40 if keen else last):
            if not keen and rng.random() < 0.6:
                continue
            at = NOW - 40 * DAY + day * DAY + person * 1000
            circle = 20 * (person % 2)
            items = [f"p{circle + int(i)}" for i in rng.integers(0, 20, 3)]
            for step, item in enumerate(items):
                events.append(("Product Viewed", f"u{person}", at + step, {"product_id": item}))
            if rng.random() < (0.25 if keen else 0.03):
                order = {
                    "order_id": f"o{person}-{day}",
                    "value": 20.0 + person,
                    "products": [{"product_id": items[0], "price": 20.0 + person, "quantity": 1}],
                }
                events.append(("Order Completed", f"u{person}", at + 9, order))
    path = tmp_path_factory.mktemp("shop") / "data"
    with Engine.open(path, clock=lambda: NOW) as engine:
        engine.ingest(
            [
                {
                    "type": "track", "event": name, "userId": who, "messageId": str(n), "timestamp": at,
                    "properties": properties,
                }
                for n, (name, who, at, properties) in enumerate(events)
            ]
        )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("workspace")
    (path / "scores.yaml").write_text(
        "scores:\n"
        "  - {name: will_buy, model: 'live:buy'}\n"
        "  - {name: will_leave, model: 'live:churn'}\n"
        "  - {name: worth, model: 'live:clv', what: value, days: 30}\n"
    )
    (path / "segments.yaml").write_text(
        "segments:\n  - {name: worth_keeping, when: {worth: {gt: 10}, will_leave: {lt: 0.5}}}\n"
    )
    (path / "placements.yaml").write_text(
        "placements:\n  - {name: p, count: 5, sources: [{source: factors}], fallbacks: [microsegments]}\n"
    )
    return path


def train(opportune: Opportune, folder: Path, kind: str, *more: str) -> dict:
    ran = opportune("train", "--model", kind, "--data-dir", folder, "--json", *more)
    assert ran.code == 0, ran.err
    return ran.json


def test_scores_of_people(opportune: Opportune, folder: Path, workspace: Path) -> None:
    with Engine.open(folder, workspace=workspace, clock=lambda: NOW) as engine:
        features = engine.profile("user_id:u0")["features"]
        assert (features["will_buy"], features["will_leave"], features["worth"]) == (None, None, None)
    buy = train(opportune, folder, "buy", "--horizon-days", "5", "--promote")
    told = buy["bundle"]["metrics"]
    assert buy["state"] == "live"
    assert told["auc"] > 0.8
    assert told["rows"] <= PEOPLE
    assert sum(one["rows"] for one in told["bins"]) == told["rows"]
    churn = train(opportune, folder, "churn", "--horizon-days", "7")
    clv = train(opportune, folder, "clv")
    assert churn["state"] == clv["state"] == "candidate"
    assert clv["bundle"]["metrics"]["orders_came"] > 0
    for kind, one in (("churn", churn), ("clv", clv)):
        moved = opportune("promote", one["version"], "--model", kind, "--data-dir", folder, "--json").json
        assert moved["moves"][-1]["state"] == "live"
    with Engine.open(folder, workspace=workspace, clock=lambda: NOW) as engine:
        keen, gone = (engine.profile(f"user_id:u{n}")["features"] for n in (0, 1))
        assert keen["will_buy"] > 0.5 > gone["will_buy"]
        assert keen["worth"] > 20
        assert keen["will_leave"] < 0.5
        assert engine.profile("user_id:u0")["segments"] == ["worth_keeping"]
    assert buy["version"] in opportune("compare", "--model", "buy", "--data-dir", folder).out


def evaluated(opportune: Opportune, folder: Path, kind: str, version: str) -> dict:
    ran = opportune("evaluate", version, "--model", kind, "--data-dir", folder, "--share", "0.2", "--json")
    assert ran.code == 0, ran.err
    assert version in opportune("evaluate", version, "--model", kind, "--data-dir", folder).out
    assert list(ran.json) == [version]
    return ran.json[version]


def test_scores_are_evaluated(opportune: Opportune, folder: Path) -> None:
    buy = train(opportune, folder, "buy", "--horizon-days", "5")
    told = evaluated(opportune, folder, "buy", buy["version"])
    held_out = buy["bundle"]["metrics"]
    # The same people at the same time as in training, where the model that was measured had not met them.
    assert (told["rows"], told["base_rate"]) == (held_out["rows"], held_out["base_rate"])
    assert told["log_loss"] < held_out["log_loss"]
    clv = train(opportune, folder, "clv")
    lifetimes = evaluated(opportune, folder, "clv", clv["version"])
    assert lifetimes["orders_came"] == clv["bundle"]["metrics"]["orders_came"]
    ran = opportune("evaluate", "b1", "--model", "buy", "--data-dir", folder)
    assert ran.code != 0
    assert "no such model version" in ran.err


def test_sources(opportune: Opportune, folder: Path, workspace: Path) -> None:
    pytest.importorskip("implicit", reason="the `learn` extra is not installed")
    pytest.importorskip("sklearn", reason="the `learn` extra is not installed")

    def shown(engine: Engine) -> set[str]:
        viewed = [{"event": "product_viewed", "product_id": "p2"}]
        [decision] = engine.decide(
            {"placement": "p", "identifiers": {"anonymous_id": "new"}, "events": viewed}
        ).decisions
        return {item.item_id for item in decision.items}

    with Engine.open(folder, workspace=workspace, clock=lambda: NOW) as engine:
        assert shown(engine) == set()
        train(opportune, folder, "microsegments", "--segments", "2", "--dimensions", "8", "--promote")
        engine.refresh_ranker()
        assert len(shown(engine)) == 5
        assert shown(engine) < {f"p{n}" for n in range(20)}
        factors = train(opportune, folder, "factors", "--dimensions", "8", "--promote")
        assert factors["bundle"]["metrics"]["alone"]["hr20"] > 50
        assert evaluated(opportune, folder, "factors", factors["version"])["hr20"] > 50
        engine.refresh_ranker()
        assert shown(engine) < {f"p{n}" for n in range(20)}


class Drawn:
    """Stands for training, which tests/learn has: items on a circle, in order of their numbers."""

    def __init__(self) -> None:
        self.histories: list[Interactions] = []

    def __call__(self, history: Interactions, items: int, config: SequenceConfig) -> SequenceModel:
        self.histories.append(history)
        d = config.dimensions
        angle = 2 * np.pi * np.arange(items) / items
        vectors = np.zeros((items, d), np.float32)
        vectors[:, 0], vectors[:, 1] = np.cos(angle), np.sin(angle)
        square, flat, window = np.zeros((d, d), np.float32), np.zeros(d, np.float32), np.zeros(5, np.float32)
        return SequenceModel(
            vectors, square, flat, window, square, window, neighbours_of(vectors, square, 4), 9.0
        )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    found = Drawn()
    monkeypatch.setattr("opportune.engine.model_training.train_sequence", found)
    return found


def test_a_sequence_model(opportune: Opportune, folder: Path, tmp_path: Path, drawn: Drawn) -> None:
    (tmp_path / "placements.yaml").write_text(
        "placements:\n  - {name: p, count: 2, sources: [{source: sequence}], fallbacks: []}\n"
    )
    viewed = [{"event": "product_viewed", "product_id": "p2"}]
    request = {"placement": "p", "identifiers": {"anonymous_id": "new"}, "events": viewed}
    with Engine.open(folder, workspace=tmp_path, clock=lambda: NOW) as engine:
        assert engine.decide(request).decisions[0].items == []
        trained = train(opportune, folder, "sequence", "--dimensions", "4")
        assert trained["bundle"]["metrics"]["alone"]["cases"] > 0
        moved = opportune(
            "promote", trained["version"], "--model", "sequence", "--data-dir", folder, "--json"
        )
        assert moved.json["moves"][-1]["state"] == "live"
        engine.refresh_ranker()
        number = engine.state.catalog.number("p2")
        near = {engine.state.catalog.ids[number + step] for step in (-1, 1)}
        assert {item.item_id for item in engine.decide(request).decisions[0].items} == near


def test_what_the_sequence_model_thinks_is_the_same_feature_in_training_and_in_service(
    opportune: Opportune, folder: Path, tmp_path: Path, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    asked: list[Query] = []
    propose = CandidateStage.propose

    def watched(self: CandidateStage, query: Query, *own: float) -> tuple[Items, Floats, Floats]:
        items, blended, columns = propose(self, query, *own)
        asked.append(query)
        seen.append(columns.copy())
        return items, blended, columns

    monkeypatch.setattr(CandidateStage, "propose", watched)
    (tmp_path / "placements.yaml").write_text(
        "placements:\n"
        "  - {name: p, count: 5, sources: [{source: session_knn}, {source: sequence, weight: 0.5}]}\n"
    )
    few = ("--placement", "p", "--workspace", tmp_path, "--trees", "3", "--leaves", "4")
    trained = train(opportune, folder, "ranker", *few, "--no-sequence")
    assert trained["bundle"]["sequence"]  # it is a source of the placement, so its opinion is there anyway
    assert trained["bundle"]["sources"] == {"session_knn": 1.0, "sequence": 0.5}
    segments = trained["bundle"]["segments"]
    new, known = (segments[f"{which} people"]["ranked"]["cases"] for which in ("new", "known"))
    assert new + known == trained["bundle"]["metrics"]["ranked"]["cases"]
    assert 0 < new < known / 5  # six people of forty days: the first session of each is new
    [past] = drawn.histories
    first_case = min(query.now for query in asked)
    sessions = set(past.session.tolist())
    with Engine.open(folder, workspace=tmp_path, clock=lambda: NOW) as engine:
        log = engine.state.models.log
        touches = log.tail(log.first)
        later = touches.session > max(sessions)
        # Trained on whole sessions that began before the first case, and on nothing of those that are asked.
        assert len(past) == int((~later).sum())
        assert first_case >= int(touches.time[later].min())
        bundle = Rankers(folder).load(trained["version"])
        signals = RankSignals()
        signals.fit(past)
        catalog = engine.state.catalog
        ranker = serving(bundle, catalog, signals)
        stage = CandidateStage([(SessionKnn(), 1.0)], signals, 100)
        stage.fit(past)
        stage.items = item_table(catalog)._replace(vector=np.array(bundle.vectors, np.float32))
        stage.sequence = bundle.sequence_source()
        for query in asked[:20]:
            items, blended, columns = propose(stage, query)
            said = np.zeros((1, len(items)), np.float32)
            known = SessionKnn.recommend(stage.sources[0], query)
            said[0] = [dict(zip(known.item, known.score, strict=True)).get(item, 0.0) for item in items]
            ranker.score(items, blended, query, {}, said, ("session_knn",))
            np.testing.assert_array_equal(ranker._columns[:, : len(items)], columns)
            at = list(FEATURES).index("sequence_score")
            assert np.nanmax(columns[at]) == 1.0


def test_only_rankers_can_be_on_trial(opportune: Opportune, folder: Path) -> None:
    ran = opportune("promote", "b1", "--model", "buy", "--to", "canary", "--data-dir", folder)
    assert ran.code != 0
    assert "only a ranker can be a canary" in ran.err


def test_a_history_that_is_too_short_is_said(opportune: Opportune, folder: Path) -> None:
    ran = opportune("train", "--model", "churn", "--horizon-days", "300", "--data-dir", folder)
    assert ran.code != 0
    assert "the history is too short for the horizon" in ran.err
