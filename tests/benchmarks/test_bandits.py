from __future__ import annotations

import json

import pytest
from benchmarks.quality import bandits


def test_every_policy_is_tried_on_the_same_shoppers(capsys: pytest.CaptureFixture[str]) -> None:
    assert bandits.main(["--decisions", "1500", "--seeds", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(bandits.RIVALS) < set(report["regret"])
    assert report["regret"][bandits.OURS]["ours_relative"] == 1.0
    assert report["regret"][bandits.OURS]["mean"] < report["regret"]["fixed A/B/n"]["mean"]
