"""Disks for tests: one in memory, one that records what was done to it and tells every state that a crash may
leave behind, one that fills up or fails to flush. All three are :class:`opportune.stores.disk.Disk`.

What a crash may leave (ALICE, Pillai et al., OSDI 2014, the generic file system with nothing assumed):

- bytes appended since the last flush of their file: none, any prefix, or a longer file in which sectors of
512
  bytes that were not written read as zeros;
- names created, renamed or removed since the last flush of their folder: any subset of these operations;
- between files: no order at all.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Literal, NamedTuple

from opportune.errors import DiskFull, FlushFailed, NotFound, StorageError
from opportune.stores.disk import Appender, Bytes, Disk, Reader

SECTOR_BYTES = 512


class MemoryFile:
    """The bytes of a file, and how many of them are flushed."""

    __slots__ = ("data", "flushed")

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.flushed = len(data)


class MemoryDisk:
    """A data folder in memory."""

    def __init__(self, files: dict[str, bytes] | None = None, *, name: str = "memory") -> None:
        self.name = name
        self.read_only = False
        self.files = {path: MemoryFile(data) for path, data in (files or {}).items()}

    def open_append(self, name: str) -> Appender:
        if name not in self.files:
            self.files[name] = MemoryFile()
        return MemoryAppender(self.files[name])

    def open_read(self, name: str) -> Reader:
        return MemoryReader(self._file(name))

    def exists(self, name: str) -> bool:
        return name in self.files

    def size(self, name: str) -> int:
        return len(self._file(name).data)

    def list(self, folder: str) -> list[str]:
        head = "" if folder == "." else folder + "/"
        names = (name.removeprefix(head) for name in self.files if name.startswith(head))
        return sorted(name for name in names if "/" not in name)

    def make_dir(self, folder: str) -> None:
        """Folders exist as soon as something is in them."""

    def rename(self, old: str, new: str) -> None:
        self.files[new] = self._file(old)
        del self.files[old]

    def remove(self, name: str) -> None:
        self._file(name)
        del self.files[name]

    def truncate(self, name: str, size: int) -> None:
        file = self._file(name)
        del file.data[size:]
        file.flushed = len(file.data)

    def flush_dir(self, folder: str) -> None:
        """Nothing to do: names in memory are as safe as they get."""

    def settle(self, name: str) -> None:
        file = self._file(name)
        file.flushed = len(file.data)

    def close(self) -> None:
        """Nothing is held."""

    def content(self) -> dict[str, bytes]:
        return {name: bytes(file.data) for name, file in self.files.items()}

    def _file(self, name: str) -> MemoryFile:
        try:
            return self.files[name]
        except KeyError:
            raise NotFound("no such file", where=f"{self.name}/{name}") from None


class MemoryAppender:
    def __init__(self, file: MemoryFile) -> None:
        self._file = file

    def append(self, data: Bytes) -> None:
        self._file.data += memoryview(data).cast("B")

    def flush(self) -> None:
        self._file.flushed = len(self._file.data)

    def close(self) -> None:
        """Nothing is held."""


class MemoryReader:
    def __init__(self, file: MemoryFile) -> None:
        self._file = file

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self._file.data[offset : offset + length])

    def size(self) -> int:
        return len(self._file.data)

    def close(self) -> None:
        """Nothing is held."""


class Operation(NamedTuple):
    """Something done to a disk. ``file`` numbers the file, whatever its name is by then."""

    kind: Literal["create", "append", "flush", "rename", "remove", "truncate", "flush_dir"]
    name: str = ""
    file: int = -1
    data: bytes = b""
    target: str = ""
    size: int = 0


class RecordingDisk(MemoryDisk):
    """Notes every operation that changes the disk, so that :func:`crash_state` can tell what may be left."""

    def __init__(self, *, name: str = "recorded") -> None:
        super().__init__(name=name)
        self.operations: list[Operation] = []
        self._numbers: dict[int, int] = {}
        self._kept: list[MemoryFile] = []

    def _number(self, file: MemoryFile) -> int:
        number = self._numbers.get(id(file))
        if number is None:
            # Files are kept, so that an id is never another's.
            self._kept.append(file)
            number = self._numbers[id(file)] = len(self._numbers)
        return number

    def open_append(self, name: str) -> Appender:
        new = name not in self.files
        inner = super().open_append(name)
        number = self._number(self.files[name])
        if new:
            self.operations.append(Operation("create", name, number))
        return _RecordingAppender(inner, number, self.operations)

    def rename(self, old: str, new: str) -> None:
        number = self._number(self._file(old))
        super().rename(old, new)
        self.operations.append(Operation("rename", old, number, target=new))

    def remove(self, name: str) -> None:
        number = self._number(self._file(name))
        super().remove(name)
        self.operations.append(Operation("remove", name, number))

    def truncate(self, name: str, size: int) -> None:
        super().truncate(name, size)
        self.operations.append(Operation("truncate", name, self._number(self._file(name)), size=size))

    def flush_dir(self, folder: str) -> None:
        self.operations.append(Operation("flush_dir", folder))

    def settle(self, name: str) -> None:
        super().settle(name)
        self.operations.append(Operation("flush", name, self._number(self._file(name))))


class _RecordingAppender:
    def __init__(self, inner: Appender, number: int, operations: list[Operation]) -> None:
        self._inner = inner
        self._number = number
        self._operations = operations

    def append(self, data: Bytes) -> None:
        self._inner.append(data)
        self._operations.append(Operation("append", file=self._number, data=bytes(data)))

    def flush(self) -> None:
        self._inner.flush()
        self._operations.append(Operation("flush", file=self._number))

    def close(self) -> None:
        self._inner.close()


def crash_state(operations: list[Operation], at: int, random: Random) -> dict[str, bytes]:
    """One state that a crash after the first ``at`` operations may leave: file names and contents."""
    contents: dict[int, bytearray] = {}
    flushed: dict[int, int] = {}
    safe: dict[str, int] = {}
    pending: list[Operation] = []
    for operation in operations[:at]:
        kind, file = operation.kind, operation.file
        if kind in ("create", "rename", "remove"):
            pending.append(operation)
            contents.setdefault(file, bytearray())
        elif kind == "flush_dir":
            for waiting in pending:
                if _folder(waiting.name) == operation.name:
                    _apply(safe, waiting)
            pending = [waiting for waiting in pending if _folder(waiting.name) != operation.name]
        elif kind == "append":
            contents.setdefault(file, bytearray()).extend(operation.data)
        elif kind == "flush":
            flushed[file] = len(contents.setdefault(file, bytearray()))
        else:
            del contents[file][operation.size :]
            flushed[file] = operation.size
    luck = random.choice((0.0, 0.5, 0.5, 1.0))
    for waiting in pending:
        if random.random() < luck:
            _apply(safe, waiting)
    return {name: torn(contents[file], flushed.get(file, 0), random) for name, file in sorted(safe.items())}


def _folder(name: str) -> str:
    return name.rpartition("/")[0] or "."


def _apply(names: dict[str, int], operation: Operation) -> None:
    if operation.kind == "create":
        names[operation.name] = operation.file
    elif operation.kind == "rename":
        names.pop(operation.name, None)
        names[operation.target] = operation.file
    elif names.get(operation.name) == operation.file:
        del names[operation.name]


def torn(data: Bytes, flushed: int, random: Random) -> bytes:
    """What a crash may leave of a file whose first ``flushed`` bytes are safe."""
    whole = bytes(data)
    if flushed >= len(whole):
        return whole
    way = random.randrange(5)
    if way == 0:
        return whole[:flushed]
    if way == 1:
        return whole
    size = random.randint(flushed, len(whole))
    if way == 2:
        return whole[:size]
    result = bytearray(whole[:size] if way == 3 else whole)
    lost = random.choice((0.1, 0.5, 1.0))
    start = flushed
    while start < len(result):
        end = min(len(result), start - start % SECTOR_BYTES + SECTOR_BYTES)
        if random.random() < lost:
            result[start:end] = bytes(end - start)
        start = end
    return bytes(result)


Breakage = Literal["full", "flush"]


class BreakingDisk(MemoryDisk):
    """A disk in memory that fails once.

    ``full``: the write number ``at`` (from 0) stops halfway for lack of space, and so does every later one
    until :meth:`heal`. ``flush``: the flush number ``at`` fails once and, as on Linux, later flushes of that
    file succeed without having written anything; what the disk holds shows after :meth:`settle`.
    """

    def __init__(self, breakage: Breakage, at: int, random: Random) -> None:
        super().__init__(name="breaking")
        self.broken = False
        self._breakage = breakage
        self._left = at
        self._random = random
        self._lying: set[int] = set()

    def heal(self) -> None:
        """Space again, flushes work again; what was lost stays lost."""
        self._left = -1
        self._breakage = "flush"

    def open_append(self, name: str) -> Appender:
        super().open_append(name)
        return _BreakingAppender(self.files[name], f"{self.name}/{name}", self._before)

    def settle(self, name: str) -> None:
        file = self._file(name)
        if id(file) in self._lying:
            file.data[:] = torn(file.data, file.flushed, self._random)
            self._lying.discard(id(file))
        super().settle(name)

    def flush_dir(self, folder: str) -> None:
        if self._breakage == "flush" and self._due():
            raise FlushFailed("the disk refused to flush", where=f"{self.name}/{folder}")

    def _due(self) -> bool:
        self._left -= 1
        if self._left == -1:
            self.broken = True
            return True
        return False

    def _before(self, kind: Breakage, file: MemoryFile, where: str, data: Bytes) -> bool:
        """Fail when it is time; False when a flush only pretends."""
        if kind == "flush" and id(file) in self._lying:
            return False
        if kind != self._breakage:
            return True
        if kind == "full" and (self._due() or self.broken):
            view = memoryview(data).cast("B")
            file.data += view[: self._random.randint(0, len(view))]
            raise DiskFull("the disk is full", where=where, remedy="free space, then start again")
        if kind == "flush" and self._due():
            self._lying.add(id(file))
            raise FlushFailed("the disk refused to flush", where=where)
        return True


class _BreakingAppender:
    def __init__(
        self,
        file: MemoryFile,
        where: str,
        before: Callable[[Breakage, MemoryFile, str, Bytes], bool],
    ) -> None:
        self._file = file
        self._where = where
        self._before = before

    def append(self, data: Bytes) -> None:
        self._before("full", self._file, self._where, data)
        self._file.data += memoryview(data).cast("B")

    def flush(self) -> None:
        if self._before("flush", self._file, self._where, b""):
            self._file.flushed = len(self._file.data)

    def close(self) -> None:
        """Nothing is held."""


def check_is_disk(make: Callable[[], Disk]) -> None:
    """The promises of a disk, for whoever writes another one. Raises AssertionError, StorageError."""
    disk = make()
    disk.make_dir("folder")
    appender = disk.open_append("folder/a")
    appender.append(b"one")
    appender.append(memoryview(b"two"))
    appender.flush()
    reader = disk.open_read("folder/a")
    assert reader.read(0, 100) == b"onetwo", "a read past the end gives what is there"
    assert reader.read(2, 2) == b"et", "a read starts where it is told"
    appender.append(b"three")
    assert reader.read(6, 5) == b"three", "a reader sees what is appended later"
    appender.close()
    again = disk.open_append("folder/a")
    again.append(b"!")
    again.close()
    assert disk.size("folder/a") == reader.size() == 12, "opening again appends"
    disk.rename("folder/a", "folder/b")
    disk.flush_dir("folder")
    assert disk.list("folder") == ["b"], "a rename leaves one name"
    assert not disk.exists("folder/a"), "a rename leaves one name"
    disk.truncate("folder/b", 3)
    assert reader.read(0, 100) == b"one", "truncate cuts the end off"
    disk.settle("folder/b")
    disk.remove("folder/b")
    assert reader.read(0, 3) == b"one", "a reader survives the removal of the name"
    assert disk.list("folder") == [], "removed is removed"
    assert disk.list("nowhere") == [], "a folder that does not exist is empty"
    try:
        disk.open_read("folder/b")
    except NotFound:
        pass
    else:
        raise StorageError("opening a file that does not exist must raise NotFound")
    reader.close()
    disk.close()
