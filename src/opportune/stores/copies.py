"""Where the files of a backup go to and come from: a folder, or one ``.tar``."""

from __future__ import annotations

import os
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from opportune.errors import Corrupt, NotFound
from opportune.stores.disk import Reader, translated

_PIECE_BYTES = 1 << 20


class Piece:
    """The first ``size`` bytes of a reader as a stream."""

    def __init__(self, reader: Reader, size: int) -> None:
        self._reader = reader
        self._left = size
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        data = self._reader.read(self._at, self._left if size < 0 else min(size, self._left))
        self._at += len(data)
        self._left -= len(data)
        return data


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes | None: ...


class Checked:
    """A stream that sums up what is read from it."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.checksum = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size) or b""
        self.checksum = zlib.crc32(data, self.checksum)
        return data


class Sink(ABC):
    """Where copies go; what was written is removed again when something fails."""

    def __init__(self) -> None:
        self._finished = False

    @abstractmethod
    def add(self, name: str, stream: Readable, size: int) -> int:
        """Copy ``size`` bytes; their checksum."""

    def finish(self) -> None:
        self._finished = True

    @abstractmethod
    def remove(self) -> None:
        """Take away what was written so far."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *failure: object) -> None:
        if not self._finished:
            self.remove()


class FolderSink(Sink):
    def __init__(self, target: Path) -> None:
        super().__init__()
        self._target = target
        self._added: list[Path] = []
        with translated("create", str(target)):
            target.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, stream: Readable, size: int) -> int:
        path = self._target / name
        checked = Checked(stream)
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


class TarSink(Sink):
    def __init__(self, target: Path) -> None:
        super().__init__()
        self._target = target
        self._partial = target.with_name(target.name + ".partial")
        with translated("create", str(target)):
            target.parent.mkdir(parents=True, exist_ok=True)
            self._tar = tarfile.open(self._partial, "w")  # noqa: SIM115  # closed by finish or remove

    def add(self, name: str, stream: Readable, size: int) -> int:
        info = tarfile.TarInfo(name)
        info.size = size
        checked = Checked(stream)
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


class Members(Protocol):
    def open(self, name: str) -> BinaryIO: ...


class FolderMembers:
    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, name: str) -> BinaryIO:
        with translated("open", f"{self._root}/{name}"):
            return (self._root / name).open("rb")


class TarMembers:
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
def open_members(source: Path) -> Iterator[Members]:
    if source.is_dir():
        yield FolderMembers(source)
        return
    try:
        with translated("open", str(source)), tarfile.open(source) as tar:
            yield TarMembers(tar, str(source))
    except tarfile.TarError as error:
        raise Corrupt(
            f"the backup is not a readable .tar file ({error})",
            where=str(source),
            remedy="restore another backup",
        ) from error
