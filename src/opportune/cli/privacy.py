"""``opportune privacy``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.minimise import minimise
from opportune.cli.output import print_json, when
from opportune.cli.rights import COMMANDS
from opportune.cli.subject import identifier_of, subject
from opportune.cli.target import open_target
from opportune.cli.who import who
from opportune.errors import InvalidRequest


@click.group("privacy")
def command() -> None:
    """Rights of people: erase them and prove it, show what is known, put it right, restrict what is done."""


@command.command(
    "erase",
    cls=Examples,
    examples="""
    opportune privacy erase --user-id u1 --data-dir data --receipt u1.json
    opportune privacy erase --email ada@example.org --suppress --to http://127.0.0.1:8080 --key SECRET
    """,
)
@subject
@click.option("--suppress", is_flag=True, help="Take in nothing of this person ever again.")
@click.option(
    "--receipt", type=click.Path(dir_okay=False, path_type=Path), help="Write the receipt there too."
)
@options.target
@options.as_json
def erase(
    user_id: str,
    email: str,
    anonymous_id: str,
    other: str,
    suppress: bool,
    receipt: Path | None,
    data_dir: Path | None,
    url: str,
    key: str,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Take a person out of everything, by any of their identifiers, and search every file afterwards.

    Ends with a signed receipt, which names nobody. Fails when the search found something.
    """
    identifier = identifier_of(user_id, email, anonymous_id, other)
    with open_target(data_dir, url, key, workspace) as target:
        found = target.erase([identifier], suppress=suppress)
    if receipt is not None:
        import msgspec

        receipt.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    if as_json:
        print_json(found)
    else:
        _tell(found)
    scan = found["scan"]
    if scan and scan["found"]:
        raise InvalidRequest(
            f"{scan['found']} places still hold an identifier",
            seen=[f"{place['file']} at {place['offset']}" for place in scan["findings"][:5]],
            remedy="files that other programs put into the data folder are theirs to clean: then erase again",
        )


def _tell(found: dict[str, Any]) -> None:
    removed, scan = found["removed"], found["scan"]
    click.echo(
        f"erased: {removed['identifiers']} identifiers, {removed['leaves']} leaves, {removed['links']} ends "
        f"of links, {removed['entries']} journal entries ({removed['keys']} keys destroyed), "
        f"{removed['dead_letters']} dead letters, {removed['derived_rows']} derived rows"
    )
    if scan:
        click.echo(
            f"searched: {scan['files']} files, {scan['bytes']:,} bytes, {scan['patterns']} byte patterns, "
            f"{scan['found']} found, {scan['seconds']} s"
        )
    click.echo(f"receipt {found['id']}, signed by {found['public_key'][:16]}...")


@command.command(
    "export",
    cls=Examples,
    examples="""
    opportune privacy export --user-id u1 --data-dir data > u1.json
    opportune privacy export --email ada@example.org --to http://127.0.0.1:8080 --key SECRET
    """,
)
@subject
@options.target
@click.option("--json", "as_json", is_flag=True, help="Taken for granted: what is printed is JSON.")
def export(
    user_id: str,
    email: str,
    anonymous_id: str,
    other: str,
    data_dir: Path | None,
    url: str,
    key: str,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Print everything that is held about a person, as JSON: profile with evidence, events, decisions."""
    identifier = identifier_of(user_id, email, anonymous_id, other)
    with open_target(data_dir, url, key, workspace) as target:
        print_json(target.holdings(identifier))


@command.command(
    "verify",
    cls=Examples,
    examples="""
    opportune privacy verify u1.json --data-dir data
    opportune privacy verify u1.json --data-dir data --user-id u1
    """,
)
@click.argument("receipt", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@subject
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="The folder whose receipt it is."
)
@options.as_json
def verify(
    receipt: Path,
    user_id: str,
    email: str,
    anonymous_id: str,
    other: str,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Check a receipt: its signature, the vault that made it, and with an identifier also that this person is
    meant and that no file has them now."""
    from opportune.engine.proof import check

    identifier = (
        identifier_of(user_id, email, anonymous_id, other)
        if any((user_id, email, anonymous_id, other))
        else ""
    )
    found = check(receipt.read_bytes(), data_dir, identifier)
    if as_json:
        print_json(found)
        return
    click.echo(f"genuine: signed by {found['public_key'][:16]}..., erased {when(found['at'])} UTC")
    if "searched" in found:
        scan = found["searched"]
        click.echo(f"this person is meant; {scan['files']} files searched now, {scan['found']} places found")


@command.command(
    "counts",
    cls=Examples,
    examples="""
    opportune privacy counts --data-dir data --workspace workspace
    opportune privacy counts --to http://127.0.0.1:8080 --key SECRET --json
    """,
)
@options.target
@options.as_json
def counts(data_dir: Path | None, url: str, key: str, workspace: Path | None, as_json: bool) -> None:
    """Show how often people who refuse did what, counted with differential privacy.

    On a data folder, days that are over are published first; a running server does that by itself.
    """
    with open_target(data_dir, url, key, workspace) as target:
        found = target.anonymous()
    if as_json:
        print_json(found)
        return
    if not found["on"]:
        click.echo("nothing is counted: name events in privacy.yaml, anonymous: {events: [product_viewed]}")
        return
    for day in found["days"]:
        told = day["problem"] or ", ".join(
            f"{name} {max(0, n):,} +-{day['half_width']:.0f}" for name, n in day["counts"].items()
        )
        click.echo(f"{when(day['day'])[:10]}  {told}")
    click.echo(
        f"epsilon {found['epsilon']:g} a day; {found['spent']:g} of {found['budget']:g} spent within "
        f"{found['budget_days']} days"
    )


@command.command(
    "link",
    cls=Examples,
    examples="""
    opportune privacy link --user-id u1 --data-dir data
    opportune privacy link --user-id u1 --to http://127.0.0.1:8080 --key SECRET --days 30
    """,
)
@subject
@click.option("--days", default=7, show_default=True, help="How long the link is good.")
@options.target
@options.as_json
def link(
    user_id: str,
    email: str,
    anonymous_id: str,
    other: str,
    days: int,
    data_dir: Path | None,
    url: str,
    key: str,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Make a link to a person's own page, for them alone: what they allow, their data, delete me."""
    identifier = identifier_of(user_id, email, anonymous_id, other)
    if url:
        from opportune.cli.client import Client

        client = Client(url, key)
        try:
            path = client.post("/v1/privacy/preference-link", {"identifier": identifier, "days": days})[
                "path"
            ]
        finally:
            client.close()
    elif data_dir is not None:
        from opportune.clock import system_clock
        from opportune.server.auth import load_keys
        from opportune.server.preference_links import PreferenceLinks

        path = PreferenceLinks(load_keys(data_dir).secret, system_clock).make(identifier, days)
    else:
        raise InvalidRequest("which data?", where="--data-dir", remedy="pass --data-dir DIR, or --to URL")
    if as_json:
        print_json({"path": path, "days": days})
    else:
        click.echo(f"{url.rstrip('/')}{path}")


for one in (*COMMANDS, minimise, who):
    command.add_command(one)
