"""Every file of a data folder, read and searched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from opportune.errors import NotFound
from opportune.stores.disk import Disk

PIECE_BYTES = 16 << 20
MOST_FINDINGS = 100

Occurrences = Callable[[bytes, bytes], Iterable[int]]
"""Where the second stands in the first."""


def search(
    root: Path, needles: Sequence[bytes], occurrences: Occurrences, disk: Disk
) -> tuple[int, int, int, list[tuple[str, int]]]:
    """Look for byte strings (in lower case) in all files under ``root``, which are read in lower case,
    through ``disk``: what it opens is searched as it is inside.

    Files, bytes, places found, and the first of those. A file that goes away meanwhile is left out. Memory:
    a piece of 16 MB; O(bytes x needles).
    """
    files = total = found = 0
    places: list[tuple[str, int]] = []
    overlap = max(map(len, needles), default=1) + 2
    for path in _files(root):
        files += 1
        seen: set[tuple[int, bytes]] = set()
        name = path.relative_to(root).as_posix()
        for start, piece, is_last in _pieces(disk, name, overlap):
            total += len(piece)
            for needle in needles:
                for at in occurrences(piece, needle):
                    # What ends with the piece is judged with the next one, which knows what follows.
                    if (at + len(needle) == len(piece) and not is_last) or (start + at, needle) in seen:
                        continue
                    seen.add((start + at, needle))
                    found += 1
                    if len(places) < MOST_FINDINGS:
                        places.append((name, start + at))
    return files, total, found, places


def _files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _pieces(disk: Disk, name: str, overlap: int) -> Iterator[tuple[int, bytes, bool]]:
    """(offset, lower-case bytes, whether they are the last); pieces overlap, so that nothing hides between
    two."""
    try:
        reader = disk.open_read(name)
    except NotFound:
        return
    try:
        start = at = 0
        data = reader.read(0, PIECE_BYTES)
        while data:
            at += PIECE_BYTES
            following = reader.read(at, PIECE_BYTES)
            yield start, data.lower(), not following
            if not following:
                return
            start += len(data) - overlap
            data = data[-overlap:] + following
    finally:
        reader.close()
