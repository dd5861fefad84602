"""``opportune cluster``"""

from __future__ import annotations

from pathlib import Path

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.cluster_roles import needs_extra
from opportune.cli.output import print_json, print_table


@click.group("cluster")
def command() -> None:
    """Look after a cluster on Kafka and Redis."""


_file = click.option(
    "--cluster",
    "file",
    required=True,
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="The file that says where Kafka and Redis are.",
)


@command.command("lag", cls=Examples, examples="opportune cluster lag --cluster cluster.yaml --json")
@_file
@options.as_json
def show_lag(file: Path, as_json: bool) -> None:
    """Tell how many messages the workers are behind."""
    needs_extra()
    from opportune.streams.config import load_config
    from opportune.streams.lag import lag
    from opportune.streams.topics import ensure

    config = load_config(file)
    found = lag(config, ensure(config, wait_s=10))
    if as_json:
        print_json({"lag": found})
        return
    print_table(("role", "messages behind"), list(found.items()))


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
