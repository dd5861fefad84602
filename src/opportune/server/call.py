"""One HTTP request, body and all, and one reply, with nothing that a hot route does not need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from opportune.access.scopes import Grant

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
    """A request on its way to a handler, once all of it is here.

    ``headers`` are pairs with lower-case names; ``path`` is as it was sent, still percent-encoded; so is
    ``body``, perhaps compressed (:func:`opportune.server.body.body_of` reads it). When the body was larger
    than anything that would be read, ``oversize`` is its size and ``body`` is empty. ``grant`` is what the
    request's key allows, on routes where that is known before the handler runs. ``named`` are the headers by
    name, where somebody has them. ``address`` is who is at the other end of the connection
    (``server/addresses.py:network``).
    """

    __slots__ = (
        "_named",
        "address",
        "body",
        "grant",
        "headers",
        "method",
        "oversize",
        "params",
        "path",
        "query_string",
        "scheme",
    )

    def __init__(
        self,
        method: str,
        path: bytes,
        query_string: bytes,
        headers: Sequence[Header],
        body: bytes = b"",
        *,
        oversize: int = 0,
        params: dict[str, str] | None = None,
        scheme: str = "http",
        named: dict[bytes, bytes] | None = None,
        address: str = "",
    ) -> None:
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self.body = body
        self.oversize = oversize
        self.params = params
        self.scheme = scheme
        self.address = address
        self.grant: Grant | None = None
        self._named = named

    @property
    def who(self) -> str:
        """Whose key it came with, for the audit log."""
        return "nobody" if self.grant is None else self.grant.who

    def header(self, name: bytes) -> bytes:
        """By lower-case name; of a repeated one the last stands. Empty when there is none."""
        named = self._named
        if named is None:
            named = self._named = dict(self.headers)
        return named.get(name, b"")

    def param(self, name: str) -> str:
        """What stands in the path for ``{name}``."""
        return self.params[name] if self.params else ""

    def query(self) -> dict[str, str]:
        """Query parameters; of a repeated one the last stands."""
        text = self.query_string
        if not text:
            return {}
        return dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True))
