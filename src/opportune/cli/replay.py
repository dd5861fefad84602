"""``opportune replay``"""

from __future__ import annotations

import re
import time
from pathlib import Path

import click
import msgspec

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import console, print_json
from opportune.cli.target import open_engine
from opportune.clock import Millis
from opportune.errors import InvalidRequest

_SPAN = re.compile(r"^([1-9][0-9]{0,4})([mhd])$")
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


@click.command(
    "replay",
    cls=Examples,
    examples="""
    opportune replay --policy new.yaml --since 7d --data-dir data
    opportune replay --policy new.yaml --since 12h --outcome buy --data-dir data --json
    """,
)
@click.option(
    "--policy",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A placements.yaml with the placements as they would be.",
)
@click.option("--since", default="7d", show_default=True, help="How far back: 30m, 12h, 7d.")
@click.option(
    "--outcome", "outcomes", multiple=True, help="view, cart, buy or an event's name; any without it."
)
@click.option(
    "--limit", default=5000, show_default=True, type=click.IntRange(1), help="The newest decisions."
)
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar=options.DATA_DIR_VARIABLE,
    show_envvar=True,
    help="The data folder to open.",
)
@options.workspace
@options.as_json
def command(
    policy: Path,
    since: str,
    outcomes: tuple[str, ...],
    limit: int,
    data_dir: Path,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Say what would have happened with other placements: recorded decisions are made again, and judged."""
    from opportune.config import definitions
    from opportune.decide.placement import read_placements

    back = span_of(since)
    placements = read_placements(definitions.read(policy), name=policy.name)
    earliest = round(time.time() * 1000) - back
    with open_engine(data_dir, workspace) as engine:
        found = engine.what_if(placements, since=earliest, kinds=outcomes, limit=limit)
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    say = console().print
    say(
        f"{found.decisions:,} decisions made again, {found.other_placements:,} at other placements left alone"
    )
    if found.decisions:
        say(f"{found.kept:.1%} of places keep their item ({found.identical:,} decisions stay as they were)")
        say(f"{found.moved:.1%} get another item of the list, {found.new:.1%} one that was not shown")
        say(f"models and catalogue alone have changed {found.drift:.1%} of places since")
    say(found.verdict)


def span_of(since: str) -> Millis:
    """``--since``: ``30m``, ``12h``, ``7d`` in milliseconds. Raises :class:`InvalidRequest`."""
    span = _SPAN.match(since)
    if span is None:
        raise InvalidRequest("a span is a number and m, h or d", seen=since, where="--since", remedy="7d")
    return int(span[1]) * _UNIT_MS[span[2]]
