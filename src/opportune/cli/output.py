"""What commands print: JSON for machines, tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from opportune.clock import Millis

if TYPE_CHECKING:
    from rich.console import Console


def print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not found.is_terminal:
        # A file has no edge to wrap at.
        found.width = 240
    return found


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """A table; columns of numbers are aligned right."""
    from rich import box
    from rich.table import Table

    cells = [["" if cell is None else cell for cell in row] for row in rows]
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(columns):
        is_number = bool(cells) and all(isinstance(row[i], int | float) for row in cells)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in cells:
        table.add_row(*(_escaped(shown(cell)) for cell in row))
    console().print(table)


def shown(value: Any) -> str:
    """A value as a cell: numbers grouped, structures as JSON."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.2f}"
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def when(time: Millis) -> str:
    """A time as people write it, in UTC."""
    return datetime.fromtimestamp(time / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
