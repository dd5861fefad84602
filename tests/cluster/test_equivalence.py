"""The same stream gives the same people on one machine and on the cluster, field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scripts.cluster.recorded import START_MS, recorded
from scripts.cluster.settled import settle
from tests.cluster.conftest import playing

from opportune import Engine
from opportune.clock import DAY, FixedClock
from opportune.engine.workspace import load_workspace
from opportune.errors import NotFound
from opportune.streams.config import ClusterConfig
from opportune.streams.engine import ClusterEngine
from opportune.streams.topics import Topics

NOW = START_MS + 20 * DAY


def test_people_and_components_are_the_same(
    config: ClusterConfig, topics: Topics, file: Path, tmp_path: Path
) -> None:
    calls = recorded(150)
    calls += [_consent(f"b{n}", n % 3 == 0) for n in range(20)]
    with Engine.open(tmp_path / "one", clock=FixedClock(NOW)) as one:
        for start in range(0, len(calls), 100):
            one.ingest(calls[start : start + 100], source="shop")
        many = ClusterEngine(
            config,
            topics,
            load_workspace(None),
            folder=tmp_path / "scratch",
            roles=("gateway", "decide"),
            clock=FixedClock(NOW),
        )
        try:
            with playing("fold", file, tmp_path / "f"), playing("identity", file, tmp_path / "i"):
                for start in range(0, len(calls), 100):
                    send(many, calls[start : start + 100])
                settle(config, topics)
                names = sorted({name for call in calls for name in named(call)})
                merged = 0
                for name in names:
                    expected = person(one, name)
                    assert person(many, name) == expected, name
                    assert many.component(name) == one.component(name), name
                    merged += len(expected["identifiers"]) > 2
                assert merged > 20, "the stream must hold people of several browsers"
        finally:
            many.close()


def send(engine: ClusterEngine, calls: list[dict[str, Any]]) -> None:
    """What the server does with a batch."""
    admission = engine.admit(calls, kind=None, dialect="segment", source="shop", received=engine.clock())
    engine.append((admission,))
    engine.flush()
    engine.apply((admission,))


def person(engine: Engine, name: str) -> dict[str, Any]:
    try:
        return engine.profile(name)
    except NotFound:
        return {"identifiers": []}


def named(call: dict[str, Any]) -> list[str]:
    found = [f"anonymous_id:{call['anonymousId']}"]
    return [f"user_id:{call['userId']}", *found] if "userId" in call else found


def _consent(browser: str, allowed: bool) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Consent Given",
        "messageId": f"consent-{browser}",
        "anonymousId": browser,
        "timestamp": "2026-03-20T10:00:00Z",
        "context": {"consent": {"categoryPreferences": {"personalization": allowed, "marketing": False}}},
    }


@pytest.mark.parametrize("role", ["gateway", "decide"])
def test_a_process_does_only_what_its_role_says(
    config: ClusterConfig, topics: Topics, tmp_path: Path, role: str
) -> None:
    engine = ClusterEngine(config, topics, load_workspace(None), folder=tmp_path / "s", roles=(role,))
    try:
        if role == "gateway":
            with pytest.raises(Exception, match="this process does not decide"):
                engine.decide({"placement": "home_recs", "identifiers": {"user_id": "u1"}})
        else:
            with pytest.raises(Exception, match="this process does not accept events"):
                engine.admit([], kind=None, dialect="segment", source="s", received=0)
    finally:
        engine.close()
