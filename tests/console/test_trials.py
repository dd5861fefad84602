"""The pages of experiments: reports as HTML and as JSON."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.console.conftest import KEYS
from tests.demo.asgi import Client
from tests.warehouse.test_reports import BANDIT as MORE_BANDIT
from tests.warehouse.test_reports import shop

from opportune import Engine
from opportune.clock import FixedClock
from opportune.console import create_console
from opportune.console.lifts import Lift, intervals, over_time, percent
from opportune.server.sessions import Sessions
from opportune.warehouse.reports import Reports


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Client]:
    engine, data = shop(tmp_path)
    with engine:
        reports = Reports.of(engine, data)
        client = Client(create_console(engine, Sessions(KEYS, engine.clock), reports=reports))
        assert client.post("/login", {"key": KEYS.secret}).status_code == 303
        yield client
        reports.close()


def test_the_list_links_to_the_reports(console: Client) -> None:
    page = console.get("/experiments").text
    assert 'href="/experiments/t"' in page
    assert 'href="/business"' in page
    assert [e["id"] for e in console.get("/experiments.json").json()["experiments"]] == ["t", "holdout"]


def test_the_live_page(console: Client) -> None:
    page = console.get("/experiments/t")
    assert page.status_code == 200
    assert page.text.count("<h1>") == 1
    assert "people who order over time" in page.text
    assert "Guardrails" in page.text
    told = console.get("/experiments/t.json").json()["report"]
    assert told["verdict"] in ("ship", "no_difference", "wait", "stop")
    lift = told["metrics"][0]["comparisons"][0]["lift"]
    assert percent(lift) in page.text


def test_the_page_for_finance(console: Client) -> None:
    page = console.get("/business")
    told = console.get("/business.json").json()["business"]
    assert told["sentence"] in page.text
    assert f"{told['held']:,} held out" in page.text
    assert 'role="img" aria-label="Revenue per person over time:' in page.text


def test_before_anybody_came_the_sample_ratio_has_no_value(tmp_path: Path) -> None:
    engine, data = shop(tmp_path, people=0)
    with engine:
        reports = Reports.of(engine, data)
        client = Client(create_console(engine, Sessions(KEYS, engine.clock), reports=reports))
        assert client.post("/login", {"key": KEYS.secret}).status_code == 303
        for path in ("/business", "/experiments/t"):
            page = client.get(path).text
            assert re.search(r"Sample ratio</dt>\s*<dd[^>]*>\s*(<\w+[^>]*>\s*)?no value yet", page), path
        reports.close()


def test_unknown_experiments_and_strangers(console: Client) -> None:
    assert console.get("/experiments/x").status_code == 404
    answer = console.get("/experiments/x.json")
    assert answer.json()["message"] == "no such experiment"


def test_a_console_without_reports_says_so(visitor: Client) -> None:
    answer = visitor.get("/business.json", headers={"authorization": f"Bearer {KEYS.secret}"})
    assert answer.json()["message"] == "this console has no reports"


@pytest.mark.parametrize("path", ["business", "experiments/t"])
@pytest.mark.parametrize("package", ["duckdb", "scipy.special"])
def test_what_is_not_installed_is_told_and_is_not_the_callers_fault(
    console: Client, monkeypatch: pytest.MonkeyPatch, path: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    page = console.get(f"/{path}")
    assert page.status_code == 200
    assert "pip install 'opportune[warehouse]'" in page.text
    answer = console.get(f"/{path}.json")
    assert answer.status_code == 501
    assert answer.json() == {
        "code": "not_installed",
        "message": "reports need DuckDB and SciPy, which are not installed here",
        "seen": package,
        "remedy": "pip install 'opportune[warehouse]' and start again",
    }
    assert console.get("/experiments").status_code == 200, "the list needs neither"


BANDIT = """
experiments:
- id: hero
  name: The hero
  placements: [home_recs]
  arms: [{id: calm}, {id: bold, change: {content: {tone: bold}}}]
  bandit: {floor: 0.05, guard: {trials: 20, agreement: 0.1}}
