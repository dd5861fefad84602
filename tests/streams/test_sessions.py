"""The newest sessions of a leaf, as a worker keeps them."""

from __future__ import annotations

from typing import Any

from tests.streams.test_folding import State

from opportune.events.event import Event
from opportune.events.segment import normalize
from opportune.profiles.definitions import Feature, FeatureSet
from opportune.profiles.schema import ProfileSchema
from opportune.streams.serving_copy import STAMP_BYTES, stamped
from opportune.streams.sessions import MOST_SESSIONS, STATE, Sessions, seq_of, session_of

SCHEMA = ProfileSchema.of(
    FeatureSet(features=[Feature(name="steps", fold="count", entity="session")]), "session"
)
NOW = 1_790_000_000_000


def _event(number: int, session: str) -> Event:
    call = {"event": "Product Viewed", "messageId": f"m{number}", "anonymousId": "b1"}
    if session:
        call |= {"context": {"sessionId": session}}  # type: ignore[dict-item]  # a call is any JSON
    return normalize(call, kind="track", source="shop", received=NOW + number)


def _steps(data: bytes | None, session: str) -> int:
    return int(SCHEMA.read(session_of(SCHEMA, data, session), NOW)["steps"])


def test_a_session_counts_its_own_events() -> None:
    sessions, state = Sessions(SCHEMA), State()
    kept: Any = state
    for number, session in enumerate(["a", "a", "b", "a", ""]):
        sessions.fold(_event(number, session), 10 + number, kept)
    data = state.get_bytes(STATE + b"anonymous_id:b1")
    assert data is not None
    assert (_steps(data, "a"), _steps(data, "b"), _steps(data, "c")) == (3, 1, 0)
    assert seq_of(data) == 13, "an event without a session changes nothing"
    assert sessions.changed() == {b"anonymous_id:b1": stamped(13, data)}
    assert sessions.changed() == {}


def test_the_oldest_goes_when_there_are_too_many() -> None:
    sessions, state = Sessions(SCHEMA), State()
    kept: Any = state
    for number in range(MOST_SESSIONS + 1):
        sessions.fold(_event(number, f"s{number}"), number, kept)
    data = state.get_bytes(STATE + b"anonymous_id:b1")
    assert [_steps(data, f"s{number}") for number in range(MOST_SESSIONS + 1)] == [0] + MOST_SESSIONS * [1]


def test_they_go_with_the_leaf() -> None:
    sessions, state = Sessions(SCHEMA), State()
    kept: Any = state
    sessions.fold(_event(1, "a"), 1, kept)
    sessions.bury(b"anonymous_id:b1", 2, kept)
    assert state.get_bytes(STATE + b"anonymous_id:b1") is None
    [gone] = sessions.changed().values()
    assert len(gone) == STAMP_BYTES
    sessions.bury(b"anonymous_id:nobody", 3, kept)
    assert sessions.changed() == {}


def test_where_no_feature_is_declared_nothing_is_kept() -> None:
    state = State()
    kept: Any = state
    Sessions(ProfileSchema.of(FeatureSet(), "session")).fold(_event(1, "a"), 1, kept)
    assert state.written == {}
