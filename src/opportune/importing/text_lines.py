"""Lines of a text file with the byte offset where each ends, plain or gzipped."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import IO, cast

from opportune.errors import InvalidRequest
from opportune.importing.rows import stamp

MAX_LINE_BYTES = 8 * 1024 * 1024
"""A longer line is cut: no row is that long, and memory must stay bounded."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Lines:
    """Iterates over lines as bytes; ``offset`` is the end of the last one, ``number`` its number from 1.

    Offsets of a gzipped file count uncompressed bytes.
    """

    def __init__(self, path: Path, *, start: int = 0) -> None:
        self.path = path
        self.number = 0
        self.offset = start
        self._file = open_binary(path)
        # Line numbers are for people: going on in the middle, the lines before it are counted (1 GB/s).
        while start > 0 and (passed := self._file.read(min(start, 1 << 20))):
            self.number += passed.count(b"\n")
            start -= len(passed)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            line = self._file.readline(MAX_LINE_BYTES)
        except (EOFError, gzip.BadGzipFile) as error:
            raise InvalidRequest(
                f"the compressed file is damaged ({error})", where=str(self.path), remedy="copy it again"
            ) from error
        if not line:
            self._file.close()
            raise StopIteration
        first = self.offset == 0
        self.offset += len(line)
        self.number += 1
        return line.removeprefix(BYTE_ORDER_MARK) if first else line

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_binary(path: Path) -> IO[bytes]:
    """The file for reading, unpacked when it is gzip (by its first two bytes, whatever its name)."""
    return cast("IO[bytes]", gzip.open(path)) if _is_gzip(path) else path.open("rb")


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def unpacked_bytes(path: Path) -> int:
    """How many bytes :class:`Lines` will go through; for gzip the size that the file's last four bytes say,
    which is exact below 4 GiB and only a guess for the progress bar above."""
    size = path.stat().st_size
    if not _is_gzip(path) or size < 18:
        return size
    with path.open("rb") as file:
        file.seek(-4, 2)
        return max(int.from_bytes(file.read(4), "little"), 1)


_FOOTPRINT_BYTES = 4_096


def footprint(path: Path, end: int) -> str:
    """A digest of the 4 kB before ``end``; size and time for a compressed file."""
    if _is_gzip(path):
        return stamp(path)
    with path.open("rb") as file:
        file.seek(max(end - _FOOTPRINT_BYTES, 0))
        return blake2b(file.read(min(end, _FOOTPRINT_BYTES)), digest_size=12).hexdigest()
