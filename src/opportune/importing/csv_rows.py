"""Rows of a CSV file: any common delimiter, quoted cells over several lines, resumable at a byte offset."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from opportune.errors import InvalidRequest
from opportune.importing.rows import BadRow, Row
from opportune.importing.text_lines import Lines, footprint, unpacked_bytes

DELIMITERS = ",;\t|"


class CsvReader:
    """The first line names the columns. Cells are text; an empty cell is left out of its row.

    A row with more or fewer cells than the header is a :class:`BadRow`: what is in which column cannot be
    known. About 2 us a row of eight cells.
    """

    def __init__(self, path: Path, *, encoding: str = "utf-8", delimiter: str = "") -> None:
        self.path = path
        self.encoding = encoding
        self.total = unpacked_bytes(path)
        with Lines(path) as lines:
            first = next(iter(lines), b"")
        if b"\0" in first:
            raise InvalidRequest(
                "this is not a CSV file", where=str(path), remedy="save it as CSV in UTF-8, or pass --format"
            )
        self.delimiter = delimiter or delimiter_of(first.decode(encoding, "replace"))
        self._after_header = 0
        self.columns = self._header()

    def _header(self) -> list[str]:
        with Lines(self.path) as lines:
            columns = [name.strip() for name in next(self._parsed(lines), [])]
            self._after_header = lines.offset
        if not any(columns):
            raise InvalidRequest(
                "the first line of a CSV file must name the columns",
                where=str(self.path),
                remedy="add a header",
            )
        repeated = sorted({name for name in columns if name and columns.count(name) > 1})
        if repeated:
            raise InvalidRequest(
                "two columns have one name",
                seen=repeated[0],
                where=str(self.path),
                remedy="rename one of them",
            )
        return columns

    def _parsed(self, lines: Lines) -> Iterator[list[str]]:
        # What does not decode is carried as surrogates, so that one bad byte costs its row and not the file.
        text = (line.decode(self.encoding, "surrogateescape") for line in lines)
        return csv.reader(text, delimiter=self.delimiter)

    def footprint(self, end: int) -> str:
        return footprint(self.path, end)

    def rows(self, start: int = 0) -> Iterator[Row | BadRow]:
        with Lines(self.path, start=start or self._after_header) as lines:
            yield from self._rows(lines)

    def _rows(self, lines: Lines) -> Iterator[Row | BadRow]:
        parsed = self._parsed(lines)
        columns, width = self.columns, len(self.columns)
        while True:
            at = lines.number + 1
            try:
                cells = next(parsed)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadRow(at, lines.offset, f"not readable as CSV: {error}", "")
                continue
            if len(cells) == width:
                values = {name: cell for name, cell in zip(columns, cells, strict=True) if cell and name}
                if not values:
                    continue
                joined = "".join(cells)
                if joined.isascii() or joined.isprintable() or not _undecoded(joined):
                    yield Row(at, lines.offset, values)
                    continue
                reason = f"not {self.encoding}: pass --encoding, for example --encoding cp1252"
            elif not any(cells):
                continue
            else:
                reason = f"the row has {len(cells)} cells, the header has {width}"
            shown = self.delimiter.join(cells).encode("utf-8", "replace").decode()
            yield BadRow(at, lines.offset, reason, shown[:1_000])


def _undecoded(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def delimiter_of(header: str) -> str:
    """The one of ``, ; tab |`` that is most frequent in the header, outside quotes."""
    bare = "".join(part for i, part in enumerate(header.split('"')) if i % 2 == 0)
    return max(DELIMITERS, key=lambda candidate: (bare.count(candidate), -DELIMITERS.index(candidate)))
