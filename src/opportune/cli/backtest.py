"""``opportune backtest``"""

from __future__ import annotations

from pathlib import Path

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table, when
from opportune.cli.training import progress_bars, rankers_of


@click.command(
    "backtest",
    cls=Examples,
    examples="""
    opportune backtest --data-dir data --windows 5 --report backtest.html
    opportune backtest --data-dir data --placement pdp_similar --share 0.02 --json
    """,
)
@options.data_dir
@options.workspace
@click.option(
    "--placement", "name", default="home_recs", show_default=True, help="Whose candidates are ranked."
)
@click.option("--windows", default=4, show_default=True, type=click.IntRange(2, 50), help="How many.")
@click.option(
    "--share",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0.001, 0.2),
    help="The share of all sessions that a window has.",
)
@click.option("--trees", default=60, show_default=True, type=click.IntRange(1, 2000), help="At most.")
@click.option("--leaves", default=31, show_default=True, type=click.IntRange(2, 64), help="Of a tree.")
@click.option("--cases", default=20_000, show_default=True, type=click.IntRange(1), help="Learnt from.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1), help="For growing trees.")
@click.option("--seed", default=1, show_default=True, help="The same seed draws the same intervals.")
@click.option(
    "--report", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with a plot."
)
@options.as_json
def command(
    data_dir: Path,
    workspace: Path | None,
    name: str,
    windows: int,
    share: float,
    trees: int,
    leaves: int,
    cases: int,
    threads: int,
    seed: int,
    page: Path | None,
    as_json: bool,
) -> None:
    """Train rankers until a time and ask them about what came after, over the last windows of the journal.

    Beside each ranker stands the first window's, which grows older: where it falls behind, retraining pays.
    Nothing is kept. Needs the `learn` extra.
    """
    from opportune.engine.history import read_history
    from opportune.engine.pasts import pasts_of
    from opportune.engine.rankers import item_table
    from opportune.engine.training import stage_of, teachers_of
    from opportune.engine.workspace import load_workspace
    from opportune.learn.backtest import backtest, backtest_page
    from opportune.learn.ranker_training import RankerConfig
    from opportune.learn.training import Slices
    from opportune.stores.disk import RealDisk

    rankers_of(data_dir)
    definitions = load_workspace(workspace)
    placement = definitions.placements.get(name)
    history = read_history(RealDisk(data_dir, read_only=True), definitions)
    log = history.models.log
    with progress_bars(as_json) as bars:
        told = backtest(
            lambda: stage_of(placement, history, teachers_of(placement, history, seed=seed)),
            log.tail(log.first),
            item_table(history.catalog),
            len(history.catalog),
            RankerConfig(trees=trees, leaves=leaves, seed=seed),
            Slices(measure=share, most_cases=cases),
            windows,
            pasts=pasts_of(RealDisk(data_dir, read_only=True), definitions, history.catalog),
            threads=threads,
            progress=bars,
        )
    if page is not None:
        page.write_text(backtest_page(told, name), encoding="utf-8")
    if as_json:
        print_json({"placement": name, "windows": told})
        return
    print_table(
        ("window", "from", "cases", "stage MRR@20", "trained anew", "first window's", "anew over first"),
        [
            (
                one["window"],
                when(one["from"])[:16],
                one["ranked"]["cases"],
                *(one[which]["mrr20"] for which in ("stage", "ranked", "first")),
                "" if one["gain_over_first"] is None else str(one["gain_over_first"]["mrr20"]),
            )
            for one in told
        ],
    )
