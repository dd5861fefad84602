"""Features of sessions are in the profile, of the current one, whatever identifiers it came under."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opportune import Engine
from opportune.clock import FixedClock

FEATURES = """
features:
  - {name: steps, entity: session, fold: count}
  - {name: seen, entity: session, fold: distinct, event: product_viewed, value: item_id}
"""


def _view(number: int, session: str, **who: str) -> dict[str, Any]:
    return who | {
        "type": "track", "event": "Product Viewed", "messageId": f"m{number}", "timestamp": None,
        "properties": {"product_id": f"i{number % 2}"}, "context": {"sessionId": session} if session else {},
    }  # fmt: skip


def _features(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = engine.profile("anonymous_id:b1")["session"]["features"]
    return found


def test_the_profile_has_those_of_the_current_session(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "features.yaml").write_text(FEATURES)
    clock = FixedClock()
    with Engine.open(tmp_path / "data", workspace=workspace, clock=clock) as engine:
        engine.ingest([_view(1, "a", anonymousId="b1"), _view(2, "a", anonymousId="b1")])
        assert _features(engine) == {"steps": 2, "seen": 2}
        clock.now += 1_000
        engine.ingest([_view(3, "b", anonymousId="b1"), _view(5, "b", anonymousId="b1", userId="u1")])
        assert _features(engine) == {"steps": 2, "seen": 1}, "before and after the login together"
        clock.now += 1_000
        engine.ingest([_view(7, "", anonymousId="b1")])
        assert _features(engine) == {}, "this visit told no id"


def test_where_none_is_declared_there_are_none(tmp_path: Path) -> None:
    with Engine.open(tmp_path / "data", clock=FixedClock()) as engine:
        engine.ingest([_view(1, "a", anonymousId="b1")])
        assert _features(engine) == {}
