"""``opportune cluster definitions``"""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.cluster_roles import needs_extra
from opportune.cli.output import print_json, print_table

if TYPE_CHECKING:
    from opportune.streams.definitions import Revisions

ANSWER_S = 10.0

cluster_file = click.option(
    "--cluster",
    "file",
    required=True,
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="The file that says where Kafka, Redis and PostgreSQL are.",
)
_why = click.option("--why", default="", help="A word for whoever reads the list later.")


@click.group("definitions")
def command() -> None:
    """Keep the definitions of a cluster in PostgreSQL, every revision of them.

    Processes that are started without --workspace take the newest.
    """


@command.command(
    "push",
    cls=Examples,
    examples="""
    opportune cluster definitions push --cluster cluster.yaml --workspace workspace --why "spring campaign"
    """,
)
@cluster_file
@options.workspace
@_why
@options.as_json
def push(file: Path, workspace: Path | None, why: str, as_json: bool) -> None:
    """Make the files of a workspace the newest revision, after checking them."""
    from opportune.engine.workspace import load_workspace
    from opportune.errors import InvalidRequest
    from opportune.streams.definitions import read_folder

    if workspace is None:
        raise InvalidRequest("no workspace was named", where="--workspace", remedy="name its folder")
    load_workspace(workspace)
    with _revisions(file) as revisions:
        number = revisions.push(read_folder(workspace), who=getpass.getuser(), why=why)
    if as_json:
        print_json({"revision": number})
        return
    click.echo(f"revision {number} is the newest; start the processes again, one by one, to use it")


@command.command(
    "list", cls=Examples, examples="opportune cluster definitions list --cluster cluster.yaml --json"
)
@cluster_file
@options.as_json
def show(file: Path, as_json: bool) -> None:
    """List the revisions, the newest first."""
    import msgspec

    with _revisions(file) as revisions:
        found = revisions.listed()
    if as_json:
        print_json({"revisions": msgspec.to_builtins(found)})
        return
    rows = [
        (one.n, datetime.fromtimestamp(one.time / 1000, UTC).isoformat(" ", "seconds"), one.who, one.why)
        for one in found
    ]
    print_table(("revision", "time", "who", "why"), rows)


@command.command(
    "restore", cls=Examples, examples="opportune cluster definitions restore 3 --cluster cluster.yaml"
)
@click.argument("number", type=click.IntRange(1))
@cluster_file
@_why
@options.as_json
def restore(number: int, file: Path, why: str, as_json: bool) -> None:
    """Make an old revision the newest again."""
    with _revisions(file) as revisions:
        told = why or f"restored revision {number}"
        made = revisions.push(revisions.files(number), who=getpass.getuser(), why=told)
    if as_json:
        print_json({"revision": made, "restored": number})
        return
    click.echo(f"revision {made} is revision {number} again; start the processes again, one by one")


@command.command(
    "export",
    cls=Examples,
    examples="opportune cluster definitions export workspace --revision 3 --cluster cluster.yaml",
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--revision", "number", type=click.IntRange(1), help="Instead of the newest.")
@cluster_file
@options.as_json
def export(folder: Path, number: int | None, file: Path, as_json: bool) -> None:
    """Write a revision into a new folder."""
    from opportune.errors import InvalidRequest
    from opportune.streams.definitions import write_folder

    if folder.exists():
        raise InvalidRequest("the folder is there already", seen=str(folder), remedy="name a new one")
    with _revisions(file) as revisions:
        files = revisions.files(number or revisions.newest())
    write_folder(folder, files)
    if as_json:
        print_json({"folder": str(folder), "files": sorted(files)})
        return
    click.echo(f"{len(files)} files in {folder}")


@contextmanager
def _revisions(file: Path) -> Iterator[Revisions]:
    needs_extra("psycopg")
    from opportune.cli.cluster_shared import opened
    from opportune.streams.config import load_config
    from opportune.streams.definitions import Revisions

    postgres = opened(load_config(file))
    try:
        postgres.wait(ANSWER_S)
        yield Revisions(postgres)
    finally:
        postgres.close()
