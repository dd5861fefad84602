from __future__ import annotations

import random

import pytest

from opportune.errors import Corrupt
from opportune.streams.marks import MARK_BYTES, REMEMBERED, has, mark_of, packed, unpacked, with_mark


def test_a_mark_is_found_only_where_one_begins() -> None:
    one, two = bytes(range(8)), bytes(range(8, 16))
    both = with_mark(with_mark(b"", one), two)
    assert has(both, one)
    assert has(both, two)
    assert not has(both, bytes(range(4, 12))), "bytes across two marks are no mark"


def test_marks_agree_with_a_set() -> None:
    draw = random.Random(3)
    marks, known = b"", set()
    for _ in range(300):
        mark = bytes(draw.randrange(3) for _ in range(MARK_BYTES))
        assert has(marks, mark) == (mark in known)
        if mark not in known:
            marks = with_mark(marks, mark)
            known.add(mark)


def test_the_oldest_goes_first() -> None:
    marks = b""
    for number in range(REMEMBERED + 1):
        marks = with_mark(marks, mark_of("shop", f"m{number}"))
    assert len(marks) == REMEMBERED * MARK_BYTES
    assert not has(marks, mark_of("shop", "m0"))
    assert has(marks, mark_of("shop", "m1"))
    assert has(marks, mark_of("shop", f"m{REMEMBERED}"))


def test_the_source_is_part_of_the_mark() -> None:
    assert mark_of("shop", "m1") != mark_of("app", "m1")


def test_marks_and_leaf_come_apart_again() -> None:
    marks = with_mark(b"", mark_of("shop", "m1"))
    assert unpacked(packed(marks, b"leaf")) == (marks, b"leaf")
    assert unpacked(packed(b"", b"")) == (b"", b"")


def test_other_bytes_are_refused() -> None:
    with pytest.raises(Corrupt, match="not a worker's record"):
        unpacked(b"\x02\x00\x00leaf")
