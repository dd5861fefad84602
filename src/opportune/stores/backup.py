"""Copies of a data folder, taken while it is in use: a checkpoint, the journal as far as it is flushed, and
the archive, with a checksum for every file.

A backup is a folder, or one ``.tar`` file. Its list ``BACKUP`` is written last: without it, it is not one.

The vault is not in it. Where there is one, the journal is sealed already, and the checkpoint is encrypted
with a key that the vault renews at every erasure: who is erased is erased from backups too, and a backup that
is older than the last erasure is restored by folding its journal.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path, PurePosixPath

import msgspec

from opportune.errors import Corrupt, FolderTooNew, InvalidRequest, NotFound
from opportune.stores import folder, manifest
from opportune.stores.copies import Checked, FolderSink, Members, Piece, Readable, Sink, TarSink, open_members
from opportune.stores.disk import Disk, Reader, RealDisk, translated
from opportune.stores.doctor import examine
from opportune.stores.hiding import Hiding, new_hiding, open_hiding
from opportune.stores.journal import Journal
from opportune.stores.recovery import check_agreement
from opportune.stores.segment import ARCHIVE
from opportune.stores.segment import FOLDER as JOURNAL
from opportune.stores.vault import FOLDER as VAULT
from opportune.stores.vault import MARK, Vault

LIST = "BACKUP"
_VERSION = 1
_ATTEMPTS = 20
_STATE = f"{manifest.FOLDER}/"


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
    vault: str = ""
    checkpoint_key: str = ""
    """Which vault it takes, and the key of the checkpoint's files, wrapped."""

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
    sink: Sink = TarSink(target) if target.suffix == ".tar" else FolderSink(target)
    with sink:
        snapshot = _open(disk)
        vault = Vault(disk) if Vault.exists(disk) else None
        wrapped, hidden = (b"", None) if vault is None else new_hiding(vault.backup_key())
        members = []
        for name, reader, size in snapshot.files:
            stream: Readable = Piece(reader, size)
            if hidden is not None and name.startswith(_STATE):
                stream = hidden.stream(name, stream)
            members.append(Member(name, size, sink.add(name, stream, size)))
        listed = Backup(
            version=_VERSION,
            format=folder.FORMAT,
            first_seq=snapshot.first_seq,
            next_seq=snapshot.next_seq,
            offset=snapshot.offset,
            members=members,
            vault="" if vault is None else vault.id,
            checkpoint_key=wrapped.hex(),
        )
        data = msgspec.json.format(msgspec.json.encode(listed), indent=1)
        sink.add(LIST, io.BytesIO(data), len(data))
        sink.finish()
    return listed


def restore(source: Path | str, target: Path | str, vault: Path | str | None = None) -> Backup:
    """Copy a backup into an empty folder and verify every byte of it. ``vault`` is the vault that belongs to
    it, as it is now: a copy of it goes into the folder. Raises InvalidRequest (the folder is not empty, the
    vault is missing), NotFound, Corrupt, FolderTooNew, DiskFull."""
    source, target = Path(source), Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InvalidRequest(
            "the folder to restore into is not empty",
            where=str(target),
            remedy="name a new folder, or move the old one away",
        )
    with open_members(source) as members:
        listed = _read_list(members, source)
        shown = None
        if listed.vault:
            shown = _open_hiding(listed, _copied_vault(listed, source, target, vault))
        sink = FolderSink(target)
        with sink:
            for member in listed.members:
                _check_name(member.name, source)
                name = member.name
                if name.startswith(_STATE) and listed.vault and shown is None:
                    continue
                if listed.vault and shown is None:
                    name = name.replace(f"{ARCHIVE}/", f"{JOURNAL}/", 1)
                with members.open(member.name) as stream:
                    read = Checked(stream)
                    through: Readable = read
                    if shown is not None and name.startswith(_STATE):
                        through = shown.stream(name, read)
                    sink.add(name, through, member.bytes)
                    if read.checksum != member.checksum:
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


def _copied_vault(listed: Backup, source: Path, target: Path, vault: Path | str | None) -> Vault:
    """The vault, copied into the folder that is being made. Raises InvalidRequest."""
    needed = InvalidRequest(
        "the backup is sealed: it takes the vault of the folder that it was made from",
        seen=None if vault is None else str(vault),
        where=str(source),
        remedy=f"pass --vault DATA/vault, the vault with the id {listed.vault}, as it is now",
    )
    if vault is None or not Path(vault).is_dir():
        raise needed
    with translated("copy the vault", str(target)):
        shutil.copytree(vault, target / VAULT)
    found = Vault(RealDisk(target, read_only=True))
    if found.id != listed.vault:
        shutil.rmtree(target / VAULT)
        raise needed
    return found


def _open_hiding(listed: Backup, vault: Vault) -> Hiding | None:
    """How to read the checkpoint's files; None when somebody was erased since."""
    return open_hiding(vault.backup_key(), bytes.fromhex(listed.checkpoint_key))


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
    checkpoint = manifest.load(disk)
    named = [folder.FORMAT_FILE, *sorted(checkpoint.files())]
    if disk.exists(MARK):
        named.append(MARK)
    if disk.exists(manifest.NAME):
        named.append(manifest.NAME)
    files = []
    for name in named:
        reader = disk.open_read(name)
        files.append((name, reader, reader.size()))
    if manifest.load(disk) != checkpoint:
        raise NotFound("the checkpoint changed meanwhile", where=disk.name)
    archived = [f"{ARCHIVE}/{name}" for name in disk.list(ARCHIVE)]
    journal = Journal.open(disk)
    check_agreement(journal, checkpoint, where=disk.name)
    for name, _, size in journal.segments():
        files.append((name, disk.open_read(name), size))
    for name in archived:
        reader = disk.open_read(name)
        files.append((name, reader, reader.size()))
    return _Snapshot(files, journal.first_seq, journal.next_seq, checkpoint.offset)


def _read_list(members: Members, source: Path) -> Backup:
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
