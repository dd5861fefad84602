"""What the commands about models share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from opportune.cli.output import console, print_table
from opportune.errors import InvalidRequest

if TYPE_CHECKING:
    from opportune.engine.rankers import Rankers
    from opportune.engine.versions import Versions
    from opportune.learn.bundle import BundleInfo, ModelInfo
    from opportune.learn.candidate_rows import Progress

F = TypeVar("F", bound=Callable[..., Any])

KINDS = ("ranker", "factors", "microsegments", "sequence", "buy", "churn", "clv", "uplift")


def model_option(function: F) -> F:
    """``--model``: which kind of model a command is about."""
    return click.option(
        "--model", "kind", type=click.Choice(KINDS), default=KINDS[0], show_default=True, help="The kind."
    )(function)


def seconds_of(span: str, where: str) -> float:
    """``30s``, ``12h``, ``1d`` in seconds. Raises :class:`InvalidRequest`."""
    from opportune.decide.placement import window_ms

    try:
        found = window_ms(span)
    except ValueError:
        found = None
    if found is None:
        raise InvalidRequest("not a span of time", seen=span, where=where, remedy="write 30m, 12h or 1d")
    return found / 1000


def rankers_of(data_dir: Path) -> Rankers:
    """Raises :class:`InvalidRequest` when there is no such folder."""
    from opportune.engine.rankers import Rankers

    _must_be_there(data_dir)
    return Rankers(data_dir)


def versions_of(data_dir: Path, kind: str) -> Versions:
    """The versions of any kind. Raises :class:`InvalidRequest` when there is no such folder."""
    from opportune.engine.versions import Versions

    _must_be_there(data_dir)
    return Versions(data_dir, kind)


def _must_be_there(data_dir: Path) -> None:
    if not data_dir.is_dir():
        raise InvalidRequest(
            "no such data folder", seen=str(data_dir), where="--data-dir", remedy="check the path"
        )


def print_versions(infos: Sequence[tuple[ModelInfo, str]]) -> None:
    """A row for each version that is not a ranker, with its numbers."""
    print_table(
        ("version", "state", "rows", "measured"),
        [
            (info.version, state, info.rows, {k: v for k, v in info.metrics.items() if k != "bins"})
            for info, state in infos
        ],
    )


@contextmanager
def progress_bars(quiet: bool) -> Iterator[Callable[[str], Progress]]:
    """A bar on stderr for every step that asks for one."""
    if quiet:
        yield lambda step: lambda done, of: None
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    with Bar(*columns, console=console(stderr=True)) as bar:

        def step(name: str) -> Progress:
            task = bar.add_task(name, total=None)
            return lambda done, of: bar.update(task, completed=done, total=of)

        yield step


def print_metrics(infos: Sequence[tuple[BundleInfo, str]]) -> None:
    """A row for the stage alone and one for the ranked whole of each version."""
    rows: list[tuple[Any, ...]] = []
    for info, state in infos:
        for name in ("stage", "ranked"):
            told = info.metrics[name]
            rows.append(
                (
                    info.version if name == "stage" else "",
                    state if name == "stage" else "",
                    name,
                    told["cases"],
                    told["hr20"],
                    "-".join(map(str, told["hr20_interval"])),
                    told["mrr20"],
                    "-".join(map(str, told["mrr20_interval"])),
                )
            )
    print_table(("version", "state", "", "cases", "HR@20", "95 %", "MRR@20", "95 %"), rows)
