"""The numbers of items and of the names of their columns, as a checkpoint keeps them."""

from __future__ import annotations

import msgspec


class Numbering(msgspec.Struct, array_like=True):
    """Names in the order of their numbers, as pieces of encoded lists; saved with a checkpoint, so that
    numbers outlive a restart."""

    items: list[bytes]
    categories: list[bytes]
    brands: list[bytes]


_PIECE = 4096
"""Names encoded at a stretch: one call for all would keep every other thread waiting."""
_decode_names = msgspec.msgpack.Decoder(list[str]).decode


def pieces_of(names: list[str]) -> list[bytes]:
    return [msgspec.msgpack.encode(names[i : i + _PIECE]) for i in range(0, len(names), _PIECE)]


def names_of(pieces: list[bytes]) -> list[str]:
    return [name for piece in pieces for name in _decode_names(piece)]
