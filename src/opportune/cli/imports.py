"""``opportune import``"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
import msgspec

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.interrupt import gentle_interrupt
from opportune.cli.output import console, print_json
from opportune.cli.target import Dialect, Target, open_target
from opportune.errors import InvalidRequest

if TYPE_CHECKING:
    from opportune.importing.position import Counts, Position
    from opportune.importing.run import Progress, Rows, Sent

Kind = Literal["events", "orders", "items"]
F = TypeVar("F", bound=Callable[..., Any])

POSITIONS = "imports"
"""The folder inside a data folder that keeps how far its imports have come."""


class How(msgspec.Struct, frozen=True):
    """How files are read, as the options say."""

    format: Any
    maps: tuple[str, ...]
    encoding: str
    delimiter: str
    time_format: str
    event: str
    again: bool
    rejected: Path | None


@click.group("import")
def command() -> None:
    """Import events, orders or items from CSV, JSON lines or Parquet files.

    Columns are found by their usual names (Customer ID, StockCode, event_time, ...); --map names the others.
    An import that was interrupted goes on where it was when it is started again; rows that were stored before
    are counted as duplicates. Rows that cannot be used go to FILE.rejected.jsonl with line and reason.
    """


def _common(function: F) -> F:
    for option in (
        options.as_json,
        click.option("--again", is_flag=True, help="Read the whole file again, also when it is done."),
        click.option(
            "--rejected",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Where refused rows go; FILE.rejected.jsonl by default.",
        ),
        click.option("--time-format", default="", help="Of times that are not ISO 8601, as in strptime."),
        click.option("--delimiter", default="", help="Of a CSV file; found by itself."),
        click.option("--encoding", default="utf-8", show_default=True, help="Of a CSV file."),
        click.option(
            "--map",
            "maps",
            multiple=True,
            metavar="COLUMN=FIELD",
            help="Which field a column is. COLUMN= drops it; FIELD may be properties.NAME or end in :number.",
        ),
        click.option(
            "--format", type=click.Choice(["csv", "jsonl", "parquet"]), help="When the name does not say."
        ),
        options.target,
        click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path)),
    ):
        function = option(function)
    return function


@command.command(
    "events",
    cls=Examples,
    examples="""
    opportune import events clicks.csv --data-dir data
    opportune import events sessions.parquet --event 'Product Viewed' --data-dir data
    opportune import events 2026-*.jsonl.gz --to http://127.0.0.1:8080 --key KEY
    opportune import events log.csv --map who=user_id --map size=properties.size:number --data-dir data
    """,
)
@_common
@click.option("--event", default="", help="The event of rows that do not say one.")
def events(event: str, **others: Any) -> None:
    """Import tracking events: a table with a row per event, or events in the Segment shape."""
    _import("events", event=event, **others)


@command.command(
    "orders",
    cls=Examples,
    examples="""
    opportune import orders retail.csv --encoding cp1252 --time-format '%m/%d/%Y %H:%M' --data-dir data
    opportune import orders orders.parquet --data-dir data --json
    """,
)
@_common
def orders(**others: Any) -> None:
    """Import orders: a table with a row per order line, the rows of an order together."""
    _import("orders", event="", **others)


@command.command(
    "items",
    cls=Examples,
    examples="""
    opportune import items products.csv --data-dir data
    opportune import items products.jsonl --map material=properties.material --data-dir data
    """,
)
@_common
def items(**others: Any) -> None:
    """Import the catalogue: a row per item, every column an attribute."""
    _import("items", event="", **others)


def _import(
    kind: Kind,
    *,
    files: tuple[Path, ...],
    data_dir: Path | None,
    url: str,
    key: str,
    workspace: Path | None,
    as_json: bool,
    **how: Any,
) -> None:
    chosen = How(**how)
    if chosen.rejected and len(files) > 1:
        raise InvalidRequest(
            "one report for several files", where="--rejected", remedy="import one file at a time"
        )
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise InvalidRequest("no such file", seen=str(missing[0]), remedy="check the path")
    if data_dir is not None:
        data_dir.mkdir(parents=True, exist_ok=True)
    with open_target(data_dir, url, key, workspace) as target, gentle_interrupt() as stop:
        summaries = [
            _one(kind, file, target, data_dir, url, chosen, stop, quiet=as_json)
            for file in files
            if not stop()
        ]
    if as_json:
        print_json({"files": summaries})
    if len(summaries) < len(files) or not all(summary["finished"] for summary in summaries):
        raise KeyboardInterrupt


def _one(
    kind: Kind,
    file: Path,
    target: Target,
    data_dir: Path | None,
    url: str,
    how: How,
    stop: Callable[[], bool],
    *,
    quiet: bool,
) -> dict[str, Any]:
    from opportune.importing.rows import open_rows
    from opportune.importing.run import identity_of, run_import

    reader = open_rows(file, how.format, encoding=_known(how.encoding), delimiter=how.delimiter)
    rows = _rows_of(kind, file, how)
    identity = identity_of(
        file, kind, url, *how.maps, how.encoding, how.delimiter, how.time_format, how.event
    )
    if data_dir is not None:
        position_path = data_dir / POSITIONS / f"{identity}.json"
    else:
        position_path = file.with_name(f"{file.name}.position.json")
    rejected_path = how.rejected or file.with_name(f"{file.name}.rejected.jsonl")
    sink = _Sink(target, "catalog" if kind == "items" else "segment")
    before = msgspec.json.encode(_kept(position_path))
    with _progress_bar(file.name, reader.total, quiet) as progress:
        position = run_import(
            reader,
            rows,
            sink,
            position_path=position_path,
            rejected_path=rejected_path,
            identity=identity,
            from_start=how.again,
            replay_rows=kind == "orders",
            progress=progress,
            stop=stop,
        )
    is_repeat = (
        sink.batches == 0 and position.is_finished and before == msgspec.json.encode(_kept(position_path))
    )
    summary = _summary(file, position, rejected_path, is_repeat=is_repeat)
    if not quiet:
        _print(summary)
    return summary


def _kept(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _rows_of(kind: Kind, file: Path, how: How) -> Rows:
    from opportune.importing.columns import read_maps
    from opportune.importing.events import EventRows
    from opportune.importing.items import ItemRows
    from opportune.importing.made import Times
    from opportune.importing.orders import OrderRows

    times = Times(how.time_format)
    if kind == "events":
        maps = read_maps(how.maps, EventRows.fields)
        return EventRows(file.name, maps, times=times, default_event=how.event)
    if kind == "orders":
        return OrderRows(file.name, read_maps(how.maps, OrderRows.fields), times=times)
    as_of = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat()
    return ItemRows(file.name, read_maps(how.maps, ItemRows.fields), times=times, as_of=as_of)


def _known(encoding: str) -> str:
    try:
        "".encode(encoding)
    except LookupError as error:
        raise InvalidRequest(
            "no such encoding", seen=encoding, where="--encoding", remedy="utf-8, cp1252"
        ) from error
    return encoding


class _Sink:
    """A target as an import sees it."""

    def __init__(self, target: Target, dialect: Dialect) -> None:
        self._target = target
        self._dialect = dialect
        self.batches = 0

    def send(self, raws: Sequence[dict[str, Any]]) -> Sent:
        from opportune.importing.run import Refusal, Sent

        self.batches += 1
        stored = duplicate = 0
        refusals = []
        for index, verdict in enumerate(self._target.ingest(raws, self._dialect)):
            outcome = verdict.get("verdict") or verdict.get("status")
            if outcome == "stored":
                stored += 1
            elif outcome == "duplicate":
                duplicate += 1
            else:
                reason, where = verdict.get("reason", ""), verdict.get("where", "")
                refusals.append(Refusal(index, verdict.get("code") or str(outcome), reason, where))
        return Sent(stored, duplicate, refusals)


@contextmanager
def _progress_bar(name: str, total: int, quiet: bool) -> Iterator[Progress]:
    """A bar on stderr; nothing when quiet or when nobody is looking."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    shown = console(stderr=True)
    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(),
        console=shown,
        disable=quiet or not shown.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task(name, total=total, counts="")

        def show(end: int, counts: Counts) -> None:
            bar.update(task, completed=end, counts=f"{counts.sent:,} sent")

        yield show


def _summary(file: Path, position: Position, rejected_path: Path, *, is_repeat: bool) -> dict[str, Any]:
    counts: dict[str, Any] = msgspec.to_builtins(position.counts)
    refused = position.counts.rejected + position.counts.unusable
    return {
        "file": str(file),
        **counts,
        "finished": position.is_finished,
        "already_imported": is_repeat,
        "rejected_file": str(rejected_path) if refused else None,
    }


def _print(summary: dict[str, Any]) -> None:
    if summary["already_imported"]:
        click.echo(
            f"{summary['file']}: imported before, {summary['rows']:,} rows; --again reads it once more"
        )
        return
    text = f"{summary['file']}: {summary['rows']:,} rows, {summary['stored']:,} events stored"
    if summary["duplicate"]:
        text += f", {summary['duplicate']:,} were there already"
    click.echo(text if summary["finished"] else f"{text} so far")
    refused = summary["rejected"] + summary["unusable"]
    if refused:
        click.echo(f"{refused:,} refused, with line and reason in {summary['rejected_file']}", err=True)