"""


def test_the_page_of_a_bandit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opportune.experiments.bandits.running.REFRESH", 0)
    (tmp_path / "experiments.yaml").write_text(BANDIT, encoding="utf-8")
    with Engine.open(tmp_path / "data", workspace=tmp_path, clock=FixedClock()) as engine:
        client = Client(create_console(engine, Sessions(KEYS, engine.clock)))
        assert client.post("/login", {"key": KEYS.secret}).status_code == 303
        assert "Nobody came yet" in client.get("/bandits/hero").text
        for n in range(70):
            [decision] = engine.decide(
                {"placement": "home_recs", "identifiers": {"user_id": f"u{n}"}}
            ).decisions
            if n % 3 == 0:
                engine.ingest(
                    {
                        "type": "track",
                        "event": "Product Clicked",
                        "userId": f"u{n}",
                        "properties": {"decision_id": decision.decision_id},
                    }
                )
        told = client.get("/bandits/hero.json").json()
        assert told["bandit"]["decisions"] == 70
        assert told["mode"] == "live"
        assert told["bandit"]["standing"]["watched"] == 20
        pieces = told["bandit"]["traffic"]
        assert len(pieces) == 35, "64 pieces of one, then 32 of two and those that came after"
        assert pieces[0][1] == {"calm": 1.0, "bold": 0.0}, "an apprentice serves the first arm"
        calm, bold = told["bandit"]["arms"]
        assert calm["share"] + bold["share"] == pytest.approx(1.0)
        assert calm["decisions"] + bold["decisions"] == 70
        assert calm["low"] < calm["mean"] < calm["high"]
        page = client.get("/bandits/hero").text
        assert "<h1>The hero</h1>" in page
        assert f"{calm['share']:.1%}" in page
        assert 'aria-label="calm, share of decisions: now' in page
        assert 'href="/bandits/hero"' in client.get("/experiments").text
        missing = client.get("/bandits/x.json").json()
        assert missing["message"] == "no such experiment"


def test_the_truth_of_a_simulator_stands_beside_the_estimate(tmp_path: Path) -> None:
    (tmp_path / "experiments.yaml").write_text(BANDIT, encoding="utf-8")
    with Engine.open(tmp_path / "data", workspace=tmp_path, clock=FixedClock()) as engine:
        client = Client(create_console(engine, Sessions(KEYS, engine.clock)))
        assert client.post("/login", {"key": KEYS.secret}).status_code == 303
        assert "simulator&#39;s truth" not in client.get("/bandits/hero").text
        truth = tmp_path / "data" / "simulated" / "hero.json"
        truth.parent.mkdir()
        truth.write_text(
            '{"visits": 90, "decisions": 70, "lost": 12.5, "expected_responses": 30.0, "people": {}}'
        )
        page = client.get("/bandits/hero").text
        assert "simulator&#39;s truth" in page
        assert "lost 12.5 of 42.5 expected responses" in page
        assert client.get("/bandits/hero.json").json()["simulated"]["decisions"] == 70
        truth.write_text("nothing")
        assert "this is not what a simulator writes" in client.get("/bandits/hero.json").json()["message"]


def test_the_report_of_a_bandit_points_to_its_page(tmp_path: Path) -> None:
    engine, data = shop(tmp_path, people=3, more=MORE_BANDIT)
    with engine:
        reports = Reports.of(engine, data)
        client = Client(create_console(engine, Sessions(KEYS, engine.clock), reports=reports))
        assert client.post("/login", {"key": KEYS.secret}).status_code == 303
        page = client.get("/experiments/hero").text
        assert 'href="/bandits/hero"' in page
        assert "Nobody was exposed yet" not in page
        told = client.get("/experiments/hero.json").json()
        assert told["bandit"] is True
        assert told["report"]["because"].startswith("a bandit moves this traffic toward what is rewarded")
        assert client.get("/experiments/t.json").json()["bandit"] is False
        reports.close()


def test_an_experiment_without_a_bandit_has_no_such_page(console: Client) -> None:
    assert console.get("/bandits/t.json").json()["message"] == "this experiment has no bandit"


def test_lifts_are_drawn_on_one_scale() -> None:
    rows = [Lift("a", 0.1, 0.05, 0.2), Lift("b", -0.1, -0.2, 0.0)]
    boxes = re.findall(r'mark-b" x="([\d.]+)" y="6" width="([\d.]+)"', intervals(rows, caption="c"))
    assert boxes == [("625.0", "375.0"), ("0.0", "500.0")]  # 0.05 and 0.2 of 0.2, right of the middle at 500
    assert "unbounded" in intervals([Lift("a", 0.0, -math.inf, math.inf)], caption="c")


def test_a_band_closes_in() -> None:
    drawn = over_time([(20_000, 0.1, -0.3, 0.5), (20_001, 0.1, 0.0, 0.2)], caption="c")
    assert 'aria-label="c: +10.00%, from +0.00% to +20.00%"' in drawn
    assert "2024-10-04" in drawn
    assert over_time([], caption="c")
