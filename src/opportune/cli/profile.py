"""``opportune profile``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table, shown, when
from opportune.cli.target import open_target


@click.command(
    "profile",
    cls=Examples,
    examples="""
    opportune profile user_id:u1 --data-dir data
    opportune profile email:ada@example.org --to http://127.0.0.1:8080 --key SECRET --json
    """,
)
@click.argument("identifier", metavar="TYPE:VALUE")
@options.target
@options.as_json
def command(
    identifier: str, data_dir: Path | None, url: str, key: str, workspace: Path | None, as_json: bool
) -> None:
    """Show what is known of a person: who they are and why, traits, features, session."""
    with open_target(data_dir, url, key, workspace) as target:
        found = target.profile(identifier)
    if as_json:
        print_json(found)
        return
    _print(found)


def _print(found: dict[str, Any]) -> None:
    rows = [
        (one["identifier"], one["events"], when(one["last_seen"]) if one["last_seen"] else "")
        for one in found["identifiers"]
    ]
    print_table(("identifier", "events", "last seen (UTC)"), rows, title="who")
    if found["links"]:
        links = [
            (link["a"], link["b"], link["rule"], when(link["time"]), link["source"], link["count"])
            for link in found["links"]
        ]
        print_table(
            ("one", "other", "rule", "first (UTC)", "source", "times"), links, title="why they are one"
        )
    traits = [(name, shown(trait["value"])) for name, trait in found["traits"].items()]
    if traits:
        print_table(("trait", "value"), traits, title="traits")
    features = [
        (name, shown(value)) for name, value in sorted(found["features"].items()) if value is not None
    ]
    print_table(("feature", "value"), features, title="features")
