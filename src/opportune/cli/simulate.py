"""``opportune simulate``"""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import console, print_json, print_table
from opportune.errors import InvalidRequest


@click.command(
    "simulate",
    cls=Examples,
    examples="""
    opportune simulate --to http://127.0.0.1:8080 --key wk_...
    opportune simulate --to http://127.0.0.1:8080 --key wk_... --arms control,bold --truth truth.json
    """,
)
@click.option("--to", "url", required=True, envvar="OPPORTUNE_URL", show_envvar=True, help="The server.")
@click.option("--key", required=True, envvar="OPPORTUNE_KEY", show_envvar=True, help="Its write key.")
@click.option("--placement", default="home_recs", show_default=True, help="What every visit asks for.")
@click.option(
    "--shoppers",
    default=500,
    show_default=True,
    type=click.IntRange(2, 1_000_000),
    help="How many there are.",
)
@click.option("--days", default=1.0, show_default=True, type=click.FloatRange(0.01, 365), help="Up to now.")
@click.option(
    "--per-day", default=0.3, show_default=True, type=click.FloatRange(0.001, 100), help="Visits each."
)
@click.option(
    "--arms",
    default="control",
    show_default=True,
    help="The variants of the experiment at the placement, in order; the first is the control.",
)
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A YAML file with what the shop is like.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same shoppers.")
@click.option(
    "--truth",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write who is who, and every arm's true lift, to this file.",
)
@options.as_json
def command(
    url: str,
    key: str,
    placement: str,
    shoppers: int,
    days: float,
    per_day: float,
    arms: str,
    settings_file: Path | None,
    seed: int,
    truth: Path | None,
    as_json: bool,
) -> None:
    """Send shoppers whose truth is known: who they are, what they like, what would have changed their mind.

    They speak the same HTTP as real clients: some share a device, some sign in, some refuse consent, some are
    bots, and some buy hours later. Season and weekday are those of the days before now.
    """
    import http.client

    from opportune.clock import DAY
    from opportune.config import definitions
    from opportune.simulate.client import Client
    from opportune.simulate.drive import drive
    from opportune.simulate.population import Population
    from opportune.simulate.settings import Settings
    from opportune.simulate.truth import Truth
    from opportune.simulate.visits import Visits

    names = [name.strip() for name in arms.split(",") if name.strip()]
    if not names:
        raise InvalidRequest("name at least the control", seen=arms, where="--arms")
    given = Settings()
    if settings_file is not None:
        given = definitions.parse(
            settings_file.read_text(encoding="utf-8"), Settings, name=settings_file.name
        )
    given = msgspec.structs.replace(given, shoppers=shoppers, arms=max(2, len(names)))
    population = Population(given, seed)
    now = now_ms()
    visits = Visits(Truth(population), seed, now - round(days * DAY), now, per_day)
    client = Client(url, key)
    every = max(1, len(visits) // 20)

    def progress(done: int) -> None:
        if done % every == 0:
            console(stderr=True).print(f"{done:,} of {len(visits):,} visits")

    try:
        told = drive(client, visits, placement=placement, arms=names, progress=progress, clock=now_ms)
    except (OSError, http.client.HTTPException) as error:
        raise InvalidRequest(
            f"the server does not answer ({error})",
            seen=url,
            where="--to",
            remedy="start it: opportune serve",
        ) from error
    finally:
        client.close()
    report = told.report()
    if truth is not None:
        truth.parent.mkdir(parents=True, exist_ok=True)
        truth.write_bytes(msgspec.json.encode({**report, "people": population.people()}))
    if as_json:
        print_json(report)
        return
    print_table(
        ("arm", "shown", "responses", "true lift", "best for"),
        [
            (arm, row["shown"], row["responses"], row["true_lift"], row["best_for"])
            for arm, row in report["arms"].items()
        ],
        title=f"{report['decisions']:,} decisions, {report['events']:,} events, "
        f"{report['lost']:,} responses lost to worse arms",
    )


def now_ms() -> int:
    return round(time.time() * 1000)
