"""``opportune experiments``"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json, print_table, when
from opportune.cli.reports import open_reports
from opportune.errors import InvalidRequest


@click.group("experiments")
def command() -> None:
    """List experiments, read their reports, plan and stop them."""


@command.command(
    "list",
    cls=Examples,
    examples="""
    opportune experiments list --data-dir data --workspace workspace
    opportune experiments list --to http://127.0.0.1:8080 --key SECRET --json
    """,
)
@options.target
@options.as_json
def list_experiments(
    data_dir: Path | None, url: str, key: str, workspace: Path | None, as_json: bool
) -> None:
    """List the experiments that are declared, the holdout among them."""
    with open_reports(data_dir, url, key, workspace) as reports:
        found = reports.list()
    if as_json:
        print_json({"experiments": found})
        return
    if not found:
        click.echo("no experiments: declare them in experiments.yaml")
        return
    rows = [
        (e["id"], e["status"], e["unit"], ", ".join(e["placements"]) or "all", _shares(e["arms"]), e["why"])
        for e in found
    ]
    print_table(("id", "status", "unit", "placements", "arms", "why"), rows)


@command.command(
    "show",
    cls=Examples,
    examples="""
    opportune experiments show home_popular --data-dir data --workspace workspace
    """,
)
@click.argument("experiment_id")
@options.target
@options.as_json
def show(
    experiment_id: str, data_dir: Path | None, url: str, key: str, workspace: Path | None, as_json: bool
) -> None:
    """Show one experiment as it is declared and as it stands."""
    with open_reports(data_dir, url, key, workspace) as reports:
        found = next((e for e in reports.list() if e["id"] == experiment_id), None)
    if found is None:
        raise InvalidRequest("no such experiment", seen=experiment_id, remedy="list the experiments")
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        if value not in ("", None, []):
            click.echo(f"{name:12} {when(value) if name == 'since' else value}")


@command.command(
    "report",
    cls=Examples,
    examples="""
    opportune experiments report home_popular --data-dir data --workspace workspace
    opportune experiments report holdout --to http://127.0.0.1:8080 --key SECRET --json
    """,
)
@click.argument("experiment_id")
@options.target
@options.as_json
def report(
    experiment_id: str, data_dir: Path | None, url: str, key: str, workspace: Path | None, as_json: bool
) -> None:
    """Report effects with always-valid intervals, checks, and the decision that they support."""
    with open_reports(data_dir, url, key, workspace) as reports:
        found = reports.report(experiment_id)
    if as_json:
        print_json(found)
        return
    click.echo(f"{found['name']}: {found['verdict'].replace('_', ' ')}, {found['because']}")
    print_table(("arm", "units"), list(found["arms"].items()))
    rows = []
    for metric in found["metrics"]:
        for c in metric["comparisons"]:
            low, high = c["lift_interval"]["low"], c["lift_interval"]["high"]
            title = metric["metric"].get("name") or metric["metric"]["id"]
            rows.append((title, c["arm"], _percent(c["lift"]), _percent(low), _percent(high), c["q"]))
    print_table(("metric", "arm", "lift", "from", "to", "p, adjusted"), rows)
    for text in [g["message"] for g in found["guardrails"]] + found["messages"]:
        click.echo(text)


@command.command(
    "power",
    cls=Examples,
    examples="""
    opportune experiments power --rate 0.05 --lift 0.1
    opportune experiments power --mean 12 --sd 40 --lift 0.03 --per-day 8000 --sequential
    """,
)
@click.option("--rate", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="A conversion rate.")
@click.option("--mean", type=float, help="The mean of any other metric; with --sd.")
@click.option("--sd", type=click.FloatRange(0, min_open=True), help="Its standard deviation.")
@click.option("--lift", type=float, required=True, help="The smallest relative change that matters: 0.05.")
@click.option(
    "--power",
    "wanted",
    type=float,
    default=0.8,
    show_default=True,
    help="Chance to find an effect of that size.",
)
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Chance of a false alarm.")
@click.option("--share", type=float, default=0.5, show_default=True, help="Of units that are treated.")
@click.option("--per-day", type=float, help="Units that come in a day.")
@click.option("--sequential", is_flag=True, help="For always-valid intervals, looked at any time.")
@options.as_json
def power(
    rate: float | None,
    mean: float | None,
    sd: float | None,
    lift: float,
    wanted: float,
    alpha: float,
    share: float,
    per_day: float | None,
    sequential: bool,
    as_json: bool,
) -> None:
    """How many units, and how many days, an experiment needs."""
    from opportune.experiments.statistics.power import sample_size, variance_of_rate

    treated: float | None = None
    if rate is not None:
        if not 0 < rate * (1 + lift) < 1:
            raise InvalidRequest("the lifted rate is no rate", seen=rate * (1 + lift), where="--lift")
        base, variance, treated = rate, variance_of_rate(rate), variance_of_rate(rate * (1 + lift))
    elif mean is not None and sd is not None:
        base, variance = mean, sd * sd
    else:
        raise InvalidRequest("what is measured?", remedy="give --rate, or --mean and --sd")
    plan = sample_size(
        base * lift,
        variance,
        alpha=alpha,
        power=wanted,
        share=share,
        variance_treated=treated,
        sequential=sequential,
        units_per_day=per_day,
    )
    if as_json:
        print_json(plan)
        return
    days = "" if plan.days is None else f", {plan.days} days"
    click.echo(f"{plan.units:,} units in all, {plan.per_arm:,} in the smaller arm{days}")


def _switch(action: Literal["stop", "resume"]) -> Any:
    @command.command(
        action,
        cls=Examples,
        examples=f"""
        opportune experiments {action} home_popular --why "a bug" --to http://127.0.0.1:8080 --key SECRET
        """,
    )
    @click.argument("experiment_id")
    @click.option("--why", default="", help="A sentence for the record.")
    @options.target
    @options.as_json
    def switch(
        experiment_id: str,
        why: str,
        data_dir: Path | None,
        url: str,
        key: str,
        workspace: Path | None,
        as_json: bool,
    ) -> None:
        with open_reports(data_dir, url, key, workspace) as reports:
            reports.switch(experiment_id, action, why)
        if as_json:
            print_json({"experiment": experiment_id, "action": action, "why": why})
        else:
            click.echo(f"{experiment_id}: {action}")

    switch.help = (
        "Stop a running experiment now: everybody sees the placements as they are."
        if action == "stop"
        else "Let a stopped experiment go on; people stay where they were."
    )
    return switch


stop, resume = _switch("stop"), _switch("resume")


def _shares(arms: dict[str, float]) -> str:
    return ", ".join(f"{arm} {weight:.0%}" for arm, weight in arms.items())


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+.2%}"
