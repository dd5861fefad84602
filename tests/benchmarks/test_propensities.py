from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.quality import propensities


def test_every_kind_draws_as_it_logs_and_a_stopped_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """600 decisions, in two runs with a part of the million of the benchmark each (deterministic)."""
    state = tmp_path / "state.json"
    assert propensities.main(["--draws", "300", "--state", str(state), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["draws"] == 300
    assert propensities.main(["--draws", "600", "--state", str(state), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["cases"]) == {*propensities.CASES, "together"}
    assert report["cases"]["together"]["draws"] == 600
    assert report["cases"]["together"]["p"] > 0.01
    assert report["cases"]["an apprentice, which serves the first arm"]["degrees"] == 0


def test_a_wrong_log_is_seen() -> None:
    seen = {"thompson@0.0": propensities.Counter({"a": 500, "b": 500})}
    told = propensities.compared(seen, {"thompson@0.0@a": 0.6, "thompson@0.0@b": 0.4})
    assert told["Thompson sampling"]["chi_square"] == pytest.approx(100**2 / 600 + 100**2 / 400, abs=0.01)
    assert told["Thompson sampling"]["p"] < 0.001
    short = propensities.compared(seen, {"thompson@0.0@a": 0.5, "thompson@0.0@b": 0.4})
    assert short["Thompson sampling"]["chi_square"] == pytest.approx(0 + 100**2 / 400 + 100, abs=0.01)
