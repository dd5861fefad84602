"""``opportune cluster``"""

from __future__ import annotations

from pathlib import Path

import click
from msgspec import to_builtins

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.cluster_definitions import cluster_file as _file
from opportune.cli.cluster_definitions import command as definitions_command
from opportune.cli.cluster_roles import needs_extra
from opportune.cli.output import print_json, print_table, when
from opportune.cli.subject import identifier_of, subject
from opportune.errors import StorageError


@click.group("cluster")
def command() -> None:
    """Look after a cluster on Kafka and Redis."""


command.add_command(definitions_command)


@command.command(
    "lag",
    cls=Examples,
    examples="""
    opportune cluster lag --cluster cluster.yaml --json
    opportune cluster lag --cluster cluster.yaml --most 10000 || echo "start another fold worker"
    """,
)
@_file
@click.option("--most", type=click.IntRange(0), help="Fail when some role is further behind.")
@options.as_json
def show_lag(file: Path, most: int | None, as_json: bool) -> None:
    """Tell how many messages the workers are behind."""
    needs_extra()
    from opportune.streams.config import load_config
    from opportune.streams.lag import lag
    from opportune.streams.topics import ensure

    config = load_config(file)
    found = lag(config, ensure(config, wait_s=10))
    if as_json:
        print_json({"lag": found})
    else:
        print_table(("role", "messages behind"), list(found.items()))
    late = {role: count for role, count in found.items() if most is not None and count > most}
    if late:
        raise StorageError(
            f"workers are more than {most:,} messages behind", seen=late, remedy="start another worker"
        )


@command.command(
    "rebuild",
    cls=Examples,
    examples="""
    opportune cluster rebuild --cluster cluster.yaml --workspace workspace
    """,
)
@_file
@options.workspace
@options.as_json
def rebuild_copy(file: Path, workspace: Path | None, as_json: bool) -> None:
    """Fill an empty Redis again from the workers' changelogs in Kafka. Everything goes on meanwhile."""
    needs_extra()
    from opportune.engine.workspace import load_workspace
    from opportune.profiles.schema import ProfileSchema
    from opportune.streams.config import load_config
    from opportune.streams.rebuild import rebuild
    from opportune.streams.serving_copy import ServingCopy
    from opportune.streams.topics import ensure

    config = load_config(file)
    schema = ProfileSchema.of(load_workspace(workspace).features, "person")
    copy = ServingCopy(config)
    copy.wait(10)
    count = rebuild(config, ensure(config, wait_s=10), schema, copy)
    if as_json:
        print_json({"records": count})
    else:
        click.echo(f"read {count} records of the changelogs; Redis holds what the workers have folded")


@command.command(
    "find",
    cls=Examples,
    examples="""
    opportune cluster find --user-id u1 --cluster cluster.yaml
    opportune cluster find --email ada@example.org --cluster cluster.yaml --json
    """,
)
@subject
@_file
@options.as_json
def find(user_id: str, email: str, anonymous_id: str, other: str, file: Path, as_json: bool) -> None:
    """Search every topic and Redis for an identifier, and tell until when what is found stays.

    Reads everything that Kafka holds of this cluster: minutes where that is much.
    """
    needs_extra()
    from opportune.engine.erasing import named
    from opportune.streams.config import load_config
    from opportune.streams.leftovers import leftovers
    from opportune.streams.serving_copy import ServingCopy

    config = load_config(file)
    copy = ServingCopy(config)
    copy.wait(10)
    found = leftovers(config, copy, [named(identifier_of(user_id, email, anonymous_id, other))])
    if as_json:
        print_json({"places": [to_builtins(place) for place in found]})
        return
    rows = [
        (
            place.where,
            place.read,
            place.found,
            when(place.newest) if place.newest else "",
            "" if not place.found else "somebody deletes it" if place.until is None else when(place.until),
        )
        for place in found
    ]
    print_table(("where", "searched", "found", "newest", "until, at the latest"), rows)
