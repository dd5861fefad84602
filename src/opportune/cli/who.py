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
    from opportune.engine import keys
    from opportune.engine.history import read_state
    from opportune.engine.workspace import load_workspace
    from opportune.stores.disk import RealDisk
    from opportune.stores.vault import Vault
    from opportune.warehouse.pseudonyms import identifier_of

    with RealDisk(data_dir, read_only=True) as disk:
        key = Vault(disk).row_key
        state, _ = read_state(disk, load_workspace(workspace))
        known = (name.removeprefix(keys.LEAF) for name, data in state.records.items(keys.LEAF) if data)
        identifier = identifier_of(known, key, pseudonym)
    AuditLog(data_dir).note("command line", "pseudonym.read", [identifier])
    if as_json:
        print_json({"pseudonym": str(pseudonym), "identifier": identifier})
    else:
        click.echo(identifier)
