"""What nothing reads is named; what something reads is not, and by whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.learn.small_models import propensity

from opportune.engine.minimising import Declared, LiveInputs, live_inputs, minimisation
from opportune.engine.rankers import Rankers
from opportune.engine.versions import Versions
from opportune.engine.workspace import load_workspace
from opportune.learn.bundle import BUY, Bundle, BundleInfo, ModelInfo
from opportune.learn.buying import BuyingModel

FILES = {
    "features.yaml": """
extends: nothing
features:
  - {name: views, fold: count, event: product_viewed, windows: [1d, 30d]}
  - {name: orders, fold: count, event: order_completed, windows: [30d, all]}
  - {name: pro_views, fold: count, event: product_viewed, where: {traits.plan: pro}}
  - {name: cities, fold: last, value: traits.city, n: 1}
  - {name: spend, fold: sum, event: order_completed, value: value}
  - {name: idle, fold: recency}
  - {entity: session, name: steps, fold: count}
  - {entity: item, name: item_views, fold: count, event: product_viewed}
""",
    "segments.yaml": "segments: [{name: keen, when: {views_1d: {gt: 3}, pro_views: {gt: 0}}}]",
    "placements.yaml": "placements: [{name: p, sources: [{source: popular}], features: [will_buy]}]",
    "identity.yaml": "household: [postal_code]\ntraits: {nickname: {keep: most_frequent}}",
    "privacy.yaml": "retention: {traits: {shoe_size: 30d}}",
    "tracking_plan.yaml": "events: {identify: {traits: {properties: {gender: {type: string}}}}}",
    "scores.yaml": "scores: [{name: will_buy, model: buy.json}, {name: loyal, model: buying.json}]",
    "experiments.yaml": """
experiments:
  - {id: e, placements: [p], arms: [{id: a}, {id: b}], audience: {traits.country: CH}}
  - {id: over, status: stopped, placements: [p], arms: [{id: a}, {id: b}], audience: {traits.gender: f}}
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    for name, text in FILES.items():
        (path / name).write_text(text)
    (path / "buy.json").write_bytes(propensity(0))  # given orders_all, spend, idle; asks orders_all alone
    (path / "buying.json").write_bytes(msgspec.json.encode(BuyingModel(r=1.0, alpha=1.0, a=1.0, b=1.0)))
    return path


def found(folder: Path, **more: Any) -> dict[tuple[str, str], Declared]:
    report = minimisation(load_workspace(folder), live_inputs(folder.parent / "data", folder), **more)
    return {(one.kind, one.name): one for one in report.declared}


def test_what_nothing_reads(folder: Path) -> None:
    report = minimisation(load_workspace(folder), live_inputs(folder.parent / "data", folder))
    assert {(one.kind, one.name) for one in report.unread} == {
        ("score", "loyal"),
        ("feature", "cities"),
        ("feature", "spend"),  # will_buy is given it and never asks
        ("feature", "idle"),
        ("session feature", "steps"),
        ("trait", "city"),  # only a feature that nothing reads is made of it
        ("trait", "nickname"),
        ("trait", "shoe_size"),
        ("trait", "gender"),  # the experiment that asked is over
    }
    assert report.declared[: len(report.unread)] == report.unread, "they stand first"
    (will_buy, _) = report.models
    assert will_buy.unused == ("spend", "idle")


def test_what_is_read_says_by_whom(folder: Path) -> None:
    told = {key: (one.read_by, one.unread) for key, one in found(folder).items() if one.read_by}
    assert told == {
        ("score", "will_buy"): (("placement p",), ()),
        ("feature", "views"): (("segment keen",), ("views_30d",)),
        ("feature", "orders"): (("score will_buy",), ("orders_30d",)),
        ("feature", "pro_views"): (("segment keen",), ()),
        ("trait", "plan"): (("feature pro_views",), ()),
        ("trait", "postal_code"): (("households",), ()),
        ("trait", "country"): (("experiment e",), ()),
    }


def test_a_model_whose_score_nothing_reads_is_no_reason_to_keep_a_feature(folder: Path) -> None:
    (folder / "placements.yaml").write_text("placements: [{name: p, sources: [{source: popular}]}]")
    told = found(folder)
    assert told["score", "will_buy"].read_by == ()
    assert told["feature", "orders"].read_by == ()


