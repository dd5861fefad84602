"""The benchmark of the session index."""

from __future__ import annotations

import json

import pytest
from benchmarks.speed.session_index import main


def test_it_reports_times_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--clicks", "2000", "--items", "300", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert 1800 <= report["clicks"] <= 2000
    assert 200 <= report["sessions"] <= 400
    assert 0 < report["query_us"]["p50"] <= report["query_us"]["p99"]
    assert report["update_one_click_us"]["p50"] > 0
