"""The one small seam between the durable core and a disk: nothing else in ``stores/`` calls the system.

Files are named relative to the data folder with forward slashes (``journal/00000000000000000001.log``).
Content is only ever appended, whole files appear by rename, and nothing is promised before
:meth:`Appender.flush` (for bytes) or :meth:`Disk.flush_dir` (for names) returned. ``opportune.testing.disk``
has implementations that record and that break.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol
from weakref import WeakSet

from opportune.errors import DiskFull, FlushFailed, FolderInUse, NotFound, StorageError

Bytes = bytes | bytearray | memoryview


class Appender(Protocol):
    """A file open for appending; one user at a time."""

    def append(self, data: Bytes) -> None:
        """Write all of ``data`` at the end. Raises DiskFull, FlushFailed."""
        ...

    def flush(self) -> None:
        """``fdatasync``: what was appended survives a power cut once this returns. Raises FlushFailed."""
        ...

    def close(self) -> None: ...


class Reader(Protocol):
    """A file open for reading at any place, by any thread; it stays readable after its name is removed."""

    def read(self, offset: int, length: int) -> bytes:
        """One ``pread``; shorter than ``length`` only at the end of the file."""
        ...

    def size(self) -> int: ...

    def close(self) -> None: ...


class Disk(Protocol):
    """A data folder. ``name`` is what messages call it."""

    name: str
    read_only: bool

    def open_append(self, name: str) -> Appender:
        """Create the file, or open it at its end."""
        ...

    def open_read(self, name: str) -> Reader:
        """Raises NotFound."""
        ...

    def exists(self, name: str) -> bool: ...

    def size(self, name: str) -> int: ...

    def list(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted; empty when the folder does not exist."""
        ...

    def make_dir(self, folder: str) -> None: ...

    def rename(self, old: str, new: str) -> None:
        """Atomic for whoever looks; survives a power cut only after ``flush_dir``."""
        ...

    def remove(self, name: str) -> None: ...

    def truncate(self, name: str, size: int) -> None:
        """Cut the file to ``size`` bytes, and flush that."""
        ...

    def flush_dir(self, folder: str) -> None: ...

    def settle(self, name: str) -> None:
        """Flush what an earlier process left in the cache, then forget the cache, so that the next read sees
        what the disk really holds: after a failed flush the cache shows bytes that are not on disk."""
        ...

    def close(self) -> None: ...


def read_all(disk: Disk, name: str) -> bytes:
    """The whole content of a small file. Raises NotFound."""
    reader = disk.open_read(name)
    try:
        return reader.read(0, reader.size())
    finally:
        reader.close()


def write_whole(disk: Disk, name: str, data: Bytes) -> None:
    """Replace a small file at once: whoever looks, also after a power cut, sees the old one or the new
    one."""
    fresh = name + ".new"
    if disk.exists(fresh):
        disk.remove(fresh)
    appender = disk.open_append(fresh)
    appender.append(data)
    appender.flush()
    appender.close()
    disk.rename(fresh, name)
    disk.flush_dir(name.rpartition("/")[0] or ".")


