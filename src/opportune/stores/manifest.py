"""The manifest: the one small file that says which files make up the checkpoint. Renaming a new one into
place is the moment at which a checkpoint happens."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec

from opportune.errors import Corrupt, FolderTooNew, NotFound
from opportune.stores.disk import Disk, read_all, write_whole
from opportune.stores.runs import RunInfo

FOLDER = "state"
NAME = f"{FOLDER}/MANIFEST"
_VERSION = 1


class BlobInfo(msgspec.Struct, frozen=True, array_like=True):
    """A whole file kept under a name."""

    file: str
    bytes: int
    checksum: int


class Manifest(msgspec.Struct, frozen=True):
    """``runs`` newest first. ``offset`` is the journal seq from which replay starts, ``highest_offset`` the
    highest seq that any record in here has seen. ``next_file`` numbers files, never twice."""

    version: int = _VERSION
    offset: int = 1
    highest_offset: int = 0
    next_file: int = 1
    runs: tuple[RunInfo, ...] = ()
    blobs: dict[str, BlobInfo] = {}
    meta: dict[str, Any] = {}

    def files(self) -> set[str]:
        return {run.name for run in self.runs} | {blob.file for blob in self.blobs.values()}


def load(disk: Disk) -> Manifest:
    """The current manifest, or an empty one in a new folder. Raises Corrupt, FolderTooNew."""
    try:
        data = read_all(disk, NAME)
    except NotFound:
        return Manifest()
    where = f"{disk.name}/{NAME}"
    remedy = "restore a backup, or remove the folder 'state' to fold the whole journal again"
    body = data[4:]
    if len(data) < 5 or zlib.crc32(body).to_bytes(4, "little") != data[:4]:
        raise Corrupt("the checkpoint manifest is damaged", where=where, remedy=remedy)
    version = msgspec.msgpack.decode(body, type=dict[str, Any]).get("version", 0)
    if version > _VERSION:
        raise FolderTooNew(
            f"the checkpoint was written by a newer version (manifest {version}, we read {_VERSION})",
            where=where,
            remedy="upgrade opportune, or restore a backup made by this version",
        )
    try:
        return msgspec.msgpack.decode(body, type=Manifest)
    except msgspec.ValidationError as error:
        raise Corrupt(f"the checkpoint manifest is damaged ({error})", where=where, remedy=remedy) from error


def save(disk: Disk, manifest: Manifest) -> None:
    """Swap the manifest: after this returns, a power cut leaves the new one."""
    body = msgspec.msgpack.encode(manifest)
    write_whole(disk, NAME, zlib.crc32(body).to_bytes(4, "little") + body)
