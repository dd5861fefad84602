"""``opportune compare``"""

from __future__ import annotations

from pathlib import Path

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table
from opportune.cli.training import model_option, print_metrics, print_versions, rankers_of, versions_of


@click.command(
    "compare",
    cls=Examples,
    examples="""
    opportune compare --data-dir data
    opportune compare r20261122-1 r20261122-2 --data-dir data --json
    """,
)
@click.argument("versions", nargs=-1)
@options.data_dir
@model_option
@options.as_json
def command(versions: tuple[str, ...], data_dir: Path, kind: str, as_json: bool) -> None:
    """What each model version measured on its held-out cases when it was trained; all of them by default.

    Versions trained on different days were measured on different cases: 'opportune evaluate' asks them the
    same. A version that is or was the shadow has its comparison on real decisions below.
    """
    from opportune.learn.drift import SCORE

    if kind != "ranker":
        others = versions_of(data_dir, kind)
        registry = others.registry()
        found = [(others.model_info(v), registry.state_of(v)) for v in versions or registry.states()]
        if as_json:
            print_json([{"version": info.version, "state": state, "bundle": info} for info, state in found])
        else:
            print_versions(found)
        return
    rankers = rankers_of(data_dir)
    registry = rankers.registry()
    shares = registry.canaries()
    told = []
    for version in versions or registry.states():
        info, state = rankers.info(version), registry.state_of(version)
        beside = rankers.comparison(version)
        shadow = None if beside is None else beside.summary(info.baselines.get(SCORE))
        told.append((info, state, shadow))
    if as_json:
        print_json(
            [
                {
                    "version": info.version,
                    "state": state,
                    "note": registry.note_of(info.version),
                    **({"share": shares[info.version]} if state == "canary" else {}),
                    **({} if shadow is None else {"shadow": shadow}),
                    "bundle": info,
                }
                for info, state, shadow in told
            ]
        )
        return
    if not told:
        click.echo("no model version yet: train one with 'opportune train'")
        return
    print_metrics([(info, state) for info, state, _ in told])
    for info, state, _ in told:
        if note := registry.note_of(info.version):
            click.echo(f"{info.version} is {state}: {note}")
    shadows = [shadow for _, _, shadow in told if shadow is not None]
    if shadows:
        names = (
            "compared",
            "overlap",
            "same_first",
            "rank_correlation",
            "score_drift",
            "shadow_us",
            "live_us",
        )
        print_table(
            ("shadow", "beside", *(name.replace("_", " ") for name in names)),
            [(s["version"], s["against"], *(s[name] for name in names)) for s in shadows],
            title="On real decisions",
        )
