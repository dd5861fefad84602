"""The head of a response as bytes."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus

from uvicorn.server import ServerState

from opportune.server.call import Header, Reply

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


def head_of(reply: Reply, state: ServerState, *, close: bool = False) -> bytes:
    """Status line, the server's own headers (its date), the reply's, and the length of its body."""
    status, body, headers = reply
    length = b"" if status == 204 else b"content-length: %d\r\n" % len(body)
    return b"%b%b%b%b%b\r\n" % (
        _STATUS_LINES[status],
        _lines(tuple(state.default_headers)),
        _lines(headers),
        length,
        b"connection: close\r\n" if close else b"",
    )


@lru_cache(maxsize=256)
def _lines(headers: tuple[Header, ...]) -> bytes:
    """Most replies carry one of a few sets of headers; the date is one for a second."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])
