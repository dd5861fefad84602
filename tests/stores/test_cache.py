from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.errors import DiskFull, StorageError
from opportune.stores.cache import RecordCache
from opportune.stores.records import RecordStore
from opportune.testing.disk import BreakingDisk, MemoryDisk


class Counter(msgspec.Struct, array_like=True):
    offset: int = 0
    count: int = 0


class CounterCodec:
    def __init__(self) -> None:
        self.decoded = 0

    def encode(self, record: Counter) -> bytes:
        return msgspec.msgpack.encode(record)

    def decode(self, data: bytes) -> Counter:
        self.decoded += 1
        return msgspec.msgpack.decode(data, type=Counter)

    def zero(self) -> Counter:
        return Counter()


def bump(cache: RecordCache, key: str, seq: int) -> None:
    record = cache.touch(key)
    record.offset = seq
    record.count += 1


def save(cache: RecordCache, offset: int) -> None:
    checkpoint = cache.checkpoint(offset, {})
    while not checkpoint.step():
        pass
    checkpoint.finish()
    checkpoint.done()


def test_a_record_nobody_touched_is_zero_and_is_not_kept() -> None:
    store = RecordStore.open(MemoryDisk())
    cache = RecordCache(store, lambda key: CounterCodec())
    assert cache.get("a") == Counter()
    assert cache.peek("a") is None
    assert (cache.dirty_count, cache.cached_count) == (0, 0)
    bump(cache, "a", 1)
    assert cache.get("a") is cache.peek("a") is cache.touch("a")
    assert (cache.get("a"), cache.dirty_count) == (Counter(1, 1), 1)


def test_the_codec_is_chosen_by_key() -> None:
    chosen = []

    def codec_for(key: str) -> CounterCodec:
        chosen.append(key)
        return CounterCodec()

    RecordCache(RecordStore.open(MemoryDisk()), codec_for).get("leaf:user_id:u1")
    assert chosen == ["leaf:user_id:u1"]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 11), st.sampled_from(["bump", "bump", "get", "delete", "begin", "step", "end"])
        )
    ),
    st.integers(1, 8),
)
def test_it_forgets_nothing_however_small_it_is(steps: list[tuple[int, str]], capacity: int) -> None:
    store = RecordStore.open(MemoryDisk())
    cache = RecordCache(store, lambda key: CounterCodec(), capacity=capacity)
    model: dict[str, Counter] = {}
    under_way = None
    for seq, (number, action) in enumerate(steps, 1):
        key = f"k{number}"
        if action == "bump":
            bump(cache, key, seq)
            known = model.setdefault(key, Counter())
            known.offset, known.count = seq, known.count + 1
        elif action == "delete":
            assert cache.delete(key) is (model.pop(key, None) is not None)
            assert cache.peek(key) is None
        elif action == "begin" and under_way is None:
            under_way = cache.checkpoint(seq, {})
        elif action == "step" and under_way is not None:
            under_way.step(0.0)
        elif action == "end" and under_way is not None:
            while not under_way.step():
                pass
            under_way.finish()
            under_way.done()
            under_way = None
        assert cache.get(key) == model.get(key, Counter())
        assert len(cache._young) + len(cache._old) <= max(2, capacity)
    expected = {key: msgspec.msgpack.encode(record) for key, record in model.items()}
    assert dict(cache.items()) == expected
    assert sorted(key for key, _ in cache.items("k1")) == sorted(key for key in model if key.startswith("k1"))


def test_what_is_used_stays_and_what_is_not_goes() -> None:
    store = RecordStore.open(MemoryDisk())
    codec = CounterCodec()
    cache = RecordCache(store, lambda key: codec, capacity=20)
    for i in range(200):
        bump(cache, f"k{i}", i + 1)
    save(cache, 201)
    for i in range(200):
        cache.get("k7")
        cache.get(f"k{i}")
    assert cache.cached_count <= 20
    before = codec.decoded
    cache.get("k7")
    assert codec.decoded == before, "asked for all the time"
    cache.get("k20")
    assert codec.decoded == before + 1, "not asked for since long"


def test_a_checkpoint_goes_on_in_slices_and_takes_later_changes_along() -> None:
    store = RecordStore.open(MemoryDisk())
    cache = RecordCache(store, lambda key: CounterCodec())
    for i in range(1, 6):
        bump(cache, f"k{i}", i)
    checkpoint = cache.checkpoint(6, {"note": 1}, {"blob": b"b"})
    assert checkpoint.record_count == 5
    assert not checkpoint.step(0.0), "one record a step when there is no time"
    bump(cache, "k1", 6)
    bump(cache, "k5", 7)
    while not checkpoint.step(0.0):
        pass
    assert checkpoint.highest_offset == 7, "k5 was written with entry 7 in it"
    checkpoint.finish(lambda writer: writer.put_blob("lazy", b"made in the thread"))
    assert cache.dirty_count == 2, "k1 and k5 changed after the checkpoint began"
    checkpoint.done()
    assert (store.offset, store.highest_offset, store.meta) == (6, 7, {"note": 1})
    assert store.blobs() == ["blob", "lazy"]
    kept = {key: msgspec.msgpack.decode(data, type=Counter) for key, data in store.items()}
    assert kept[b"k1"] == Counter(1, 1), "written before it changed"
    assert kept[b"k5"] == Counter(7, 2), "written after it changed"
    save(cache, 8)
    assert msgspec.msgpack.decode(store.get(b"k1") or b"", type=Counter) == Counter(6, 2)
    assert cache.dirty_count == 0


def test_one_checkpoint_at_a_time_and_a_failed_one_can_be_tried_again() -> None:
    disk = BreakingDisk("full", 3, Random(1))
    store = RecordStore.open(disk)
    cache = RecordCache(store, lambda key: CounterCodec(), capacity=2)
    for i in range(1, 6):
        bump(cache, f"k{i}", i)
    checkpoint = cache.checkpoint(6, {})
    with pytest.raises(StorageError, match="a checkpoint is already under way: finish or abandon it first"):
        cache.checkpoint(6, {})
    checkpoint.step(0.0)
    bump(cache, "k1", 6)
    while not checkpoint.step():
        pass
    with pytest.raises(DiskFull):
        checkpoint.finish()
    checkpoint.abandon()
    disk.heal()
    assert cache.dirty_count == 5
    assert cache.get("k1") == Counter(6, 2)
    save(cache, 7)
    assert (store.offset, len(dict(store.items())), cache.dirty_count) == (7, 5, 0)


def test_full_says_when_too_many_changes_wait() -> None:
    cache = RecordCache(RecordStore.open(MemoryDisk()), lambda key: CounterCodec(), max_dirty=3)
    bump(cache, "a", 1)
    bump(cache, "b", 2)
    assert not cache.full
    checkpoint = cache.checkpoint(3, {})
    bump(cache, "c", 3)
    assert cache.full, "also what is just being written takes memory"
    assert checkpoint.step()
    checkpoint.finish()
    checkpoint.done()
    assert not cache.full
