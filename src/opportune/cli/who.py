"""``opportune privacy who``"""

from __future__ import annotations

from pathlib import Path

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json


@click.command(
    "who",
    cls=Examples,
    examples="""
    opportune privacy who 11529215046068469760 --data-dir data
    """,
)
@click.argument("pseudonym", type=click.IntRange(1, (1 << 64) - 1))
@options.data_dir
@options.workspace
@options.as_json
def who(pseudonym: int, data_dir: Path, workspace: Path | None, as_json: bool) -> None:
    """Say whom a pseudonym of the derived tables stands for; it takes the vault, and is in the audit log.

    Works while a server has the folder open.
    """
    from opportune.access.audit import AuditLog
    from opportune.engine.workspace import load_workspace
    from opportune.stores.disk import RealDisk
    from opportune.warehouse.pseudonyms import identifier_of

    with RealDisk(data_dir, read_only=True) as disk:
        identifier = identifier_of(disk, load_workspace(workspace), pseudonym)
    AuditLog(data_dir).note("command line", "pseudonym.read", [identifier])
    if as_json:
        print_json({"pseudonym": str(pseudonym), "identifier": identifier})
    else:
        click.echo(identifier)
