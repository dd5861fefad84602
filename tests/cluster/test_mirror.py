"""The derive role knows what one machine would know, and goes on after a death without loss or doubles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scripts.cluster.recorded import recorded
from scripts.cluster.settled import settle
from tests.cluster.conftest import playing
from tests.cluster.equivalence import keep_old, named, person, send

from opportune import Engine
from opportune.clock import FixedClock
from opportune.engine.workspace import load_workspace
from opportune.streams.config import ClusterConfig
from opportune.streams.engine import ClusterEngine, NotHere
from opportune.streams.mirror import Mirror
from opportune.streams.topics import Topics
from opportune.warehouse.reports import Reports

NOW = 1_772_000_000_000 + 20 * 24 * 3_600_000
BAD: dict[str, Any] = {"type": "track", "messageId": "bad"}
FIXED = b'{"type": "track", "messageId": "bad", "userId": "fixed", "event": "Product Viewed"}'


def test_it_knows_what_one_machine_knows(
    config: ClusterConfig, topics: Topics, file: Path, tmp_path: Path
) -> None:
    keep_old(config, topics)
    calls = [*recorded(40), BAD]
    clock = FixedClock(NOW)
    gateway = ClusterEngine(
        config, topics, load_workspace(None), folder=tmp_path / "s", roles=("gateway", "decide"), clock=clock
    )
    one = Engine.open(tmp_path / "one", clock=clock)
    try:
        with playing("fold", file, tmp_path / "f"), playing("identity", file, tmp_path / "i"):
            half = len(calls) // 2
            _both(one, gateway, calls[:half], clock)
            settle(config, topics)
            mirror = _opened(config, topics, tmp_path, clock)
            _catch_up(mirror)
            mirror.tail.close()
            mirror.abandon()
            _both(one, gateway, calls[half:], clock)
            settle(config, topics)
            [decision] = gateway.decide(
                {"placement": "home_recs", "identifiers": {"user_id": "u1"}}
            ).decisions
            gateway.flush()
            settle(config, topics)
        with _opened(config, topics, tmp_path, clock) as mirror:
            _catch_up(mirror)
            for name in sorted({name for call in calls if call is not BAD for name in named(call)}):
                if name != "user_id:u1":
                    assert person(mirror, name) == person(one, name), name
            assert mirror.decision(decision.decision_id)["placement"] == "home_recs"
            told = one.accounting()["total"]
            assert told["duplicate"] > 0
            assert mirror.accounting()["total"] == told
            [letter] = mirror.dead_letters()["letters"]
            assert letter["code"] == one.dead_letters()["letters"][0]["code"]
            _replay(mirror, letter["id"])
            with playing("fold", file, tmp_path / "f"):
                settle(config, topics)
            _catch_up(mirror)
            assert mirror.dead_letters()["letters"] == []
            assert mirror.profile("user_id:fixed")["events"] == {"product_viewed": 1}
            fixed = one.replay_dead_letter(one.dead_letters()["letters"][0]["id"], FIXED)
            one.commit(fixed)
            assert len(mirror.state.models.log) == len(one.state.models.log)
            mine, theirs = (Reports.of(e, tmp_path / n) for e, n in ((mirror, "m-tables"), (one, "o-tables")))
            for reports in (mine, theirs):
                while reports.catch_up():
                    pass
            # Who they are is a pseudonym of each folder's own: the events of each leaf are compared.
            one_of = "{'time': time, 'name': name, 'value': value}"
            rows = f"select list({one_of} order by time, name, value) from events group by leaf order by all"
            found = [r.tables.connection.cursor().execute(rows).fetchall() for r in (mine, theirs)]
            assert found[0] == found[1]
            with pytest.raises(NotHere, match="accepts nothing, saw 'derive': ask a gateway"):
                mirror.admit([])
            mine.close()
            theirs.close()
    finally:
        one.close()
        gateway.close()


def _replay(mirror: Mirror, letter_id: str) -> None:
    """Twice, as somebody does who is impatient."""
    for _ in range(2):
        admission = mirror.replay_dead_letter(letter_id, FIXED)
        mirror.commit(admission)


def _opened(config: ClusterConfig, topics: Topics, folder: Path, clock: FixedClock) -> Mirror:
    mirror = Mirror.open(folder / "mirror", clock=clock)
    mirror.follow(config, topics, folder / "mirror")
    return mirror


def _both(one: Engine, many: Engine, calls: list[dict[str, Any]], clock: FixedClock) -> None:
    clock.now += len(calls) + 1
    for engine in (one, many):
        send(engine, calls, clock.now - len(calls))


def _catch_up(mirror: Mirror) -> None:
    ends = mirror.tail.ends()
    while not mirror.tail.reached(ends):
        mirror.take()
