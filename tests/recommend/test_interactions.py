"""The interaction log: numbering of sessions, bounds, and checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.clock import MINUTE
from opportune.errors import Corrupt
from opportune.recommend import interactions as module
from opportune.recommend.interactions import InteractionLog
from opportune.recommend.source import Interactions, Kind

T0 = 1_760_000_000_000


def rows(log: InteractionLog) -> list[tuple[int, int, int, int]]:
    held = log.tail(0)
    columns = (held.session, held.item, held.kind, held.time)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def reloaded(log: InteractionLog, **bounds: int) -> InteractionLog:
    chunks = {number: log.export_chunk(number) for number in log.chunks()}
    again = InteractionLog(**bounds)
    again.load(log.export_state(), chunks.__getitem__)
    return again


def test_columns_come_back_in_order() -> None:
    log = InteractionLog()
    log.append("user_id:a", 7, Kind.VIEW, T0)
    log.append("user_id:b", 9, Kind.BUY, T0 + 5)
    assert rows(log) == [(0, 7, 0, T0), (1, 9, 2, T0 + 5)]
    assert rows(log)[1:] == [(1, 9, 2, T0 + 5)]
    assert len(log.tail(1)) == 1
    assert len(log.tail(2)) == 0


def test_a_session_ends_after_thirty_minutes_without_a_touch() -> None:
    log = InteractionLog()
    numbers = [log.append("u", 1, 0, T0 + minutes * MINUTE) for minutes in (0, 30, 60, 91)]
    assert numbers == [0, 0, 0, 1]


def test_an_explicit_session_id_outlives_the_gap_and_belongs_to_its_leaf() -> None:
    log = InteractionLog()
    assert log.append("u", 1, 0, T0, "s1") == 0
    assert log.append("u", 1, 0, T0 + 300 * MINUTE, "s1") == 0
    assert log.append("v", 1, 0, T0, "s1") == 1
    assert log.append("u", 1, 0, T0) == 2


def test_a_late_touch_does_not_end_the_session_that_is_open() -> None:
    log = InteractionLog()
    assert log.append("u", 1, 0, T0) == 0
    assert log.append("u", 1, 0, T0 - 500 * MINUTE) == 1
    assert log.append("u", 1, 0, T0 + MINUTE) == 0


def test_only_the_most_recent_open_sessions_are_remembered() -> None:
    log = InteractionLog(open_sessions=2)
    assert [log.append(leaf, 1, 0, T0) for leaf in "abacab"] == [0, 1, 0, 2, 0, 3]


def test_the_oldest_chunks_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)
    log = InteractionLog(keep=6)
    for n in range(21):
        log.append("u", n, 0, T0)
        assert len(log.tail(0)) >= min(n + 1, 6)
        assert len(log.tail(0)) <= 6 + 2 * 4
    assert [row[1] for row in rows(log)] == list(range(log.first, 21))
    assert log.between(16, 18).item.tolist() == [16, 17]
    assert log.between(0, log.first).item.tolist() == []


touches = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 9),
        st.integers(0, 2),
        st.integers(0, 90),
        st.sampled_from(["", "s"]),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(touches, touches, st.booleans())
def test_a_loaded_log_goes_on_as_the_one_that_was_exported(
    before: list[tuple[str, int, int, int, str]], after: list[tuple[str, int, int, int, str]], veiled: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", 4)
        bounds = {"keep": 10, "open_sessions": 3}
        log = InteractionLog(**bounds)
        for leaf, item, kind, minute, session_id in before:
            log.append(leaf, item, kind, T0 + minute * MINUTE, session_id)
        log.offset = 77
        if veiled:
            log.veil(b"salt")
        again = reloaded(log, **bounds)
        assert again.offset == 77
        for leaf, item, kind, minute, session_id in after:
            assert log.append(leaf, item, kind, T0 + minute * MINUTE, session_id) == again.append(
                leaf, item, kind, T0 + minute * MINUTE, session_id
            )
        assert rows(again) == rows(log)
        assert again.export_state() == log.export_state()
        assert [again.export_chunk(n) for n in again.chunks()] == [log.export_chunk(n) for n in log.chunks()]


def test_parts_that_do_not_fit_together_are_refused() -> None:
    log = InteractionLog()
    log.append("u", 1, 0, T0)
    raw = log.export_chunk(0)
    assert len(raw) == 21
    with pytest.raises(Corrupt, match="chunk 0 of the interactions is cut off, saw 20"):
        InteractionLog().load(log.export_state(), lambda _: raw[:-1])
    with pytest.raises(Corrupt, match="wrong number of rows, 1 expected, saw 2"):
        InteractionLog().load(log.export_state(), lambda _: raw + raw)


def test_an_interactions_struct_knows_its_length() -> None:
    n = 3
    assert (
        len(
            Interactions(
                np.zeros(n, np.int64), np.zeros(n, np.int32), np.zeros(n, np.int8), np.zeros(n, np.int64)
            )
        )
        == n
    )


def test_a_veiled_log_names_nobody_and_forgets_them_all_the_same() -> None:
    log = InteractionLog()
    log.append("user_id:ann", 1, 0, T0)
    log.append("user_id:ann", 2, 0, T0, "evening")
    log.append("user_id:bob", 1, 0, T0)
    assert b"user_id:ann" in log.export_state()
    log.veil(b"salt")
    assert b"ann" not in log.export_state()
    assert b"evening" not in log.export_state()
    again = reloaded(log)
    again.append("user_id:ann", 3, 0, T0, "morning")
    assert again.forget("user_id:ann") == 3
    assert [again.append(leaf, 1, 0, T0) for leaf in ("user_id:bob", "user_id:ann")] == [2, 4]


def test_digests_keep_their_salt_through_the_next_export() -> None:
    log = InteractionLog()
    log.append("user_id:ann", 1, 0, T0)
    log.veil(b"first")
    again = reloaded(log)
    again.veil(b"second")
    assert reloaded(again).append("user_id:ann", 2, 0, T0) == 0
