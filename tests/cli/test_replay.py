from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Opportune

from opportune import Engine

POLICY = "placements:\n- {name: home_recs, sources: [{source: popular}], count: 4}\n"


def folder(tmp_path: Path) -> Path:
    with Engine.open(tmp_path / "data") as engine:
        engine.ingest([{"item_id": f"i{n}", "name": f"Item {n}"} for n in range(6)], dialect="catalog")
        for n in range(5):
            engine.decide({"placement": "home_recs", "identifiers": {"user_id": f"u{n}"}})
    return tmp_path / "data"


def test_what_would_have_happened(opportune: Opportune, tmp_path: Path) -> None:
    data = folder(tmp_path)
    policy = tmp_path / "new.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    ran = opportune("replay", "--policy", policy, "--since", "1h", "--data-dir", data, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["decisions"] == 5
    assert "cannot be judged from this log" in ran.json["verdict"] or ran.json["identical"] == 5
    said = opportune("replay", "--policy", policy, "--data-dir", data).out
    assert "5 decisions made again, 0 at other placements left alone" in said


def test_a_span_is_checked(opportune: Opportune, tmp_path: Path) -> None:
    policy = tmp_path / "new.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    ran = opportune("replay", "--policy", policy, "--since", "yesterday", "--data-dir", folder(tmp_path))
    assert ran.code != 0
    assert "a span is a number and m, h or d" in ran.err
