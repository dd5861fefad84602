"""Checksums of whole files, read in pieces."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from opportune.errors import Corrupt
from opportune.stores.disk import Disk, Reader
from opportune.stores.manifest import BlobInfo

PIECE_BYTES = 1 << 20


def pieces(reader: Reader, size: int) -> Iterator[bytes]:
    """The first ``size`` bytes, 1 MB at a time."""
    at = 0
    while at < size:
        piece = reader.read(at, min(PIECE_BYTES, size - at))
        if not piece:
            return
        yield piece
        at += len(piece)


def verify_blob(disk: Disk, name: str, info: BlobInfo) -> None:
    """Raises Corrupt when the file is not what the manifest says, NotFound when it is missing."""
    reader = disk.open_read(info.file)
    try:
        checksum = size = 0
        for piece in pieces(reader, max(info.bytes, reader.size())):
            checksum = zlib.crc32(piece, checksum)
            size += len(piece)
    finally:
        reader.close()
    if (size, checksum) != (info.bytes, info.checksum):
        raise Corrupt(
            f"the checkpoint file of {name!r} is damaged",
            where=f"{disk.name}/{info.file}",
            remedy="restore a backup, or remove the folder 'state' to fold the whole journal again",
        )
