"""``opportune evaluate``"""

from __future__ import annotations

from pathlib import Path

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table
from opportune.cli.training import progress_bars, rankers_of


@click.command(
    "evaluate",
    cls=Examples,
    examples="""
    opportune evaluate r20261122-1 r20261122-2 --data-dir data
    opportune evaluate r20261122-1 --data-dir data --share 0.02 --json
    """,
)
@click.argument("versions", nargs=-1, required=True)
@options.data_dir
@options.workspace
@click.option(
    "--placement", "name", default="home_recs", show_default=True, help="Whose candidates are ranked."
)
@click.option(
    "--share",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0.001, 0.5),
    help="Last share of sessions.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed draws the same intervals.")
@options.as_json
def command(
    versions: tuple[str, ...],
    data_dir: Path,
    workspace: Path | None,
    name: str,
    share: float,
    seed: int,
    as_json: bool,
) -> None:
    """Ask model versions the same cases: the last sessions of the journal, with candidates from before them.

    Sessions that a version learnt from flatter it; its training window says which those are.
    """
    from opportune.engine.history import read_history
    from opportune.engine.rankers import item_table
    from opportune.engine.training import stage_of, teachers_of
    from opportune.engine.workspace import load_workspace
    from opportune.learn.training import evaluate
    from opportune.stores.disk import RealDisk

    rankers = rankers_of(data_dir)
    definitions = load_workspace(workspace)
    placement = definitions.placements.get(name)
    history = read_history(RealDisk(data_dir, read_only=True), definitions)
    log = history.models.log
    with progress_bars(as_json) as bars:
        told = evaluate(
            stage_of(placement, history, teachers_of(placement, history, seed=seed)),
            log.tail(log.first),
            item_table(history.catalog),
            {version: rankers.load(version) for version in versions},
            share,
            seed,
            progress=bars,
        )
    if as_json:
        print_json(told)
        return
    rows = [
        (
            which,
            one["cases"],
            one["hr20"],
            "-".join(map(str, one["hr20_interval"])),
            one["mrr20"],
            "-".join(map(str, one["mrr20_interval"])),
        )
        for which, one in told.items()
    ]
    print_table(("version", "cases", "HR@20", "95 %", "MRR@20", "95 %"), rows)