def test_bandits_caps_and_holdouts_read_too(folder: Path) -> None:
    (folder / "experiments.yaml").write_text(
        "holdout: {share: 0.1, audience: {traits.gender: f}}\n"
        "experiments:\n"
        "  - {id: e, placements: [p], arms: [{id: a}, {id: b, only: {orders_30d: {lt: 3}}}],\n"
        "     bandit: {features: [spend, traits.city]}}\n"
    )
    told = found(folder)
    assert told["feature", "spend"].read_by == ("experiment e",)
    assert told["feature", "orders"].read_by == ("experiment e", "score will_buy")
    assert told["trait", "city"].read_by == ("experiment e",)
    assert told["trait", "gender"].read_by == ("experiment holdout",)


def test_what_proposals_of_who_is_one_compare_is_read(folder: Path) -> None:
    told = found(folder, matched=["nickname"])
    assert told["trait", "nickname"].read_by == ("proposals of who is one",)
    assert told["trait", "city"].read_by == ()


def test_a_live_version_reads_from_the_moment_it_is_live(folder: Path) -> None:
    (folder / "scores.yaml").write_text("scores: [{name: will_buy, model: 'live:buy'}]")
    data = folder.parent / "data"
    info = ModelInfo(
        model=BUY, version="b1", created=0, code_version="", definitions="", offsets=(0, 0), window=(0, 0),
        metrics={},
    )  # fmt: skip
    versions = Versions(data, BUY)
    versions.keep("b1", msgspec.json.encode(info), {"model": propensity(0, 1).decode()}, {}, at=1)
    assert found(folder)["feature", "spend"].read_by == ()
    versions.record(versions.registry().promote("b1", 2, "live"))
    assert found(folder)["feature", "spend"].read_by == ("score will_buy",)
    (told,) = live_inputs(data, folder)
    assert (told.version, told.unused) == ("buy b1", ("idle",))


def test_the_live_ranker_says_what_it_does_without(tmp_path: Path) -> None:
    info = BundleInfo(
        model="ranker", version="r1", created=0, code_version="", definitions="", offsets=(0, 0),
        window=(0, 0), items=1, catalogue="", sources={}, candidates=1, features=["age", "idle", "price"],
        config={}, trees=1, cases=1, metrics={}, importance={"price": 0.7, "age": 0.3, "idle": 0.0},
        ablation={"price": {"pays": True}, "popularity and trend": {"pays": False}},
    )  # fmt: skip
    rankers = Rankers(tmp_path)
    rankers.add(Bundle(info, "trees", np.zeros((1, 2), np.float32)), at=1)
    assert live_inputs(tmp_path, None) == []
    rankers.record(rankers.registry().promote("r1", 2, "live"))
    assert live_inputs(tmp_path, None) == [
        LiveInputs(
            "the ranker",
            "r1",
            ("age", "idle", "price"),
            ("age", "price"),
            ("popularity and trend",),
            {"age": 0.3, "idle": 0.0, "price": 0.7},
        )
    ]
    assert live_inputs(tmp_path, None)[0].unused == ("idle",)


def test_what_models_gain_from(folder: Path) -> None:
    """Four splits: 6 + 2 on the orders, 2 on what was spent; nobody ever split on how long they were away."""
    gained = {0: "6", 1: "2"}
    text = propensity(0, 1, 0).decode()
    for column, gain in gained.items():
        old, new = f"split_feature={column}\\n", f"split_feature={column}\\nsplit_gain={gain}\\n"
        assert old in text
        text = text.replace(old, new)
    (folder / "buy.json").write_text(text)
    report = minimisation(load_workspace(folder), live_inputs(folder.parent / "data", folder))
    (will_buy, loyal) = report.models
    assert will_buy.gain == {"orders_all": 12 / 14, "spend": 2 / 14, "idle": 0.0}
    assert loyal.gain == {}
    told = {one.name: one.gain for one in report.declared}
    assert (told["orders"], told["spend"], told["idle"]) == (12 / 14, 2 / 14, 0.0)
    assert (told["views"], told["city"]) == (None, None), "given to no model"
    assert [one.name for one in report.no_gain] == ["idle"]
    assert report.told()["no_gain"] == ["idle"]
