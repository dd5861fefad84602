"""Entries of the journal sealed with the key of the leaf that they belong to: destroy the key, and every copy
of the journal, backups included, has lost them.

::

    mark 1 byte      0x01: not how any MessagePack array begins, so that plain entries are told apart
    kind 1 byte      e event, d decision record, x dead letter
    slot u32         which key of the vault; all ones: the entry was removed from this file
    nonce 12 bytes   random
    digest 16 bytes  the de-duplication mark of an event, else zeros
    day u32          when it was received, for the mark
    ciphertext       AES-256-GCM of the encoded entry; what stands before is authenticated with it

The digest stays readable so that a message whose key is gone is still known as a duplicate. It says nothing
to anybody who does not know the message's id.
"""

from __future__ import annotations

import os
from struct import Struct
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from opportune.clock import DAY, Millis
from opportune.errors import Corrupt

SEALED = 1
GONE_SLOT = 0xFFFFFFFF
_HEADER = Struct("<BBI12s16sI")
HEADER_BYTES = _HEADER.size
_NONCE = slice(6, 18)
_NONCES = 12 * 1024
NO_DIGEST = bytes(16)


class Erased(msgspec.Struct, frozen=True):
    """An entry that nobody can read any more: its key is destroyed. ``received`` is the start of the day on
    which it came, ``digest`` its mark, empty when it had none."""

    kind: str
    digest: bytes
    received: Millis


class KeyRing(Protocol):
    """Keys by slot (``opportune.stores.vault.Vault`` is one)."""

    def key(self, slot: int) -> bytes | None:
        """32 bytes, or None when it is destroyed. Raises Corrupt when it never existed."""
        ...


class Sealer:
    """Seals and opens. 2 us for an entry of 500 bytes under a key that was used before, 3 us more for the
    first one; at most ``capacity`` keys are held ready."""

    def __init__(self, keys: KeyRing, *, capacity: int = 8_192) -> None:
        self._keys = keys
        self._capacity = capacity
        self._ready: dict[int, AESGCM] = {}
        self._nonces = b""
        self._at = 0

    def seal(
        self, slot: int, kind: str, data: bytes, digest: bytes = NO_DIGEST, received: Millis = 0
    ) -> bytes:
        """Raises :class:`Corrupt` when the slot's key is destroyed: it must not be used again."""
        cipher = self._ready.get(slot) or self._cipher(slot)
        if cipher is None:
            raise Corrupt(
                "a destroyed key was to seal an entry", seen=slot, remedy="report this: it is a bug"
            )
        at = self._at
        if at >= len(self._nonces):
            self._nonces = os.urandom(_NONCES)
            at = 0
        self._at = at + 12
        nonce = self._nonces[at : at + 12]
        header = _HEADER.pack(SEALED, ord(kind), slot, nonce, digest, max(received // DAY, 0))
        return header + cipher.encrypt(nonce, data, header)

    def open(self, data: bytes) -> tuple[int, bytes | Erased]:
        """The slot and what was sealed, or what is known of an erased entry. Raises :class:`Corrupt`."""
        _, kind, slot, nonce, digest, day = _HEADER.unpack_from(data)
        cipher = None if slot == GONE_SLOT else self._ready.get(slot) or self._cipher(slot)
        if cipher is None:
            return slot, Erased(chr(kind), b"" if digest == NO_DIGEST else digest, day * DAY)
        try:
            return slot, cipher.decrypt(nonce, data[HEADER_BYTES:], data[:HEADER_BYTES])
        except InvalidTag as error:
            raise Corrupt(
                "a sealed entry does not open with its key",
                where=f"slot {slot} of the vault",
                remedy="this vault belongs to another data folder: restore the right one",
            ) from error

    def forget(self, slot: int) -> None:
        """The key was destroyed."""
        self._ready.pop(slot, None)

    def _cipher(self, slot: int) -> AESGCM | None:
        key = self._keys.key(slot)
        if key is None:
            return None
        if len(self._ready) >= self._capacity:
            for old in list(self._ready)[: self._capacity // 8]:
                del self._ready[old]
        cipher = self._ready[slot] = AESGCM(key)
        return cipher


def is_sealed(data: bytes) -> bool:
    return data[:1] == b"\x01"


def slot_of(data: bytes) -> int:
    """The slot of a sealed entry."""
    return int.from_bytes(data[2:6], "little")


def kind_of(data: bytes) -> str:
    """``e``, ``d`` or ``x``: what a sealed entry is."""
    return chr(data[1])


def gone(kind: str, digest: bytes = NO_DIGEST, received: Millis = 0) -> bytes:
    """What stands in the journal in the place of an entry that was removed from it."""
    return _HEADER.pack(SEALED, ord(kind), GONE_SLOT, bytes(12), digest or NO_DIGEST, max(received // DAY, 0))
