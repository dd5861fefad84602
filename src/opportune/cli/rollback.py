"""``opportune rollback``"""

from __future__ import annotations

from pathlib import Path

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json
from opportune.cli.training import model_option, versions_of
from opportune.clock import system_clock


@click.command("rollback", cls=Examples, examples="opportune rollback --data-dir data --note 'clicks fell'")
@options.data_dir
@model_option
@click.option("--note", default="", help="Why; kept with the move.")
@options.as_json
def command(data_dir: Path, kind: str, note: str, as_json: bool) -> None:
    """Make the model version live again that was live before."""
    versions = versions_of(data_dir, kind)
    moves = versions.registry().rollback(system_clock(), note)
    versions.record(moves)
    if as_json:
        print_json({"moves": moves})
        return
    for move in moves:
        click.echo(f"{move.version}: {move.state}")
