"""What was deleted from a worker's state is in no file of it after the merge."""

from __future__ import annotations

from pathlib import Path

from quixstreams.state.rocksdb import RocksDBOptions
from rocksdict import Rdict

from opportune.streams.merging import MARK, mark, merge_away

NAME, OTHER = b"anonymous_id:browser-ada-1", b"anonymous_id:browser-bob"


def _database(path: Path) -> Rdict:
    path.mkdir(parents=True, exist_ok=True)
    return Rdict(str(path), RocksDBOptions().to_options())


def _holds(folder: Path, name: bytes) -> bool:
    return any(name in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_only_what_is_marked_is_merged_and_then_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "fold" / "store" / "0"
    database = _database(path)
    database[NAME] = database[OTHER] = b"a leaf"
    database.flush()
    del database[NAME]
    database.close()
    assert merge_away(tmp_path / "fold") == 0, "nobody was erased"
    assert _holds(path, NAME)
    mark(tmp_path / "fold")
    assert merge_away(tmp_path / "fold") == 1
    assert not _holds(path, NAME)
    assert not (tmp_path / "fold" / MARK).exists()
    database = _database(path)
    assert database[OTHER] == b"a leaf"
    database.close()


def test_a_worker_that_has_no_files_yet_starts(tmp_path: Path) -> None:
    mark(tmp_path / "fold")
    assert merge_away(tmp_path / "fold") == 0


def test_one_that_is_open_elsewhere_is_tried_again_at_the_next_start(tmp_path: Path) -> None:
    database = _database(tmp_path / "fold" / "0")
    mark(tmp_path / "fold")
    assert merge_away(tmp_path / "fold") == 0
    database.close()
    assert merge_away(tmp_path / "fold") == 1
