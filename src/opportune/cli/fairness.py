"""``opportune fairness``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table
from opportune.cli.replay import span_of
from opportune.cli.target import open_engine
from opportune.errors import InvalidRequest

if TYPE_CHECKING:
    from opportune.warehouse.fairness import Audit, Shares


@click.command(
    "fairness",
    cls=Examples,
    examples="""
    opportune fairness --by device --experiment home_popular --data-dir data --workspace workspace
    opportune fairness --by segment.loyal --placement home_recs --since 30d --data-dir data --json
    """,
)
@click.option("--by", required=True, help="The groups: a field of the context, or segment.NAME.")
@click.option("--experiment", default="", help="One experiment; without it all that somebody saw.")
@click.option("--placement", default="", help="Only what was decided for this placement.")
@click.option("--since", default="", help="How far back: 12h, 30d; without it, all of it.")
@options.data_dir
@options.workspace
@options.as_json
def command(
    by: str,
    experiment: str,
    placement: str,
    since: str,
    data_dir: Path,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Audit fairness: how often each group got each arm, against the group that got it most."""
    from opportune.warehouse.fairness import FOUR_FIFTHS
    from opportune.warehouse.reports import Reports

    if experiment and placement:
        raise InvalidRequest(
            "an experiment or a placement, not both", where="--placement", remedy="leave one of them out"
        )
    back = span_of(since) if since else None
    with open_engine(data_dir, workspace) as engine:
        reports = Reports.of(engine, data_dir)
        try:
            reports.catch_up()
            earliest = None if back is None else engine.clock() - back
            found = reports.fairness(by, experiment=experiment, placement=placement, since=earliest)
        finally:
            reports.close()
    if as_json:
        print_json({"by": by, "four_fifths": FOUR_FIFTHS, "audits": found})
        return
    for audit in found:
        _print(audit)


def _print(audit: Audit) -> None:
    click.echo(f"{audit.experiment} by {audit.by}, {audit.units:,} units ({audit.unit}): {audit.verdict}")
    for shares in audit.given:
        _table(shares, f"given {shares.of}")
    for shares in audit.outcomes:
        _table(shares, f"outcome {shares.of} (describes: people differ)")
    for text in audit.messages:
        click.echo(text)


def _table(shares: Shares, title: str) -> None:
    rows = [
        (
            g.group,
            g.n,
            f"{g.rate:.1%}",
            f"{g.low:.1%} to {g.high:.1%}",
            "" if g.ratio != g.ratio else f"{g.ratio:.2f}",
            "" if g.ratio_low != g.ratio_low else f"{g.ratio_low:.2f} to {g.ratio_high:.2f}",
            "" if g.q != g.q else f"{g.q:.2g}",
            g.finding,
        )
        for g in shares.groups
    ]
    print_table(
        ("group", "units", "share", "interval", "of the highest", "interval", "p, adjusted", "finding"),
        rows,
        title=title,
    )
