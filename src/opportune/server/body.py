"""Reading a request body: bounded in size before and after decompression."""

from __future__ import annotations

import zlib

from opportune.server.call import Call
from opportune.server.refusals import ClientGone, TooLarge, UnreadableJson, UnsupportedEncoding

MEBIBYTE = 1 << 20
BODY_LIMIT = 4 * MEBIBYTE
DISCARD_LIMIT = 64 * MEBIBYTE
"""How much of an oversized body is read to its end before it is refused; beyond it the connection is cut."""


async def read_body(call: Call, limit: int = BODY_LIMIT) -> bytes:
    """The whole body, decompressed. Raises :class:`TooLarge` above ``limit`` bytes, :class:`ClientGone` when
    the client hangs up first. How long a client may take is the protocol's concern (``server/protocol.py``).
    """
    encoding = b""
    for name, value in call.scope["headers"]:
        if name == b"content-length":
            if value.isdigit() and int(value) > limit:
                await _discard(call, int(value))
                raise _too_large(int(value), limit)
        elif name == b"content-encoding":
            encoding = value.strip().lower()
    message = await call.receive()
    if message["type"] != "http.request":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        body = await _rest(call, body, limit)
    if len(body) > limit:
        raise _too_large(len(body), limit)
    return body if not encoding or encoding == b"identity" else decompress(body, encoding, limit)


async def _rest(call: Call, first: bytes, limit: int) -> bytes:
    chunks, size = [first], len(first)
    while True:
        message = await call.receive()
        if message["type"] != "http.request":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        elif size > DISCARD_LIMIT:
            break
        else:
            chunks.clear()
        if not message.get("more_body", False):
            break
    if size > limit:
        raise _too_large(size, limit)
    return b"".join(chunks)


async def _discard(call: Call, size: int) -> None:
    """Read what will be refused: a client that is still sending when the connection closes sees a reset, not
    the refusal, and sends it all again. Not for a client that asked first (``Expect: 100-continue``)."""
    if size > DISCARD_LIMIT or call.header(b"expect"):
        return
    while True:
        message = await call.receive()
        if message["type"] != "http.request":
            raise ClientGone
        if not message.get("more_body", False):
            return


_MEMBERS = 16  # each further member costs a copy of what is left
_WINDOW_BITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Decompress at most ``limit`` bytes: a bomb costs no more memory than the largest honest body.

    >>> import gzip
    >>> decompress(gzip.compress(b"{}"), b"gzip", 100)
    b'{}'
    """
    window = _WINDOW_BITS.get(encoding)
    if window is None:
        raise UnsupportedEncoding(
            "the body's content encoding is not known",
            seen=encoding.decode("latin-1"),
            remedy="send gzip, deflate or identity",
        )
    parts: list[bytes] = []
    room = limit
    while body:
        if len(parts) == _MEMBERS:
            raise UnreadableJson(
                f"the body has more than {_MEMBERS} gzip members", remedy="compress it as one"
            )
        stream = zlib.decompressobj(window)
        try:
            part = stream.decompress(body, room + 1)
        except zlib.error as error:
            raise UnreadableJson(
                f"the body is not valid {encoding.decode()} ({error})", remedy="send it uncompressed"
            ) from error
        room -= len(part)
        if room < 0:
            raise TooLarge(
                f"the body is larger than {limit} bytes once decompressed", remedy="send smaller batches"
            )
        if not stream.eof:
            raise UnreadableJson(f"the {encoding.decode()} body ends early", remedy="send it complete")
        parts.append(part)
        body = stream.unused_data
    return b"".join(parts)


def _too_large(seen: int, limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit} bytes", seen=seen, remedy="send smaller batches")
