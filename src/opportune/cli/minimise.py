"""``opportune privacy minimise``"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

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
    from opportune.engine.alike import CONTACTS
    from opportune.engine.minimising import live_inputs, minimisation
    from opportune.engine.workspace import load_workspace
    from opportune.identity.matching.model import MatchModel
    from opportune.stores.likely import MODEL, LikelyStore

    rankers_of(data_dir)  # says what is wrong when there is no such folder
    matching = LikelyStore(data_dir).read(MODEL, MatchModel)
    matched = [] if matching is None else [c.column.name for c in matching.columns]
    found = minimisation(
        load_workspace(workspace),
        live_inputs(data_dir, workspace),
        [name for name in matched if name not in CONTACTS],
    )
    if as_json:
        models = [{**msgspec.to_builtins(one), "unused": one.unused} for one in found.models]
        print_json({"declared": found.declared, "models": models, "unread": len(found.unread)})
        return
    print_table(
        ("", "name", "read by", "but not"),
        [
            (one.kind, one.name, ", ".join(one.read_by) or "nothing", ", ".join(one.unread))
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
    click.echo(f"{len(found.unread)} of {len(found.declared)} are read by nothing that the engine does")
