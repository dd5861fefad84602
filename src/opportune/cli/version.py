"""``opportune version``"""

from __future__ import annotations

import platform
from importlib import metadata

import click

from opportune.cli.app import Examples
from opportune.cli.options import as_json
from opportune.cli.output import print_json

SHOWN = ("msgspec", "numpy", "numba", "uvicorn", "uvloop")


@click.command("version", cls=Examples, examples="opportune version --json")
@as_json
def command(as_json: bool) -> None:
    """Print the versions that a bug report needs."""
    found = {"opportune": metadata.version("opportune"), "python": platform.python_version()}
    found |= {name: metadata.version(name) for name in SHOWN}
    found["platform"] = platform.platform()
    if as_json:
        print_json(found)
        return
    for name, version in found.items():
        click.echo(f"{name:10} {version}")
