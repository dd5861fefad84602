"""Sealed marks: sorted files of 16-byte digests, found with one read, and a Bloom filter over all of them.

::

    head      magic, version, day, count, checksum of what follows up to the blocks
    fences    first digest half of every block, u64 each
    sums      checksum of every block, u64 each
    blocks    128 first halves, then their 128 second halves, u64 each; the last block is filled with ones

In memory a mark costs an eighth of a byte, and the filter 2-3 bytes as long as it is allowed to.
"""

from __future__ import annotations

import time
import zlib
from bisect import bisect_left
from struct import Struct
from typing import Any, Protocol

import numpy as np

from opportune.errors import Corrupt
from opportune.kernels import kernel

DIGEST_BYTES = 16
_BLOCK = 128
_HALF_BYTES = 8 * _BLOCK
_BLOCK_BYTES = _BLOCK * DIGEST_BYTES
_HEAD = Struct("<4sIqQI")
_MAGIC = b"OPDD"
_WORDS = Struct("<4I")

U64 = np.ndarray[Any, np.dtype[np.uint64]]


class Blob(Protocol):
    """A file that can be read at any place."""

    def read(self, offset: int, length: int) -> bytes: ...


def seal(day: int, digests: U64) -> bytes:
    """A file of marks of one day. ``digests`` (n, 2) uint64 in any order."""
    order = np.argsort(digests[:, 0], kind="stable")
    count = len(order)
    blocks = -(-count // _BLOCK)
    padded = np.full((blocks * _BLOCK, 2), 2**64 - 1, np.uint64)
    padded[:count] = digests[order]
    body = np.ascontiguousarray(padded.reshape(blocks, _BLOCK, 2).transpose(0, 2, 1)).reshape(blocks, -1)
    index = np.concatenate([body[:, 0], _sums(body)]).tobytes()
    return b"".join((_HEAD.pack(_MAGIC, 1, day, count, zlib.crc32(index)), index, body.tobytes()))


def _sums(body: U64) -> U64:
    data = body.data.cast("B")
    sums = np.empty(len(body), np.uint64)
    for i in range(len(body)):
        sums[i] = zlib.crc32(data[i * _BLOCK_BYTES : (i + 1) * _BLOCK_BYTES])
        if i % 64 == 63:
            # Runs beside requests: let them have the interpreter.
            time.sleep(0)
    return sums


class Sealed:
    """One file of marks, open. ``has`` reads one block of 2 kB: 3-5 us."""

    def __init__(self, name: str, blob: Blob) -> None:
        self.name = name
        self._blob = blob
        head = blob.read(0, _HEAD.size)
        if len(head) < _HEAD.size or head[:4] != _MAGIC:
            raise self._corrupt("its head is damaged")
        _, _, self.day, self.count, checksum = _HEAD.unpack(head)
        self._blocks = -(-self.count // _BLOCK)
        index = blob.read(_HEAD.size, 16 * self._blocks)
        if zlib.crc32(index) != checksum:
            raise self._corrupt("its index is damaged")
        self._fences = memoryview(index).cast("Q")[: self._blocks]
        self._sums = memoryview(index).cast("Q")[self._blocks :]
        self._start = _HEAD.size + 16 * self._blocks

    def has(self, digest: bytes) -> bool:
        first, second = digest[:8], digest[8:]
        # Equal first halves may reach back into the block before the one that begins with them.
        number = int.from_bytes(first, "little")
        block = max(0, bisect_left(self._fences, number) - 1)
        while block < self._blocks and self._fences[block] <= number:
            data = self._blob.read(self._start + block * _BLOCK_BYTES, _BLOCK_BYTES)
            if zlib.crc32(data) != self._sums[block]:
                raise self._corrupt(f"block {block} is damaged")
            filled = 8 * min(_BLOCK, self.count - block * _BLOCK)
            at = data.find(first, 0, filled)
            while at >= 0:
                if at % 8 == 0 and data.startswith(second, at + _HALF_BYTES):
                    return True
                at = data.find(first, at + 1, filled)
            block += 1
        return False

    def digests(self) -> U64:
        """Every mark, sorted: (n, 2) uint64. Raises Corrupt."""
        data = self._blob.read(self._start, self._blocks * _BLOCK_BYTES)
        if len(data) != self._blocks * _BLOCK_BYTES:
            raise self._corrupt("it is too short")
        body = np.frombuffer(data, np.uint64).reshape(self._blocks, -1)
        if not np.array_equal(_sums(body), np.frombuffer(self._sums, np.uint64)):
            raise self._corrupt("a block is damaged")
        return body.reshape(-1, 2, _BLOCK).transpose(0, 2, 1).reshape(-1, 2)[: self.count]

    def _corrupt(self, what: str) -> Corrupt:
        return Corrupt(
            f"a file of de-duplication marks is damaged: {what}",
            where=self.name,
            remedy="restore a backup, or remove the folder 'state' to fold the whole journal again",
        )


@kernel
def _set_bits(bits: Any, words: Any, mask: Any) -> None:
    """``bits`` (2**p,) uint8, ``words`` (n, 4) uint32, ``mask`` uint32: set four bits per row."""
    for i in range(words.shape[0]):
        for j in range(4):
            word = words[i, j] & mask
            bits[word >> 3] |= np.uint8(1 << (word & 7))


class Bloom:
    """Says 'never added' or 'perhaps added'. Four bits per mark; bits only ever get set, so that one thread
    may add while another asks."""

    def __init__(self, capacity: int, most_bytes: int) -> None:
        """For ``capacity`` marks: 12-24 bits each, in ``most_bytes`` at most."""
        size = 1024
        while size * 8 < 12 * capacity and 2 * size <= most_bytes:
            size *= 2
        self.capacity = size * 8 // 12
        self.at_most = 2 * size > most_bytes
        self.bits = bytearray(size)
        self.added = 0
        self._mask = size * 8 - 1

    def add(self, digests: U64) -> None:
        """``digests`` (n, 2) uint64."""
        words = np.ascontiguousarray(digests).view(np.uint32).reshape(-1, 4)
        _set_bits(np.frombuffer(self.bits, np.uint8), words, np.uint32(self._mask))
        self.added += len(words)

    def may_have(self, digest: bytes) -> bool:
        bits, mask = self.bits, self._mask
        a, b, c, d = _WORDS.unpack(digest)
        a &= mask
        if not bits[a >> 3] >> (a & 7) & 1:
            return False
        b &= mask
        if not bits[b >> 3] >> (b & 7) & 1:
            return False
        c &= mask
        d &= mask
        return bool(bits[c >> 3] >> (c & 7) & bits[d >> 3] >> (d & 7) & 1)


def from_bytes(data: bytes | bytearray) -> U64:
    """Digests one after another as (n, 2) uint64."""
    return np.frombuffer(data, np.uint64).reshape(-1, 2)


def to_digests(marks: U64) -> list[bytes]:
    data = np.ascontiguousarray(marks).tobytes()
    return [data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES)]
