"""What is declared sensitive is in no definition, answer or table that it is not allowed for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from opportune import Engine
from opportune.clock import FixedClock
from opportune.engine.alike import people
from opportune.engine.workspace import load_workspace
from opportune.errors import InvalidDefinition
from opportune.privacy.sensitive import HIDDEN, SURFACES, Fence, Sensitive
from opportune.warehouse.tables import Tables, connect

DECLARED = """
sensitive:
- {path: traits.religion, allow: [%s]}
- {path: properties.health}
- {path: context.needs}
- {path: item.condition}
"""
FAITH = "extends: nothing\nfeatures: [{name: faith, fold: last, value: traits.religion, n: 1}]\n"
ARMS = "arms: [{id: a}, {id: b}]"


def workspace(folder: Path, *, allow: str = "", **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in {"privacy": DECLARED % allow, **files}.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


REFUSED: list[tuple[str, dict[str, str], str]] = [
    ("", {"features": FAITH}, "not allowed for features, saw 'traits.religion', at features.yaml faith"),
    (
        "",
        {"features": "features: [{name: ill, fold: count, where: {properties.health.bmi: {gt: 30}}}]"},
        "not allowed for features, saw 'properties.health.bmi', at features.yaml ill",
    ),
    (
        "features",
        {"features": FAITH, "segments": "segments: [{name: s, when: {faith: {exists: true}}}]"},
        r"not allowed for segments \(it is made of traits.religion\), saw 'faith', at segments.yaml s",
    ),
    (
        "",
        {"experiments": f"experiments: [{{id: x, {ARMS}, audience: {{traits.religion: y}}}}]"},
        "not allowed for experiments, saw 'traits.religion', at experiments.yaml x",
    ),
    (
        "",
        {"experiments": f"experiments: [{{id: x, {ARMS}, bandit: {{features: [context.needs]}}}}]"},
        "not allowed for experiments, saw 'context.needs', at experiments.yaml x",
    ),
    (
        "",
        {"experiments": "holdout: {share: 0.1, audience: {context.needs: y}}"},
        "not allowed for experiments, saw 'context.needs', at experiments.yaml",
    ),
    (
        "",
        {"placements": "placements: [{name: p, rules: [{boost: 2, where: {condition: bad}}]}]"},
        r"not allowed for placements, saw 'item.condition', at placements.yaml p \$.rules\[0\].where",
    ),
    (
        "features",
        {"features": FAITH, "placements": "placements: [{name: p, features: [faith]}]"},
        "not allowed for placements",
    ),
]


@pytest.mark.parametrize(("allow", "files", "message"), REFUSED)
def test_a_definition_that_would_use_it_is_refused(
    tmp_path: Path, allow: str, files: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidDefinition, match=message) as refused:
        load_workspace(workspace(tmp_path, allow=allow, **files))
    assert "or allow it in privacy.yaml: {path: " in refused.value.remedy


def test_what_is_allowed_is_used(tmp_path: Path) -> None:
    files = {"features": FAITH, "segments": "segments: [{name: s, when: {faith: {exists: true}}}]"}
    found = load_workspace(workspace(tmp_path, allow="features, segments", **files))
    assert found.segments.names == ["s"]


@pytest.mark.parametrize("path", ["religion", "traits.", "user_id:u1", "traits.a b", "name"])
def test_a_path_must_lead_somewhere(path: str) -> None:
    with pytest.raises(InvalidDefinition, match="not a path of something sensitive"):
        Sensitive(path)


def test_beneath_a_path_everything_is_covered() -> None:
    fence = Fence([Sensitive("properties.health", ("exports",))])
    for surface in SURFACES:
        against = fence.against("properties.health.bmi", surface)
        assert (against is None) is (surface == "exports")
        assert fence.against("properties.healthy", surface) is None


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    files = {
        "features": FAITH,
        "placements": "placements: [{name: home, sources: [{source: popular}]}]",
        "experiments": f"experiments: [{{id: x, placements: [home], {ARMS}}}]",
    }
    folder = workspace(tmp_path / "ws", allow="features", **files)
    with Engine.open(tmp_path / "data", workspace=folder, clock=FixedClock()) as engine:
        engine.ingest(
            [{"item_id": "p1", "name": "One", "condition": "rash", "colour": "red"}], dialect="catalog"
        )
        engine.ingest(
            {
                "type": "identify", "userId": "u1", "traits": {"religion": "none", "city": "Bern", "age": 36},
                "context": {"needs": "ramp", "page": "/"}, "messageId": "m1",
            }
        )  # fmt: skip
        other = {"product_id": "p1"}
        engine.ingest({"type": "track", "event": "Product Viewed", "anonymousId": "a9", "properties": other})
        yield engine


def test_colleagues_do_not_see_it_and_the_person_does(engine: Engine) -> None:
    known = engine.profile("user_id:u1")
    assert known["traits"]["religion"]["value"] == HIDDEN
    assert known["traits"]["city"]["value"] == "Bern"
    assert known["features"]["faith"] == HIDDEN
    [event] = [one for one in engine.recent_events() if one["kind"] == "identify"]
    assert (event["traits"]["religion"], event["context"]["needs"]) == (HIDDEN, HIDDEN)
    assert (event["traits"]["city"], event["context"]["page"]) == ("Bern", "/")
    held = engine.holdings("user_id:u1")
    assert held["profile"]["traits"]["religion"]["value"] == "none"
    assert held["events"][0]["context"]["needs"] == "ramp"


def test_it_is_in_no_decision_table_or_comparison(engine: Engine) -> None:
    decision = engine.decide(
        {
            "placement": "home", "identifiers": {"user_id": "u1"}, "context": {"needs": "ramp", "page": "/"},
            "explain": True,
        }
    ).decisions[0]  # fmt: skip
    assert [msgspec.json.decode(i.item) for i in decision.items] == [
        {"item_id": "p1", "name": "One", "colour": "red"}
    ]
    told = engine.decision(decision.decision_id)
    assert "ramp" not in str(told)
    assert told["context"]["page"] == "/"
    engine.flush()
    tables = Tables(connect(None), engine.workspace.fence.hidden("context", "exports"))
    tables.follow((seq, engine.entries.decode(data)) for seq, data in engine.journal.scan())
    [[dimensions]] = tables.connection.execute("select dimensions from exposures").fetchall()
    assert msgspec.json.decode(dimensions) == {"placement": "home", "page": "/"}
    engine.checkpoint()
    rows = dict(people(engine.state, engine.workspace.fence.hidden("traits", "matching")))
    assert rows == {"user_id:u1": {"city": "Bern", "age": "36"}}
