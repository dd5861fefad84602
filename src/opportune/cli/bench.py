"""``opportune bench``"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from opportune.cli.app import Examples
from opportune.errors import NotFound

BENCHMARKS = ("speed.serving", "quality.sessions")


@click.command(
    "bench",
    cls=Examples,
    examples="""
    opportune bench
    opportune bench speed.serving --json
    opportune bench quality.sessions FOLDER --json
    """,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("name", default=BENCHMARKS[0], metavar="[NAME]")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(name: str, arguments: tuple[str, ...]) -> None:
    """Run a benchmark of the checkout; speed.serving, the open-loop load test, by default."""
    if name.startswith("-"):
        name, arguments = BENCHMARKS[0], (name, *arguments)
    if name not in BENCHMARKS:
        raise click.UsageError(f"no benchmark {name}, there are {', '.join(BENCHMARKS)}")
    root = checkout()
    if root is None:
        raise NotFound(
            "the benchmarks are in the source checkout, not in the package",
            remedy="clone the repository and run 'make bench' there",
        )
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], cwd=root, check=False)
    raise click.exceptions.Exit(done.returncode)


def checkout() -> Path | None:
    """The source checkout that this package runs from, or the current folder, if it holds the benchmarks."""
    for root in (Path(__file__).resolve().parents[3], Path.cwd()):
        if (root / "benchmarks" / "speed").is_dir():
            return root
    return None
