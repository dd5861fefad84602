"""Rows of a Parquet file, a batch at a time. Needs the extra ``opportune[parquet]``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from opportune.errors import InvalidRequest
from opportune.importing.rows import BadRow, Row, stamp

BATCH_ROWS = 4_096


class ParquetReader:
    """``total`` and ``Row.end`` count rows. Times become ISO 8601 text in UTC, decimals become numbers; nulls
    and NaN are left out. Memory: one row group's pages and one batch."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow.parquet as pq
        except ImportError as error:
            raise InvalidRequest(
                "reading Parquet needs pyarrow", where=str(path), remedy="pip install 'opportune[parquet]'"
            ) from error
        from pyarrow import ArrowException

        self.path = path
        try:
            self._file: Any = pq.ParquetFile(path)
        except (ArrowException, OSError) as error:
            raise InvalidRequest(
                f"not readable as Parquet ({error})",
                where=str(path),
                remedy="export it again, or pass --format",
            ) from error
        self.columns: list[str] = list(self._file.schema_arrow.names)
        self.total: int = self._file.metadata.num_rows

    def footprint(self, end: int) -> str:
        return stamp(self.path)

    def rows(self, start: int = 0) -> Iterator[Row | BadRow]:
        at, groups = self._groups_after(start)
        names = self.columns
        for batch in self._file.iter_batches(batch_size=BATCH_ROWS, row_groups=groups):
            columns = [_plain_column(column) for column in batch.columns]
            for values in zip(*columns, strict=True):
                at += 1
                if at > start:
                    named = zip(names, values, strict=True)
                    yield Row(at, at, {name: v for name, v in named if v is not None and v == v})

    def _groups_after(self, start: int) -> tuple[int, list[int]]:
        """The row groups that hold rows after ``start``, and how many rows come before them."""
        before = 0
        metadata = self._file.metadata
        for group in range(metadata.num_row_groups):
            count = metadata.row_group(group).num_rows
            if before + count > start:
                return before, list(range(group, metadata.num_row_groups))
            before += count
        return before, []


def _plain_column(column: Any) -> list[Any]:
    """A column as Python values; whole columns of text and numbers need no look at each value."""
    from pyarrow import types

    values: list[Any] = column.to_pylist()
    kind = column.type
    if (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
    ):
        return values
    return [plain(value) for value in values]


def plain(value: Any) -> Any:
    """A value that JSON can carry."""
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(name): plain(v) for name, v in value.items()}
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)
