from __future__ import annotations

import tarfile
import threading
from pathlib import Path

import pytest

from opportune.errors import Corrupt, FolderInUse, FolderTooNew, InvalidRequest, NotFound
from opportune.stores.backup import LIST, backup, restore
from opportune.stores.disk import RealDisk
from opportune.stores.doctor import examine
from opportune.stores.journal import Journal
from opportune.stores.records import RecordStore
from opportune.stores.recovery import canonical


def work(folder: Path, rounds: int = 6) -> tuple[list[bytes], bytes]:
    """Fill a folder: its journal, and its checkpointed state in canonical form."""
    with RealDisk(folder) as disk:
        journal = Journal.open(disk, segment_bytes=2_000)
        store = RecordStore.open(disk)
        for i in range(rounds):
            journal.append([b"entry %d %d" % (i, j) * 10 for j in range(9)])
            journal.flush()
            writer = store.begin()
            writer.put(b"key %d" % i, b"value" * i)
            writer.put_blob(f"blob {i % 2}", b"%d" % i)
            writer.commit(journal.next_seq, {"round": i})
        journal.archive(30)
        journal.append([b"after the checkpoint"])
        journal.close()
        return [record for _, record in journal.scan(journal.first_seq)], canonical(store.items())


def read(folder: Path) -> tuple[list[bytes], bytes]:
    with RealDisk(folder) as disk:
        journal = Journal.open(disk)
        return (
            [record for _, record in journal.scan(journal.first_seq)],
            canonical(RecordStore.open(disk).items()),
        )


@pytest.mark.parametrize("name", ["copy", "copy.tar"])
def test_a_backup_restores_to_the_same(name: str, tmp_path: Path) -> None:
    before = work(tmp_path / "data")
    made = backup(tmp_path / "data", tmp_path / name)
    assert (made.next_seq, made.offset) == (6 * 9 + 2, 6 * 9 + 1)
    assert restore(tmp_path / name, tmp_path / "again") == made
    assert read(tmp_path / "again") == before
    archived = sorted(path.name for path in (tmp_path / "data" / "archive").iterdir())
    assert archived
    assert sorted(path.name for path in (tmp_path / "again" / "archive").iterdir()) == archived


def test_a_folder_is_backed_up_while_it_is_written(tmp_path: Path) -> None:
    stop = threading.Event()
    acknowledged = [1]

    def writer() -> None:
        with RealDisk(tmp_path / "data") as disk:
            journal = Journal.open(disk, segment_bytes=5_000)
            store = RecordStore.open(disk)
            number = 0
            while not stop.is_set():
                number += 1
                journal.append([b"%d" % number * 30] * 3)
                acknowledged[0] = journal.flush()
                if number % 5 == 0:
                    checkpoint = store.begin()
                    checkpoint.put(b"last", b"%d" % number)
                    checkpoint.commit(journal.next_seq, {})
                    store.compact(everything=True)
                    journal.archive(store.offset - 20)
            journal.close()

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        while acknowledged[0] < 100:
            stop.wait(0.01)
        for i in range(8):
            at_least = acknowledged[0]
            assert backup(tmp_path / "data", tmp_path / f"copy-{i}").next_seq >= at_least
    finally:
        stop.set()
        thread.join()
    for i in range(8):
        restore(tmp_path / f"copy-{i}", tmp_path / f"again-{i}")
        with RealDisk(tmp_path / f"again-{i}") as disk:
            journal, store = Journal.open(disk), RecordStore.open(disk)
            entries = [entry for _, entry in journal.scan(journal.first_seq)]
            assert entries[-1] == b"%d" % ((journal.next_seq - 1) // 3) * 30
            assert store.get(b"last") == b"%d" % ((store.offset - 1) // 3)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    work(tmp_path / "data")
    backup(tmp_path / "data", tmp_path / "copy.tar")
    with pytest.raises(InvalidRequest, match=r"the place for the backup is taken, at .*copy.tar: name a new"):
        backup(tmp_path / "data", tmp_path / "copy.tar")
    with pytest.raises(InvalidRequest, match="the folder to restore into is not empty"):
        restore(tmp_path / "copy.tar", tmp_path / "data")
    with RealDisk(tmp_path / "open"), pytest.raises(InvalidRequest, match="not empty"):
        restore(tmp_path / "copy.tar", tmp_path / "open")
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "copy.tar", tmp_path / "empty")
    with RealDisk(tmp_path / "empty"), pytest.raises(FolderInUse):
        RealDisk(tmp_path / "empty")


@pytest.mark.parametrize("name", ["copy", "copy.tar"])
def test_a_damaged_backup_is_refused(name: str, tmp_path: Path) -> None:
    work(tmp_path / "data")
    backup(tmp_path / "data", tmp_path / name)
    path = tmp_path / name
    if path.is_dir():
        path = next((path / "journal").iterdir())
    data = bytearray(path.read_bytes())
    data[data.find(b"entry 5")] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt, match=r"a file of the backup is damaged, at .*/journal/0.*: restore another"):
        restore(tmp_path / name, tmp_path / "again")
    assert not any(path.is_file() for path in (tmp_path / "again").rglob("*")), "nothing half restored stays"


def test_what_is_not_a_backup_is_refused(tmp_path: Path) -> None:
    work(tmp_path / "data")
    with pytest.raises(NotFound, match="not a complete backup: it has no BACKUP file"):
        restore(tmp_path / "data", tmp_path / "again")
    (tmp_path / "text.tar").write_text("no tar")
    with pytest.raises(Corrupt, match=r"not a readable \.tar file"):
        restore(tmp_path / "text.tar", tmp_path / "again")
    with pytest.raises(NotFound):
        restore(tmp_path / "nowhere.tar", tmp_path / "again")
    backup(tmp_path / "data", tmp_path / "copy")
    listed = tmp_path / "copy" / LIST
    text = listed.read_text()
    listed.write_text(text.replace('"version": 1', '"version": 2'))
    with pytest.raises(FolderTooNew, match="the backup was made by a newer version"):
        restore(tmp_path / "copy", tmp_path / "again")
    listed.write_text(text.replace("FORMAT", "../FORMAT"))
    with pytest.raises(Corrupt, match="names a file outside of itself"):
        restore(tmp_path / "copy", tmp_path / "again")
    listed.write_text("[]")
    with pytest.raises(Corrupt, match="the list of the backup is damaged"):
        restore(tmp_path / "copy", tmp_path / "again")


def test_a_damaged_folder_is_not_backed_up(tmp_path: Path) -> None:
    work(tmp_path / "data")
    last = sorted((tmp_path / "data" / "journal").glob("*.log"))[-1]
    data = bytearray(last.read_bytes())
    data[-20] ^= 1
    last.write_bytes(data)
    with pytest.raises(Corrupt, match="the journal is damaged"):
        backup(tmp_path / "data", tmp_path / "copy.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["data"], "no half backup stays"


def test_a_tar_holds_plain_files(tmp_path: Path) -> None:
    work(tmp_path / "data")
    made = backup(tmp_path / "data", tmp_path / "copy.tar")
    with tarfile.open(tmp_path / "copy.tar") as tar:
        assert tar.getnames() == [*(member.name for member in made.members), LIST]
    assert examine(tmp_path / "data").sound
