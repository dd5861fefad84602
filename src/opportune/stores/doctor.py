"""Looks at every byte of a data folder and says what is wrong with it, and what to do. Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from opportune.errors import OpportuneError
from opportune.stores import folder, manifest
from opportune.stores.disk import Disk, RealDisk, owner
from opportune.stores.frames import Damage, Frame, walk
from opportune.stores.manifest import Manifest
from opportune.stores.runs import Run
from opportune.stores.sealed_files import SealedFiles
from opportune.stores.segment import ARCHIVE, FOLDER, Segment, load_segments
from opportune.stores.vault import Vault, check_belongs
from opportune.stores.verify import verify_blob

Severity = Literal["error", "warning", "note"]


class Finding(msgspec.Struct, frozen=True):
    """``error``: data is damaged or missing, the engine would not start. ``warning``: unusual, and harmless
    or mended by itself. ``note``: worth knowing."""

    severity: Severity
    what: str
    where: str
    remedy: str = ""


class Report(msgspec.Struct, frozen=True):
    """What was looked at, and what was found."""

    folder: str
    format: int | None
    first_seq: int
    next_seq: int
    checkpoint_offset: int
    segments: int
    archived_segments: int
    frames: int
    journal_bytes: int
    runs: int
    keys: int
    blobs: int
    state_bytes: int
    findings: list[Finding]

    @property
    def sound(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)

    def to_json(self) -> bytes:
        return msgspec.json.encode({**msgspec.structs.asdict(self), "sound": self.sound})

    def to_text(self) -> str:
        lines = [
            f"{self.folder}: {'sound' if self.sound else 'DAMAGED'}",
            f"  journal     seq {self.first_seq} to {self.next_seq - 1} in {self.segments} segments "
            f"({self.archived_segments} archived), {self.frames} commit groups, {self.journal_bytes} bytes",
            f"  checkpoint  at seq {self.checkpoint_offset}, {self.keys} entries in {self.runs} runs, "
            f"{self.blobs} blobs, {self.state_bytes} bytes",
        ]
        for finding in self.findings:
            lines.append(f"  {finding.severity}: {finding.what} ({finding.where})")
            if finding.remedy:
                lines.append(f"      {finding.remedy}")
        return "\n".join(lines)


def examine(root: Path | str) -> Report:
    """Verify a data folder, also one that is in use. Raises NotFound when there is no such folder."""
    disk = RealDisk(root, read_only=True)
    report = examine_disk(disk)
    process = owner(Path(root))
    if process is not None:
        report.findings.append(
            Finding("note", f"the folder is open in process {process}; this is a snapshot", disk.name)
        )
    return report


def examine_disk(disk: Disk) -> Report:
    """Verify a data folder through its disk. O(bytes)."""
    return _Examination(disk).report()


class _Examination:
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._findings: list[Finding] = []
        self._frames = 0
        self._bytes = 0
        self._format: int | None = None
        try:
            self._format = folder.read_format(disk)
            if self._format is None:
                self._find(
                    "warning", "the folder has no format mark: it is new, or not a data folder", disk.name
                )
        except OpportuneError as error:
            self._add(error)
        # The checkpoint first: a journal that is read later cannot end before it while both are in use.
        self._manifest = Manifest()
        self._keys = self._state_bytes = 0
        try:
            self._manifest = manifest.load(disk)
        except OpportuneError as error:
            self._add(error)
        files = self._look_at_vault()
        if files is not None:
            self._look_at_state(files)
        self._archived = load_segments(disk, ARCHIVE)
        self._segments = load_segments(disk, FOLDER)
        archived_end = self._look_at_segments(self._archived, ends_with_journal=False)
        self._first = self._segments[0].first if self._segments else 1
        if self._archived and self._segments and archived_end not in (None, self._first):
            self._find(
                "error",
                f"the archive ends before seq {archived_end}, the journal begins with {self._first}",
                f"{disk.name}/{ARCHIVE}",
                "restore the missing segments from a backup",
            )
        end = self._look_at_segments(self._segments, ends_with_journal=True)
        self._end = self._first if end is None else end
        if end is not None:
            self._compare()

    def _look_at_vault(self) -> Disk | None:
        """A sealed journal needs its own vault, every file of keys whole, and the master key that fits. The
        disk that opens the checkpoint's files; None when the vault does not."""
        try:
            vault = Vault(self._disk) if Vault.exists(self._disk) else None
            check_belongs(self._disk, vault)
            if vault is None:
                return self._disk
            vault.check()
            return SealedFiles(self._disk, manifest.FOLDER, vault.state_key)
        except OpportuneError as error:
            self._add(error)
            return None

    def report(self) -> Report:
        rank = {"error": 0, "warning": 1, "note": 2}
        return Report(
            folder=self._disk.name,
            format=self._format,
            first_seq=self._first,
            next_seq=self._end,
            checkpoint_offset=self._manifest.offset,
            segments=len(self._segments),
            archived_segments=len(self._archived),
            frames=self._frames,
            journal_bytes=self._bytes,
            runs=len(self._manifest.runs),
            keys=self._keys,
            blobs=len(self._manifest.blobs),
            state_bytes=self._state_bytes,
            findings=sorted(self._findings, key=lambda finding: rank[finding.severity]),
        )

    def _find(self, severity: Severity, what: str, where: str, remedy: str = "") -> None:
        self._findings.append(Finding(severity, what, where, remedy))

    def _add(self, error: OpportuneError) -> None:
        self._find("error", error.what, error.where, error.remedy)

    def _look_at_segments(self, segments: list[Segment], *, ends_with_journal: bool) -> int | None:
        """Walk every frame; the seq after the last, None when damage hides it."""
        expected: int | None = None
        for segment in segments:
            where = f"{self._disk.name}/{segment.path}"
            if expected is not None and segment.first != expected:
                self._find(
                    "error",
                    f"seq {expected} to {segment.first - 1} are missing before this segment",
                    where,
                    "restore the missing segments from a backup",
                )
            last = ends_with_journal and segment is segments[-1]
            expected = self._look_at_frames(segment, where, last=last)
            if expected is None:
                return None
        return expected if segments else 1

    def _look_at_frames(self, segment: Segment, where: str, *, last: bool) -> int | None:
        end = segment.first
        size = self._disk.size(segment.path)
        for found in walk(segment.reader, 0, segment.first, size):
            if isinstance(found, Frame):
                self._frames += 1
                self._bytes += found.end - found.offset
                end = found.first + found.n_records
            elif last and found.kind == "torn":
                self._find(
                    "warning",
                    f"{size - found.offset} bytes at the end were not written completely ({found.reason})",
                    where,
                    "nothing acknowledged is in them; the next start cuts them off",
                )
            else:
                self._damage(found, where)
                return None
        return end

    def _damage(self, damage: Damage, where: str) -> None:
        self._find(
            "error",
            f"damaged at byte {damage.offset}, from seq {damage.expected} on ({damage.reason})",
            where,
            "restore a backup; or, giving up these records and all later ones, truncate this file to "
            f"{damage.offset} bytes, remove later segments, and remove the folder 'state'",
        )

    def _look_at_state(self, files: Disk) -> None:
        for info in self._manifest.runs:
            try:
                run = Run(files, info)
                self._keys += sum(1 for _ in run.items())
                self._state_bytes += info.bytes
            except OpportuneError as error:
                self._add(error)
        for name, blob in sorted(self._manifest.blobs.items()):
            try:
                verify_blob(files, name, blob)
                self._state_bytes += blob.bytes
            except OpportuneError as error:
                self._add(error)
        kept = self._manifest.files() | {manifest.NAME}
        for name in self._disk.list(manifest.FOLDER):
            path = f"{manifest.FOLDER}/{name}"
            if path not in kept:
                self._find("note", "a file that no checkpoint names; the next start removes it", path)

    def _compare(self) -> None:
        seen = max(self._manifest.highest_offset, self._manifest.offset - 1)
        if seen >= self._end:
            self._find(
                "error",
                f"the checkpoint has seen seq {seen}, but the journal ends at {self._end - 1}",
                f"{self._disk.name}/{manifest.NAME}",
                "restore a backup, or remove the folder 'state' to go on with what the journal holds",
            )
        if self._manifest.offset < self._first:
            self._find(
                "error",
                f"the checkpoint ends before seq {self._manifest.offset}, the journal begins with seq "
                f"{self._first}",
                f"{self._disk.name}/{FOLDER}",
                "move the segments in between from 'archive' back to 'journal', or restore a backup",
            )
