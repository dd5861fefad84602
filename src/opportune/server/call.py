"""One HTTP request and one reply, with nothing that a hot route does not need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from opportune.server.auth import Reach

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")
NO_STORE: Header = (b"cache-control", b"no-store")

encode_json = msgspec.json.Encoder(decimal_format="number").encode


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: tuple[Header, ...] = (JSON,)


def json_reply(value: Any, status: int = 200, *headers: Header) -> Reply:
    return Reply(status, encode_json(value), (JSON, *headers))


class Call:
    """A request on its way to a handler. Headers are looked up by lower-case name, O(headers)."""

    __slots__ = ("params", "reach", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive, params: dict[str, str] | None = None) -> None:
        self.scope = scope
        self.receive = receive
        self.params = params or {}
        self.reach = Reach.NOTHING

    def header(self, name: bytes) -> bytes:
        for key, value in self.scope["headers"]:
            if key == name:
                return value  # type: ignore[no-any-return]  # ASGI scopes are untyped
        return b""

    def query(self) -> dict[str, str]:
        """Query parameters; of a repeated one the last stands."""
        text = self.scope["query_string"]
        if not text:
            return {}
        return dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True))
