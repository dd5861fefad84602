"""The checkpointed state: keyed bytes and named blobs, with the journal offset that they have reached.

A log-structured merge tree made as small as it goes: each checkpoint adds one immutable sorted run, a
background merge keeps the runs few, and one manifest, swapped by rename, says which files count.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np

from opportune.errors import Corrupt, NotFound, StorageError
from opportune.stores import folder, manifest
from opportune.stores.disk import Bytes, Disk, Reader, read_all
from opportune.stores.extents import warm_up
from opportune.stores.manifest import FOLDER, BlobInfo, Manifest
from opportune.stores.runs import DELETED, Batch, Run, hash_key, merge, write_batch
from opportune.stores.verify import pieces

MAX_RUNS = 4
_GROWTH = 3


class RecordStore:
    """Reads belong to any thread and never wait; one checkpoint and one merge may go on beside them.

    Memory: 16 bytes a key. ``get``: O(runs x log keys) and one ``pread``; 3-6 us.
    """

    @classmethod
    def open(cls, disk: Disk) -> RecordStore:
        """Load the manifest, remove files that it does not name. Raises Corrupt, FolderTooNew."""
        return cls(disk)

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._swapping = threading.Lock()
        self._merging = threading.Lock()
        folder.prepare(disk)
        if not disk.read_only:
            disk.make_dir(FOLDER)
            warm_up()
        self._manifest = manifest.load(disk)
        self._runs: tuple[Run, ...] = tuple(Run(disk, info) for info in self._manifest.runs)
        self._numbers = count(self._manifest.next_file if disk.read_only else self._remove_orphans())

    @property
    def offset(self) -> int:
        """The journal seq from which replay must start: everything before is in here."""
        return self._manifest.offset

    @property
    def highest_offset(self) -> int:
        """The highest journal seq that any record in here has seen; a journal that ends before lost its
        tail."""
        return self._manifest.highest_offset

    @property
    def meta(self) -> dict[str, Any]:
        return self._manifest.meta

    @property
    def disk(self) -> Disk:
        """Through which its files are read as they are meant."""
        return self._disk

    @property
    def run_count(self) -> int:
        return len(self._runs)

    @property
    def manifest(self) -> Manifest:
        return self._manifest

    def get(self, key: bytes) -> bytes | None:
        """The newest value. Raises Corrupt when its checksum does not hold."""
        key_hash = hash_key(key)
        for run in self._runs:
            value = run.get(key, key_hash)
            if value is not None:
                return None if value is DELETED else value
        return None

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """:meth:`get` of many keys at once, in their order: for starts and exports."""
        found: list[bytes | None] = [None] * len(keys)
        hashes = np.array([hash_key(key) for key in keys], np.uint64)
        left = np.arange(len(keys))
        for run in self._runs:
            values = run.get_many([keys[index] for index in left.tolist()], hashes[left])
            for index, value in zip(left.tolist(), values, strict=True):
                found[index] = None if value is DELETED else value
            left = left[[value is None for value in values]]
            if not len(left):
                break
        return found

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Every key and its newest value, in no particular order; a snapshot of the moment of the call."""
        return self._items(self._runs, prefix)

    def keys(self, prefix: bytes = b"") -> Iterator[bytes]:
        return (key for key, _ in self.items(prefix))

    @staticmethod
    def _items(runs: tuple[Run, ...], prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for i, run in enumerate(runs):
            newer = runs[:i]
            shadowed = np.zeros(run.count, bool)
            for other in newer:
                shadowed |= np.isin(run.hashes, other.hashes)
            for hidden, (key, value) in zip(shadowed.tolist(), run.items(), strict=True):
                if value is None or not key.startswith(prefix):
                    continue
                if hidden and any(other.get(key, hash_key(key)) is not None for other in newer):
                    continue
                yield key, value

    def blobs(self, prefix: str = "") -> list[str]:
        return sorted(name for name in self._manifest.blobs if name.startswith(prefix))

    def read_blob(self, name: str) -> bytes:
        """A whole blob, its checksum verified. Raises NotFound, Corrupt."""
        info = self._blob(name)
        data = read_all(self._disk, info.file)
        if len(data) != info.bytes or zlib.crc32(data) != info.checksum:
            raise Corrupt(
                f"the checkpoint file of {name!r} is damaged",
                where=f"{self._disk.name}/{info.file}",
                remedy="restore a backup, or remove the folder 'state' to fold the whole journal again",
            )
        return data

    def open_blob(self, name: str) -> Reader:
        """Look into a large blob at any place; stays readable after the blob is dropped. Raises NotFound."""
        return self._disk.open_read(self._blob(name).file)

    def _blob(self, name: str) -> BlobInfo:
        info = self._manifest.blobs.get(name)
        if info is None:
            raise NotFound("no such blob in the checkpoint", seen=name, where=f"{self._disk.name}/{FOLDER}")
        return info

    def begin(self) -> CheckpointWriter:
        return CheckpointWriter(self)

    def needs_compaction(self) -> bool:
        return len(self._runs) > MAX_RUNS

    def compact(self, *, everything: bool = False) -> bool:
        """Merge the newest runs until what is left grows at least threefold from run to run; with
        ``everything`` into a single run. False when there was nothing to do.

        Meant for a thread beside the requests: the work is sorting, copying and writing without the
        interpreter lock, in pieces of 4 MB.
        """
        with self._merging:
            runs = self._runs
            take = len(runs) if everything else _runs_to_merge(runs)
            if take < 2:
                return False
            name = self._new_name("run")
            try:
                info = merge(self._disk, name, runs[:take], drop_tombstones=take == len(runs))
                merged = Run(self._disk, info)
            except StorageError:
                self._discard([name])
                raise
            with self._swapping:
                # Checkpoints may have put newer runs in front meanwhile.
                ahead = self._runs[: len(self._runs) - len(runs)]
                self._swap(
                    (*ahead, merged, *runs[take:]),
                    self._manifest.blobs,
                    self._manifest.offset,
                    self._manifest.highest_offset,
                    self._manifest.meta,
                )
            return True

    def renew(self, is_old: Callable[[str], bool]) -> int:
        """Write files anew as the disk keeps them today, where ``is_old`` says so of their names; how many.
        Before anybody reads or writes. O(bytes of those files); after a crash it is the old ones or the
        new."""
        done = 0
        runs, blobs = list(self._runs), dict(self._manifest.blobs)
        for at, run in enumerate(runs):
            if is_old(run.info.name):
                fresh = merge(self._disk, self._new_name("run"), [run], drop_tombstones=False)
                runs[at] = Run(self._disk, fresh)
                done += 1
        for name, info in blobs.items():
            if is_old(info.file):
                fresh_name = self._new_name("blob")
                reader, appender = self._disk.open_read(info.file), self._disk.open_append(fresh_name)
                for piece in pieces(reader, info.bytes):
                    appender.append(piece)
                appender.flush()
                appender.close()
                reader.close()
                blobs[name] = BlobInfo(fresh_name, info.bytes, info.checksum)
                done += 1
        if done:
            known = self._manifest
            self._swap(tuple(runs), blobs, known.offset, known.highest_offset, known.meta)
        return done

    def _swap(
        self,
        runs: tuple[Run, ...],
        blobs: dict[str, BlobInfo],
        offset: int,
        highest_offset: int,
        meta: dict[str, Any],
    ) -> None:
        fresh = Manifest(
            offset=offset,
            highest_offset=highest_offset,
            next_file=next(self._numbers),
            runs=tuple(run.info for run in runs),
            blobs=blobs,
            meta=meta,
        )
        # The names of the files must be as safe as their bytes before anything points at them.
        self._disk.flush_dir(FOLDER)
        manifest.save(self._disk, fresh)
        unused = self._manifest.files() - fresh.files()
        self._manifest = fresh
        self._runs = runs
        for name in unused:
            self._disk.remove(name)

    def _new_name(self, kind: str) -> str:
        return f"{FOLDER}/{kind}-{next(self._numbers):08d}"

    def _discard(self, names: list[str]) -> None:
        for name in names:
            if self._disk.exists(name):
                self._disk.remove(name)

    def _remove_orphans(self) -> int:
        """Remove what no manifest names; the first number that no file has."""
        kept = self._manifest.files()
        number = self._manifest.next_file
        for name in self._disk.list(FOLDER):
            path = f"{FOLDER}/{name}"
            if path not in kept and path != manifest.NAME:
                # A removal may come undone in a power cut, so its number is not used again.
                tail = name.rpartition("-")[2]
                number = max(number, int(tail) + 1) if tail.isdigit() else number
                self._disk.remove(path)
        return number


class CheckpointWriter:
    """Collects one checkpoint; nothing of it counts before :meth:`commit` returned.

    ``put`` costs 1 us and no I/O. ``put_blob`` writes at once. ``commit`` may run in another thread.
    """

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._batch = Batch()
        self._blobs: dict[str, BlobInfo] = {}
        self._dropped: set[str] = set()
        self._files: list[str] = []

    def put(self, key: bytes, value: bytes | None) -> None:
        """Keep ``value`` under ``key``; None deletes the key."""
        self._batch.put(key, value)

    def put_blob(self, name: str, data: Bytes) -> None:
        """Keep a whole file under ``name``, in place of the one that had it. Raises DiskFull, FlushFailed."""
        store = self._store
        file = store._new_name("blob")
        self._files.append(file)
        appender = store._disk.open_append(file)
        try:
            appender.append(data)
            appender.flush()
        finally:
            appender.close()
        self._blobs[name] = BlobInfo(file, memoryview(data).nbytes, zlib.crc32(data))
        self._dropped.discard(name)

    def drop_blob(self, name: str) -> None:
        self._blobs.pop(name, None)
        self._dropped.add(name)

    def commit(self, offset: int, meta: dict[str, Any], *, highest_offset: int = 0) -> None:
        """Write, flush, swap the manifest. ``offset`` is the journal seq from which replay will start;
        ``highest_offset`` the highest seq that a record in here has seen, which must be flushed in the
        journal already. Raises DiskFull, FlushFailed; then the checkpoint before this one stands."""
        store = self._store
        try:
            fresh: tuple[Run, ...] = ()
            if self._batch.count:
                name = store._new_name("run")
                self._files.append(name)
                fresh = (Run(store._disk, write_batch(store._disk, name, self._batch)),)
        except StorageError:
            self.abandon()
            raise
        with store._swapping:
            current = store._manifest
            blobs = {name: info for name, info in current.blobs.items() if name not in self._dropped}
            store._swap(
                (*fresh, *store._runs),
                blobs | self._blobs,
                offset,
                max(current.highest_offset, highest_offset, offset - 1),
                meta,
            )

    def abandon(self) -> None:
        """Remove what was written so far."""
        self._store._discard(self._files)
        self._files = []


def _runs_to_merge(runs: tuple[Run, ...]) -> int:
    """How many of the newest runs to merge: as long as the next one is less than three times their sum."""
    if len(runs) <= MAX_RUNS:
        return 0
    total = runs[0].info.bytes
    take = 1
    while take < len(runs) and (take < 2 or runs[take].info.bytes < _GROWTH * total):
        total += runs[take].info.bytes
        take += 1
    return take
