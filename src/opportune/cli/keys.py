"""``opportune keys``"""

from __future__ import annotations

from pathlib import Path

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json


@click.command(
    "keys",
    cls=Examples,
    examples="""
    opportune keys --data-dir data
    opportune keys --data-dir data --secret
    """,
)
@options.data_dir
@click.option("--secret", "shows_secret", is_flag=True, help="Show the secret key too.")
@options.as_json
def command(data_dir: Path, shows_secret: bool, as_json: bool) -> None:
    """Show the keys of a data folder; they are made when there are none.

    The write key is public: it may send events and ask for decisions. The secret key may do everything.
    OPPORTUNE_WRITE_KEY and OPPORTUNE_SECRET_KEY, when set, take their place.
    """
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