class RealDisk:
    """A folder on a real file system, open in this process only (``LOCK`` holds the process id).

    Files are for their owner alone: they hold what is known of people, and the keys that seal the journal.
    ``read_only`` takes no lock and changes nothing, for looking at a folder that another process has open.
    """

    def __init__(self, root: Path | str, *, read_only: bool = False) -> None:
        self.root = Path(root)
        self.name = str(self.root)
        self.read_only = read_only
        self._lock = -1
        self._readers: WeakSet[_RealReader] = WeakSet()
        if read_only:
            if not self.root.is_dir():
                raise NotFound("no such data folder", where=self.name, remedy="check the path")
            return
        with translated("create the data folder", self.name):
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.root / "LOCK", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._lock)
            self._lock = -1
            raise FolderInUse(
                f"the data folder is open in process {owner}",
                where=self.name,
                remedy="stop that process, or give this one another --data-dir",
            ) from None
        with translated("lock", self.name):
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)

    def open_append(self, name: str) -> Appender:
        with translated("open", f"{self.name}/{name}"):
            fd = os.open(self.root / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return _RealAppender(fd, f"{self.name}/{name}")

    def open_read(self, name: str) -> Reader:
        with translated("open", f"{self.name}/{name}"):
            fd = os.open(self.root / name, os.O_RDONLY | os.O_CLOEXEC)
        reader = _RealReader(fd, f"{self.name}/{name}")
        self._readers.add(reader)
        return reader

    def exists(self, name: str) -> bool:
        with translated("look at", f"{self.name}/{name}"):
            return (self.root / name).exists()

    def size(self, name: str) -> int:
        with translated("look at", f"{self.name}/{name}"):
            return (self.root / name).stat().st_size

    def list(self, folder: str) -> list[str]:
        try:
            with translated("list", f"{self.name}/{folder}"), os.scandir(self.root / folder) as entries:
                return sorted(entry.name for entry in entries if entry.is_file())
        except NotFound:
            return []

    def make_dir(self, folder: str) -> None:
        with translated("create", f"{self.name}/{folder}"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        self.flush_dir(str(Path(folder).parent))

    def rename(self, old: str, new: str) -> None:
        with translated("rename", f"{self.name}/{old}"):
            os.rename(self.root / old, self.root / new)

    def remove(self, name: str) -> None:
        with translated("remove", f"{self.name}/{name}"):
            os.unlink(self.root / name)

    def truncate(self, name: str, size: int) -> None:
        with translated("truncate", f"{self.name}/{name}"):
            fd = os.open(self.root / name, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.ftruncate(fd, size)
                os.fsync(fd)
            finally:
                os.close(fd)

    def flush_dir(self, folder: str) -> None:
        with translated("flush", f"{self.name}/{folder}", flush=True):
            fd = os.open(self.root / folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def settle(self, name: str) -> None:
        with translated("flush", f"{self.name}/{name}", flush=True):
            fd = os.open(self.root / name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)

    def close(self) -> None:
        """Give the folder back, with every file that is still being read; another process may open it."""
        for reader in list(self._readers):
            reader.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> RealDisk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def owner(root: Path) -> str | None:
    """The id of the process that has the folder open, None when nobody has."""
    try:
        lock = os.open(root / "LOCK", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(lock)
    return None


class _RealAppender:
    __slots__ = ("_fd", "_where")

    def __init__(self, fd: int, where: str) -> None:
        self._fd = fd
        self._where = where

    def append(self, data: Bytes) -> None:
        with translated("write", self._where, flush=True):
            view = memoryview(data).cast("B")
            done = os.write(self._fd, view)
            while done < len(view):
                done += os.write(self._fd, view[done:])

    def flush(self) -> None:
        with translated("flush", self._where, flush=True):
            os.fdatasync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


class _RealReader:
    """Closed when the last one who looks lets go, so that compaction never pulls a file away under a
    reader, or with its disk."""

    __slots__ = ("__weakref__", "_fd", "_where")

    def __init__(self, fd: int, where: str) -> None:
        self._fd = fd
        self._where = where

    def read(self, offset: int, length: int) -> bytes:
        try:
            data = os.pread(self._fd, length, offset)
        except OSError as error:
            raise _translate(error, "read", self._where, flush=False) from error
        return data if len(data) == length else self._read_on(data, offset, length)

    def _read_on(self, data: bytes, offset: int, length: int) -> bytes:
        # One pread moves at most 2 GiB, and may be cut short; an empty one is the end of the file.
        parts = [data]
        got = len(data)
        with translated("read", self._where):
            while got < length and parts[-1]:
                parts.append(os.pread(self._fd, length - got, offset + got))
                got += len(parts[-1])
        return b"".join(parts)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


@contextmanager
def translated(verb: str, where: str, *, flush: bool = False) -> Iterator[None]:
    """System errors as our own: DiskFull, NotFound, FlushFailed (with ``flush``), else StorageError."""
    try:
        yield
    except OSError as error:
        raise _translate(error, verb, where, flush=flush) from error


def _translate(error: OSError, verb: str, where: str, *, flush: bool) -> StorageError | NotFound:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"the disk is full (could not {verb})", where=where, remedy="free space, then start again"
        )
    if error.errno == errno.ENOENT:
        return NotFound(f"no such file (could not {verb})", where=where)
    if flush:
        return FlushFailed(
            f"the disk refused to {verb} ({error.strerror})",
            where=where,
            remedy="check the disk, then start again: what was acknowledged is read back from it",
        )
    return StorageError(f"could not {verb} ({error.strerror})", where=where, remedy="check the disk")
