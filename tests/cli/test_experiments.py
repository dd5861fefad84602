"""``opportune experiments``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Opportune
from tests.warehouse.test_reports import shop


@pytest.fixture
def where(tmp_path: Path) -> list[str | Path]:
    engine, data = shop(tmp_path, people=300)
    engine.close()
    return ["--data-dir", data, "--workspace", tmp_path / "workspace"]


def test_list_show_report_stop(opportune: Opportune, where: list[str | Path]) -> None:
    listed = opportune("experiments", "list", *where, "--json").json["experiments"]
    assert [(e["id"], e["status"]) for e in listed] == [("t", "running"), ("holdout", "running")]
    assert "control 50%, popular 50%" in opportune("experiments", "list", *where).out
    assert re.search(r"unit +person", opportune("experiments", "show", "t", *where).out)
    told = opportune("experiments", "report", "t", *where, "--json").json
    assert set(told["arms"]) == {"control", "popular"}
    assert "people who order" in opportune("experiments", "report", "t", *where).out
    assert opportune("experiments", "stop", "t", "--why", "a bug", *where).out == "t: stop\n"
    stopped = opportune("experiments", "show", "t", *where, "--json").json
    assert (stopped["status"], stopped["why"]) == ("stopped", "a bug")
    assert opportune("experiments", "resume", "t", *where).code == 0
    assert opportune("experiments", "show", "t", *where, "--json").json["status"] == "running"


def test_an_unknown_experiment(opportune: Opportune, where: list[str | Path]) -> None:
    ran = opportune("experiments", "report", "x", *where)
    assert ran.code != 0
    assert "no such experiment" in ran.err


def test_power(opportune: Opportune) -> None:
    ran = opportune("experiments", "power", "--rate", "0.05", "--lift", "0.1", "--per-day", "2000")
    assert ran.out == "62,462 units in all, 31,231 in the smaller arm, 35 days\n"
    plan = opportune("experiments", "power", "--mean", "10", "--sd", "20", "--lift", "0.1", "--json").json
    assert plan["units"] == pytest.approx(4 * 2.8016**2 * 20**2, rel=1e-3)  # (1.96 + 0.8416)^2
    assert "what is measured?" in opportune("experiments", "power", "--lift", "0.1").err
    assert (
        "the lifted rate is no rate" in opportune("experiments", "power", "--rate", "0.9", "--lift", "1").err
    )


def test_reports_that_are_not_installed(
    opportune: Opportune, where: list[str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    ran = opportune("experiments", "report", "t", *where)
    assert ran.code == 1
    assert ran.err == (
        "error: reports need DuckDB and SciPy, which are not installed here, saw 'duckdb': "
        "pip install 'opportune[warehouse]' and start again\n"
    )
    assert opportune("experiments", "list", *where).code == 0
