"""``opportune promote``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json
from opportune.cli.training import model_option, versions_of
from opportune.clock import system_clock
from opportune.errors import InvalidRequest


@click.command(
    "promote",
    cls=Examples,
    examples="""
    opportune promote r20261122-1 --data-dir data
    opportune promote r20261122-1 --to shadow --data-dir data
    opportune promote r20261122-1 --to canary --share 0.1 --data-dir data
    opportune promote r20261122-1 --to live --note 'beats the blend' --data-dir data
    """,
)
@click.argument("version")
@options.data_dir
@model_option
@click.option(
    "--to",
    type=click.Choice(["shadow", "canary", "live", "archived"]),
    help="Straight to this state; else one step up: candidate, shadow, canary, live.",
)
@click.option(
    "--share",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    help="The share of people whom a canary ranks for.",
)
@click.option("--note", default="", help="Why; kept with the move.")
@options.as_json
def command(version: str, data_dir: Path, kind: str, to: Any, share: float, note: str, as_json: bool) -> None:
    """Move a model version up. A running server takes the change up within seconds.

    A shadow scores what real decisions rank, and nobody sees it: 'opportune compare' says how its lists
    differ. A canary ranks for a share of people as an experiment, which a guardrail stops.
    Other kinds of models are candidate, live or archived.
    """
    if kind != "ranker":
        to = to or "live"
        if to in ("shadow", "canary"):
            raise InvalidRequest(
                f"only a ranker can be a {to}", seen=kind, where="--to", remedy="use live or archived"
            )
    versions = versions_of(data_dir, kind)
    moves = versions.registry().promote(version, system_clock(), to, note, share)
    versions.record(moves)
    if as_json:
        print_json({"moves": moves})
        return
    for move in moves:
        click.echo(f"{move.version}: {move.state}")
