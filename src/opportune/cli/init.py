"""``opportune init``"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.definition_files import NAMES, SCHEMA_FOLDER, schemas, starter
from opportune.cli.output import print_json


@click.command(
    "init",
    cls=Examples,
    examples="""
    opportune init workspace
    opportune serve --data-dir data --workspace workspace
    """,
)
@click.argument("workspace", type=click.Path(file_okay=False, path_type=Path))
@options.as_json
def command(workspace: Path, as_json: bool) -> None:
    """Write a workspace: commented definition files, and the schemas that editors complete them with.

    Files that exist are kept as they are; only the schemas are brought up to date.
    """
    (workspace / SCHEMA_FOLDER).mkdir(parents=True, exist_ok=True)
    written, kept = [], []
    for name in NAMES:
        path = workspace / f"{name}.yaml"
        if path.exists():
            kept.append(str(path))
        else:
            path.write_text(starter(name), encoding="utf-8")
            written.append(str(path))
    for name, schema in schemas().items():
        path = workspace / SCHEMA_FOLDER / f"{name}.schema.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n")
        written.append(str(path))
    if as_json:
        print_json({"written": written, "kept": kept})
        return
    for file in written:
        click.echo(f"wrote {file}")
    for file in kept:
        click.echo(f"kept  {file}")
