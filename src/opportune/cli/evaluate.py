"""``opportune evaluate``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table
from opportune.cli.training import model_option, progress_bars, rankers_of, versions_of


@click.command(
    "evaluate",
    cls=Examples,
    examples="""
    opportune evaluate r20261122-1 r20261122-2 --data-dir data
    opportune evaluate r20261122-1 --data-dir data --share 0.02 --json
    opportune evaluate b20261122-1 --model buy --data-dir data
    """,
)
@click.argument("versions", nargs=-1, required=True)
@options.data_dir
@model_option
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
    kind: str,
    workspace: Path | None,
    name: str,
    share: float,
    seed: int,
    as_json: bool,
) -> None:
    """Ask model versions the same cases: the last sessions of the journal, with candidates from before them.

    A candidate source is asked about the same sessions by itself; 'buy' and 'churn' about people as they were
    a horizon ago, 'clv' about the orders of the last quarter. What a version learnt from flatters it; its
    training window says what that is.
    """
    from opportune.engine.history import read_history
    from opportune.engine.pasts import pasts_of
    from opportune.engine.rankers import item_table
    from opportune.engine.training import stage_of, teachers_of
    from opportune.engine.workspace import load_workspace
    from opportune.learn.training import evaluate
    from opportune.stores.disk import RealDisk

    if kind != "ranker":
        _evaluate_other(data_dir, kind, versions, workspace, share, seed, as_json)
        return
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
            pasts=pasts_of(RealDisk(data_dir, read_only=True), definitions, history.catalog),
            progress=bars,
        )
    if as_json:
        print_json(told)
        return
    _print_ranks(told)


def _evaluate_other(
    data_dir: Path,
    kind: str,
    names: tuple[str, ...],
    workspace: Path | None,
    share: float,
    seed: int,
    as_json: bool,
) -> None:
    from opportune.engine.model_evaluation import evaluate_models
    from opportune.engine.workspace import load_workspace
    from opportune.stores.disk import RealDisk

    told = evaluate_models(
        versions_of(data_dir, kind),
        names,
        RealDisk(data_dir, read_only=True),
        load_workspace(workspace),
        share,
        seed,
    )
    if as_json:
        print_json(told)
    elif kind in ("factors", "microsegments", "sequence"):
        _print_ranks(told)
    else:
        columns = [name for name in next(iter(told.values())) if name != "bins"]
        print_table(
            ("version", *(name.replace("_", " ") for name in columns)),
            [(which, *(one.get(name) for name in columns)) for which, one in told.items()],
        )


def _print_ranks(told: dict[str, dict[str, Any]]) -> None:
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
