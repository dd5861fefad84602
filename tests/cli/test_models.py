"""Train, compare, promote, serve, roll back: the life of a ranker from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Opportune

from opportune import Engine
from opportune.engine.shadow import EVERY

pytest.importorskip("lightgbm", reason="the `learn` extra is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("shop") / "data"
    events = []
    for session in range(700):
        first = at = int(rng.integers(0, 40))
        for step in range(int(rng.integers(3, 7))):
            events.append(
                {
                    "type": "track",
                    "event": "Product Viewed",
                    "anonymousId": f"a{session}",
                    "messageId": f"{session}-{step}",
                    "timestamp": f"2026-11-{1 + session // 50:02d}T10:{step:02d}:00Z",
                    "properties": {"product_id": f"p{first if step % 2 else at}"},
                }
            )
            at = (at + int(rng.integers(1, 5))) % 40
    with Engine.open(path) as engine:
        engine.ingest(events)
    return path


def decide(engine: Engine) -> tuple[list[str], str | None]:
    """Asked again while the machine is too busy to rank within the placement's budget."""
    for _ in range(20):
        decision = engine.decide(
            {
                "placement": "home_recs",
                "identifiers": {"anonymous_id": "new"},
                "events": [{"event": "product_viewed", "product_id": item} for item in ("p1", "p2")],
            }
        ).decisions[0]
        if "rank: late" not in decision.degraded:
            break
    ranker = engine._world.ranker
    return decision.degraded, None if ranker is None else ranker.name


def test_the_life_of_a_ranker(opportune: Opportune, folder: Path, tmp_path: Path) -> None:
    shown = opportune(
        "train",
        "--data-dir",
        folder,
        "--trees",
        "20",
        "--leaves",
        "7",
        "--json",
        "--report",
        tmp_path / "r.html",
    )
    assert shown.code == 0, shown.err
    version = shown.json["version"]
    assert shown.json["state"] == "candidate"
    bundle = shown.json["bundle"]
    assert bundle["offsets"][0] == 1
    assert bundle["items"] == 40
    segments = {name: told["ranked"]["cases"] for name, told in bundle["segments"].items()}
    assert segments["new people"] == bundle["metrics"]["ranked"]["cases"] > 0  # everybody comes once
    assert segments["known people"] == 0
    page = (tmp_path / "r.html").read_text()
    assert f"Training of {version}" in page
    assert page.count("<svg") == 2

    with Engine.open(folder) as engine:
        assert decide(engine)[1] is None
        moved = opportune(
            "promote", version, "--to", "live", "--note", "good", "--data-dir", folder, "--json"
        )
        assert [(move["version"], move["state"]) for move in moved.json["moves"]] == [(version, "live")]
        assert engine.refresh_ranker()
        assert not engine.refresh_ranker()
        degraded, name = decide(engine)
        assert name == f"ranker/{version}"
        assert not [why for why in degraded if why.startswith("rank: failed")]

    refused = opportune("rollback", "--data-dir", folder)
    assert refused.code != 0
    assert "there is no version to go back to" in refused.err
    evaluated = opportune("evaluate", version, "--data-dir", folder, "--share", "0.2", "--json")
    assert set(evaluated.json) == {"stage", version}
    compared = opportune("compare", "--data-dir", folder)
    assert version in compared.out


def test_a_shadow_is_compared_on_real_decisions_and_shown_to_nobody(
    opportune: Opportune, folder: Path
) -> None:
    version = opportune("train", "--data-dir", folder, "--trees", "3", "--json").json["version"]
    assert opportune("promote", version, "--to", "shadow", "--data-dir", folder).code == 0
    with Engine.open(folder) as engine:
        live = engine._world.ranker
        assert live is None or not live.name.endswith(version)
        for _ in range(2 * EVERY + 1):
            decide(engine)
        while engine.maintain():
            pass
    [told] = [one for one in opportune("compare", "--data-dir", folder, "--json").json if "shadow" in one]
    shadow = told["shadow"]
    assert (told["version"], told["state"]) == (version, "shadow")
    assert (shadow["offered"], shadow["compared"], shadow["failed"]) == (2 * EVERY + 1, 2, 0)
    assert 0 < shadow["overlap"] <= 1
    assert -1 <= shadow["rank_correlation"] <= 1
    assert shadow["shadow_us"] > 0
    assert shadow["score_drift"] is not None
    assert "On real decisions" in opportune("compare", "--data-dir", folder).out


def test_a_canary_ranks_for_its_share_until_it_is_stopped(opportune: Opportune, folder: Path) -> None:
    version = opportune("train", "--data-dir", folder, "--trees", "3", "--json").json["version"]
    promoted = opportune(
        "promote", version, "--to", "canary", "--share", "0.4", "--data-dir", folder, "--json"
    )
    assert promoted.json["moves"][-1]["share"] == 0.4

    def rankers(engine: Engine) -> list[str]:
        """The ranker of each of 100 people, as their decision's record has it."""
        found = []
        for person in range(100):
            [decision] = engine.decide(
                {"placement": "home_recs", "identifiers": {"anonymous_id": f"c{person}"}}
            ).decisions
            record = engine.decision(decision.decision_id)
            assert (
                decision.experiment.id == f"canary_{version.replace('-', '_')}" or not decision.experiment.id
            )
            found.append(record["versions"].get("ranker", "live"))
        return found

    with Engine.open(folder) as engine:
        first = rankers(engine)
        # 100 draws at 0.4: 40, and 4 standard deviations of 4.9.
        assert 20 <= first.count(f"ranker/{version}") <= 60
        assert rankers(engine) == first  # everybody keeps what they were given
        engine.commit(engine.switch_experiment(f"canary_{version.replace('-', '_')}", "stop", "clicks fell"))
        assert f"ranker/{version}" not in rankers(engine)
    opportune("promote", version, "--to", "archived", "--data-dir", folder)


