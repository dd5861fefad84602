"""``opportune privacy minimise``"""

from __future__ import annotations

from pathlib import Path

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table


@click.command(
    "minimise",
    cls=Examples,
    examples="""
    opportune privacy minimise --data-dir data --workspace workspace
    opportune privacy minimise --data-dir data --json
    """,
)
@options.data_dir
@options.workspace
@options.as_json
def minimise(data_dir: Path, workspace: Path | None, as_json: bool) -> None:
    """Show which declared features, scores and traits nothing reads, and what live models do without.

    Read from the definitions and from the models that are live; works while a server has the folder open.
    """
    from opportune.cli.training import rankers_of
    from opportune.engine.minimising import report_of
    from opportune.engine.workspace import load_workspace

    rankers_of(data_dir)  # says what is wrong when there is no such folder
    found = report_of(load_workspace(workspace), data_dir, workspace)
    if as_json:
        print_json(found.told())
        return
    print_table(
        ("", "name", "read by", "but not", "share of gain"),
        [
            (
                one.kind,
                one.name,
                ", ".join(one.read_by) or "nothing",
                ", ".join(one.unread),
                "" if one.gain is None else f"{one.gain:.1%}",
            )
            for one in found.declared
        ],
    )
    for model in found.models:
        click.echo(
            f"{model.model} ({model.version}) is given {len(model.given)} inputs and answers the same "
            f"without {len(model.unused)} of them{': ' if model.unused else ''}{', '.join(model.unused)}"
        )
        if model.no_gain:
            click.echo(f"  on held-out cases these added nothing that is sure: {', '.join(model.no_gain)}")
    if found.no_gain:
        names = ", ".join(one.name for one in found.no_gain)
        click.echo(f"given to live models, and none gains from them: {names}")
    click.echo(f"{len(found.unread)} of {len(found.declared)} are read by nothing that the engine does")
