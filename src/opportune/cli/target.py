"""What a command talks to: an engine over a data folder, or a running server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import quote, urlencode

import click
import msgspec
from click.core import ParameterSource

from opportune.clock import MINUTE, Millis
from opportune.errors import FolderInUse, InvalidRequest, StorageError

if TYPE_CHECKING:
    from opportune import Engine
    from opportune.cli.client import Client
    from opportune.events.rights import Right
    from opportune.identity.corrections import Action

Dialect = Literal["segment", "catalog"]

SOURCE = "import"
"""What imported events are accounted as when they go straight into a data folder."""


class Target(Protocol):
    """The same questions whichever way they go; answers are plain JSON values."""

    def ingest(self, raws: Sequence[dict[str, Any]], dialect: Dialect) -> list[dict[str, Any]]:
        """Store events; one verdict per event, in order."""
        ...

    def decide(self, request: dict[str, Any]) -> dict[str, Any]: ...

    def profile(self, identifier: str) -> dict[str, Any]: ...

    def relink(self, a: str, b: str, action: Action, why: str) -> dict[str, Any]:
        """Join two identifiers or take them apart; how they stand then."""
        ...

    def reviews(self, limit: int) -> dict[str, Any]: ...

    def group(self, identifier: str) -> dict[str, Any]: ...

    def corrections(self, limit: int) -> list[dict[str, Any]]: ...

    def accounting(self) -> dict[str, Any]: ...

    def dead_letters(self, cursor: str, limit: int, code: str) -> dict[str, Any]: ...

    def replay(self, letter_id: str, fixed: bytes | None) -> list[dict[str, Any]]: ...

    def discard(self, letter_id: str) -> None: ...

    def erase(self, identifiers: Sequence[str], *, suppress: bool) -> dict[str, Any]:
        """Erase people; the signed receipt."""
        ...

    def exercise(self, right: Right, identifier: str, **about: Any) -> dict[str, Any]:
        """Exercise a right of a person (``about``: ``trait``, ``value``, ``uses``, ``why``); what holds
        then."""
        ...

    def rights(self, identifier: str) -> dict[str, Any]: ...

    def anonymous(self) -> dict[str, Any]:
        """Counts of people who refuse."""
        ...

    def suppress(self, identifier: str, *, lift: bool) -> None:
        """Keep a person out from now on, or let them in again."""
        ...

    def holdings(self, identifier: str) -> dict[str, Any]:
        """Everything that is held about a person."""
        ...


@contextmanager
def open_target(
    data_dir: Path | None, url: str, key: str, workspace: Path | None = None, *, warm: bool = False
) -> Iterator[Target]:
    """The server at ``url`` if there is one, else an engine over ``data_dir``, closed afterwards. ``warm``
    loads what decisions need, so that the first one keeps its deadline."""
    if url and data_dir:
        # What is written on the command line goes before what the environment says.
        written = [name for name in ("data_dir", "url") if _is_written(name)]
        if len(written) != 1:
            raise InvalidRequest(
                "either a folder or a server", where="--to", remedy="drop --data-dir or --to"
            )
        url, data_dir = ("", data_dir) if written == ["data_dir"] else (url, None)
    if url:
        from opportune.cli.client import Client

        client = Client(url, key)
        try:
            yield Server(client)
        finally:
            client.close()
        return
    if data_dir is None:
        raise InvalidRequest(
            "which data?", where="--data-dir", remedy="pass --data-dir DIR, or --to URL for a running server"
        )
    with open_engine(data_dir, workspace, warm=warm) as engine:
        yield Folder(engine)


def _is_written(option: str) -> bool:
    context = click.get_current_context()
    return context.get_parameter_source(option) is ParameterSource.COMMANDLINE


LEARN_EVERY: Millis = 50
_POLL_S = 0.1


@contextmanager
def open_engine(
    data_dir: Path,
    workspace: Path | None = None,
    *,
    create: bool = False,
    warm: bool = False,
    checkpoint_every: Millis = MINUTE,
) -> Iterator[Engine]:
    """An engine over an existing data folder (a new one with ``create``)."""
    if not create and not data_dir.is_dir():
        raise InvalidRequest(
            "no such data folder", seen=str(data_dir), where="--data-dir", remedy="check the path"
        )
    from opportune import Engine

    try:
        engine = Engine.open(data_dir, workspace=workspace, warm=warm, checkpoint_every=checkpoint_every)
    except FolderInUse as error:
        raise FolderInUse(
            error.what,
            where=error.where or str(data_dir),
            remedy="stop the server that has it open, or talk to that server with --to URL --key KEY",
        ) from error
    if warm:  # a server: decisions and events come at once, and what all visitors do may wait a moment
        engine.learn_every = LEARN_EVERY
    with engine:
        yield engine


class Folder:
    """An engine in this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ingest(self, raws: Sequence[dict[str, Any]], dialect: Dialect) -> list[dict[str, Any]]:
        receipt = self._engine.ingest(list(raws), source=SOURCE, dialect=dialect)
        return [msgspec.to_builtins(verdict) for verdict in receipt.verdicts]

    def decide(self, request: dict[str, Any]) -> dict[str, Any]:
        return _plain(self._engine.decide(request))

    def profile(self, identifier: str) -> dict[str, Any]:
        return _plain(self._engine.profile(identifier))

    def relink(self, a: str, b: str, action: Action, why: str) -> dict[str, Any]:
        self._engine.commit(self._engine.relink(a, b, action, who="command line", why=why))
        return _plain(self._engine.together(a, b).to_dict())

    def group(self, identifier: str) -> dict[str, Any]:
        return _plain(self._engine.group(identifier))

    def reviews(self, limit: int) -> dict[str, Any]:
        return _plain(self._engine.reviews(limit))

    def corrections(self, limit: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = _plain({"all": self._engine.corrections(limit)})["all"]
        return found

    def accounting(self) -> dict[str, Any]:
        return _plain(self._engine.accounting())

    def dead_letters(self, cursor: str, limit: int, code: str) -> dict[str, Any]:
        return _plain(self._engine.dead_letters(cursor, limit, code))

    def replay(self, letter_id: str, fixed: bytes | None) -> list[dict[str, Any]]:
        admission = self._engine.replay_dead_letter(letter_id, fixed)
        self._engine.commit(admission)
        return [msgspec.to_builtins(verdict) for verdict in admission.verdicts]

    def discard(self, letter_id: str) -> None:
        self._engine.commit(self._engine.discard_dead_letter(letter_id))

    def exercise(self, right: Right, identifier: str, **about: Any) -> dict[str, Any]:
        self._engine.commit(self._engine.rights.exercise(right, identifier, who="command line", **about))
        return self.rights(identifier)

    def rights(self, identifier: str) -> dict[str, Any]:
        return _plain(self._engine.rights.of(identifier))

    def anonymous(self) -> dict[str, Any]:
        if self._engine.anonymous.has_finished():
            from opportune.privacy.laplace import laplace

            self._engine.anonymous.release(laplace)
        return _plain(self._engine.anonymous.report())

    def suppress(self, identifier: str, *, lift: bool) -> None:
        self._engine.rights.suppress([identifier], lift=lift)

    def holdings(self, identifier: str) -> dict[str, Any]:
        return _plain(self._engine.holdings(identifier))

    def erase(self, identifiers: Sequence[str], *, suppress: bool) -> dict[str, Any]:
        from opportune.warehouse.reports import Reports

        assert self._engine.data_dir is not None
        reports = Reports.of(self._engine, self._engine.data_dir)
        try:
            return _plain(self._engine.erase(*identifiers, suppress=suppress))
        finally:
            reports.close()


class Server:
    """A running server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def ingest(self, raws: Sequence[dict[str, Any]], dialect: Dialect) -> list[dict[str, Any]]:
        path = "/v1/import" if dialect == "segment" else "/v1/items"
        answer = self._client.post(f"{path}?verdicts=true", {"batch": raws})
        found: list[dict[str, Any]] = answer["verdicts"]
        return found

    def decide(self, request: dict[str, Any]) -> dict[str, Any]:
        return _plain(self._client.post("/v1/decide", request))

    def profile(self, identifier: str) -> dict[str, Any]:
        return _plain(self._client.get(f"/v1/profiles/{quote(identifier, safe=':')}"))

    def relink(self, a: str, b: str, action: Action, why: str) -> dict[str, Any]:
        path = {"confirm": "reviews/accept", "reject": "reviews/reject"}.get(action, action)
        return _plain(self._client.post(f"/v1/identity/{path}", {"a": a, "b": b, "why": why}))

    def group(self, identifier: str) -> dict[str, Any]:
        return _plain(self._client.get(f"/v1/groups/{quote(identifier, safe=':')}"))

    def reviews(self, limit: int) -> dict[str, Any]:
        return _plain(self._client.get(f"/v1/identity/reviews?limit={limit}"))

    def corrections(self, limit: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._client.get(f"/v1/identity/corrections?limit={limit}")[
            "corrections"
        ]
        return found

    def accounting(self) -> dict[str, Any]:
        return _plain(self._client.get("/v1/accounting"))

    def dead_letters(self, cursor: str, limit: int, code: str) -> dict[str, Any]:
        query = {
            name: value for name, value in (("cursor", cursor), ("limit", limit), ("code", code)) if value
        }
        return _plain(self._client.get(f"/v1/dead-letters?{urlencode(query)}"))

    def replay(self, letter_id: str, fixed: bytes | None) -> list[dict[str, Any]]:
        path = f"/v1/dead-letters/{quote(letter_id, safe='')}/replay"
        body = b"" if fixed is None else msgspec.json.encode({"raw": fixed.decode("utf-8", "replace")})
        found: list[dict[str, Any]] = self._client.post(path, body)["verdicts"]
        return found

    def discard(self, letter_id: str) -> None:
        self._client.post(f"/v1/dead-letters/{quote(letter_id, safe='')}/discard", b"")

    def exercise(self, right: Right, identifier: str, **about: Any) -> dict[str, Any]:
        asked = {"right": right, "identifier": identifier, **about}
        return _plain(self._client.post("/v1/privacy/rights", asked))

    def rights(self, identifier: str) -> dict[str, Any]:
        return _plain(self._client.get(f"/v1/privacy/rights/{quote(identifier, safe=':')}"))

    def anonymous(self) -> dict[str, Any]:
        return _plain(self._client.get("/v1/privacy/anonymous"))

    def suppress(self, identifier: str, *, lift: bool) -> None:
        kind, _, value = identifier.partition(":")
        asked = {
            "regulationType": "UNSUPPRESS" if lift else "SUPPRESS_ONLY",
            "subjectType": kind,
            "subjectIds": [value],
        }
        self._client.post("/regulations", asked)

    def holdings(self, identifier: str) -> dict[str, Any]:
        return _plain(self._client.get(f"/v1/privacy/export/{quote(identifier, safe=':')}"))

    def erase(self, identifiers: Sequence[str], *, suppress: bool) -> dict[str, Any]:
        by_kind: dict[str, list[str]] = {}
        for identifier in identifiers:
            kind, _, value = identifier.partition(":")
            by_kind.setdefault(kind, []).append(value)
        if len(by_kind) != 1:
            raise InvalidRequest("one type of identifier at a time", remedy="erase one after the other")
        ((kind, values),) = by_kind.items()
        request = {
            "regulationType": "SUPPRESS_WITH_DELETE" if suppress else "DELETE_ONLY",
            "subjectType": kind,
            "subjectIds": values,
        }
        told = self._client.post("/regulations", request)
        while told["state"] == "RUNNING":
            time.sleep(_POLL_S)
            told = self._regulation(told["regulateId"])
        if told["state"] == "FAILED":
            raise StorageError(told["error"], remedy="the next start of the server goes on with it")
        return _plain(told["receipt"])

    def _regulation(self, order: str) -> dict[str, Any]:
        from opportune.cli.client import AnswerError

        try:
            return _plain(self._client.get(f"/regulations/{order}"))
        except AnswerError as error:
            if error.answered != HTTPStatus.MISDIRECTED_REQUEST:
                raise
            raise AnswerError(
                error.answered,
                {
                    "message": "the erasure is under way, but this process signs no receipts",
                    "seen": order,
                    "remedy": f"GET /regulations/{order} of the process that plays derive has it",
                },
            ) from error


def _plain(value: Any) -> dict[str, Any]:
    # Through JSON: items in an answer are JSON text already.
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return found
