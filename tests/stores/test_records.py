from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.errors import Corrupt, DiskFull, FlushFailed, FolderTooNew, NotFound
from opportune.stores import manifest, records, runs
from opportune.stores.disk import RealDisk
from opportune.stores.manifest import Manifest
from opportune.stores.records import CheckpointWriter, RecordStore
from opportune.testing.disk import Breakage, BreakingDisk, MemoryDisk

KEYS = st.binary(min_size=1, max_size=3)
CHANGES = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=40)), max_size=12)


def commit(store: RecordStore, changes: dict[bytes, bytes | None], offset: int = 1) -> None:
    writer = store.begin()
    for key, value in changes.items():
        writer.put(key, value)
    writer.commit(offset, {})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CHANGES, st.sampled_from(["none", "some", "all", "reopen"])), max_size=9))
def test_it_behaves_like_a_dict(steps: list[tuple[list[tuple[bytes, bytes | None]], str]]) -> None:
    disk = MemoryDisk()
    store = RecordStore.open(disk)
    model: dict[bytes, bytes] = {}
    asked: set[bytes] = set()
    for changes, then in steps:
        writer = store.begin()
        for key, value in changes:
            writer.put(key, value)
            asked.add(key)
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
        writer.commit(1, {})
        if then == "reopen":
            store = RecordStore.open(disk)
        elif then != "none":
            store.compact(everything=then == "all")
        assert {key: store.get(key) for key in asked} == {key: model.get(key) for key in asked}
        many = [*sorted(asked), b"never", *sorted(asked)]
        assert store.get_many(many) == [model.get(key) for key in many]
        items = list(store.items())
        assert dict(items) == model
        assert len(items) == len(model), "every key once"
    assert sorted(store.keys(b"a")) == sorted(key for key in model if key.startswith(b"a"))


def test_keys_of_one_hash_all_live(monkeypatch: pytest.MonkeyPatch) -> None:
    class OneHash:
        def __init__(self, *_: object, **__: object) -> None: ...

        def digest(self) -> bytes:
            return b"\7" * 8

    monkeypatch.setattr(runs, "blake2b", OneHash)
    store = RecordStore.open(MemoryDisk())
    commit(store, {b"a": b"1", b"b": b"2", b"c": b"3"})
    commit(store, {b"b": b"4", b"c": None})
    for _ in range(2):
        assert [store.get(key) for key in (b"a", b"b", b"c", b"d")] == [b"1", b"4", None, None]
        assert store.get_many([b"d", b"c", b"b", b"a"]) == [None, None, b"4", b"1"]
        assert dict(store.items()) == {b"a": b"1", b"b": b"4"}
        assert store.compact(everything=True) or store.run_count == 1


def test_many_keys_far_apart_and_close_together_are_found() -> None:
    random = Random(3)
    store = RecordStore.open(MemoryDisk())
    stored = {b"%d" % number: random.randbytes(random.choice((1, 50, 9_000))) for number in range(3_000)}
    commit(store, dict(stored))
    for step in (1, 7, 300):
        asked = list(stored)[::step]
        assert store.get_many(asked) == [stored[key] for key in asked]
    assert store.get_many([]) == []


def test_a_checkpoint_is_found_after_reopening(tmp_path: Path) -> None:
    with RealDisk(tmp_path) as disk:
        store = RecordStore.open(disk)
        assert (store.offset, store.highest_offset, store.meta, store.blobs()) == (1, 0, {}, [])
        writer = store.begin()
        writer.put(b"k", b"v" * 1000)
        writer.put_blob("model/1", b"weights")
        writer.put_blob("model/2", b"others")
        writer.commit(42, {"day": 3}, highest_offset=45)
        writer = store.begin()
        writer.drop_blob("model/1")
        writer.put_blob("model/2", b"others, newer")
        writer.commit(50, {"day": 4})
        again = RecordStore.open(disk)
        assert (again.offset, again.highest_offset, again.meta) == (50, 49, {"day": 4})
        assert again.get(b"k") == b"v" * 1000
        assert again.blobs() == again.blobs("model/") == ["model/2"]
        assert again.read_blob("model/2") == b"others, newer"
        assert again.open_blob("model/2").read(8, 5) == b"newer"
        with pytest.raises(NotFound, match="no such blob in the checkpoint, saw 'model/1'"):
            again.read_blob("model/1")
        names = sorted(path.name for path in (tmp_path / "state").iterdir())
        assert len(names) == 3, f"manifest, one run, one blob, and not {names}"


def test_runs_stay_few_and_merging_changes_nothing() -> None:
    random = Random(5)
    store = RecordStore.open(MemoryDisk())
    model: dict[bytes, bytes] = {}
    for _ in range(40):
        changes = {b"%d" % random.randrange(300): random.randbytes(50) for _ in range(30)}
        model |= changes
        commit(store, dict(changes))
        while store.needs_compaction():
            assert store.compact()
        assert store.run_count <= records.MAX_RUNS
    assert dict(store.items()) == model
    assert not store.compact(), "nothing to do"


