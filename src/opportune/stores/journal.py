"""The journal: what is appended and flushed here has happened; all state is a fold of it.

Segments are files named by their first seq. A flush begins a new segment when the last one is full, so only
the last segment can ever be torn by a crash. Beside each finished segment lies its sparse index, which only
saves work: without it the segment is walked once.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter

from opportune.errors import Corrupt, FlushFailed, FolderTooNew, NotFound, OpportuneError
from opportune.stores import folder, frames
from opportune.stores.disk import Appender, Disk, write_whole
from opportune.stores.segment import ARCHIVE, FOLDER, Segment, load_segments

_first = attrgetter("first")


class Journal:
    """An append-only sequence of records, numbered from 1.

    ``append`` belongs to one thread, ``flush`` may run in another. Cost: ``append`` is two list operations;
    ``flush`` one write and one ``fdatasync`` for everything that waits (group commit); ``read`` one
    ``pread``.
    """

    @classmethod
    def open(cls, disk: Disk, *, segment_bytes: int = 64 << 20) -> Journal:
        """Check the last segment, cut off what a crash left torn, go on after it.

        Raises Corrupt (damage that no crash explains, or a missing segment), FolderTooNew, FlushFailed.
        With a read-only disk nothing is cut: the journal ends where whole frames end. O(last segment).
        """
        return cls(disk, segment_bytes)

    def __init__(self, disk: Disk, segment_bytes: int) -> None:
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._mutex = threading.Lock()
        self._flushing = threading.Lock()
        self._rewriting = threading.Lock()
        self._waiting: list[tuple[int, list[bytes]]] = []
        self._in_flight: list[tuple[int, list[bytes]]] = []
        self._failure: OpportuneError | None = None
        self._appender: Appender | None = None
        self.truncated_bytes = 0
        self.next_seq = 1
        self.durable_seq = 1
        folder.prepare(disk)
        if not disk.read_only:
            disk.make_dir(FOLDER)
        self._segments = load_segments(disk)
        self._recover()

    @property
    def first_seq(self) -> int:
        """The oldest seq still here; older ones are in the archive."""
        return self._segments[0].first if self._segments else self.durable_seq

    def append(self, records: Sequence[bytes]) -> int:
        """Take records into memory as one commit group; the seq of the first is returned. No I/O."""
        if self._failure is not None:
            raise self._refusal()
        first = self.next_seq
        if records:
            self.next_seq = first + len(records)
            with self._mutex:
                self._waiting.append((first, list(records)))
        return first

    def flush(self) -> int:
        """Put everything that was appended before this call on disk; returns the durable seq.

        Raises DiskFull or FlushFailed; from then on the journal refuses everything: whether the bytes are on
        disk is unknown, a repeated flush could lie, and only opening it again tells.
        """
        with self._flushing:
            if self._failure is not None:
                raise self._refusal()
            with self._mutex:
                self._in_flight, self._waiting = self._waiting, []
            if self._in_flight:
                written = False
                try:
                    self._write(self._in_flight)
                    written = True
                except OpportuneError as error:
                    self._failure = error
                    raise
                finally:
                    if not written and self._failure is None:
                        self._failure = FlushFailed("a flush was interrupted")
                last, records = self._in_flight[-1]
                self.durable_seq = last + len(records)
                self._in_flight = []
            return self.durable_seq

    def read(self, seq: int) -> bytes:
        """One record, flushed or not. Raises NotFound when it was never appended or has been archived."""
        if seq >= self.durable_seq:
            with self._mutex:
                for group in (self._in_flight, self._waiting):
                    for first, records in group:
                        if first <= seq < first + len(records):
                            return records[seq - first]
        if not self.first_seq <= seq < self.durable_seq:
            raise NotFound(
                f"the journal holds {self.first_seq} to {self.next_seq - 1}",
                seen=seq,
                where=f"{self._disk.name}/{FOLDER}",
                remedy="older records are in the archive",
            )
        segment = self._segments[bisect_right(self._segments, seq, key=_first) - 1]
        start, end, first = segment.piece(seq)
        for frame in frames.walk(segment.reader, start, first, end):
            if isinstance(frame, frames.Damage):
                raise self._corrupt(segment, frame)
            if seq < frame.first + frame.n_records:
                return frame.record(seq)
        raise self._corrupt(
            segment, frames.Damage(start, first, "flipped", "the index points past the record")
        )

    def scan(self, start: int = 1) -> Iterator[tuple[int, bytes]]:
        """Durable records from ``start`` on, in order, every checksum verified. Raises NotFound when records
        from ``start`` have been archived, Corrupt."""
        for first, records in self.scan_groups(start):
            yield from enumerate(records, first)

    def scan_groups(self, start: int = 1) -> Iterator[tuple[int, list[bytes]]]:
        """Like :meth:`scan`, a commit group at a time: the seq of its first record, and its records."""
        if start < self.first_seq:
            raise NotFound(
                f"the journal begins with seq {self.first_seq}",
                seen=start,
                where=f"{self._disk.name}/{FOLDER}",
                remedy="older records are in the archive",
            )
        at = max(0, bisect_right(self._segments, start, key=_first) - 1)
        while at < len(self._segments) and start < self.durable_seq:
            segment = self._segments[at]
            offset, _, first = segment.piece(start)
            for frame in frames.walk(segment.reader, offset, first, segment.bytes):
                if isinstance(frame, frames.Damage):
                    raise self._corrupt(segment, frame)
                if frame.first + frame.n_records > start:
                    skip = max(0, start - frame.first)
                    yield frame.first + skip, frame.records()[skip:]
                    start = frame.first + frame.n_records
            if segment is self._segments[-1]:
                return
            at += 1

    def scan_all(self) -> Iterator[tuple[int, bytes]]:
        """Like :meth:`scan`, from the first record that there is, archived ones before the others."""
        for segment in load_segments(self._disk, ARCHIVE):
            for frame in frames.walk(segment.reader, 0, segment.first, self._disk.size(segment.path)):
                if isinstance(frame, frames.Damage):
                    raise self._corrupt(segment, frame)
                yield from enumerate(frame.records(), frame.first)
        yield from self.scan(self.first_seq)

    def rewrite(self, replacements: Mapping[int, bytes]) -> int:
        """Put other bytes in the place of durable records, archived ones included; how many. Each file that
        has one of them is written anew and swapped by rename: after a crash it is the old one or the new.
        For what must not stay on disk. In any thread, one at a time; ``flush`` goes on meanwhile, for the
        last segment is ended first. O(bytes of those files)."""
        done, last = 0, max(replacements, default=0)
        with self._rewriting:
            for segment in load_segments(self._disk, ARCHIVE):
                done += self._rewrite(segment, replacements)
            with self._flushing:
                if self._segments and last >= self._segments[-1].first:
                    self._roll(self.durable_seq, index=False)
                segments = self._segments[:-1]
            for segment in segments:
                if not any(segment.first <= seq < segment.end for seq in replacements):
                    continue
                # Who reads it by the index that it has must go on reading the old file.
                segment.reader.size()
                done += self._rewrite(segment, replacements)
                fresh = Segment(self._disk, segment.first)
                fresh.walk(self._disk.size(fresh.path))
                fresh.save_index()
                with self._flushing:
                    self._segments = [fresh if one is segment else one for one in self._segments]
        return done

    def _rewrite(self, segment: Segment, replacements: Mapping[int, bytes]) -> int:
        done = 0
        parts: list[bytes] = []
        for frame in frames.walk(segment.reader, 0, segment.first, self._disk.size(segment.path)):
            if isinstance(frame, frames.Damage):
                raise self._corrupt(segment, frame)
            records = frame.records()
            for index in range(len(records)):
                other = replacements.get(frame.first + index)
                if other is not None:
                    records[index] = other
                    done += 1
            parts.append(frames.encode(frame.first, frame.durable, records))
        if done:
            write_whole(self._disk, segment.path, b"".join(parts))
        return done

    def archive(self, before_seq: int) -> list[str]:
        """Move whole segments that hold nothing from ``before_seq`` on into ``archive/``; their new names.
        The last segment always stays."""
        moved: list[str] = []
        with self._flushing:
            while len(self._segments) > 1 and self._segments[1].first <= before_seq:
                segment, self._segments = self._segments[0], self._segments[1:]
                self._disk.make_dir(ARCHIVE)
                moved.append(segment.move_to(ARCHIVE))
                # One at a time: a power cut must not leave a hole between segments.
                self._disk.flush_dir(ARCHIVE)
                self._disk.flush_dir(FOLDER)
        return moved

    def segments(self) -> list[tuple[str, int, int]]:
        """Name, first seq and flushed bytes of every segment, oldest first."""
        return [(segment.path, segment.first, segment.bytes) for segment in self._segments]

    def close(self) -> None:
        """Flush what waits, unless a failure forbids it, and let go of the files."""
        try:
            if self._failure is None and self._waiting:
                self.flush()
        finally:
            if self._appender is not None:
                self._appender.close()
                self._appender = None
            if self._failure is None:
                self._failure = FlushFailed("the journal is closed", remedy="open it again")

    def _refusal(self) -> FlushFailed:
        return FlushFailed(
            f"the journal stopped accepting: {self._failure}",
            where=f"{self._disk.name}/{FOLDER}",
            remedy="start again: what was acknowledged is read back from disk",
        )

    def _write(self, groups: list[tuple[int, list[bytes]]]) -> None:
        durable = self.durable_seq
        if not self._segments or self._segments[-1].bytes >= self._segment_bytes:
            self._roll(durable)
        segment = self._segments[-1]
        if self._appender is None:
            self._appender = self._disk.open_append(segment.path)
        encoded = [frames.encode(first, durable, records) for first, records in groups]
        self._appender.append(encoded[0] if len(encoded) == 1 else b"".join(encoded))
        self._appender.flush()
        for (first, records), frame in zip(groups, encoded, strict=True):
            segment.note(first, len(records), len(frame))

    def _roll(self, first: int, *, index: bool = True) -> None:
        """Begin a new segment; all before it is flushed already. ``index`` writes that of the last one."""
        if self._appender is not None:
            self._appender.close()
            self._appender = None
        if self._segments and index:
            self._segments[-1].save_index()
        segment = Segment(self._disk, first)
        self._appender = self._disk.open_append(segment.path)
        self._disk.flush_dir(FOLDER)
        self._segments = [*self._segments, segment]

    def _recover(self) -> None:
        if not self._segments:
            return
        for segment, following in pairwise(self._segments):
            damage = segment.load(following.first)
            if damage is not None:
                raise self._corrupt(segment, damage)
        last = self._segments[-1]
        if not self._disk.read_only:
            self._disk.settle(last.path)
        size = self._disk.size(last.path)
        damage = last.walk(size)
        if damage is not None:
            if damage.kind != "torn":
                raise self._corrupt(last, damage)
            self.truncated_bytes = size - last.bytes
            if not self._disk.read_only:
                self._disk.truncate(last.path, last.bytes)
        self.next_seq = self.durable_seq = last.end

    def _corrupt(self, segment: Segment, damage: frames.Damage) -> OpportuneError:
        return corrupt(f"{self._disk.name}/{segment.path}", damage)


def corrupt(where: str, damage: frames.Damage) -> OpportuneError:
    """The error for damage that no crash explains."""
    if damage.kind == "newer":
        return FolderTooNew(
            f"the journal was written by a newer version ({damage.reason})",
            where=where,
            remedy="upgrade opportune, or restore a backup made by this version",
        )
    return Corrupt(
        f"the journal is damaged at byte {damage.offset}, from seq {damage.expected} on ({damage.reason})",
        where=where,
        remedy="restore a backup, or run 'opportune doctor' to see what can be saved",
    )
