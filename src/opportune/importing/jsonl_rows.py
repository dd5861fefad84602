"""Rows of a JSON lines file: one object per line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from opportune.errors import InvalidRequest
from opportune.importing.rows import BadRow, Row
from opportune.importing.text_lines import Lines, footprint, unpacked_bytes

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class JsonlReader:
    """Blank lines are passed over; a line that is not a JSON object is a :class:`BadRow`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.total = unpacked_bytes(path)
        with Lines(path) as lines:
            first = next(iter(lines), b"").lstrip()
        if first.startswith(b"["):
            raise InvalidRequest(
                "the file is one JSON array, not JSON lines",
                where=str(path),
                remedy="write one object per line, for example with jq -c '.[]'",
            )

    def footprint(self, end: int) -> str:
        return footprint(self.path, end)

    def rows(self, start: int = 0) -> Iterator[Row | BadRow]:
        with Lines(self.path, start=start) as lines:
            yield from self._rows(lines)

    def _rows(self, lines: Lines) -> Iterator[Row | BadRow]:
        for data in lines:
            if not data.strip():
                continue
            try:
                values = _decode(data)
            except (msgspec.DecodeError, RecursionError, ValueError) as error:
                text = data[:1_000].decode("utf-8", "replace").rstrip()
                yield BadRow(lines.number, lines.offset, f"not a JSON object: {error}", text)
                continue
            yield Row(lines.number, lines.offset, values)