def test_deleted_keys_vanish_from_disk_with_a_full_merge() -> None:
    disk = MemoryDisk()
    store = RecordStore.open(disk)
    commit(store, {b"gone": b"secret" * 100, b"stays": b"1"})
    commit(store, {b"gone": None})
    assert any(b"secret" in data for data in disk.content().values())
    store.compact(everything=True)
    assert not any(b"secret" in data or b"gone" in data for data in disk.content().values())
    assert dict(store.items()) == {b"stays": b"1"}


def test_a_reader_that_began_before_a_merge_finishes(tmp_path: Path) -> None:
    with RealDisk(tmp_path) as disk:
        store = RecordStore.open(disk)
        commit(store, {b"%d" % i: b"old" for i in range(100)})
        items = store.items()
        first = next(items)
        commit(store, {b"%d" % i: b"new" for i in range(100)})
        store.compact(everything=True)
        assert {value for _, value in [first, *items]} == {b"old"}, "a snapshot of the moment of the call"


def test_a_merge_beside_a_checkpoint_keeps_both(monkeypatch: pytest.MonkeyPatch) -> None:
    store = RecordStore.open(MemoryDisk())
    commit(store, {b"a": b"1", b"b": b"1"})
    commit(store, {b"a": b"2"})
    merge = records.merge

    def merge_slowly(*args: object, **options: object) -> object:
        commit(store, {b"a": b"3", b"c": b"3"}, offset=9)
        return merge(*args, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(records, "merge", merge_slowly)
    store.compact(everything=True)
    assert dict(store.items()) == {b"a": b"3", b"b": b"1", b"c": b"3"}
    assert (store.offset, store.run_count) == (9, 2)


def read_everything(disk: MemoryDisk) -> None:
    store = RecordStore.open(disk)
    store.read_blob("b")
    assert len(list(store.items())) == 5


def test_a_flipped_bit_is_noticed_wherever_it_is() -> None:
    disk = MemoryDisk()
    store = RecordStore.open(disk)
    commit(store, {b"k%d" % i: b"v%d" % i for i in range(5)}, offset=7)
    writer = store.begin()
    writer.put_blob("b", b"blob")
    writer.commit(8, {})
    names = [name for name in disk.files if name.startswith("state/")]
    assert len(names) == 3
    for name in names:
        for at in range(len(disk.files[name].data)):
            disk.files[name].data[at] ^= 16
            with pytest.raises((Corrupt, FolderTooNew)):
                read_everything(disk)
            disk.files[name].data[at] ^= 16
    assert RecordStore.open(disk).get(b"k3") == b"v3"


def test_damage_names_the_file_and_the_remedy() -> None:
    disk = MemoryDisk()
    store = RecordStore.open(disk)
    commit(store, {b"key": b"value"})
    name = store.manifest.runs[0].name
    disk.files[name].data[12] ^= 1
    with pytest.raises(Corrupt) as caught:
        RecordStore.open(disk).get(b"key")
    assert str(caught.value) == (
        f"a checkpoint file is damaged: the entry at byte 0 is damaged, at memory/{name}: "
        "restore a backup, or remove the folder 'state' to fold the whole journal again"
    )
    disk.files["state/MANIFEST"].data[10] ^= 1
    with pytest.raises(Corrupt, match="the checkpoint manifest is damaged, at memory/state/MANIFEST"):
        RecordStore.open(disk)


def test_a_newer_manifest_is_refused() -> None:
    disk = MemoryDisk()
    manifest.save(disk, Manifest(version=2))
    with pytest.raises(FolderTooNew, match=r"written by a newer version \(manifest 2, we read 1\)"):
        RecordStore.open(disk)


def test_orphans_are_removed_and_their_numbers_not_used_again() -> None:
    disk = MemoryDisk()
    commit(RecordStore.open(disk), {b"a": b"1"})
    for name in ("state/run-00000077", "state/blob-00000003", "state/MANIFEST.new"):
        disk.open_append(name).append(b"left behind")
    store = RecordStore.open(disk)
    assert sorted(disk.list("state")) == ["MANIFEST", store.manifest.runs[0].name.removeprefix("state/")]
    commit(store, {b"a": b"2"})
    assert store.manifest.runs[0].name == "state/run-00000078"


def put_and_commit(writer: CheckpointWriter) -> None:
    writer.put(b"a", b"2")
    writer.put_blob("b", b"x" * 600)
    writer.commit(9, {})


@pytest.mark.parametrize("breakage", ["full", "flush"])
@pytest.mark.parametrize("at", range(6, 11))
def test_a_checkpoint_that_fails_leaves_the_one_before(breakage: Breakage, at: int) -> None:
    disk = BreakingDisk(breakage, at, Random(at))
    store = RecordStore.open(disk)
    commit(store, {b"a": b"1"}, offset=5)
    writer = store.begin()
    with pytest.raises((DiskFull, FlushFailed)):
        put_and_commit(writer)
    assert (store.offset, store.get(b"a")) == (5, b"1")
    disk.heal()
    again = RecordStore.open(disk)
    # The very last flush is that of the folder: the new manifest has its name by then.
    swapped = breakage == "flush" and at == 10
    assert (again.offset, again.get(b"a")) == ((9, b"2") if swapped else (5, b"1"))
    commit(again, {b"a": b"3"}, offset=10)
    assert RecordStore.open(disk).get(b"a") == b"3"
