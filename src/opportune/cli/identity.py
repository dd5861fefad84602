"""``opportune identity``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table, when
from opportune.cli.target import open_target
from opportune.identity.corrections import Action


@click.group("identity")
def command() -> None:
    """Join people and take them apart by hand, and decide what waits for review."""


def _pair(function: Any) -> Any:
    for option in (
        options.as_json,
        options.target,
        click.option("--why", default="", help="A sentence for the record."),
        click.argument("other", metavar="TYPE:VALUE"),
        click.argument("one", metavar="TYPE:VALUE"),
    ):
        function = option(function)
    return function


@command.command(
    "merge",
    cls=Examples,
    examples="""
    opportune identity merge user_id:u1 email:ada@example.org --data-dir data --why 'asked by phone'
    opportune identity merge user_id:u1 anonymous_id:a1 --to http://127.0.0.1:8080 --key SECRET
    """,
)
@_pair
def merge(one: str, other: str, why: str, as_json: bool, **target: Any) -> None:
    """Join two identifiers into one person. A guard may hold the link back for review."""
    _relink(one, other, "merge", why, as_json, **target)


@command.command(
    "unmerge",
    cls=Examples,
    examples="opportune identity unmerge user_id:u1 anonymous_id:a1 --data-dir data",
)
@_pair
def unmerge(one: str, other: str, why: str, as_json: bool, **target: Any) -> None:
    """Take two identifiers apart, whatever events say later. Also rejects a link that waits for review."""
    _relink(one, other, "unmerge", why, as_json, **target)


@command.command(
    "accept",
    cls=Examples,
    examples="opportune identity accept user_id:u1 user_id:old --data-dir data --why 'one person'",
)
@_pair
def accept(one: str, other: str, why: str, as_json: bool, **target: Any) -> None:
    """Join two identifiers although a guard refuses: two logins of one person, for example."""
    _relink(one, other, "confirm", why, as_json, **target)


@command.command(
    "reviews", cls=Examples, examples="opportune identity reviews --data-dir data --workspace workspace"
)
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 1_000), help="Links that are shown."
)
@options.target
@options.as_json
def reviews(
    limit: int, data_dir: Path | None, url: str, key: str, workspace: Path | None, as_json: bool
) -> None:
    """List the links that a guard refused, with why; 'accept' or 'unmerge' decides."""
    with open_target(data_dir, url, key, workspace) as target:
        found = target.reviews(limit)
    if as_json:
        print_json(found)
        return
    rows = [
        (r["a"], r["b"], r["reason"], r["rule"], r["count"], r["source"], when(r["noticed"]))
        for r in found["reviews"]
    ]
    print_table(("one", "other", "held back by", "rule", "events", "source", "noticed (UTC)"), rows)


@command.command("corrections", cls=Examples, examples="opportune identity corrections --data-dir data")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 500), help="Corrections that are shown."
)
@options.target
@options.as_json
def corrections(
    limit: int, data_dir: Path | None, url: str, key: str, workspace: Path | None, as_json: bool
) -> None:
    """List what was joined and taken apart by hand, by whom and why."""
    with open_target(data_dir, url, key, workspace) as target:
        found = target.corrections(limit)
    if as_json:
        print_json({"corrections": found})
        return
    rows = [(when(c["time"]), c["action"], c["a"], c["b"], c["who"], c["why"]) for c in found]
    print_table(("when (UTC)", "what", "one", "other", "who", "why"), rows)


def _relink(
    one: str,
    other: str,
    action: Action,
    why: str,
    as_json: bool,
    *,
    data_dir: Path | None,
    url: str,
    key: str,
    workspace: Path | None,
) -> None:
    with open_target(data_dir, url, key, workspace) as target:
        found = target.relink(one, other, action, why)
    if data_dir is not None and not url:
        from opportune.access.audit import AuditLog

        AuditLog(data_dir).note("command line", f"identity.{action}", [one, other], changed=True)
    if as_json:
        print_json(found)
        return
    if found["together"]:
        through = " and ".join(f"{link['a']} with {link['b']}" for link in found["path"])
        click.echo(f"one person, {found['id']}" + (f": {through}" if through else ""))
    else:
        click.echo("two people" + (f": held back by {found['refused']}" if found["refused"] else ""))
