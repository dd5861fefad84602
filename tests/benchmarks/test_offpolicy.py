from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.quality import offpolicy
from benchmarks.quality.offpolicy import target_probabilities

WORTH = np.array([0.1, 0.3, 0.5])


def write(path: Path, chance: np.ndarray, n: int, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    action = rng.choice(3, n, p=chance)
    click = (rng.random(n) < WORTH[action]).astype(int)
    lines = ["timestamp,item_id,position,click,propensity_score,user_feature_0"]
    lines += [
        f"2026-01-01 {i:06},{10 + a},{1 + i % 2},{c},{chance[a]},{'abc'[i % 3]}"
        for i, (a, c) in enumerate(zip(action, click, strict=True))
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_policy_is_judged_from_another_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logged = write(tmp_path / "logged.csv", np.array([0.4, 0.3, 0.3]), 3000, 1)
    target = write(tmp_path / "target.csv", np.array([0.1, 0.2, 0.7]), 3000, 2)
    assert offpolicy.main(["--logged", str(logged), "--target", str(target), "--json", "--runs", "3"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["truth"] == pytest.approx(0.1 * 0.1 + 0.2 * 0.3 + 0.7 * 0.5, abs=0.03)
    assert report["relative_error"]["dr"]["mean"] < 0.12
    assert report["judgement"]["verdict"].startswith("better: ")


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logged = write(tmp_path / "logged.csv", np.array([0.4, 0.3, 0.3]), 30, 1)
    assert offpolicy.main(["--logged", str(logged), "--target", str(tmp_path / "none.csv")]) == 2
    assert "none.csv is not there" in capsys.readouterr().err
    bare = tmp_path / "bare.csv"
    bare.write_text("item_id,click\n1,0\n", encoding="utf-8")
    assert offpolicy.main(["--logged", str(logged), "--target", str(bare)]) == 2
    assert "bare.csv has no column 'position'" in capsys.readouterr().err


def test_probabilities_of_a_policy_that_moves() -> None:
    """Half the time it chooses action 0 with 0.9, half with 0.1: 0.5 on average, as the harmonic mean of what
    was logged says, while the plain mean of the logged propensities says 0.82."""
    rng = np.random.default_rng(1)
    p0 = np.where(rng.random(20_000) < 0.5, 0.9, 0.1)
    action = (rng.random(20_000) >= p0).astype(np.int64)
    propensity = np.where(action == 0, p0, 1 - p0)
    found = target_probabilities(action, np.zeros(20_000, np.int64), propensity, (1, 2))
    assert found[0] == pytest.approx([0.5, 0.5], abs=0.02)
    assert propensity[action == 0].mean() == pytest.approx(0.82, abs=0.01)


def test_what_was_never_chosen_shares_the_rest() -> None:
    found = target_probabilities(np.array([0, 0]), np.zeros(2, np.int64), np.array([0.6, 0.6]), (1, 3))
    assert found[0] == pytest.approx([0.6, 0.2, 0.2])
