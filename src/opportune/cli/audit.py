"""``opportune audit``"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table, when

FAILED = 1


@click.group("audit")
def command() -> None:
    """Read and check the log of who looked at personal data and who changed what."""


@command.command(
    "list",
    cls=Examples,
    examples="""
    opportune audit list --data-dir data
    opportune audit list --data-dir data --about user_id:u1 --json
    opportune audit list --data-dir data --did identity.
    """,
)
@options.data_dir
@click.option("--about", default="", metavar="TYPE:VALUE", help="Only entries about this identifier.")
@click.option("--did", default="", help="Only actions that start like this, such as 'identity.'.")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="Entries shown."
)
@options.as_json
def list_entries(data_dir: Path, about: str, did: str, limit: int, as_json: bool) -> None:
    """List the newest entries. People are shown by pseudonym: the log holds no identifiers."""
    from opportune.access.audit import AuditLog

    found = AuditLog(data_dir).newest(limit, about, did)
    if as_json:
        print_json({"entries": msgspec.to_builtins(found)})
        return
    rows = [(one.n, when(one.time), one.who, one.did, " ".join(one.about), _told(one.what)) for one in found]
    print_table(("entry", "when (UTC)", "who", "did", "about", "what"), rows)


@command.command(
    "verify",
    cls=Examples,
    examples="""
    opportune audit verify --data-dir data
    opportune audit verify --data-dir data --expect 5f1c...
    """,
)
@options.data_dir
@click.option("--expect", default="", help="A head that was printed before: it must still be in the chain.")
@options.as_json
@click.pass_context
def verify(context: click.Context, data_dir: Path, expect: str, as_json: bool) -> None:
    """Check that no entry was changed, removed or put in; ends with 1 when one was.

    Cutting off the newest entries can be seen by somebody who kept the head from an earlier check.
    """
    from opportune.access.audit import AuditLog

    log = AuditLog(data_dir)
    found = log.verify()
    problem = found.problem
    if not problem and expect and all(entry.hash != expect for entry in log.entries()):
        problem = "the expected head is not in the chain: entries were cut off"
    if as_json:
        print_json({"holds": not problem, **msgspec.to_builtins(found), "problem": problem})
    elif problem:
        where = f" at entry {found.broken_at:,}" if found.broken_at else ""
        click.echo(f"broken{where}: {problem}; {found.entries:,} entries hold before it")
    else:
        click.echo(f"{found.entries:,} entries hold, head {found.head}")
    context.exit(FAILED if problem else 0)


def _told(what: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(what.items()))
