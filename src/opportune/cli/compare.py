"""``opportune compare``"""

from __future__ import annotations

from pathlib import Path

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json
from opportune.cli.training import print_metrics, rankers_of


@click.command(
    "compare",
    cls=Examples,
    examples="""
    opportune compare --data-dir data
    opportune compare r20261122-1 r20261122-2 --data-dir data --json
    """,
)
@click.argument("versions", nargs=-1)
@options.data_dir
@options.as_json
def command(versions: tuple[str, ...], data_dir: Path, as_json: bool) -> None:
    """What each model version measured on its held-out cases when it was trained; all of them by default.

    Versions trained on different days were measured on different cases: 'opportune evaluate' asks them the
    same.
    """
    rankers = rankers_of(data_dir)
    registry = rankers.registry()
    states = registry.states()
    chosen = [(rankers.info(version), registry.state_of(version)) for version in versions or states]
    if as_json:
        print_json([{"version": info.version, "state": state, "bundle": info} for info, state in chosen])
        return
    if not chosen:
        click.echo("no model version yet: train one with 'opportune train'")
        return
    print_metrics(chosen)
