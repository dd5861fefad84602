"""One file of the journal, and the sparse index that finds a seq in it."""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_right
from struct import Struct

from opportune.errors import NotFound
from opportune.stores import frames
from opportune.stores.disk import Disk, Reader, read_all, write_whole
from opportune.stores.frames import Damage

FOLDER = "journal"
ARCHIVE = "archive"
INDEX_EVERY_BYTES = 32 << 10
"""A read by seq looks at one piece of about this size."""

_SUFFIX = ".log"
_INDEX_SUFFIX = ".index"
_INDEX_MAGIC = b"OPJI"
_INDEX_HEAD = Struct("<4sIQQ")


class Segment:
    """A file named by its first seq. ``end`` is the seq after its last, ``bytes`` what is flushed of it.

    Memory: 16 bytes for every 32 kB.
    """

    __slots__ = ("_disk", "_reader", "_seqs", "_starts", "bytes", "end", "first", "path")

    def __init__(self, disk: Disk, first: int, folder: str = FOLDER) -> None:
        self._disk = disk
        self._reader: Reader | None = None
        self._seqs = array("Q")
        self._starts = array("Q")
        self.first = first
        self.end = first
        self.bytes = 0
        self.path = f"{folder}/{first:020d}{_SUFFIX}"

    @property
    def reader(self) -> Reader:
        if self._reader is None:
            self._reader = self._disk.open_read(self.path)
        return self._reader

    def note(self, first: int, count: int, length: int) -> None:
        """A frame of ``length`` bytes was flushed at the end."""
        if not self._starts or self.bytes - self._starts[-1] >= INDEX_EVERY_BYTES:
            # In this order another thread that finds the seq finds its place as well.
            self._starts.append(self.bytes)
            self._seqs.append(first)
        self.bytes += length
        self.end = first + count

    def piece(self, seq: int) -> tuple[int, int, int]:
        """Where to look for ``seq``: from which byte, to which byte, and the seq that stands first there."""
        if not self._seqs:
            return 0, self.bytes, self.first
        at = max(0, bisect_right(self._seqs, seq) - 1)
        end = self._starts[at + 1] if at + 1 < len(self._starts) else self.bytes
        return self._starts[at], end, self._seqs[at]

    def walk(self, size: int) -> Damage | None:
        """Check every frame in the first ``size`` bytes and index them, up to the first damage."""
        for frame in frames.walk(self.reader, 0, self.first, size):
            if isinstance(frame, Damage):
                return frame
            self.note(frame.first, frame.n_records, frame.end - frame.offset)
        return None

    def load(self, end: int) -> Damage | None:
        """Index a finished segment that the one beginning with seq ``end`` follows: from its index file, or
        by walking it once when that is missing or does not fit."""
        size = self._disk.size(self.path)
        if self._load_index(end, size):
            return None
        damage = self.walk(size)
        if damage is None and self.end != end:
            reason = f"the segment ends before seq {self.end}, the next begins with {end}"
            damage = Damage(size, self.end, "flipped", reason)
        if damage is None and not self._disk.read_only:
            self.save_index()
        return damage

    def save_index(self) -> None:
        """Write the index beside the segment; losing it costs a walk."""
        head = _INDEX_HEAD.pack(_INDEX_MAGIC, len(self._seqs), self.end, self.bytes)
        body = head + self._seqs.tobytes() + self._starts.tobytes()
        write_whole(self._disk, self.path + _INDEX_SUFFIX, body + zlib.crc32(body).to_bytes(4, "little"))

    def _load_index(self, end: int, size: int) -> bool:
        try:
            data = read_all(self._disk, self.path + _INDEX_SUFFIX)
        except NotFound:
            return False
        body = data[:-4]
        if len(body) < _INDEX_HEAD.size or zlib.crc32(body).to_bytes(4, "little") != data[-4:]:
            return False
        magic, count, has_end, has_bytes = _INDEX_HEAD.unpack_from(body)
        if (magic, has_end, has_bytes) != (_INDEX_MAGIC, end, size):
            return False
        middle = _INDEX_HEAD.size + 8 * count
        self._seqs = array("Q", body[_INDEX_HEAD.size : middle])
        self._starts = array("Q", body[middle:])
        self.end, self.bytes = end, size
        return True

    def move_to(self, folder: str) -> str:
        """Rename the file into another folder, for good; its new name."""
        target = folder + self.path.removeprefix(FOLDER)
        self._disk.rename(self.path, target)
        if self._disk.exists(self.path + _INDEX_SUFFIX):
            self._disk.remove(self.path + _INDEX_SUFFIX)
        return target


def load_segments(disk: Disk, folder: str = FOLDER) -> list[Segment]:
    """Every segment in the folder, oldest first; nothing is read yet."""
    names = [name for name in disk.list(folder) if name.endswith(_SUFFIX)]
    return [Segment(disk, int(name.removesuffix(_SUFFIX)), folder) for name in names]
