"""``opportune restore``"""

from __future__ import annotations

from pathlib import Path

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json


@click.command(
    "restore",
    cls=Examples,
    examples="opportune restore backups/2026-11-21.tar --vault data/vault --data-dir restored",
)
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--vault",
    type=click.Path(file_okay=False, path_type=Path),
    help="The vault that sealed the backup's journal, as it is now: DATA/vault of its folder.",
)
@options.data_dir
@options.as_json
def command(source: Path, vault: Path | None, data_dir: Path, as_json: bool) -> None:
    """Make a data folder from a backup and verify every byte of it. The folder must be new or empty.

    Who was erased after the backup was made stays erased: the vault has no key for them any more.
    """
    from opportune.stores.backup import restore

    done = restore(source, data_dir, vault)
    if as_json:
        print_json(
            {"data_dir": str(data_dir), "entries": done.next_seq - done.first_seq, "bytes": done.bytes}
        )
        return
    click.echo(
        f"{data_dir}: {done.next_seq - done.first_seq:,} journal entries, {done.bytes:,} bytes, all verified"
    )
