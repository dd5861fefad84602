"""``opportune keys``"""

from __future__ import annotations

import re
from pathlib import Path

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table, when
from opportune.clock import DAY, HOUR, MINUTE, Millis
from opportune.errors import InvalidRequest

ROLES = ["viewer", "analyst", "marketer", "privacy-officer", "administrator"]
WHO = "command line"
_SPAN = re.compile(r"([1-9]\d{0,5})([mhd])")
_UNITS: dict[str, Millis] = {"m": MINUTE, "h": HOUR, "d": DAY}


@click.group("keys", invoke_without_command=True)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar=options.DATA_DIR_VARIABLE,
    show_envvar=True,
    help="The data folder.",
)
@click.option("--secret", "shows_secret", is_flag=True, help="Show the secret key too.")
@options.as_json
@click.pass_context
def command(context: click.Context, data_dir: Path | None, shows_secret: bool, as_json: bool) -> None:
    """Show the keys of a data folder; they are made when there are none.

    The write key is public: it may send events and ask for decisions. The secret key may do everything.
    OPPORTUNE_WRITE_KEY and OPPORTUNE_SECRET_KEY, when set, take their place. 'keys create' makes others, with
    a role or with scopes, that end.
    """
    if context.invoked_subcommand is not None:
        return
    if data_dir is None:
        raise InvalidRequest("which data?", where="--data-dir", remedy="pass --data-dir DIR")
    from opportune.server.auth import load_keys

    keys = load_keys(data_dir)
    found = {"write_key": keys.write}
    if shows_secret:
        found["secret_key"] = keys.secret
    if as_json:
        print_json(found)
        return
    for name, key in found.items():
        click.echo(f"{name.replace('_', ' '):10}  {key}")
    if not shows_secret:
        click.echo("secret key  hidden, show it with --secret")


@command.command(
    "create",
    cls=Examples,
    examples="""
    opportune keys create --data-dir data --role analyst --expires 90d
    opportune keys create --data-dir data --scope write --scope catalogue --name warehouse --expires 365d
    """,
)
@options.data_dir
@click.option("--role", type=click.Choice(ROLES), help="What it may do, by role.")
@click.option("--scope", "scopes", multiple=True, help="Or scope by scope; can be given more than once.")
@click.option("--expires", default="90d", show_default=True, help="When it ends: 30m, 12h, 90d, or never.")
@click.option("--name", default="", help="What it is for.")
@options.as_json
def create(
    data_dir: Path, role: str | None, scopes: tuple[str, ...], expires: str, name: str, as_json: bool
) -> None:
    """Make a key. It is shown this once: only its hash is kept. A running server knows it at once."""
    from opportune.access.audit import AuditLog
    from opportune.access.roster import Roster

    key, text = Roster(data_dir).create_key(name, role=role or "", scopes=scopes, expires_in=_span(expires))
    AuditLog(data_dir).note(WHO, "key.created", changed=True, key=key.id, role=key.role)
    if as_json:
        told = {"id": key.id, "key": text, "role": key.role, "scopes": key.scopes, "expires": key.expires}
        print_json(told)
        return
    click.echo(f"key      {text}")
    click.echo(f"id       {key.id}")
    click.echo(f"may      {', '.join(key.scopes)}")
    click.echo(f"expires  {when(key.expires) + ' UTC' if key.expires else 'never'}")


@command.command("list", cls=Examples, examples="opportune keys list --data-dir data")
@options.data_dir
@options.as_json
def list_keys(data_dir: Path, as_json: bool) -> None:
    """List the keys that were made, newest first, those that ended too; without their secrets."""
    from opportune.access.roster import Roster
    from opportune.clock import system_clock

    now = system_clock()
    keys = Roster(data_dir).list_keys()
    if as_json:
        print_json({"keys": [key.shown(now) for key in keys]})
        return
    rows = [
        (
            key.id,
            key.name,
            key.role or ", ".join(key.scopes),
            key.state(now),
            when(key.created),
            when(key.expires) if key.expires else "never",
        )
        for key in keys
    ]
    print_table(("id", "name", "may", "state", "created (UTC)", "expires (UTC)"), rows)


@command.command("revoke", cls=Examples, examples="opportune keys revoke 3f2a91c0 --data-dir data")
@click.argument("key_id")
@options.data_dir
@options.as_json
def revoke(key_id: str, data_dir: Path, as_json: bool) -> None:
    """Refuse a key from now on, also on a running server."""
    from opportune.access.audit import AuditLog
    from opportune.access.roster import Roster
    from opportune.clock import system_clock

    key = Roster(data_dir).revoke_key(key_id)
    AuditLog(data_dir).note(WHO, "key.revoked", changed=True, key=key.id)
    if as_json:
        print_json(key.shown(system_clock()))
        return
    click.echo(f"revoked {key.id}")


def _span(text: str) -> Millis:
    """``90d`` as milliseconds; ``never`` as 0."""
    if text == "never":
        return 0
    found = _SPAN.fullmatch(text)
    if found is None:
        raise InvalidRequest("no such span of time", seen=text, where="--expires", remedy="30m, 12h or 90d")
    return int(found[1]) * _UNITS[found[2]]
