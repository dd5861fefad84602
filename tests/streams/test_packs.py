from __future__ import annotations

import logging

import msgspec
import pytest

from opportune.engine import entries
from opportune.events.event import Event
from opportune.events.segment import normalize
from opportune.streams import packs
from opportune.streams.leaf_fold import end_of

BAD = {"type": "no such entry"}


def event(number: int) -> Event:
    call = {"event": "Product Viewed", "messageId": f"m{number}", "anonymousId": "b1", "userId": "u1"}
    return normalize(call, kind="track", source="shop", received=1_790_000_000_000 + number)


def test_what_was_packed_comes_out_in_its_order() -> None:
    pack = packs.encode([(n, msgspec.Raw(entries.encode(event(n)))) for n in range(3)])
    assert packs.entries_of(pack) == [(n, event(n)) for n in range(3)]
    assert [(time, packs.read(raw)) for time, raw in packs.split(pack)] == packs.entries_of(pack)


def test_packed_again_it_is_the_same() -> None:
    """Whether the entries were bytes (a gateway) or values (a worker that dropped others)."""
    pack = packs.encode([(1, msgspec.Raw(entries.encode(event(1))))])
    assert packs.encode(packs.entries_of(pack)) == pack


def test_an_entry_that_cannot_be_read_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    pack = packs.encode([(0, event(0)), (1, BAD), (2, event(2))])
    with caplog.at_level(logging.ERROR):
        assert packs.entries_of(pack) == [(0, event(0)), (2, event(2))]
    assert "an entry that cannot be read was passed over" in caplog.text


@pytest.mark.parametrize("data", [b"", b"\xc1", b"no pack", packs.encode({"a": 1}), packs.encode([1])])
def test_what_is_no_pack_stops_nobody(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert packs.split(data) == []
    assert packs.entries_of(data) == []
    assert packs.ends_of(data) == ()
    assert "that is no pack was passed over" in caplog.text


def test_ends_name_whom_they_are_for() -> None:
    ends = [(b"user_id:u1", end_of(event(1))), (b"anonymous_id:\xff", end_of(event(2)))]
    assert packs.ends_of(packs.encode(ends)) == ends


def test_a_later_entry_has_a_larger_number() -> None:
    last = packs.MOST_PACKED - 1
    assert last < 2**packs.PLACE_BITS
    assert packs.sequence(0, 0) < packs.sequence(0, last) < packs.sequence(1, 0)
    assert float(packs.sequence(2**40, last)) == packs.sequence(2**40, last), "exact in Redis's scripts"


def test_packs_are_joined_without_decoding_in_order() -> None:
    numbered = [(number, {"n": number}) for number in range(1_201)]
    some = [packs.encode(numbered[start : start + 7]) for start in range(0, 1_000, 7)]
    some.append(packs.encode(numbered[1_001:]))
    out = packs.joined(some)
    assert [msgspec.msgpack.decode(data) for data in out] == [
        [list(pair) for pair in numbered[start:end]] for start, end in ((0, 497), (497, 994), (994, 1_201))
    ]


def test_one_pack_stays_as_it_is_and_none_are_none() -> None:
    assert packs.joined([b"any"]) == [b"any"]
    assert packs.joined([]) == []


def test_joined_packs_are_bounded_in_bytes() -> None:
    some = [packs.encode([(number, "x" * 100_000)]) for number in range(5)]
    assert [len(msgspec.msgpack.decode(data)) for data in packs.joined(some)] == [2, 2, 1]
