"""``opportune dead-letters``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table, when
from opportune.cli.target import open_target
from opportune.errors import InvalidRequest


@click.group("dead-letters")
def command() -> None:
    """List, replay or discard events that could not be stored."""


@command.command(
    "list",
    cls=Examples,
    examples="""
    opportune dead-letters list --data-dir data
    opportune dead-letters list --to http://127.0.0.1:8080 --key SECRET --code bad_time --json
    """,
)
@options.target
@click.option("--code", default="", help="Only this reason code.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="Letters a page.")
@click.option("--cursor", default="", help="The next page, as the page before said.")
@options.as_json
def list_letters(
    data_dir: Path | None,
    url: str,
    key: str,
    workspace: Path | None,
    code: str,
    limit: int,
    cursor: str,
    as_json: bool,
) -> None:
    """List the open dead letters, newest first."""
    with open_target(data_dir, url, key, workspace) as target:
        page = target.dead_letters(cursor, limit, code)
    if as_json:
        print_json(page)
        return
    columns = ("id", "received", "source", "code", "reason", "where")
    rows = [[letter[name] for name in columns] for letter in page["letters"]]
    if not rows:
        click.echo("no open dead letters")
        return
    for row in rows:
        row[1] = when(row[1])
    print_table(("id", "received (UTC)", *columns[2:]), rows)
    if page["cursor"]["has_more"]:
        click.echo(f"more with --cursor {page['cursor']['next']}")


@command.command(
    "replay",
    cls=Examples,
    examples="""
    opportune dead-letters replay 5f2b0c --data-dir data
    opportune dead-letters replay 5f2b0c --fixed event.json --to http://127.0.0.1:8080 --key SECRET
    """,
)
@click.argument("letter_id")
@click.option(
    "--fixed", type=click.File("rb"), help="The event as it should have been, as JSON; - for stdin."
)
@options.target
@options.as_json
def replay(
    letter_id: str,
    fixed: Any,
    data_dir: Path | None,
    url: str,
    key: str,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Try a dead letter again, as it came or as fixed."""
    raw = fixed.read() if fixed else None
    with open_target(data_dir, url, key, workspace) as target:
        verdicts = target.replay(letter_id, raw)
    verdict = verdicts[0] if verdicts else {}
    if as_json:
        print_json(verdict)
    outcome = verdict.get("verdict", verdict.get("status", ""))
    if outcome == "rejected":
        raise InvalidRequest(
            verdict.get("reason", "refused again"),
            where=verdict.get("where", ""),
            remedy="fix it and replay with --fixed FILE",
        )
    if not as_json:
        click.echo(f"{letter_id} {outcome}")


@command.command("discard", cls=Examples, examples="opportune dead-letters discard 5f2b0c --data-dir data")
@click.argument("letter_ids", nargs=-1, required=True)
@options.target
@options.as_json
def discard(
    letter_ids: tuple[str, ...],
    data_dir: Path | None,
    url: str,
    key: str,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Close dead letters for good. Their bytes stay in the journal."""
    with open_target(data_dir, url, key, workspace) as target:
        for letter_id in letter_ids:
            target.discard(letter_id)
    if as_json:
        print_json({"discarded": list(letter_ids)})
        return
    for letter_id in letter_ids:
        click.echo(f"{letter_id} discarded")
