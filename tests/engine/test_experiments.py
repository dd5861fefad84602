"""An experiment through the whole engine: sticky through login, flips, stop, restart."""

from __future__ import annotations

import pytest

from opportune.clock import FixedClock
from opportune.engine.engine import Engine
from opportune.errors import NotFound
from opportune.profiles.exposed import flipped

EXPERIMENTS = """
experiments:
  - id: t
    placements: [home_recs]
    arms: [{id: control}, {id: popular, change: {sources: [{source: popular}]}}]
"""


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "experiments.yaml").write_text(EXPERIMENTS, encoding="utf-8")
    return folder


def opened(tmp_path, workspace, clock):
    return Engine.open(tmp_path / "data", workspace=workspace, clock=clock)


def arm(engine, **identifiers):
    engine.clock.advance(1_000)
    [decision] = engine.decide({"placement": "home_recs", "identifiers": identifiers}).decisions
    return decision.experiment.variant


def login(engine, anonymous, user):
    engine.ingest({"type": "identify", "userId": user, "anonymousId": anonymous, "traits": {}})


def with_arm(engine, wanted, prefix):
    """Anonymous browsers that the hash puts into the arm."""
    return next(f"{prefix}{i}" for i in range(100) if arm(engine, anonymous_id=f"{prefix}{i}") == wanted)


def test_sticky_through_login_and_restart(tmp_path, workspace):
    clock = FixedClock()
    with opened(tmp_path, workspace, clock) as engine:
        arms = {f"a{i}": arm(engine, anonymous_id=f"a{i}") for i in range(20)}
        assert set(arms.values()) == {"control", "popular"}
        for anonymous in arms:
            login(engine, anonymous, f"user-{anonymous}")
        after = {a: arm(engine, user_id=f"user-{a}") for a in arms}
    assert after == arms
    with opened(tmp_path, workspace, clock) as engine:
        assert {a: arm(engine, user_id=f"user-{a}", anonymous_id=a) for a in arms} == arms


def test_two_exposed_people_who_are_one_keep_the_first_and_the_flip_is_known(tmp_path, workspace):
    with opened(tmp_path, workspace, FixedClock()) as engine:
        first = with_arm(engine, "popular", "phone")
        second = with_arm(engine, "control", "laptop")
        login(engine, first, "u1")
        login(engine, second, "u1")
        assert arm(engine, user_id="u1") == "popular"
        assert arm(engine, anonymous_id=second) == "popular"
        person = engine._person(("user_id:u1",))
        assert list(flipped(person.exposed)) == ["t"]
        assert set(person.exposed["t"]) == {"popular", "control"}


def test_a_stopped_experiment_stays_stopped(tmp_path, workspace):
    clock = FixedClock()
    with opened(tmp_path, workspace, clock) as engine:
        assert arm(engine, anonymous_id="a1") != ""
        engine.commit(engine.switch_experiment("t", "stop", "revenue fell"))
        assert arm(engine, anonymous_id="a1") == ""
        with pytest.raises(NotFound, match="no such experiment"):
            engine.switch_experiment("x", "stop", "")
    with opened(tmp_path, workspace, clock) as engine:
        assert arm(engine, anonymous_id="a1") == ""
        assert engine.state.switches.last["t"].why == "revenue fell"
        engine.commit(engine.switch_experiment("t", "resume", ""))
        assert arm(engine, anonymous_id="a1") != ""


def test_a_rebuild_from_the_journal_knows_the_same(tmp_path, workspace):
    clock = FixedClock()
    engine = opened(tmp_path, workspace, clock)
    for i in range(10):
        arm(engine, anonymous_id=f"a{i}")
    before = {i: engine.state.leaf(f"anonymous_id:a{i}").exposed for i in range(10)}
    engine.journal.flush()
    engine.abandon()
    with opened(tmp_path, workspace, clock) as engine:
        assert {i: engine.state.leaf(f"anonymous_id:a{i}").exposed for i in range(10)} == before
