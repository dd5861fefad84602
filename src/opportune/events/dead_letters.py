"""The dead letters: events that could not be stored, kept as they came until fixed and replayed or discarded.

Every letter is a journal entry and stays in the journal. This is the working state over it, bounded: the
newest :data:`KEEP` open letters, their bytes while small and within a budget, and counts of all.

Replaying a letter means: take its bytes (or a fixed version of them) through admission again with the
letter's own ``source`` and ``received``, so that event time and a derived message id come out as they would
have then. When it is stored, or is a duplicate, a ``Resolved`` entry closes the letter and
``accounting.replayed`` moves its count; when it is refused again, a ``DeadLetter`` entry of the same id with
``attempt + 1``, the new reason and the new bytes takes its place.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import blake2b
from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.errors import InvalidRequest
from opportune.events.event import DeadLetter, Resolved
from opportune.events.rejected import Rejected

KEEP = 5_000
KEEP_RAW_BYTES = 16 * 1024
KEEP_RAW_TOTAL_BYTES = 8 * 1024 * 1024
PAGE_LIMIT = 200

REPLAYED = "replayed"
DISCARDED = "discarded"


def letter(
    raw: bytes,
    rejected: Rejected,
    *,
    source: str,
    received: Millis,
    position: int = 0,
    dialect: str = "segment",
) -> DeadLetter:
    """The dead letter of a refused event. Its id is a digest of what was received when and where in its
    request, so the same refusal replayed from the same input has the same id."""
    digest = blake2b(raw, digest_size=12, person=b"dead-letter")
    digest.update(f"{source} {received} {position}".encode("utf-8", "replace"))
    return DeadLetter(
        digest.hexdigest(),
        source,
        received,
        rejected.code,
        rejected.reason,
        rejected.where,
        raw,
        dialect=dialect,
    )


def refused_again(before: DeadLetter, raw: bytes, rejected: Rejected) -> DeadLetter:
    """The entry that replaces ``before`` when its replay, with these bytes, was refused."""
    return DeadLetter(
        before.letter_id,
        before.source,
        before.received,
        rejected.code,
        rejected.reason,
        rejected.where,
        raw,
        before.attempt + 1,
        before.dialect,
    )


class Kept(msgspec.Struct, array_like=True):
    """An open letter and the journal sequence that holds it whole. ``letter.raw`` is empty when the bytes are
    left to the journal (``raw_bytes`` is their true length)."""

    letter: DeadLetter
    offset: int
    raw_bytes: int

    @property
    def is_whole(self) -> bool:
        return len(self.letter.raw) == self.raw_bytes


class Page(msgspec.Struct):
    """One page of open letters, newest first; ``cursor`` asks for the next, empty at the end."""

    letters: list[Kept]
    cursor: str


class DeadLetters(msgspec.Struct):
    """A fold of ``DeadLetter`` and ``Resolved`` entries. ``offset`` as in :class:`Accounting`.

    ``open_by_code`` counts open letters among those kept, ``total`` all letters ever, ``resolved`` how they
    ended, ``pushed_out`` open letters that are only in the journal because newer ones took their place.
    """

    kept: dict[str, Kept] = {}
    open_by_code: dict[str, int] = {}
    resolved: dict[str, int] = {}
    total: int = 0
    pushed_out: int = 0
    kept_raw_bytes: int = 0
    offset: int = -1

    def fold(self, entry: DeadLetter | Resolved, offset: int) -> None:
        if offset <= self.offset:
            return
        self.offset = offset
        if isinstance(entry, Resolved):
            if self._forget(entry.letter_id):
                self.resolved[entry.outcome] = self.resolved.get(entry.outcome, 0) + 1
            return
        if not self._forget(entry.letter_id) and entry.attempt == 0:
            self.total += 1
        self._keep(entry, offset)

    def erase(self, letter_id: str) -> bool:
        """Keep the letter no longer, as if it had never come; whether it was open."""
        was_open = self._forget(letter_id)
        self.total -= was_open
        return was_open

    def get(self, letter_id: str) -> Kept | None:
        return self.kept.get(letter_id)

    def page(self, *, cursor: str = "", limit: int = 50, code: str = "", source: str = "") -> Page:
        """Open letters, newest first, of one reason code and one source where given. O(kept)."""
        if not 1 <= limit <= PAGE_LIMIT:
            raise InvalidRequest(
                f"limit must be 1 to {PAGE_LIMIT}",
                seen=limit,
                where="limit",
                remedy=f"send 1 to {PAGE_LIMIT}",
            )
        before = _read_cursor(cursor)
        found: list[Kept] = []
        for kept in reversed(self.kept.values()):
            if before is not None and kept.offset >= before:
                continue
            if (code and kept.letter.code != code) or (source and kept.letter.source != source):
                continue
            if len(found) == limit:
                return Page(found, str(found[-1].offset))
            found.append(kept)
        return Page(found, "")

    def summary(self) -> dict[str, Any]:
        return {
            "open": len(self.kept),
            "by_code": dict(sorted(self.open_by_code.items())),
            "resolved": dict(sorted(self.resolved.items())),
            "total": self.total,
            "pushed_out": self.pushed_out,
        }

    def _keep(self, entry: DeadLetter, offset: int) -> None:
        raw_bytes = len(entry.raw)
        if raw_bytes > KEEP_RAW_BYTES:
            entry = msgspec.structs.replace(entry, raw=b"")
        self.kept[entry.letter_id] = Kept(entry, offset, raw_bytes)
        self.kept_raw_bytes += len(entry.raw)
        self.open_by_code[entry.code] = self.open_by_code.get(entry.code, 0) + 1
        while len(self.kept) > KEEP or self.kept_raw_bytes > KEEP_RAW_TOTAL_BYTES:
            self._forget(next(iter(self.kept)))
            self.pushed_out += 1

    def _forget(self, letter_id: str) -> bool:
        kept = self.kept.pop(letter_id, None)
        if kept is None:
            return False
        self.kept_raw_bytes -= len(kept.letter.raw)
        left = self.open_by_code[kept.letter.code] - 1
        if left:
            self.open_by_code[kept.letter.code] = left
        else:
            del self.open_by_code[kept.letter.code]
        return True


def to_dict(letter: DeadLetter) -> dict[str, Any]:
    """One letter as ``GET /v1/dead-letters`` shows it: ``raw`` as text where it is UTF-8, else
    ``raw_base64``."""
    shown: dict[str, Any] = {
        "id": letter.letter_id,
        "source": letter.source,
        "received": letter.received,
        "code": letter.code,
        "reason": letter.reason,
        "where": letter.where,
        "attempt": letter.attempt,
        "dialect": letter.dialect,
    }
    try:
        shown["raw"] = letter.raw.decode("utf-8")
    except UnicodeDecodeError:
        shown["raw_base64"] = base64.b64encode(letter.raw).decode("ascii")
    return shown


def listing(page: Page, letters: DeadLetters) -> dict[str, Any]:
    """What ``GET /v1/dead-letters`` answers. A letter whose bytes are only in the journal is shown without
    ``raw``, with its ``raw_bytes``; asking for that one letter shows it whole."""
    data = []
    for kept in page.letters:
        shown = to_dict(kept.letter)
        if not kept.is_whole:
            del shown["raw"]
        data.append({**shown, "raw_bytes": kept.raw_bytes})
    return {
        "letters": data,
        "cursor": {"has_more": bool(page.cursor), "next": page.cursor, "limit": len(data)},
        "summary": letters.summary(),
    }


def fixed_bytes(sent: dict[str, Any]) -> bytes | None:
    """The corrected event in the body of a replay request: ``{"event": {...}}``, ``{"raw": "text"}`` or
    ``{"raw_base64": "..."}``; None when the body has none, which replays the letter as it came."""
    if "event" in sent:
        return msgspec.json.encode(sent["event"])
    if type(sent.get("raw")) is str:
        text: str = sent["raw"]
        return text.encode("utf-8", "replace")
    if type(sent.get("raw_base64")) is str:
        try:
            return base64.b64decode(sent["raw_base64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidRequest("not base64", where="$.raw_base64", remedy="send padded base64") from error
    return None


def _read_cursor(cursor: str) -> int | None:
    if not cursor:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 20):
        raise InvalidRequest(
            "not a cursor of this listing",
            seen=cursor,
            where="cursor",
            remedy="send the last answer's cursor",
        )
    return int(cursor)
