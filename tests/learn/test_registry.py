"""States of versions: up the ladder one step at a time, one holder of a place, and back."""

from __future__ import annotations

import pytest

from opportune.errors import InvalidRequest, NotFound
from opportune.learn.registry import Registry


def registry(*versions: str) -> Registry:
    found = Registry()
    for version in versions:
        found.add(version, 1)
    return found


def test_a_version_climbs_one_step_at_a_time() -> None:
    found = registry("a")
    seen = []
    for at in range(3):
        seen += [move.state for move in found.promote("a", at)]
    assert seen == ["shadow", "canary", "live"]
    with pytest.raises(InvalidRequest, match="this version is live already, saw 'a'"):
        found.promote("a", 9)
    with pytest.raises(InvalidRequest, match="this version is live already, saw 'a'"):
        found.promote("a", 9, "live")


def test_only_one_is_live_and_rollback_brings_the_one_before_back() -> None:
    found = registry("a", "b", "c")
    for at, version in enumerate("abc"):
        found.promote(version, at, "live")
    assert found.states() == {"a": "archived", "b": "archived", "c": "live"}
    moves = found.rollback(9, "clicks fell")
    assert [(move.version, move.state, move.note) for move in moves] == [
        ("c", "archived", "clicks fell"),
        ("b", "live", "clicks fell"),
    ]
    assert found.live == "b"
    assert Registry(found.moves).states() == found.states()


def test_what_cannot_be_is_said() -> None:
    found = registry("a")
    with pytest.raises(NotFound, match="no such model version, saw 'b': one of a"):
        found.promote("b", 1)
    with pytest.raises(NotFound, match="train one with `opportune train`"):
        Registry().state_of("a")
    with pytest.raises(InvalidRequest, match="this version is there already, saw 'a': versions never change"):
        found.add("a", 2)
    with pytest.raises(InvalidRequest, match="no version to go back to, saw 'nothing live'"):
        found.rollback(2)
    found.promote("a", 2, "live")
    with pytest.raises(InvalidRequest, match="no version to go back to, saw 'a'"):
        found.rollback(3)
