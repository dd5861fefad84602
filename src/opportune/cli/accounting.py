"""``opportune accounting``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table
from opportune.cli.target import open_target

COLUMNS = ("received", "stored", "duplicate", "rejected", "suppressed", "filtered", "replayed")


@click.command("accounting", cls=Examples, examples="opportune accounting --data-dir data")
@options.target
@options.as_json
def command(data_dir: Path | None, url: str, key: str, workspace: Path | None, as_json: bool) -> None:
    """Prove that every received event ended in exactly one of stored, duplicate, rejected."""
    with open_target(data_dir, url, key, workspace) as target:
        found = target.accounting()
    if as_json:
        print_json(found)
        return
    sources: dict[str, dict[str, Any]] = found.get("sources", {})
    rows = [
        (source, *(counts.get(name, 0) for name in COLUMNS)) for source, counts in sorted(sources.items())
    ]
    print_table(("source", *COLUMNS), rows)
