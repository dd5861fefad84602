"""Copies of a data folder, taken while it is in use: a checkpoint, the journal as far as it is flushed, and
the archive, with a checksum for every file.

A backup is a folder, or one ``.tar`` file. Its list ``BACKUP`` is written last: without it, it is not one.
"""

from __future__ import annotations

import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

import msgspec

from opportune.errors import Corrupt, FolderTooNew, InvalidRequest, NotFound
from opportune.stores import folder, manifest
from opportune.stores.disk import Disk, Reader, RealDisk, translated
from opportune.stores.doctor import examine
from opportune.stores.journal import Journal
from opportune.stores.records import RecordStore
from opportune.stores.recovery import check_agreement
from opportune.stores.segment import ARCHIVE

LIST = "BACKUP"
_VERSION = 1
_ATTEMPTS = 20
_PIECE_BYTES = 1 << 20


class Member(msgspec.Struct, frozen=True):
    """A file of the data folder as it was."""

    name: str
    bytes: int
    checksum: int


class Backup(msgspec.Struct, frozen=True):
    """What a backup holds: the journal up to before ``next_seq``, a checkpoint at ``offset``."""

    version: int
    format: int
    first_seq: int
    next_seq: int
    offset: int
    members: list[Member]

    @property
    def bytes(self) -> int:
        return sum(member.bytes for member in self.members)


def backup(source: Path | str, target: Path | str) -> Backup:
    """Copy a data folder, also one that another process (or this one) is writing to, into a new folder or
    ``.tar``. Verifies the journal on the way. Raises InvalidRequest (the target exists), Corrupt,
    DiskFull."""
    target = Path(target)
    _refuse_existing(target)
    disk = RealDisk(source, read_only=True)
    sink: _Sink = _TarSink(target) if target.suffix == ".tar" else _FolderSink(target)
    with sink:
        snapshot = _open(disk)
        members = [
            Member(name, size, sink.add(name, _Piece(reader, size), size))
            for name, reader, size in snapshot.files
        ]
        listed = Backup(
            version=_VERSION,
            format=folder.FORMAT,
            first_seq=snapshot.first_seq,
            next_seq=snapshot.next_seq,
            offset=snapshot.offset,
            members=members,
        )
        data = msgspec.json.format(msgspec.json.encode(listed), indent=1)
        sink.add(LIST, io.BytesIO(data), len(data))
        sink.finish()
    return listed


def restore(source: Path | str, target: Path | str) -> Backup:
    """Copy a backup into an empty folder and verify every byte of it. Raises InvalidRequest (the folder is
    not empty), NotFound, Corrupt, FolderTooNew, DiskFull."""
    source, target = Path(source), Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InvalidRequest(
            "the folder to restore into is not empty",
            where=str(target),
            remedy="name a new folder, or move the old one away",
        )
    with _members(source) as members:
        listed = _read_list(members, source)
        sink = _FolderSink(target)
        with sink:
            for member in listed.members:
                _check_name(member.name, source)
                with members.open(member.name) as stream:
                    if sink.add(member.name, stream, member.bytes) != member.checksum:
                        raise Corrupt(
                            "a file of the backup is damaged",
                            where=f"{source}/{member.name}",
                            remedy="restore another backup",
                        )
            sink.finish()
    report = examine(target)
    for finding in report.findings:
        if finding.severity == "error":
            raise Corrupt(
                f"the backup is damaged: {finding.what}", where=finding.where, remedy=finding.remedy
            )
    return listed


class _Snapshot(msgspec.Struct):
    files: list[tuple[str, Reader, int]]
    first_seq: int
    next_seq: int
    offset: int


def _open(disk: Disk) -> _Snapshot:
    """Open every file of one consistent moment. Checkpoints, merges and archiving may go on meanwhile: a file
    that vanishes between being named and being opened means to look again."""
    for attempt in range(_ATTEMPTS):
        try:
            return _open_once(disk)
        except NotFound:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _open_once(disk: Disk) -> _Snapshot:
    # First the checkpoint, then the journal: a checkpoint never knows more than the journal had flushed
    # before.
    store = RecordStore.open(disk)
    named = [folder.FORMAT_FILE, *sorted(store.manifest.files())]
    if disk.exists(manifest.NAME):
        named.append(manifest.NAME)
    files = []
    for name in named:
        reader = disk.open_read(name)
        files.append((name, reader, reader.size()))
    if manifest.load(disk) != store.manifest:
        raise NotFound("the checkpoint changed meanwhile", where=disk.name)
    archived = [f"{ARCHIVE}/{name}" for name in disk.list(ARCHIVE)]
    journal = Journal.open(disk)
    check_agreement(journal, store, where=disk.name)
    for name, _, size in journal.segments():
        files.append((name, disk.open_read(name), size))
    for name in archived:
        reader = disk.open_read(name)
        files.append((name, reader, reader.size()))
    return _Snapshot(files, journal.first_seq, journal.next_seq, store.offset)


