"""``opportune train``"""

from __future__ import annotations

from pathlib import Path

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json
from opportune.cli.training import print_metrics, progress_bars, rankers_of
from opportune.clock import system_clock


@click.command(
    "train",
    cls=Examples,
    examples="""
    opportune train --data-dir data
    opportune train --data-dir data --placement pdp_similar --trees 60 --report report.html
    opportune train --data-dir data --promote --json
    """,
)
@options.data_dir
@options.workspace
@click.option(
    "--placement",
    "name",
    default="home_recs",
    show_default=True,
    help="Whose candidate sources the ranker learns to rank.",
)
@click.option("--trees", default=100, show_default=True, type=click.IntRange(1, 2000), help="At most.")
@click.option(
    "--leaves", default=31, show_default=True, type=click.IntRange(2, 64), help="Of a tree, at most."
)
@click.option(
    "--cases", default=40_000, show_default=True, type=click.IntRange(1), help="Learnt from, at most."
)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1), help="For growing trees.")
@click.option("--seed", default=1, show_default=True, help="The same seed trains the same model.")
@click.option(
    "--promote", is_flag=True, help="Make the version live when it beats the blend on held-out cases."
)
@click.option(
    "--report", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with plots."
)
@options.as_json
def command(
    data_dir: Path,
    workspace: Path | None,
    name: str,
    trees: int,
    leaves: int,
    cases: int,
    threads: int,
    seed: int,
    promote: bool,
    page: Path | None,
    as_json: bool,
) -> None:
    """Train a ranker from the journal of a data folder, also while a server has it open.

    The new version is a candidate; 'opportune promote' makes it live. Needs the `learn` extra.
    """
    from opportune.engine.history import read_history
    from opportune.engine.rankers import new_version
    from opportune.engine.training import train_bundle
    from opportune.engine.workspace import load_workspace
    from opportune.learn.ranker_training import RankerConfig
    from opportune.learn.report import report_page
    from opportune.learn.training import Slices
    from opportune.stores.disk import RealDisk

    rankers = rankers_of(data_dir)
    definitions = load_workspace(workspace)
    placement = definitions.placements.get(name)
    history = read_history(RealDisk(data_dir, read_only=True), definitions)
    now = system_clock()
    registry = rankers.registry()
    with progress_bars(as_json) as bars:
        bundle = train_bundle(
            history,
            definitions,
            placement,
            new_version(registry, now),
            now,
            config=RankerConfig(trees=trees, leaves=leaves, seed=seed),
            slices=Slices(most_cases=cases),
            threads=threads,
            trained_from=registry.live or "",
            progress=bars,
        )
    info = bundle.info
    rankers.add(bundle, now, f"trained for {name}")
    if promote and info.metrics["ranked"]["mrr20"] > info.metrics["stage"]["mrr20"]:
        registry = rankers.registry()
        rankers.record(registry.promote(info.version, now, "live", "better than the blend on held-out cases"))
    state = rankers.registry().state_of(info.version)
    if page is not None:
        page.write_text(report_page(info, state), encoding="utf-8")
    if as_json:
        print_json({"version": info.version, "state": state, "bundle": info})
        return
    print_metrics([(info, state)])
    click.echo(f"{info.version}: {state}, {info.trees} trees from {info.cases:,} cases in {info.seconds} s")
