"""The receipt of an erasure: what was done, what was looked for afterwards, signed by the folder's vault.

It names nobody: the person is there as keyed hashes, which only the vault can connect with an identifier.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from opportune.clock import Millis
from opportune.errors import InvalidRequest


class Finding(msgspec.Struct, frozen=True):
    """Bytes of an identifier that were found where none should be."""

    file: str
    offset: int


class Scan(msgspec.Struct, frozen=True):
    """Every file of the data folder, searched for ``patterns`` byte strings. ``found`` counts places; the
    first of them are in ``findings``."""

    files: int
    bytes: int
    patterns: int
    found: int
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0


class Removed(msgspec.Struct, frozen=True):
    """How much there was. ``entries`` are journal entries that cannot be read any more, ``keys`` the keys
    destroyed for that, ``rewritten`` entries that were never sealed and were taken out of their files."""

    identifiers: int = 0
    leaves: int = 0
    links: int = 0
    sessions: int = 0
    outcomes: int = 0
    touches: int = 0
    dead_letters: int = 0
    entries: int = 0
    keys: int = 0
    rewritten: int = 0
    derived_rows: int = 0


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """``subjects`` are keyed hashes of the identifiers erased. ``state`` is ``FINISHED`` when the scan found
    nothing, ``PARTIAL_SUCCESS`` when it found something, ``INITIALIZED`` before there was a scan."""

    version: int = 1
    id: str
    state: Literal["INITIALIZED", "FINISHED", "PARTIAL_SUCCESS"]
    at: Millis
    finished: Millis
    subjects: tuple[str, ...]
    suppressed: bool
    removed: Removed
    scan: Scan | None
    public_key: str = ""
    signature: str = ""


def read_receipt(data: bytes) -> Receipt:
    """Raises :class:`InvalidRequest` for what is no receipt; :func:`verify` tells whether it is genuine."""
    try:
        return msgspec.json.decode(data, type=Receipt)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"not a receipt ({error})", remedy="pass the file that the erasure wrote"
        ) from error


def signed(receipt: Receipt, key: bytes) -> Receipt:
    """The receipt with the signature (Ed25519) of the vault whose 32-byte key this is."""
    private = Ed25519PrivateKey.from_private_bytes(key)
    public = private.public_key().public_bytes_raw().hex()
    receipt = msgspec.structs.replace(receipt, public_key=public, signature="")
    return msgspec.structs.replace(receipt, signature=private.sign(_told(receipt)).hex())


def verify(receipt: Receipt, *, expected_key: str = "") -> None:
    """Raises :class:`InvalidRequest` when the receipt is not what was signed, or was signed by another vault
    than ``expected_key``."""
    if expected_key and receipt.public_key != expected_key:
        raise InvalidRequest(
            "the receipt was signed by another vault",
            seen=receipt.public_key,
            where="$.public_key",
            remedy=f"the key of this folder is {expected_key}",
        )
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(receipt.public_key))
        public.verify(bytes.fromhex(receipt.signature), _told(msgspec.structs.replace(receipt, signature="")))
    except (InvalidSignature, ValueError) as error:
        raise InvalidRequest(
            "the signature does not hold: the receipt was changed, or is not one",
            where="$.signature",
            remedy="ask for the receipt again",
        ) from error


def public_key_of(key: bytes) -> str:
    return Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw().hex()


def _told(receipt: Receipt) -> bytes:
    return msgspec.json.encode(receipt, order="deterministic")
