"""``opportune serve``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from opportune.cli import options
from opportune.cli.app import Examples
from opportune.cli.output import console
from opportune.cli.retraining import propose_command, retrain_forever, train_command
from opportune.cli.serving import CONSOLE, announce_keys, console_mount, preferences_mount, watch_guardrails
from opportune.cli.target import open_engine
from opportune.cli.training import seconds_of
from opportune.errors import InvalidRequest


@click.command(
    "serve",
    cls=Examples,
    examples="""
    opportune serve --data-dir data
    opportune serve --data-dir data --workspace workspace --host 0.0.0.0 --port 8080
    OPPORTUNE_WRITE_KEY=wk OPPORTUNE_SECRET_KEY=sk opportune serve --data-dir data
    opportune serve --role gateway,decide,learn,fold,identity --cluster cluster.yaml --data-dir data
    """,
)
@options.data_dir
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65_535), help="0 takes a free one."
)
@options.workspace
@click.option("--no-console", is_flag=True, help="Serve the API only.")
@click.option(
    "--checkpoint-every",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0.05, 86_400),
    help="Seconds between checkpoints: how much a restart after a crash may have to fold again.",
)
@click.option(
    "--retrain-every",
    default="",
    help="Train a ranker so often (12h, 1d), in a process of its own.",
)
@click.option(
    "--retrain-drift",
    type=click.FloatRange(0.0),
    help="Then only when the newest sessions have drifted that far, as 'train --if-drift'.",
)
@click.option(
    "--retrain-placement", default="home_recs", show_default=True, help="Whose candidates it learns to rank."
)
@click.option(
    "--retrain-promote", is_flag=True, help="Make it live when it beats the live one by more than chance."
)
@click.option(
    "--propose-every",
    default="",
    help="Look for people who are likely one so often (1h, 1d), in a process of its own; needs weights.",
)
@click.option(
    "--role",
    help="Play these roles of a cluster: gateway, decide, learn, fold, identity (with commas); or derive.",
)
@click.option(
    "--cluster",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="The file that says where Kafka and Redis are; needed with --role.",
)
@click.option(
    "--key-rate",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0.0),
    help="Requests a second that one key may make, the public ones excepted; 0 for any number.",
)
@click.option(
    "--address-rate",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0.0),
    help="Requests a second that one address may make with a public key; 0 for any number.",
)
@click.option(
    "--rate-burst",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.0),
    help="Seconds' worth of them that may come at once.",
)
@click.option(
    "--proxies",
    default=0,
    show_default=True,
    type=click.IntRange(0, 10),
    help="Proxies of yours before the server: so far from the right in X-Forwarded-For is the address.",
)
@click.option("--log-format", default="text", show_default=True, type=click.Choice(["text", "json"]))
@click.option(
    "--log-level", default="info", show_default=True, type=click.Choice(["debug", "info", "warning", "error"])
)
def command(
    data_dir: Path,
    host: str,
    port: int,
    workspace: Path | None,
    no_console: bool,
    checkpoint_every: float,
    retrain_every: str,
    retrain_drift: float | None,
    retrain_placement: str,
    retrain_promote: bool,
    propose_every: str,
    role: str | None,
    cluster: Path | None,
    key_rate: float,
    address_rate: float,
    rate_burst: float,
    proxies: int,
    log_format: Any,
    log_level: str,
) -> None:
    """Serve the HTTP API and the console over a data folder, until Ctrl-C or SIGTERM.

    Keys come from OPPORTUNE_WRITE_KEY and OPPORTUNE_SECRET_KEY, else from the data folder, where they are
    made at the first start.

    With --role the process is a part of a cluster: the journal is Kafka, decisions read Redis, and the data
    folder holds only keys and local state that is made again from Kafka.
    """
    import asyncio

    from opportune.access.audit import AuditLog
    from opportune.server.auth import load_keys
    from opportune.server.logs import configure
    from opportune.server.rates import Rates
    from opportune.server.retention import watch_anonymous, watch_retention
    from opportune.server.run import serve
    from opportune.warehouse.reports import Reports

    configure(log_format, log_level.upper())
    rates = Rates(key_rate, address_rate, rate_burst, proxies)
    if role is not None or cluster is not None:
        from opportune.cli.cluster_roles import chosen, serve_roles

        if role is None or cluster is None:
            raise InvalidRequest(
                "--role and --cluster belong together", where="--role", remedy="give both, or neither"
            )
        serve_roles(
            chosen(role), cluster=cluster, data_dir=data_dir, workspace=workspace, host=host, port=port,
            rates=rates,
        )  # fmt: skip
        return
    retrain_s = seconds_of(retrain_every, "--retrain-every") if retrain_every else 0.0
    propose_s = seconds_of(propose_every, "--propose-every") if propose_every else 0.0
    every = int(checkpoint_every * 1000)
    with open_engine(data_dir, workspace, create=True, warm=True, checkpoint_every=every) as engine:
        keys = load_keys(data_dir)
        audit = AuditLog(data_dir)

        def announce(address: str) -> None:
            announce_keys(keys)
            if not no_console:
                console().print(f"console     {address}{CONSOLE}/")
            console().print(f"ready on {address}")

        reports = Reports.of(engine, data_dir)
        watching: list[asyncio.Task[None]] = []

        def warm() -> None:
            # A canary brings a guardrail with it while the server runs.
            loop = asyncio.get_running_loop()
            watching.append(loop.create_task(watch_guardrails(reports, audit)))
            watching.append(loop.create_task(watch_retention(engine.retention)))
            watching.append(loop.create_task(watch_anonymous(engine.anonymous)))
            if retrain_s:
                training = train_command(
                    data_dir, workspace, retrain_placement, retrain_drift, promote=retrain_promote
                )
                watching.append(loop.create_task(retrain_forever(training, retrain_s)))
            if propose_s:
                proposing = propose_command(data_dir, workspace)
                watching.append(loop.create_task(retrain_forever(proposing, propose_s)))

        mounts = (
            []
            if no_console
            else [
                console_mount(
                    engine, keys, reports=reports, audit=audit, data_dir=data_dir, workspace=workspace
                )
            ]
        )
        mounts.append(preferences_mount(engine, keys, audit))
        try:
            serve(
                engine,
                host,
                port,
                keys=keys,
                extra_mounts=mounts,
                announce=announce,
                warm=warm,
                audit=audit,
                rates=rates,
            )
        finally:
            audit.close()
            reports.close()
