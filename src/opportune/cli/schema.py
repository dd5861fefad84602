"""``opportune schema``"""

from __future__ import annotations

import click

from opportune.cli.app import Examples
from opportune.cli.definition_files import NAMES, schemas
from opportune.cli.output import print_json


@click.command(
    "schema",
    cls=Examples,
    examples="""
    opportune schema placements > placements.schema.json
    opportune schema
    """,
)
@click.argument("name", type=click.Choice(NAMES), required=False)
def command(name: str | None) -> None:
    """Print the JSON Schema of a definition file; of all of them by name when none is given."""
    found = schemas()
    print_json(found[name] if name else found)
