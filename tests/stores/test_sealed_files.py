"""Files of the checkpoint, sealed on the disk and as they were to whoever has the key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opportune.errors import Corrupt, FolderTooNew
from opportune.stores.disk import RealDisk, read_all
from opportune.stores.records import RecordStore
from opportune.stores.sealed_files import SealedFiles
from opportune.testing.disk import MemoryDisk

KEY = bytes(range(32))
NAME = "state/run-00000001"


def written(disk: SealedFiles, parts: list[bytes], name: str = NAME) -> None:
    appender = disk.open_append(name)
    for part in parts:
        appender.append(part)
    appender.flush()
    appender.close()


@given(
    parts=st.lists(st.binary(max_size=200), max_size=6),
    offset=st.integers(0, 1_200),
    length=st.integers(0, 300),
)
def test_any_place_reads_as_in_a_file_that_is_not_sealed(
    parts: list[bytes], offset: int, length: int
) -> None:
    disk = SealedFiles(MemoryDisk(), "state", KEY)
    written(disk, parts)
    whole = b"".join(parts)
    reader = disk.open_read(NAME)
    assert reader.size() == len(whole)
    assert reader.read(offset, length) == whole[offset : offset + length]
    assert read_all(disk, NAME) == whole


def test_pieces_are_put_together_and_the_end_is_the_end() -> None:
    disk = SealedFiles(MemoryDisk(), "state", KEY)
    whole = bytes(range(256)) * 1_000
    written(disk, [whole])
    assert disk.open_read(NAME).read(3, 1 << 20) == whole[3:]
    assert disk.open_read(NAME).read(65_530, 131_072) == whole[65_530 : 65_530 + 131_072]


def test_nothing_of_it_is_on_the_disk_and_equal_files_differ() -> None:
    raw = MemoryDisk()
    disk = SealedFiles(raw, "state", KEY)
    for name in (NAME, "state/blob-00000002"):
        written(disk, [b"ada@example.org" * 20], name)
    first, second = read_all(raw, NAME), read_all(raw, "state/blob-00000002")
    assert b"ada@" not in first + second
    assert len(first) == len(second) == 24 + 15 * 20
    assert first[24:] != second[24:]
    assert read_all(SealedFiles(raw, "state", bytes(32)), NAME) != b"ada@example.org" * 20


def test_other_files_and_those_from_before_are_read_as_they_are() -> None:
    raw = MemoryDisk()
    written(SealedFiles(raw, "state", KEY, seal=False), [b"old"])
    disk = SealedFiles(raw, "state", KEY)
    for name in ("state/MANIFEST", "journal/1.log"):
        written(disk, [b"plain"], name)
        assert read_all(raw, name) == read_all(disk, name) == b"plain"
        assert not disk.is_clear(name)
    assert read_all(disk, NAME) == b"old"
    assert disk.is_clear(NAME)
    written(disk, [b"new"], "state/run-00000002")
    assert not disk.is_clear("state/run-00000002")
    assert read_all(SealedFiles(raw, "state", KEY, seal=False), "state/run-00000002") == b"new"


def test_a_newer_version_is_refused() -> None:
    raw = MemoryDisk({NAME: b"OPSF" + (2).to_bytes(4, "little") + bytes(16)})
    with pytest.raises(FolderTooNew, match=r"sealed by a newer version \(2, we read 1\)"):
        SealedFiles(raw, "state", KEY).open_read(NAME)


def filled(disk: SealedFiles | RealDisk) -> RecordStore:
    store = RecordStore.open(disk)
    for turn in range(2):
        writer = store.begin()
        for n in range(50):
            writer.put(b"p/user_id:person-%03d" % n, b"%d seen" % (n + turn))
        writer.put_blob("letters", b"from person-007")
        writer.commit(turn + 2, {})
    return store


def test_what_lies_in_the_clear_is_written_anew(tmp_path: Path) -> None:
    raw = RealDisk(tmp_path)
    before = sorted(filled(raw).items())
    files = SealedFiles(raw, "state", KEY)
    store = RecordStore.open(files)
    assert store.renew(files.is_clear) == 2 + 1
    assert store.renew(files.is_clear) == 0
    assert sorted(RecordStore.open(files).items()) == sorted(store.items()) == before
    assert RecordStore.open(files).read_blob("letters") == b"from person-007"
    assert not [path for path in (tmp_path / "state").iterdir() if b"person-" in path.read_bytes()]


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    raw = RealDisk(tmp_path)
    store = filled(SealedFiles(raw, "state", KEY))
    store.compact(everything=True)
    [run] = store.manifest.runs
    data = bytearray((tmp_path / run.name).read_bytes())
    data[40] ^= 1
    (tmp_path / run.name).write_bytes(data)
    with pytest.raises(Corrupt, match="a checkpoint file is damaged"):
        list(RecordStore.open(SealedFiles(raw, "state", KEY)).items())
