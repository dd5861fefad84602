"""What a file of rows holds, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from opportune.errors import InvalidRequest

Format = Literal["csv", "jsonl", "parquet"]

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
FORMATS: tuple[Format, ...] = ("csv", "jsonl", "parquet")


class Row(NamedTuple):
    """One row: ``line`` is where a person finds it (1 is the first line of a text file, the first row of a
    Parquet file), ``end`` the place just after it, in the reader's unit."""

    line: int
    end: int
    values: dict[str, Any]


class BadRow(NamedTuple):
    """A row that cannot be read: why, and the text as it stands, cut to 1,000 characters."""

    line: int
    end: int
    reason: str
    text: str


class Reader(Protocol):
    """``total`` is the size of the file in the unit of ``Row.end`` (bytes, or rows), for progress."""

    @property
    def total(self) -> int: ...

    def rows(self, start: int = 0) -> Iterator[Row | BadRow]:
        """Rows after the one that ended at ``start``; from the beginning by default."""
        ...

    def footprint(self, end: int) -> str:
        """A digest that changes when the file is no longer the one that was read up to ``end``. A text file
        that has only grown keeps it."""
        ...


def stamp(path: Path) -> str:
    """Size and time of a file: the footprint where the bytes before a place are not at hand."""
    found = path.stat()
    return f"{found.st_size}-{found.st_mtime_ns}"


def format_of(path: Path) -> Format:
    """The format that a file's name says, ``.gz`` aside. Raises :class:`InvalidRequest`."""
    name = path.name.lower().removesuffix(".gz")
    found = SUFFIXES.get(Path(name).suffix)
    if found is None:
        raise InvalidRequest(
            "cannot tell the format from the file name",
            seen=path.name,
            remedy=f"name it {', '.join(SUFFIXES)}, or pass --format {'|'.join(FORMATS)}",
        )
    return found


def open_rows(
    path: Path, format: Format | None = None, *, encoding: str = "utf-8", delimiter: str = ""
) -> Reader:
    """The reader for a file. Raises :class:`InvalidRequest` for one that is missing, empty or headless."""
    if not path.is_file():
        raise InvalidRequest("no such file", seen=str(path), remedy="check the path")
    if path.stat().st_size == 0:
        raise InvalidRequest("the file is empty", seen=str(path), remedy="export it again")
    found = format or format_of(path)
    if found == "csv":
        from opportune.importing.csv_rows import CsvReader

        return CsvReader(path, encoding=encoding, delimiter=delimiter)
    if found == "jsonl":
        from opportune.importing.jsonl_rows import JsonlReader

        return JsonlReader(path)
    from opportune.importing.parquet_rows import ParquetReader

    return ParquetReader(path)
