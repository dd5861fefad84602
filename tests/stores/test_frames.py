"""A frame is whole, torn, or flipped, and the three are told apart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.stores import frames
from opportune.stores.frames import Damage, Frame
from opportune.testing.disk import MemoryDisk

RECORDS = st.lists(st.binary(max_size=300), min_size=1, max_size=8)


def walk(data: bytes, expected: int = 1) -> list[Frame | Damage]:
    reader = MemoryDisk({"f": data}).open_read("f")
    return list(frames.walk(reader, 0, expected, len(data)))


@given(st.lists(RECORDS, min_size=1, max_size=6))
def test_what_was_encoded_is_walked(groups: list[list[bytes]]) -> None:
    data = b""
    seq = 1
    for group in groups:
        data += frames.encode(seq, seq, group)
        seq += len(group)
    walked = walk(data)
    assert [frame.records() for frame in walked if isinstance(frame, Frame)] == groups
    last = walked[-1]
    assert isinstance(last, Frame)
    assert last.end == len(data)
    assert last.record(last.first + last.n_records - 1) == groups[-1][-1]


def test_a_frame_longer_than_a_chunk_is_read_whole() -> None:
    big = bytes(range(256)) * (frames.CHUNK_BYTES // 256 + 3)
    data = frames.encode(1, 1, [b"a"]) + frames.encode(2, 2, [big]) + frames.encode(3, 3, [b"c"])
    assert [frame.records() for frame in walk(data) if isinstance(frame, Frame)] == [[b"a"], [big], [b"c"]]


@settings(max_examples=200)
@given(RECORDS, st.data())
def test_a_frame_cut_short_is_torn(records: list[bytes], data: st.DataObject) -> None:
    whole = frames.encode(1, 1, [b"first"])
    frame = frames.encode(2, 2, records)
    cut = data.draw(st.integers(1, len(frame) - 1))
    found = walk(whole + frame[:cut])[-1]
    assert isinstance(found, Damage)
    assert (found.kind, found.offset, found.expected) == ("torn", len(whole), 2)


@settings(max_examples=300)
@given(RECORDS, st.data())
def test_a_flipped_bit_is_not_torn(records: list[bytes], data: st.DataObject) -> None:
    records = [bytes(byte or 1 for byte in record) for record in records]
    whole = frames.encode(1, 1, [b"first"])
    frame = bytearray(frames.encode(2, 2, records))
    bit = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[bit // 8] ^= 1 << bit % 8
    found = walk(whole + bytes(frame))[-1]
    assert isinstance(found, Damage)
    assert found.kind in ("flipped", "newer")
    assert (found.offset, found.expected) == (len(whole), 2)


@pytest.mark.parametrize("zeros", [1, 39, 40, 41, 600, 5000])
def test_zeros_after_the_last_frame_are_torn(zeros: int) -> None:
    found = walk(frames.encode(1, 1, [b"first"]) + bytes(zeros))[-1]
    assert isinstance(found, Damage)
    assert found.kind == "torn"


def test_a_sector_that_was_not_written_is_torn() -> None:
    frame = bytearray(frames.encode(1, 1, [b"x" * 2000]))
    frame[512:1024] = bytes(512)
    found = walk(bytes(frame))[-1]
    assert found == Damage(0, 1, "torn", "part of a frame was not written")


def test_a_hole_before_a_frame_of_the_same_flush_is_torn() -> None:
    hole = bytes(len(frames.encode(1, 1, [b"x" * 1000])))
    found = walk(hole + frames.encode(2, 1, [b"y" * 600]))[-1]
    assert isinstance(found, Damage)
    assert found.kind == "torn", "both frames were of one flush, nothing says that the first was acknowledged"


def test_a_hole_before_a_frame_of_a_later_flush_is_damage() -> None:
    hole = bytes(len(frames.encode(1, 1, [b"x" * 1000])))
    found = walk(hole + frames.encode(2, 2, [b"y" * 600]))[-1]
    assert found == Damage(0, 1, "flipped", "damaged, and frames flushed later follow it")


def test_frames_inside_the_records_of_a_torn_frame_prove_nothing() -> None:
    forged = frames.encode(9, 9, [b"forged"])
    frame = bytearray(frames.encode(1, 1, [b"x" * 1000 + forged]))
    frame[512:1024] = bytes(512)
    found = walk(bytes(frame))[-1]
    assert isinstance(found, Damage)
    assert found.kind == "torn"


def test_a_gap_in_the_numbers_is_damage() -> None:
    found = walk(frames.encode(1, 1, [b"a"]) + frames.encode(3, 3, [b"c"]))[-1]
    assert isinstance(found, Damage)
    assert (found.kind, found.reason) == ("flipped", "a frame begins with seq 3, not 2")
