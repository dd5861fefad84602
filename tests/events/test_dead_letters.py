"""The dead-letter queue: bounded, countable, listable, and the same after a replay of the journal."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opportune.errors import InvalidRequest
from opportune.events import dead_letters
from opportune.events.dead_letters import (
    DeadLetters,
    fixed_bytes,
    letter,
    listing,
    refused_again,
    to_dict,
)
from opportune.events.event import DeadLetter, Resolved
from opportune.events.rejected import BAD_TIME, MISSING_FIELD, WRONG_TYPE, Rejected

NOW = 1_795_300_000_000
WHY = Rejected(WRONG_TYPE, "Expected str", "$.event", seen=7)


def made(number: int, *, code: str = WRONG_TYPE, source: str = "web", raw: bytes = b"{}") -> DeadLetter:
    return letter(raw, Rejected(code, "reason", "$.x"), source=source, received=NOW, position=number)


def folded(*entries: DeadLetter | Resolved) -> DeadLetters:
    letters = DeadLetters()
    for offset, entry in enumerate(entries):
        letters.fold(entry, offset)
    return letters


def test_a_letter_keeps_the_bytes_and_the_reason() -> None:
    kept = letter(b'{"event":7}', WHY, source="web", received=NOW, position=3)
    assert to_dict(kept) == {
        "id": kept.letter_id,
        "source": "web",
        "received": NOW,
        "code": "wrong_type",
        "reason": "Expected str, saw 7",
        "where": "$.event",
        "attempt": 0,
        "dialect": "segment",
        "raw": '{"event":7}',
    }


def test_bytes_that_are_no_text_are_shown_as_base64() -> None:
    shown = to_dict(made(0, raw=b"\xff\x00"))
    assert "raw" not in shown
    assert shown["raw_base64"] == "/wA="


def test_the_id_is_of_what_came_when_and_where() -> None:
    assert made(0).letter_id == made(0).letter_id
    assert (
        len(
            {
                made(0).letter_id,
                made(1).letter_id,
                made(0, raw=b"[]").letter_id,
                made(0, source="x").letter_id,
            }
        )
        == 4
    )


def test_counts_follow_letters_and_their_ends() -> None:
    a, b, c = made(0), made(1, code=BAD_TIME), made(2)
    letters = folded(a, b, c, Resolved(a.letter_id, "replayed", NOW), Resolved(b.letter_id, "discarded", NOW))
    assert letters.summary() == {
        "open": 1,
        "by_code": {"wrong_type": 1},
        "resolved": {"discarded": 1, "replayed": 1},
        "total": 3,
        "pushed_out": 0,
    }
    assert letters.get(a.letter_id) is None
    kept = letters.get(c.letter_id)
    assert kept is not None
    assert (kept.letter, kept.offset) == (c, 2)


def test_a_letter_refused_again_takes_its_own_place() -> None:
    first = made(0)
    second = refused_again(first, b'{"event":""}', Rejected(MISSING_FIELD, "no name", "$.event"))
    assert (second.letter_id, second.attempt, second.received) == (first.letter_id, 1, NOW)
    letters = folded(first, second)
    assert letters.summary()["by_code"] == {"missing_field": 1}
    assert (letters.total, len(letters.kept)) == (1, 1)


def test_pages_are_newest_first_and_stand_still_while_letters_come() -> None:
    entries = [made(n, code=BAD_TIME if n % 2 else WRONG_TYPE) for n in range(5)]
    letters = folded(*entries)
    first = letters.page(limit=2)
    assert [kept.offset for kept in first.letters] == [4, 3]
    letters.fold(made(5), 5)
    second = letters.page(cursor=first.cursor, limit=2)
    assert [kept.offset for kept in second.letters] == [2, 1]
    last = letters.page(cursor=second.cursor, limit=2)
    assert ([kept.offset for kept in last.letters], last.cursor) == ([0], "")
    assert [kept.offset for kept in letters.page(code=BAD_TIME).letters] == [3, 1]
    assert letters.page(source="other").letters == []
    assert letters.page(limit=6).cursor == ""


def test_the_answer_of_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "KEEP_RAW_BYTES", 10)
    letters = folded(made(0), made(1, raw=b"x" * 11))
    shown = listing(letters.page(limit=1), letters)
    assert shown["cursor"] == {"has_more": True, "next": "1", "limit": 1}
    assert shown["letters"][0]["raw_bytes"] == 11
    assert "raw" not in shown["letters"][0]
    assert listing(letters.page(cursor="1"), letters)["letters"][0]["raw"] == "{}"
    assert shown["summary"]["open"] == 2


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "٣", "9" * 21])
def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="not a cursor of this listing"):
        DeadLetters().page(cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_a_foreign_limit_is_refused(limit: int) -> None:
    with pytest.raises(InvalidRequest, match="limit must be 1 to 200"):
        DeadLetters().page(limit=limit)


def test_memory_is_bounded_in_letters_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "KEEP", 3)
    letters = folded(*(made(n) for n in range(10)))
    assert (len(letters.kept), letters.pushed_out, letters.total) == (3, 7, 10)
    assert [kept.offset for kept in letters.page().letters] == [9, 8, 7]
    monkeypatch.setattr(dead_letters, "KEEP_RAW_TOTAL_BYTES", 25)
    letters = folded(*(made(n, raw=b"x" * 10) for n in range(5)))
    assert (len(letters.kept), letters.kept_raw_bytes) == (2, 20)


entries = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["letter", "again", "replayed", "discarded"])), max_size=20
)


@given(entries, st.integers(0, 20))
def test_a_replay_over_a_checkpoint_gives_the_same_bytes(steps: list[tuple[int, str]], at: int) -> None:
    journal: list[DeadLetter | Resolved] = []
    for number, step in steps:
        if step == "letter":
            journal.append(made(number, raw=b"x" * number))
        elif step == "again":
            journal.append(refused_again(made(number), b"y", Rejected(BAD_TIME, "reason")))
        else:
            journal.append(Resolved(made(number).letter_id, step, NOW))
    whole = folded(*journal)
    encoded = msgspec.msgpack.encode(folded(*journal[:at]))
    restored = msgspec.msgpack.decode(encoded, type=DeadLetters)
    for offset, entry in enumerate(journal):
        restored.fold(entry, offset)
    assert msgspec.msgpack.encode(restored) == msgspec.msgpack.encode(whole)
    assert sum(whole.open_by_code.values()) == len(whole.kept)
    assert whole.kept_raw_bytes == sum(len(kept.letter.raw) for kept in whole.kept.values())


@pytest.mark.parametrize(
    ("sent", "fixed"),
    [
        ({}, None),
        ({"event": {"type": "track"}}, b'{"type":"track"}'),
        ({"raw": "{}"}, b"{}"),
        ({"raw_base64": "e30="}, b"{}"),
        ({"raw": 7}, None),
    ],
)
def test_the_fixed_event_of_a_replay_request(sent: dict[str, Any], fixed: bytes | None) -> None:
    assert fixed_bytes(sent) == fixed


def test_a_fixed_event_that_is_not_base64() -> None:
    with pytest.raises(InvalidRequest, match="not base64"):
        fixed_bytes({"raw_base64": "*"})
