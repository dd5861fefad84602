"""What the files of a worker's state still hold of people who were erased goes at the worker's next start.

RocksDB writes what is deleted beside what was there, and merges them when there is enough to merge. A worker
that has erased somebody leaves a mark; the next start finds it and merges everything before it begins. What
the worker then reads again from the end of its changelog may name them once more, until that is merged too.
"""

from __future__ import annotations

import logging
from pathlib import Path

from quixstreams.state.rocksdb import RocksDBOptions
from rocksdict import BottommostLevelCompaction, CompactOptions, Rdict

log = logging.getLogger("opportune.streams")

MARK = "erased"


def mark(folder: Path) -> None:
    """Somebody was erased from the state under ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()


def merge_away(folder: Path) -> int:
    """Rewrite every database under a marked ``folder``; how many there were. O(state). Not while a worker has
    it open."""
    if not (folder / MARK).exists():
        return 0
    how = CompactOptions()
    # By default the lowest level stays as it is, although what was deleted is named there.
    how.set_bottommost_level_compaction(BottommostLevelCompaction.force())
    found = [current.parent for current in sorted(folder.rglob("CURRENT"))]
    for path in found:
        try:
            _merge(path, how)
        except Exception as error:  # noqa: BLE001  # rocksdict raises no other; Quix makes anew what is broken
            log.error("%s cannot be merged, and will be tried at the next start: %s", path, error)
            return 0
    (folder / MARK).unlink()
    log.info("the files of %d partitions were merged: somebody was erased", len(found))
    return len(found)


def _merge(path: Path, how: CompactOptions) -> None:
    for part in _opened(path):
        part.flush()
        part.compact_range(None, None, how)
        part.close()
    # The list of files names the first and last key of each, until it is made anew: by the next start.
    del part
    for part in _opened(path):
        part.close()


def _opened(path: Path) -> list[Rdict]:
    """A database and its families; it is open until every one of them is closed and gone."""
    options = RocksDBOptions().to_options()
    families = {name: options for name in Rdict.list_cf(str(path), options) if name != "default"}
    database = Rdict(str(path), options, column_families=families)
    return [*(database.get_column_family(name) for name in families), database]
