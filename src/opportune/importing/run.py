"""The loop of an import: rows to raw events, sent in batches, with a report of every row that was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import msgspec

from opportune.errors import StorageError
from opportune.importing.made import Made, Unusable
from opportune.importing.position import Counts, Position, load_position, save_position
from opportune.importing.rows import BadRow, Reader, Row

BATCH = 1_000
_SAVE_EVERY = 10
_TEXT_CHARS = 1_000


class Refusal(msgspec.Struct, frozen=True):
    """Why one event of a batch was not stored; ``index`` is its place in the batch."""

    index: int
    code: str
    reason: str
    where: str


class Sent(msgspec.Struct, frozen=True):
    """What became of a batch."""

    stored: int
    duplicate: int
    refusals: Sequence[Refusal] = ()


class Sink(Protocol):
    """Where an import goes: an engine, or a server. What it returns is on disk there."""

    def send(self, raws: Sequence[dict[str, Any]]) -> Sent: ...


class Rows(Protocol):
    """How rows become raw events: :class:`EventRows`, :class:`OrderRows`, :class:`ItemRows`."""

    def made(self, rows: Iterable[Row | BadRow]) -> Iterator[Made | Unusable]: ...


class Progress(Protocol):
    def __call__(self, end: int, counts: Counts) -> None: ...


def quiet(end: int, counts: Counts) -> None:
    """No progress is shown."""


def identity_of(path: Path, *how: str) -> str:
    """A digest of the file's name and of how it is read."""
    digest = blake2b(path.name.encode("utf-8", "surrogateescape"), digest_size=12)
    for part in how:
        digest.update(b"\0" + part.encode())
    return digest.hexdigest()


def run_import(
    reader: Reader,
    rows: Rows,
    sink: Sink,
    *,
    position_path: Path,
    rejected_path: Path,
    identity: str,
    from_start: bool = False,
    replay_rows: bool = False,
    batch: int = BATCH,
    progress: Progress = quiet,
    stop: Callable[[], bool] = lambda: False,
) -> Position:
    """Import what the file holds after the kept position, and return where it got to.

    A batch counts only when the sink has it on disk; the position is saved after that. ``from_start`` forgets
    the position. ``replay_rows`` reads earlier rows again without sending them, for makers that remember
    (orders). ``stop`` is asked between batches.
    """
    position = Position(identity) if from_start else load_position(position_path, identity, reader.footprint)
    if position.is_finished and position.end < reader.total:
        position.is_finished = False
    if position.is_finished:
        progress(position.end, position.counts)
        return position
    report = _Report(rejected_path, position.rejected_bytes)
    counts = position.counts
    skip_to = position.end
    pending: list[Made] = []
    batches = 0
    try:
        for made in rows.made(reader.rows(0 if replay_rows else skip_to)):
            if made.end <= skip_to:
                continue
            if isinstance(made, Unusable):
                # Whatever came before it in the file goes first, so that the position only moves forward.
                if pending:
                    _send(pending, sink, report, position)
                counts.rows += made.n_rows
                counts.unusable += 1
                report.add(made.line, made.code, made.reason, made.where, made.values)
                position.end = made.end
                continue
            pending.append(made)
            if len(pending) >= batch:
                _send(pending, sink, report, position)
                batches += 1
                progress(position.end, counts)
                if batches % _SAVE_EVERY == 0:
                    _keep(position_path, position, report, reader)
                if stop():
                    break
        else:
            if pending:
                _send(pending, sink, report, position)
            position.end = max(position.end, reader.total)
            position.is_finished = True
    finally:
        _keep(position_path, position, report, reader)
        report.close()
    progress(position.end, counts)
    return position


def _send(pending: list[Made], sink: Sink, report: _Report, position: Position) -> None:
    sent = sink.send([made.raw for made in pending])
    counts = position.counts
    counts.rows += sum(made.n_rows for made in pending)
    counts.sent += len(pending)
    counts.stored += sent.stored
    counts.duplicate += sent.duplicate
    counts.rejected += len(sent.refusals)
    for refusal in sent.refusals:
        made = pending[refusal.index]
        report.add(made.first, refusal.code, refusal.reason, refusal.where, made.values)
    position.end = pending[-1].end
    pending.clear()


def _keep(path: Path, position: Position, report: _Report, reader: Reader) -> None:
    position.rejected_bytes = report.flush()
    position.footprint = reader.footprint(position.end)
    save_position(path, position)


class _Report:
    """``FILE.rejected.jsonl``: one object per refused row. Made when the first row is refused."""

    def __init__(self, path: Path, length: int) -> None:
        self.path = path
        self._lines: list[bytes] = []
        self._length = length
        try:
            if path.exists():
                if length:
                    # What was written after the kept position will be written again.
                    with path.open("r+b") as file:
                        file.truncate(min(length, path.stat().st_size))
                else:
                    path.unlink()
        except OSError as error:
            raise self._trouble(error) from error

    def add(self, line: int, code: str, reason: str, where: str, values: Any) -> None:
        row = values[:_TEXT_CHARS] if isinstance(values, str) else values
        entry = {"line": line, "code": code, "reason": reason, "where": where, "row": row}
        self._lines.append(msgspec.json.encode(entry) + b"\n")
        if len(self._lines) >= 1_000:
            self.flush()

    def flush(self) -> int:
        """Write what is gathered; the length of the report so far."""
        if self._lines:
            data = b"".join(self._lines)
            try:
                with self.path.open("ab") as file:
                    file.write(data)
            except OSError as error:
                raise self._trouble(error) from error
            self._lines.clear()
            self._length += len(data)
        return self._length

    def close(self) -> None:
        self.flush()

    def _trouble(self, error: OSError) -> StorageError:
        return StorageError(
            f"cannot write the report of refused rows ({error.strerror})",
            where=str(self.path),
            remedy="pass --rejected with a path that can be written",
        )
