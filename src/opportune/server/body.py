"""Reading a request body: bounded in size before and after decompression."""

from __future__ import annotations

import zlib

from opportune.server.call import Call
from opportune.server.refusals import TooLarge, UnreadableJson, UnsupportedEncoding

MEBIBYTE = 1 << 20
BODY_LIMIT = 4 * MEBIBYTE
DISCARD_LIMIT = 64 * MEBIBYTE
"""How much of an oversized body is read to its end before it is refused; beyond it the connection is cut."""


def body_of(call: Call, limit: int) -> bytes:
    """The body, decompressed. Raises :class:`TooLarge` above ``limit`` bytes, before or after that. How long
    a client may take to send it is the protocol's concern (``server/protocol.py``)."""
    if call.oversize or len(call.body) > limit:
        raise _too_large(call.oversize or len(call.body), limit)
    encoding = call.header(b"content-encoding")
    if not encoding:
        return call.body
    encoding = encoding.strip().lower()
    return call.body if encoding == b"identity" else decompress(call.body, encoding, limit)


class Gathering:
    """A body as it arrives: at most ``limit`` bytes are kept, the rest is counted.

    What will be refused is read to its end all the same, because a client that is still sending when the
    connection closes sees a reset, not the refusal, and sends it all again; but not beyond
    :data:`DISCARD_LIMIT` (``hopeless``).
    """

    __slots__ = ("_limit", "_parts", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self.size = 0

    def add(self, part: bytes) -> None:
        self.size += len(part)
        if self.size <= self._limit:
            self._parts.append(part)
        else:
            self._parts.clear()

    @property
    def hopeless(self) -> bool:
        return self.size > DISCARD_LIMIT

    @property
    def oversize(self) -> int:
        """How large it was, when that was too much."""
        return self.size if self.size > self._limit else 0

    def whole(self) -> bytes:
        parts = self._parts
        return parts[0] if len(parts) == 1 else b"".join(parts)


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
