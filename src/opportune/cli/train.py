"""``opportune train``"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json
from opportune.cli.retraining import retrain_forever, train_command
from opportune.cli.training import (
    model_option,
    print_metrics,
    print_versions,
    progress_bars,
    rankers_of,
    seconds_of,
    versions_of,
)
from opportune.clock import DAY, system_clock

if TYPE_CHECKING:
    from opportune.clock import Millis
    from opportune.engine.versions import Versions
    from opportune.engine.workspace import Workspace
    from opportune.learn.bundle import ModelInfo
    from opportune.stores.disk import Disk
    from opportune.warehouse.uplift_training import UpliftTraining


@click.command(
    "train",
    cls=Examples,
    examples="""
    opportune train --data-dir data
    opportune train --data-dir data --placement pdp_similar --trees 60 --report report.html
    opportune train --data-dir data --promote --json
    opportune train --data-dir data --workspace workspace --model uplift --experiment mails --metric revenue
    """,
)
@options.data_dir
@model_option
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
@click.option(
    "--horizon-days",
    type=click.FloatRange(0.01, 3650),
    help="How far 'buy' (7) and 'churn' (30) look ahead.",
)
@click.option("--experiment", default="", help="What 'uplift' is learnt from.")
@click.option("--arm", default="", help="The treatment, where the experiment has several.")
@click.option("--metric", default="", help="What 'uplift' is of; the experiment's first if not given.")
@click.option(
    "--worthwhile", default=0.0, show_default=True, help="The effect, in the metric's unit, that pays for it."
)
@click.option(
    "--dimensions", default=64, show_default=True, type=click.IntRange(2, 512), help="Of item vectors."
)
@click.option(
    "--segments", default=64, show_default=True, type=click.IntRange(2, 4096), help="Of 'microsegments'."
)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1), help="For growing trees.")
@click.option("--seed", default=1, show_default=True, help="The same seed trains the same model.")
@click.option(
    "--from",
    "learnt_from",
    type=click.Choice(["sessions", "impressions"]),
    default="sessions",
    show_default=True,
    help="What a ranker learns the order from: what sessions went on to, or what was clicked in the lists "
    "that people were shown, with the bias of their places taken out.",
)
@click.option("--outcomes", is_flag=True, help="Also learn the chances that objectives weigh.")
@click.option(
    "--sequence/--no-sequence",
    default=None,
    help="Let a sequence model's opinion be a feature: one that is trained on what is before the ranker's "
    "cases and belongs to the version. [default: where one is live and JAX is installed]",
)
@click.option("--ablation", is_flag=True, help="Also say what each group of features adds; takes longer.")
@click.option(
    "--if-drift",
    "drift",
    type=click.FloatRange(0.0),
    help="Only when the newest sessions have moved that far from the live ranker's training (population "
    "stability index; 0.1 is little, 0.25 is much).",
)
@click.option(
    "--schedule", default="", help="Train so often (12h, 1d) until interrupted, in a process of its own."
)
@click.option(
    "--promote",
    is_flag=True,
    help="Make it live when it beats the live one, or none, by more than chance.",
)
@click.option(
    "--report", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with plots."
)
@options.as_json
def command(
    data_dir: Path,
    kind: str,
    workspace: Path | None,
    name: str,
    trees: int,
    leaves: int,
    cases: int,
    horizon_days: float | None,
    experiment: str,
    arm: str,
    metric: str,
    worthwhile: float,
    dimensions: int,
    segments: int,
    threads: int,
    seed: int,
    learnt_from: str,
    outcomes: bool,
    sequence: bool | None,
    ablation: bool,
    drift: float | None,
    schedule: str,
    promote: bool,
    page: Path | None,
    as_json: bool,
) -> None:
    """Train a model from the journal of a data folder, also while a server has it open.

    A ranker orders candidates; 'factors', 'microsegments' and 'sequence' are candidate sources; 'buy',
    'churn', 'clv' and 'uplift' are scores of people (scores.yaml). The new version is a candidate; 'opportune
    promote' makes it live. Needs the `learn` extra; 'sequence' needs the `sequence` extra as well, 'uplift'
    the `warehouse` extra.
    """
    from opportune.engine.history import read_history, read_trainable
    from opportune.engine.pasts import pasts_of
    from opportune.engine.retraining import beats, drift_of
    from opportune.engine.returning import sessions_of_known
    from opportune.engine.training import train_bundle
    from opportune.engine.versions import new_version
    from opportune.engine.workspace import load_workspace
    from opportune.learn.ranker_training import RankerConfig
    from opportune.learn.report import report_page
    from opportune.learn.training import Slices
    from opportune.recommend.rank_features import FEATURES
    from opportune.stores.disk import RealDisk

    if schedule:
        again = train_command(data_dir, workspace, name, drift, promote=promote, kind=kind)
        if kind == "uplift":
            again += ["--experiment", experiment, "--arm", arm, "--metric", metric]
            again += ["--worthwhile", str(worthwhile), "--seed", str(seed)]
        _repeat(again, schedule)
        return
    if kind == "uplift":
        from opportune.warehouse.uplift_training import UpliftTraining

        trial = UpliftTraining(experiment, metric, arm, worthwhile, seed, threads)
        _train_other(data_dir, kind, workspace, partial(_train_uplift, config=trial), promote, as_json)
        return
    if kind != "ranker":
        from opportune.engine.model_training import Training, train_model

        ahead = round((horizon_days or 0.0) * DAY)
        knobs = Training(seed=seed, horizon=ahead, dimensions=dimensions, segments=segments)
        _train_other(data_dir, kind, workspace, partial(train_model, config=knobs), promote, as_json)
        return
    rankers = rankers_of(data_dir)
    definitions = load_workspace(workspace)
    placement = definitions.placements.get(name)
    history = read_history(RealDisk(data_dir, read_only=True), definitions)
    pasts = pasts_of(RealDisk(data_dir, read_only=True), definitions, history.catalog)
    now = system_clock()
    registry = rankers.registry()
    live = None if registry.live is None else rankers.load(registry.live)
    if live is not None and live.info.features != list(FEATURES):
        live = None  # it serves nobody any more, and cannot be asked: its features are another version's
    if drift is not None and live is not None and live.info.baselines:
        moved = drift_of(history, placement, live, pasts)
        if moved["index"] <= drift:
            if as_json:
                print_json({"version": None, "drift": moved})
            else:
                click.echo(f"not trained: the drift of {live.info.version} is {moved['index']}")
            return
    shown = None
    if learnt_from == "impressions":
        from opportune.engine.shown import shown_lists

        logged = read_trainable(RealDisk(data_dir, read_only=True), definitions)
        shown = shown_lists(logged, history.catalog, name)
    with progress_bars(as_json) as bars:
        bundle = train_bundle(
            history,
            definitions,
            placement,
            new_version(registry, now),
            now,
            config=RankerConfig(trees=trees, leaves=leaves, seed=seed),
            slices=Slices(most_cases=cases),
            shown=shown,
            outcomes=outcomes,
            ablation=ablation,
            rival=live if promote else None,
            known=partial(
                sessions_of_known, RealDisk(data_dir, read_only=True), definitions, history.catalog
            ),
            pasts=pasts,
            sequence=_sequence_is_live(data_dir) if sequence is None else sequence,
            threads=threads,
            trained_from=registry.live or "",
            progress=bars,
        )
    info = bundle.info
    rankers.add(bundle, now, f"trained for {name}")
    better, why = beats(info)
    if promote and better:
        rankers.record(rankers.registry().promote(info.version, now, "live", why))
    state = rankers.registry().state_of(info.version)
    if page is not None:
        page.write_text(report_page(info, state), encoding="utf-8")
    if as_json:
        print_json({"version": info.version, "state": state, "bundle": info})
        return
    print_metrics([(info, state)])
    if promote:
        click.echo(why)
    click.echo(f"{info.version}: {state}, {info.trees} trees from {info.cases:,} cases in {info.seconds} s")


def _sequence_is_live(data_dir: Path) -> bool:
    from opportune.learn.bundle import SEQUENCE

    return versions_of(data_dir, SEQUENCE).registry().live is not None and find_spec("jax") is not None


def _repeat(command: list[str], schedule: str) -> None:
    """Until Ctrl-C."""
    import asyncio

    asyncio.run(retrain_forever(command, seconds_of(schedule, "--schedule")))


def _train_uplift(
    versions: Versions, disk: Disk, workspace: Workspace, now: Millis, config: UpliftTraining
) -> ModelInfo:
    from opportune.engine.history import read_state, read_trainable
    from opportune.warehouse.trials import Past
    from opportune.warehouse.uplift_training import train_uplift_version

    who = read_state(disk, workspace)[0].components.members
    past = Past(partial(read_trainable, disk, workspace), who)
    return train_uplift_version(versions, past, workspace, now, config)


def _train_other(
    data_dir: Path,
    kind: str,
    workspace: Path | None,
    train: Callable[[Versions, Disk, Workspace, Millis], ModelInfo],
    promote: bool,
    as_json: bool,
) -> None:
    from opportune.engine.model_training import pays
    from opportune.engine.workspace import load_workspace
    from opportune.stores.disk import RealDisk

    versions = versions_of(data_dir, kind)
    now = system_clock()
    info = train(versions, RealDisk(data_dir, read_only=True), load_workspace(workspace), now)
    if promote and pays(info):
        moves = versions.registry().promote(info.version, now, "live", "better than nothing on later data")
        versions.record(moves)
    state = versions.registry().state_of(info.version)
    if as_json:
        print_json({"version": info.version, "state": state, "bundle": info})
        return
    print_versions([(info, state)])
