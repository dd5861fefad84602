from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.quality import uplift
from benchmarks.quality.uplift import arms, tells_the_outcome


def write(path: Path, n: int = 3000) -> Path:
    """A trial of one arm: the treatment works for those with ``keen``; ``bill`` comes after it."""
    rng = np.random.default_rng(5)
    keen, age = rng.integers(0, 2, n), rng.integers(18, 80, n)
    treated = rng.integers(0, 2, n)
    bought = (rng.random(n) < 0.2 + 0.4 * keen * treated).astype(int)
    bill = np.where(bought == 1, rng.integers(5, 50, n), 0)
    lines = ["keen,age,town,arm,bill,bought"]
    lines += [
        f"{k},{a},{'ABC'[i % 3]},{t},{b},{y}"
        for i, (k, a, t, b, y) in enumerate(zip(keen, age, treated, bill, bought, strict=True))
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_trial_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lightgbm", reason="uplift over trees needs the extra learn")
    file = write(tmp_path / "trial.csv")
    assert uplift.main([str(file), "--treatment", "arm", "--outcome", "bought", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["left_out"] == {"bill": "goes with the outcome without exception"}
    assert report["columns"] == ["keen", "age", "town"]
    found = report["arms"]["1"]
    assert found["people"] == {"train": 2100, "test": 900}
    assert found["ours"]["uplift_at_10"] > 0.25 > found["effect"] > 0.1
    low, high = found["ours"]["qini_interval"]
    assert 0 < low < found["ours"]["qini"] < high
    assert found["audiences"][0]["audience"] == "persuadable"
    assert found["audiences"][-1]["audience"] in ("sure thing", "lost cause")


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "trial.csv", 50)
    assert uplift.main([str(file), "--treatment", "group", "--outcome", "bought"]) == 2
    assert "trial.csv has no column 'group'" in capsys.readouterr().err
    assert uplift.main([str(file), "--treatment", "arm", "--outcome", "town"]) == 2
    assert "town must hold numbers, not 'A'" in capsys.readouterr().err


def test_the_control_is_called_like_one() -> None:
    assert arms(np.array(["No E-Mail", "Mens E-Mail"], dtype=object), None) == ("No E-Mail", ["Mens E-Mail"])
    assert arms(np.array(["0", "1"], dtype=object), None) == ("0", ["1"])
    with pytest.raises(ValueError, match="say which of a, b is the control: --control NAME"):
        arms(np.array(["a", "b"], dtype=object), None)
    with pytest.raises(ValueError, match="no row has the control 'z'; there are a, b"):
        arms(np.array(["a", "b"], dtype=object), "z")


def test_a_consequence_of_the_outcome_is_known_by_having_no_exceptions() -> None:
    event = np.arange(1000) < 200
    assert tells_the_outcome(np.arange(1000) < 150, event)
    assert not tells_the_outcome(np.arange(1000) % 2 == 0, event)
    assert not tells_the_outcome(np.arange(1000) < 10, event)