def test_a_canary_that_a_guardrail_stopped_is_no_canary_any_more(opportune: Opportune, folder: Path) -> None:
    version = opportune("train", "--data-dir", folder, "--trees", "3", "--json").json["version"]
    opportune("promote", version, "--to", "canary", "--share", "0.4", "--data-dir", folder)
    experiment = f"canary_{version.replace('-', '_')}"
    with Engine.open(folder) as engine:
        assert "canary" in engine._world.rankers
        engine.stop_for_guardrail(experiment, "conversion is surely 2 % worse")
        assert engine._world.rankers == {}
        [told] = [v for kind in engine.models() for v in kind["versions"] if v["version"] == version]
        assert (told["state"], told["note"]) == (
            "archived",
            "stopped by guardrail: conversion is surely 2 % worse",
        )
    compared = opportune("compare", version, "--data-dir", folder)
    assert f"{version} is archived: stopped by guardrail: conversion is surely 2 % worse" in compared.out


def test_a_live_version_that_is_damaged_is_named_and_the_blend_ranks(
    opportune: Opportune, folder: Path
) -> None:
    version = opportune("train", "--data-dir", folder, "--trees", "2", "--json").json["version"]
    assert opportune("promote", version, "--to", "live", "--data-dir", folder).code == 0
    trees = folder / "models" / "ranker" / version / "trees.txt"
    trees.write_text(trees.read_text()[:200])
    with Engine.open(folder) as engine:
        degraded, _ = decide(engine)
        assert any(why.startswith("rank") and "cannot be used" in why for why in degraded), degraded
    away = opportune("promote", version, "--to", "archived", "--data-dir", folder, "--json")
    assert away.json["moves"][0]["version"] == version
    with Engine.open(folder) as engine:
        degraded, _ = decide(engine)
        assert not any(why.startswith("rank") for why in degraded), degraded


def test_a_folder_that_is_not_there(opportune: Opportune, tmp_path: Path) -> None:
    shown = opportune("train", "--data-dir", tmp_path / "none")
    assert shown.code != 0
    assert "no such data folder" in shown.err


def test_a_ranker_goes_live_by_itself_only_when_it_is_better_by_more_than_chance(
    opportune: Opportune, folder: Path, tmp_path: Path
) -> None:
    few = ("--data-dir", folder, "--trees", "4", "--leaves", "4", "--json")
    first = opportune("train", *few, "--promote", "--outcomes", "--ablation", "--report", tmp_path / "r.html")
    assert first.code == 0, first.err
    again = opportune("train", *few, "--promote").json
    rival = again["bundle"]["rival"]
    low, high = rival["difference"]["interval"]
    assert low <= rival["difference"]["mrr20"] <= high
    assert (again["state"] == "live") is (low > 0)
    page = (tmp_path / "r.html").read_text()
    assert "Calibration of click" in page
    ablation = first.json["bundle"]["ablation"]
    assert sum(told["features"] for told in ablation.values()) == len(first.json["bundle"]["features"])
    assert all(told["pays"] is (told["interval"][0] > 0) for told in ablation.values())
    assert ("does not pay for itself" in page) is not all(told["pays"] for told in ablation.values())


def test_without_drift_nothing_is_trained(opportune: Opportune, folder: Path) -> None:
    version = opportune("train", "--data-dir", folder, "--trees", "3", "--json").json["version"]
    opportune("promote", version, "--to", "live", "--data-dir", folder)
    before = len(opportune("compare", "--data-dir", folder, "--json").json)
    still = opportune("train", "--data-dir", folder, "--if-drift", "50", "--json").json
    assert still["version"] is None
    assert 0 <= still["drift"]["index"] <= 50
    assert still["drift"]["version"] == version
    assert len(opportune("compare", "--data-dir", folder, "--json").json) == before
    moved = opportune("train", "--data-dir", folder, "--if-drift", "0", "--trees", "2", "--json").json
    assert moved["version"] is not None


def test_a_backtest_goes_through_the_windows(opportune: Opportune, folder: Path, tmp_path: Path) -> None:
    ran = opportune(
        "backtest", "--data-dir", folder, "--windows", "2", "--share", "0.1", "--trees", "4", "--leaves", "7",
        "--json", "--report", tmp_path / "b.html",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    first, second = ran.json["windows"]
    assert first["from"] < second["from"] < second["until"]
    assert first["gain_over_first"] is None
    assert first["first"] == first["ranked"]
    assert second["gain_over_first"]["cases"] == second["ranked"]["cases"] > 100
    assert "Backtest of home_recs" in (tmp_path / "b.html").read_text()
