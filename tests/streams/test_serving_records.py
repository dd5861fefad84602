from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from opportune.engine import keys
from opportune.engine.loading import codecs
from opportune.errors import StorageError
from opportune.events.segment import normalize
from opportune.profiles.leaf import Leaf
from opportune.profiles.schema import ProfileSchema
from opportune.stores.disk import RealDisk
from opportune.stores.records import RecordStore
from opportune.streams.leaf_fold import end_of, fold_end, fold_event
from opportune.streams.serving_copy import END, LEAF, ServingCopy, stamped
from opportune.streams.serving_records import ServingRecords

SCHEMA = ProfileSchema.default()


class Kept:
    """A serving copy in memory that counts round trips."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.trips = 0
        self.broken = False

    def key(self, kind: bytes, identifier: bytes) -> bytes:
        return kind + b":" + identifier

    def stone_key(self, identifier: bytes) -> bytes:
        return b"x:" + identifier

    def get(self, names: Sequence[bytes], within_s: float | None = None) -> list[bytes | None]:
        if self.broken:
            raise StorageError("Redis does not answer")
        self.trips += 1
        return [self.records.get(name) for name in names]

    def saw(self, seq: int, *identifiers: tuple[str, str]) -> None:
        """An event of these identifiers, folded by the workers."""
        event = normalize(
            {"type": "track", "event": "Product Viewed", "messageId": f"m{seq}", **dict(identifiers),
             "properties": {"product_id": f"i{seq}"}},
            kind=None, source="shop", received=1_790_000_000_000 + seq,
        )  # fmt: skip
        first, *others = event.identifiers
        leaf = self._leaf(LEAF, first)
        fold_event(SCHEMA, leaf, event, seq)
        self.records[self.key(LEAF, first.encode())] = stamped(seq, SCHEMA.encode(leaf))
        for other in others:
            leaf = self._leaf(END, other)
            fold_end(SCHEMA, leaf, end_of(event), other, seq)
            self.records[self.key(END, other.encode())] = stamped(seq, SCHEMA.encode(leaf))

    def _leaf(self, kind: bytes, name: str) -> Leaf:
        data = self.records.get(self.key(kind, name.encode()))
        return SCHEMA.zero() if data is None else SCHEMA.decode(data[8:])


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def changed() -> list[str]:
    return []


@pytest.fixture
def records(kept: Kept, time: Time, changed: list[str], tmp_path: Path) -> ServingRecords:
    disk = RealDisk(tmp_path)
    schemas = {name: ProfileSchema.default() for name in ("person", "item", "session")}
    return ServingRecords(
        cast(ServingCopy, kept), SCHEMA, RecordStore.open(disk), codecs(schemas),
        changed=changed.append, timer=time, stale_s=0.5, capacity=3,
    )  # fmt: skip


def test_a_person_of_two_identifiers_is_read_in_two_trips_and_then_in_one(
    kept: Kept, records: ServingRecords
) -> None:
    kept.saw(1, ("userId", "u1"), ("anonymousId", "b1"))
    records.refresh(["anonymous_id:b1"])
    assert kept.trips == 2
    assert set(records.get(keys.LEAF + "user_id:u1").links) == {"anonymous_id:b1"}
    records.refresh(["anonymous_id:b1"], ["user_id:u1", "anonymous_id:b1"])
    assert kept.trips == 3


def test_a_new_link_is_told_once(kept: Kept, records: ServingRecords, changed: list[str]) -> None:
    kept.saw(1, ("anonymousId", "b1"))
    records.refresh(["anonymous_id:b1"])
    assert changed == []
    kept.saw(2, ("userId", "u1"), ("anonymousId", "b1"))
    records.refresh(["anonymous_id:b1"])
    records.refresh(["anonymous_id:b1"])
    assert sorted(changed) == ["anonymous_id:b1", "user_id:u1"]


def test_a_leaf_that_is_asked_for_again_is_read_when_it_is_old(
    kept: Kept, records: ServingRecords, time: Time
) -> None:
    kept.saw(1, ("anonymousId", "b1"))
    assert len(records.get(keys.LEAF + "anonymous_id:b1").touches) == 1
    kept.saw(2, ("anonymousId", "b1"))
    assert len(records.get(keys.LEAF + "anonymous_id:b1").touches) == 1
    time.now = 0.6
    assert len(records.get(keys.LEAF + "anonymous_id:b1").touches) == 2
    assert kept.trips == 2


def test_the_offset_changes_with_either_half(kept: Kept, records: ServingRecords) -> None:
    kept.saw(3, ("anonymousId", "b1"))
    kept.saw(4, ("userId", "u1"), ("anonymousId", "b1"))
    records.refresh(["anonymous_id:b1"])
    assert records.get(keys.LEAF + "anonymous_id:b1").offset == 3 + 4
    assert records.get(keys.LEAF + "user_id:u1").offset == 4


def test_without_redis_what_is_held_serves_and_strangers_are_strangers(
    kept: Kept, records: ServingRecords, time: Time
) -> None:
    kept.saw(1, ("anonymousId", "b1"))
    records.refresh(["anonymous_id:b1"])
    kept.broken, time.now = True, 60.0
    assert len(records.get(keys.LEAF + "anonymous_id:b1").touches) == 1
    assert records.get(keys.LEAF + "anonymous_id:b2").offset == -1
    with pytest.raises(StorageError, match="Redis does not answer"):
        records.refresh(["anonymous_id:b1"])


def test_memory_is_bounded(kept: Kept, records: ServingRecords, changed: list[str]) -> None:
    for number in range(5):
        records.get(f"{keys.LEAF}anonymous_id:b{number}")
    assert changed == ["anonymous_id:b0", "anonymous_id:b1"]


def test_what_all_share_is_this_process_own(kept: Kept, records: ServingRecords) -> None:
    record = records.touch(keys.ITEM + "i1")
    assert records.get(keys.ITEM + "i1") is record
    assert records.get(keys.ITEM + "i2") is not records.get(keys.ITEM + "i2")
    assert kept.trips == 0
