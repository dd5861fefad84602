"""Files encrypted on their way into a backup, byte for byte, so that sizes stay what they were."""

from __future__ import annotations

import os
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from opportune.stores.copies import Readable


class Hiding:
    """AES-256 in counter mode under one key per backup; the counter starts from the file's name, which no
    other file of the backup has. Checksums of what is written guard against damage."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def stream(self, name: str, stream: Readable) -> Readable:
        """The file's bytes encrypted, or, encrypted ones, in the clear."""
        start = blake2b(name.encode(), key=self._key, digest_size=16).digest()
        return _Through(stream, Cipher(AES(self._key), CTR(start)).encryptor())


class _Through:
    def __init__(self, stream: Readable, cipher: CipherContext) -> None:
        self._stream = stream
        self._cipher = cipher

    def read(self, size: int = -1) -> bytes:
        return self._cipher.update(self._stream.read(size) or b"")


def new_hiding(wrapping: bytes) -> tuple[bytes, Hiding]:
    """A new key, wrapped with ``wrapping``, and what encrypts with it."""
    key, nonce = os.urandom(32), os.urandom(12)
    return nonce + AESGCM(wrapping).encrypt(nonce, key, None), Hiding(key)


def open_hiding(wrapping: bytes, wrapped: bytes) -> Hiding | None:
    """What reads files that were encrypted; None when ``wrapping`` is not the key any more."""
    try:
        return Hiding(AESGCM(wrapping).decrypt(wrapped[:12], wrapped[12:], None))
    except InvalidTag:
        return None
