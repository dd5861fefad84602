"""``opportune users``"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.keys import ROLES, WHO
from opportune.cli.output import print_json, print_table, when


@click.group("users")
def command() -> None:
    """Say who may sign in to the console by name and password, and in which role."""


@command.command(
    "add",
    cls=Examples,
    examples="""
    opportune users add ada --data-dir data --role analyst
    opportune users add grace --data-dir data --role privacy-officer < password.txt
    """,
)
@click.argument("name")
@options.data_dir
@click.option("--role", type=click.Choice(ROLES), required=True, help="What they may do.")
@options.as_json
def add(name: str, data_dir: Path, role: str, as_json: bool) -> None:
    """Add somebody, or give them another role and password; the sessions they have end.

    The password is asked for, or read from the standard input. Only its Argon2id hash is kept.
    """
    from opportune.access.audit import AuditLog
    from opportune.access.roster import Roster

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    user = Roster(data_dir).set_user(name, role, password)
    AuditLog(data_dir).note(WHO, "user.set", [f"user:{name}"], changed=True, role=user.role)
    if as_json:
        print_json(user.shown())
        return
    click.echo(f"{user.name} may sign in as {user.role}")


@command.command("list", cls=Examples, examples="opportune users list --data-dir data")
@options.data_dir
@options.as_json
def list_users(data_dir: Path, as_json: bool) -> None:
    """List who may sign in by name."""
    from opportune.access.roster import Roster

    users = Roster(data_dir).list_users()
    if as_json:
        print_json({"users": [user.shown() for user in users]})
        return
    print_table(
        ("name", "role", "since (UTC)", "changed (UTC)"),
        [(user.name, user.role, when(user.created), when(user.changed)) for user in users],
    )


@command.command("remove", cls=Examples, examples="opportune users remove ada --data-dir data")
@click.argument("name")
@options.data_dir
@options.as_json
def remove(name: str, data_dir: Path, as_json: bool) -> None:
    """Let somebody sign in no more; the sessions they have end."""
    from opportune.access.audit import AuditLog
    from opportune.access.roster import Roster

    Roster(data_dir).remove_user(name)
    AuditLog(data_dir).note(WHO, "user.removed", [f"user:{name}"], changed=True)
    if as_json:
        print_json({"removed": name})
        return
    click.echo(f"removed {name}")
