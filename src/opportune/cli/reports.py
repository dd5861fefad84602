"""What report commands talk to: a data folder, or the console of a running server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import quote

import msgspec

from opportune.cli.target import open_engine
from opportune.errors import InvalidRequest

if TYPE_CHECKING:
    from opportune.cli.client import Client
    from opportune.warehouse.reports import Reports

CONSOLE = "/console"


class Asked(Protocol):
    """Plain JSON values, whichever way they come."""

    def list(self) -> list[dict[str, Any]]: ...

    def report(self, experiment_id: str) -> dict[str, Any]: ...

    def switch(self, experiment_id: str, action: Literal["stop", "resume"], why: str) -> None: ...


@contextmanager
def open_reports(data_dir: Path | None, url: str, key: str, workspace: Path | None) -> Iterator[Asked]:
    """Reports of the server at ``url``, else of the data folder, whose tables are brought up to date."""
    if url:
        from opportune.cli.client import Client

        client = Client(url, key)
        try:
            yield _Served(client)
        finally:
            client.close()
        return
    if data_dir is None:
        raise InvalidRequest(
            "which data?", where="--data-dir", remedy="pass --data-dir DIR, or --to URL for a running server"
        )
    from opportune.warehouse.reports import Reports

    with open_engine(data_dir, workspace) as engine:
        reports = Reports.of(engine, data_dir)
        try:
            yield _Folder(reports)
        finally:
            reports.close()


class _Folder:
    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    def list(self) -> list[dict[str, Any]]:
        return self._reports.list()

    def report(self, experiment_id: str) -> dict[str, Any]:
        self._reports.catch_up()
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self._reports.report(experiment_id)))
        return found

    def switch(self, experiment_id: str, action: Literal["stop", "resume"], why: str) -> None:
        engine = self._reports.engine
        engine.commit(engine.switch_experiment(experiment_id, action, why))


class _Served:
    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._client.get(f"{CONSOLE}/experiments.json")["experiments"]
        return found

    def report(self, experiment_id: str) -> dict[str, Any]:
        answer = self._client.get(f"{CONSOLE}/experiments/{quote(experiment_id, safe='')}.json")
        found: dict[str, Any] = answer["report"]
        return found

    def switch(self, experiment_id: str, action: Literal["stop", "resume"], why: str) -> None:
        path = f"/v1/experiments/{quote(experiment_id, safe='')}/{action}"
        self._client.post(path, {"why": why})
