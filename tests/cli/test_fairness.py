"""``opportune fairness``."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Opportune

from opportune.clock import HOUR, FixedClock
from opportune.engine.engine import Engine

EXPERIMENTS = """
holdout: {share: 0.3}
experiments:
  - id: t
    placements: [home_recs]
    arms: [{id: control}, {id: popular, change: {sources: [{source: popular}]}}]
"""
SEGMENTS = "segments: [{name: buyers, when: {orders_all: {gte: 1}}}]\n"


@pytest.fixture
def where(tmp_path: Path) -> list[str | Path]:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "experiments.yaml").write_text(EXPERIMENTS)
    (workspace / "segments.yaml").write_text(SEGMENTS)
    with Engine.open(tmp_path / "data", workspace=workspace, clock=FixedClock()) as engine:
        for i in range(300):
            engine.clock.advance(HOUR // 60)
            if i % 3 == 0:
                engine.ingest(
                    {
                        "type": "track",
                        "userId": f"u{i}",
                        "event": "Order Completed",
                        "properties": {"order_id": f"o{i}", "revenue": 5.0, "products": []},
                    }
                )
            context = {"age": "old" if i % 2 else "young"}
            engine.decide({"placement": "home_recs", "identifiers": {"user_id": f"u{i}"}, "context": context})
    return ["--data-dir", tmp_path / "data", "--workspace", workspace]


def test_by_a_field_and_by_a_segment(opportune: Opportune, where: list[str | Path]) -> None:
    found = opportune("fairness", "--by", "age", "--placement", "home_recs", *where, "--json").json
    assert [audit["experiment"] for audit in found["audits"]] == ["t", "holdout"]
    assert {group["n"] for group in found["audits"][1]["given"][0]["groups"]} == {150}
    ran = opportune("fairness", "--by", "segment.buyers", "--experiment", "holdout", *where)
    assert ran.out.startswith("holdout by segment.buyers, 300 units (person): No group is found")
    assert "given treated" in ran.out
    groups = opportune("fairness", "--by", "segment.buyers", "--experiment", "holdout", *where, "--json").json
    assert {g["group"]: g["n"] for g in groups["audits"][0]["given"][0]["groups"]} == {
        "in it": 100,
        "not in it": 200,
    }


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--by", "age", "--experiment", "x"), "no such experiment"),
        (("--by", "age", "--placement", "x"), "no such placement"),
        (("--by", "segment.x"), "no such segment, saw 'x', at --by: known are: buyers"),
        (("--by", "age", "--since", "soon"), "a span is a number and m, h or d"),
        (("--by", "age", "--experiment", "t", "--placement", "home_recs"), "not both"),
        (("--by", "shoe"), "no exposure of this experiment has this field"),
    ],
)
def test_what_cannot_be_asked(
    opportune: Opportune, where: list[str | Path], args: tuple[str, ...], told: str
) -> None:
    ran = opportune("fairness", *args, *where)
    assert ran.code != 0
    assert told in ran.err


def test_what_is_sensitive_is_read_only_where_it_is_allowed(
    opportune: Opportune, where: list[str | Path]
) -> None:
    policy = Path(where[3]) / "privacy.yaml"
    policy.write_text("sensitive: [{path: context.age}]\n")
    ran = opportune("fairness", "--by", "age", *where)
    assert ran.code != 0
    assert "this is declared sensitive and not allowed for exports, saw 'context.age'" in ran.err
    policy.write_text("sensitive: [{path: context.age, allow: [exports]}]\n")
    assert "known are: placement" in opportune("fairness", "--by", "age", *where).err
    (Path(where[1]) / "derived" / "experiments.duckdb").unlink()
    assert opportune("fairness", "--by", "age", *where).code == 0
