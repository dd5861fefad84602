"""``opportune retention``"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import print_json
from opportune.errors import InvalidRequest, StorageError

_POLL_S = 0.1


@click.command(
    "retention",
    cls=Examples,
    examples="""
    opportune retention --dry-run --data-dir data --workspace workspace
    opportune retention --to http://127.0.0.1:8080 --key SECRET
    """,
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@options.target
@options.as_json
def command(
    dry_run: bool, data_dir: Path | None, url: str, key: str, workspace: Path | None, as_json: bool
) -> None:
    """Take out what is past its time: old events, decisions, dead letters, traits, as privacy.yaml says.

    A running server does this once a day by itself.
    """
    report = _on_server(url, key, dry_run) if url else _on_folder(data_dir, workspace, dry_run)
    if as_json:
        print_json(report)
        return
    verb = "would go" if dry_run else "gone"
    for kind in ("events", "traits"):
        for name, count in report[kind].items():
            click.echo(f"{count:>12,} {name} ({kind})")
    for kind in ("decisions", "dead_letters"):
        if report[kind]:
            click.echo(f"{report[kind]:>12,} {kind.replace('_', ' ')}")
    total = sum(report["events"].values()) + report["decisions"] + report["dead_letters"]
    click.echo(
        f"{verb}: {total:,} entries of {report['journal']:,}, {report['people']:,} leaves folded anew, "
        f"{report['kept_as_evidence']:,} kept as evidence of who is who and what was allowed, "
        f"{report['keys']:,} keys destroyed, {report['derived_rows']:,} derived rows, {report['seconds']} s"
    )


def _on_folder(data_dir: Path | None, workspace: Path | None, dry_run: bool) -> dict[str, Any]:
    import msgspec

    from opportune.cli.target import open_engine
    from opportune.engine.turns import at_once
    from opportune.warehouse.reports import Reports

    if data_dir is None:
        raise InvalidRequest("which data?", where="--data-dir", remedy="pass --data-dir DIR, or --to URL")
    with open_engine(data_dir, workspace) as engine:
        _need_rules(bool(engine.workspace.privacy.retention))
        reports = Reports.of(engine, data_dir)
        try:
            retiring = engine.retention.begin(dry_run=dry_run)
            at_once(engine.retention.turns(retiring))
            found: dict[str, Any] = msgspec.to_builtins(retiring.report)
        finally:
            reports.close()
    return found


def _on_server(url: str, key: str, dry_run: bool) -> dict[str, Any]:
    from opportune.cli.client import Client

    client = Client(url, key)
    try:
        told = client.post("/v1/privacy/retention", {"dry_run": dry_run})
        _need_rules(any(v for name, v in told["rules"].items() if name != "hour"))
        while told["state"] == "RUNNING":
            time.sleep(_POLL_S)
            told = client.get("/v1/privacy/retention")
    finally:
        client.close()
    if told["state"] == "FAILED":
        raise StorageError(told["error"], remedy="run it again: it goes on")
    found: dict[str, Any] = told["report"]
    return found


def _need_rules(there_are: bool) -> None:
    if not there_are:
        raise InvalidRequest(
            "nothing says how long anything is kept",
            where="privacy.yaml",
            remedy="declare it: retention: {events: {product_viewed: 180d}}, and pass --workspace",
        )
