"""``opportune serve --role ...``: this process as part of a cluster."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from opportune.cli.output import console
from opportune.cli.serving import announce_keys
from opportune.errors import InvalidRequest, StorageError

if TYPE_CHECKING:
    from opportune.access.shared_audit import SharedAudit
    from opportune.engine.workspace import Workspace
    from opportune.server.rates import Limiter, Rates
    from opportune.stores.postgres import Postgres
    from opportune.streams.config import ClusterConfig
    from opportune.streams.engine import ClusterEngine

HTTP = ("gateway", "decide", "learn")
WORKERS = ("fold", "identity")
DERIVE = "derive"
ROLES = (*HTTP, *WORKERS, DERIVE)
CHECK_S = 0.5


def chosen(text: str) -> tuple[str, ...]:
    """The roles of ``--role``. Raises :class:`InvalidRequest` for an unknown one."""
    roles = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        raise InvalidRequest(
            "no such role", seen=unknown[0] if unknown else text, where="--role",
            remedy=f"choose from {', '.join(ROLES)}, separated by commas",
        )  # fmt: skip
    if DERIVE in roles and len(roles) > 1:
        raise InvalidRequest(
            "derive keeps a journal of its own", seen=text, where="--role",
            remedy="start it as a process of its own, with a data folder of its own",
        )  # fmt: skip
    return roles


def serve_roles(
    roles: Sequence[str], *, cluster: Path, data_dir: Path, workspace: Path | None, host: str, port: int,
    rates: Rates | None = None,
) -> None:  # fmt: skip
    """Play the roles until a signal. A single worker role runs in this process; beside others every worker is
    a process of its own, started again when it ends."""
    needs_extra()
    from opportune.engine.workspace import load_workspace
    from opportune.streams.config import load_config
    from opportune.streams.roles import run_worker

    config = load_config(cluster)
    postgres = None
    if config.postgres is not None:
        needs_extra("psycopg")
        from opportune.cli.cluster_shared import opened, workspace_of

        postgres = opened(config)
        workspace = workspace or workspace_of(postgres, data_dir, say=_say)
    definitions = load_workspace(workspace)
    workers = [role for role in roles if role in WORKERS]
    if len(roles) == 1 and workers:
        from opportune.cli.cluster_shared import revision_of

        run_worker(workers[0], config, definitions, data_dir, revision_of(workspace))
        return
    if DERIVE in roles:
        _serve_derive(
            config, data_dir=data_dir, workspace=workspace, host=host, port=port, rates=rates,
            postgres=postgres,
        )  # fmt: skip
        return
    with Beside(workers, cluster=cluster, data_dir=data_dir, workspace=workspace):
        if len(workers) < len(roles):
            _serve_http(
                [role for role in roles if role in HTTP], config, definitions, beside=workers,
                data_dir=data_dir, host=host, port=port, rates=rates, postgres=postgres,
            )  # fmt: skip
        else:
            _until_signal()


def needs_extra(package: str = "") -> None:
    """Raises :class:`StorageError` with the remedy when the cluster's packages, or one of another extra, are
    not installed."""
    wanted = {"quixstreams": "cluster", "confluent_kafka": "cluster", "redis": "cluster"}
    if package:
        wanted[package] = "postgres"
    for name, extra in wanted.items():
        if find_spec(name) is None:
            raise StorageError(
                f"the cluster's packages are not installed ({name})",
                remedy=f"pip install 'opportune[{extra}]'",
            )


def _say(text: str) -> None:
    console().print(text)


def _serve_http(
    roles: Collection[str], config: ClusterConfig, definitions: Workspace, *, beside: Collection[str],
    data_dir: Path, host: str, port: int, rates: Rates | None, postgres: Postgres | None,
) -> None:  # fmt: skip
    """``beside``: what processes of their own play for this one."""
    from opportune.server.auth import load_keys
    from opportune.server.run import serve
    from opportune.streams.engine import ClusterEngine
    from opportune.streams.serving_copy import ServingCopy
    from opportune.streams.topics import ensure

    topics = ensure(config, say=_say)
    if set(roles) != {"learn"}:
        ServingCopy(config).wait(say=_say)
    keys = load_keys(data_dir)
    engine = ClusterEngine(
        config,
        topics,
        definitions,
        folder=data_dir / "scratch",
        roles=roles,
        warm="decide" in roles,
    )
    try:

        def announce(address: str) -> None:
            announce_keys(keys)
            _say(f"roles       {', '.join((*roles, *beside))}")
            _say(f"ready on {address}")

        audit = _shared_audit(postgres)
        with shared_rates(config, rates, engine) as limiter:
            serve(engine, host, port, keys=keys, announce=announce, rates=limiter, audit=audit)
    finally:
        engine.close()


@contextmanager
def shared_rates(
    config: ClusterConfig, rates: Rates | None, engine: ClusterEngine
) -> Iterator[Limiter | None]:
    """What clients may ask for of all processes together; in the engine's gauges, whether this one has to
    grant its share alone."""
    if rates is None or not (rates.key_per_s or rates.address_per_s):
        yield None
        return
    from opportune.server.rates import Limiter, TokenBuckets
    from opportune.streams.quotas import SharedBuckets

    made: list[SharedBuckets] = []

    def make(what: str, per_s: float, burst_s: float) -> SharedBuckets:
        buckets = SharedBuckets(
            config, what, per_s, burst_s, lambda rate, burst: TokenBuckets(rate, burst, time.monotonic)
        )
        made.append(buckets)
        return buckets

    limiter = Limiter(rates, make=make)
    engine.more_gauges["quota_local"] = lambda: float(any(buckets.is_local for buckets in made))
    try:
        yield limiter
    finally:
        for buckets in made:
            buckets.close()


def _shared_audit(postgres: Postgres | None) -> SharedAudit | None:
    if postgres is None:
        return None
    from opportune.access.shared_audit import SharedAudit

    return SharedAudit(postgres)


def _serve_derive(
    config: ClusterConfig, *, data_dir: Path, workspace: Path | None, host: str, port: int,
    rates: Rates | None, postgres: Postgres | None,
) -> None:  # fmt: skip
    """The console and the reports over a journal that follows the cluster's."""
    import asyncio

    from opportune.access.audit import AuditLog
    from opportune.cli.serving import CONSOLE, console_mount, watch_guardrails
    from opportune.server.auth import load_keys
    from opportune.server.run import serve
    from opportune.streams.mirror import Mirror
    from opportune.streams.topics import ensure
    from opportune.warehouse.reports import Reports

    topics = ensure(config, say=_say)
    with Mirror.open(data_dir, workspace=workspace) as engine:
        engine.follow(config, topics, data_dir)
        keys, reports = load_keys(data_dir), Reports.of(engine, data_dir)
        audit = _shared_audit(postgres) or AuditLog(data_dir)

        def announce(address: str) -> None:
            announce_keys(keys)
            console().print(f"console     {address}{CONSOLE}/")
            console().print(f"ready on {address}")

        watching: list[asyncio.Task[None]] = []

        def warm() -> None:
            watching.append(asyncio.get_running_loop().create_task(watch_guardrails(reports, audit)))

        mount = console_mount(
            engine, keys, reports=reports, audit=audit, data_dir=data_dir, workspace=workspace
        )
        try:
            serve(
                engine, host, port, keys=keys, extra_mounts=[mount], announce=announce, warm=warm,
                audit=audit, rates=rates,
            )  # fmt: skip
        finally:
            audit.close()
            reports.close()


def _until_signal() -> None:
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    while not stopping.wait(CHECK_S):
        pass


class Beside:
    """Worker roles as processes of their own, watched by a thread, stopped at the end."""

    def __init__(
        self, roles: Sequence[str], *, cluster: Path, data_dir: Path, workspace: Path | None
    ) -> None:
        options = ["--cluster", str(cluster), "--data-dir", str(data_dir)]
        if workspace:
            options += ["--workspace", str(workspace)]
        self._commands = {
            role: [sys.executable, "-m", "opportune.cli", "serve", "--role", role, *options] for role in roles
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._revive_forever, name="opportune-workers", daemon=True)

    def __enter__(self) -> Beside:
        for role, command in self._commands.items():
            self._running[role] = subprocess.Popen(command)
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._watch.join()
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait()

    def _revive_forever(self) -> None:
        while not self._stopping.wait(CHECK_S):
            for role, process in self._running.items():
                if process.poll() is not None:
                    told = f"the {role} worker ended with {process.returncode}: starting it again"
                    print(told, file=sys.stderr, flush=True)
                    time.sleep(CHECK_S)
                    self._running[role] = subprocess.Popen(self._commands[role])
