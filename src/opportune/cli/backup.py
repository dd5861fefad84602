"""``opportune backup``"""

from __future__ import annotations

from pathlib import Path

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json
from opportune.errors import InvalidRequest


@click.command(
    "backup",
    cls=Examples,
    examples="""
    opportune backup backups/2026-11-21 --data-dir data
    opportune backup backups/2026-11-21.tar --data-dir data
    """,
)
@click.argument("destination", type=click.Path(path_type=Path))
@options.data_dir
@options.as_json
def command(destination: Path, data_dir: Path, as_json: bool) -> None:
    """Copy a data folder, also while a server is writing to it, to a new folder or a .tar file.

    Everything acknowledged before the backup began is in it. The keys are not: keep those elsewhere.
    """
    from opportune.stores.backup import backup

    if not data_dir.is_dir():
        raise InvalidRequest(
            "no such data folder", seen=str(data_dir), where="--data-dir", remedy="check the path"
        )
    done = backup(data_dir, destination)
    if as_json:
        print_json(
            {"destination": str(destination), "entries": done.next_seq - done.first_seq, "bytes": done.bytes}
        )
        return
    click.echo(f"{destination}: {done.next_seq - done.first_seq:,} journal entries, {done.bytes:,} bytes")
