"""What a row became: a raw event ready to be sent, or why not; and the id that makes repeats visible."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from opportune.errors import InvalidRequest

_encode = msgspec.json.Encoder(order="deterministic").encode


class Made(NamedTuple):
    """A raw event in the Segment shape, or an item of the catalogue. ``line`` and ``end`` are of
    the last row in it; ``first`` is the line of the first; ``n_rows`` is how many rows are in it."""

    first: int
    line: int
    end: int
    raw: dict[str, Any]
    values: Any
    n_rows: int = 1


class Unusable(NamedTuple):
    """A row that became nothing: why, where in it, and the row as it was."""

    line: int
    end: int
    code: str
    reason: str
    where: str
    values: Any
    n_rows: int = 1


class Times:
    """Times in a format that is not ISO 8601, by a ``strptime`` pattern; times without a zone are UTC."""

    def __init__(self, pattern: str = "") -> None:
        self.pattern = pattern
        if pattern:
            try:
                datetime.now(UTC).strftime(pattern).encode()
            except ValueError as error:
                raise InvalidRequest(
                    f"not a time format ({error})", seen=pattern, where="--time-format", remedy="see strptime"
                ) from error

    def read(self, value: Any) -> Any:
        """The value as ISO 8601 where there is a pattern, else as it is; ValueError if it does not match."""
        if not self.pattern or not isinstance(value, str):
            return value
        moment = datetime.strptime(value.strip(), self.pattern)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def message_id(file_name: str, *content: Any) -> str:
    """An id that depends on the file's name and the row's content only, so that importing again stores
    nothing twice, wherever the file lies and however its rows were ordered. Two equal rows of a file are one
    event."""
    digest = blake2b(file_name.encode("utf-8", "surrogateescape"), digest_size=16, person=b"import")
    for part in content:
        digest.update(_encode(part))
    return "import-" + digest.hexdigest()