class _Piece(io.RawIOBase):
    """The first ``size`` bytes of a reader as a stream."""

    def __init__(self, reader: Reader, size: int) -> None:
        self._reader = reader
        self._left = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._reader.read(self._at, self._left if size < 0 else min(size, self._left))
        self._at += len(data)
        self._left -= len(data)
        return data


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes | None: ...


class _Checked:
    """A stream that sums up what is read from it."""

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream
        self.checksum = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size) or b""
        self.checksum = zlib.crc32(data, self.checksum)
        return data


class _Sink:
    """Where copies go; what was written is removed again when something fails."""

    def __init__(self) -> None:
        self._finished = False

    def add(self, name: str, stream: _Readable, size: int) -> int:
        """Copy ``size`` bytes; their checksum."""
        raise NotImplementedError

    def finish(self) -> None:
        self._finished = True

    def remove(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> _Sink:
        return self

    def __exit__(self, *failure: object) -> None:
        if not self._finished:
            self.remove()


class _FolderSink(_Sink):
    def __init__(self, target: Path) -> None:
        super().__init__()
        self._target = target
        self._added: list[Path] = []
        with translated("create", str(target)):
            target.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, stream: _Readable, size: int) -> int:
        path = self._target / name
        checked = _Checked(stream)
        with translated("write", str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as out:
                self._added.append(path)
                left = size
                while left and (piece := checked.read(min(left, _PIECE_BYTES))):
                    out.write(piece)
                    left -= len(piece)
                out.flush()
                os.fsync(out.fileno())
        return checked.checksum

    def finish(self) -> None:
        with translated("flush", str(self._target)):
            for place in {self._target, *(path.parent for path in self._added)}:
                _flush(place, os.O_RDONLY | os.O_DIRECTORY)
        super().finish()

    def remove(self) -> None:
        for path in self._added:
            path.unlink(missing_ok=True)


class _TarSink(_Sink):
    def __init__(self, target: Path) -> None:
        super().__init__()
        self._target = target
        self._partial = target.with_name(target.name + ".partial")
        with translated("create", str(target)):
            target.parent.mkdir(parents=True, exist_ok=True)
            self._tar = tarfile.open(self._partial, "w")  # noqa: SIM115  # closed by finish or remove

    def add(self, name: str, stream: _Readable, size: int) -> int:
        info = tarfile.TarInfo(name)
        info.size = size
        checked = _Checked(stream)
        with translated("write", str(self._partial)):
            self._tar.addfile(info, checked)
        return checked.checksum

    def finish(self) -> None:
        with translated("flush", str(self._partial)):
            self._tar.close()
            _flush(self._partial, os.O_RDONLY)
            self._partial.rename(self._target)
            _flush(self._target.parent, os.O_RDONLY | os.O_DIRECTORY)
        super().finish()

    def remove(self) -> None:
        self._tar.close()
        self._partial.unlink(missing_ok=True)


def _flush(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class _Members(Protocol):
    def open(self, name: str) -> BinaryIO: ...


class _FolderMembers:
    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, name: str) -> BinaryIO:
        with translated("open", f"{self._root}/{name}"):
            return (self._root / name).open("rb")


class _TarMembers:
    def __init__(self, tar: tarfile.TarFile, name: str) -> None:
        self._tar = tar
        self._name = name

    def open(self, name: str) -> BinaryIO:
        try:
            stream = self._tar.extractfile(name)
        except KeyError:
            stream = None
        if stream is None:
            raise NotFound("no such file in the backup", where=f"{self._name}/{name}")
        return stream  # type: ignore[return-value]  # IO[bytes] has all that BinaryIO has


@contextmanager
def _members(source: Path) -> Iterator[_Members]:
    if source.is_dir():
        yield _FolderMembers(source)
        return
    try:
        with translated("open", str(source)), tarfile.open(source) as tar:
            yield _TarMembers(tar, str(source))
    except tarfile.TarError as error:
        raise Corrupt(
            f"the backup is not a readable .tar file ({error})",
            where=str(source),
            remedy="restore another backup",
        ) from error


def _read_list(members: _Members, source: Path) -> Backup:
    try:
        with members.open(LIST) as stream:
            data = stream.read()
    except NotFound as error:
        raise NotFound(
            f"not a complete backup: it has no {LIST} file",
            where=str(source),
            remedy="restore another backup",
        ) from error
    try:
        listed = msgspec.json.decode(data, type=Backup)
    except (msgspec.DecodeError, ValueError) as error:
        raise Corrupt(
            f"the list of the backup is damaged ({error})",
            where=f"{source}/{LIST}",
            remedy="restore another backup",
        ) from error
    if listed.version > _VERSION or listed.format > folder.FORMAT:
        raise FolderTooNew(
            f"the backup was made by a newer version (format {listed.format}, we read {folder.FORMAT})",
            where=str(source),
            remedy="upgrade opportune",
        )
    return listed


def _check_name(name: str, source: Path) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise Corrupt("the backup names a file outside of itself", seen=name, where=str(source))


def _refuse_existing(target: Path) -> None:
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InvalidRequest(
            "the place for the backup is taken", where=str(target), remedy="name a new folder or .tar file"
        )
